"""What else befalls a night: clocks that are wrong, on hosts and at the operator's machine, somebody who is renamed in the middle of a wave, a window
that closes in the middle of one, a ledger that was edited by hand.
The clocks are libfaketime's, for the programs that go by them; the kernel's own clock is everybody's and stays."""

import collections
import os
import signal
import subprocess
import time

# Dovecot cleans its environment, so it always sees the true time.
SERVICES = {"gate-2": ["cutover-cms", "cutover-proxy"]}


def all_are(w, state):
    counts = collections.Counter((w.cutover.status("wave-3") or {}).values())
    return counts == {state: 20} or [f"wave-3: not all are {state}: {dict(counts)}"]


def back(w):
    w.open_window(3)
    code, said = w.cutover("rollback", "before-3", "--yes", fails=True)
    wrong = all_are(w, "back")
    return [] if code == 0 and wrong is True else [f"the way back ended with {code}: {said[-300:]}"] + (wrong if wrong is not True else [])


def set_clock(w, seconds):
    """The services of a gate see a clock that is off; None sets all right."""
    if seconds is None:
        w.cutover("lab", "fault", "heal")
        return
    w.cutover("lab", "fault", "heal", fails=True)
    for host, services in SERVICES.items():
        for service in services:
            w.cutover("lab", "fault", "skew", host, service, str(seconds))
            seen = w.cutover("lab", "exec", host, "--", "sh", "-c",
                             f"tr '\\0' '\\n' < /proc/$(systemctl show -P MainPID {service})/environ | grep -c ^FAKETIME=")
            if seen.split()[-1:] != ["1"]:
                raise SystemExit(f"the clock of {service} on {host} was not set: {seen}")


def clocks(w, arrived, say):
    wrong, told = [], []
    for offset in (3600, -3600):
        wrong += back(w)
        set_clock(w, offset)
        w.open_window(3)
        began = time.time()
        run = w.cutover.start("apply", "--phase", "deploy-3", "--yes")
        code, took = run.wait(), time.time() - began
        held = all_are(w, "moved")
        wrong += [] if code == 0 and held is True else [f"hosts {offset:+} s off: {code}, see {run.log}"]
        # An hour of watching canaries would be the fault.
        wrong += [f"hosts {offset:+} s off: it took {took:.0f} s"] if took > 600 else []
        told.append(f"clocks of the content service and a gate {offset:+} s off: all 20 moved, {took:.0f} s")
        say(told[-1])
    set_clock(w, None)
    wrong += back(w)
    for offset, why in (("-2h", "before the window"), ("+4h", "after it")):
        w.open_window(3)
        run = subprocess.run(["faketime", "-f", offset, w.cutover.program, "apply", "--phase", "deploy-3", "--yes"], env=w.cutover.env,
                             capture_output=True, text=True)
        stay = all_are(w, "back")
        if run.returncode == 0 or stay is not True or "night-3" not in run.stdout + run.stderr:
            wrong.append(f"operator's clock {offset}: {run.returncode}, {stay}, {(run.stdout + run.stderr)[-600:]}")
        told.append(f"operator's clock {offset}, {why}: refused with {run.returncode}, nobody moved")
        say(told[-1])
    return told, wrong


def killed_in_the_wave(w, arrived):
    """Who stood where after it."""
    w.open_window(3)
    run = w.cutover.start("apply", "--phase", "deploy-3", "--yes")
    had = arrived("wave-3")
    while arrived("wave-3") < had + 3 and run.poll() is None:
        time.sleep(0.1)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    return dict(collections.Counter((w.cutover.status("wave-3") or {}).values()))


def renamed(w, arrived, say):
    """u60 becomes v60 in the topology while the wave moves: what is left is refused; with the old name again it goes to its end."""
    wrong, text = [], open("topology.kdl").read()
    there = killed_in_the_wave(w, arrived)
    other = text.replace('users "u[41:60]@acme.example"', 'users "u[41:59]@acme.example" v60@acme.example')
    for verb, of in (("", 'on=store password=(secret)"env:PEOPLE"'), ("(patch)", "{ (add)on old-host; }")):
        other = other.replace(f'{verb}mail-account "u[01:60]@acme.example" {of}',
                              f'{verb}mail-account "u[01:59]@acme.example" {of}\n{verb}mail-account v60@acme.example {of}')
    open("topology.kdl", "w").write(other)
    code, said = w.cutover("resume", fails=True)
    say(f"killed with {there}, u60 renamed: resume ended with {code}: {said.strip().splitlines()[-1][:200] if said.strip() else ''}")
    if code == 0 or "other people" not in said:
        wrong.append(f"a resume under another list ended with {code}: {said[-400:]}")
    open("topology.kdl", "w").write(text)
    code, said = w.cutover("resume", fails=True)
    if "nothing to resume" in said:
        code, said = w.cutover("apply", "--phase", "deploy-3", "--yes", fails=True)
    there = all_are(w, "moved")
    if code != 0 or there is not True:
        wrong.append(f"after the rename was taken back: {code}, {there}, {said[-400:]}")
    return ["killed in the wave, somebody renamed: resume is refused; with the name again all 20 moved"], wrong


def closing(w, arrived, say):
    """The line becomes slow behind the canaries, so that the window ends while the wave moves: who is under way arrives, no other is begun."""
    wrong = back(w)
    for left in range(10, 150, 5):
        w.open_window(3, left)
        had, run = arrived("wave-3"), w.cutover.start("apply", "--phase", "deploy-3", "--yes")
        while arrived("wave-3") < had + 2 and run.poll() is None:
            time.sleep(0.1)
        if run.poll() is None:
            w.cutover("lab", "fault", "slow", "gate-2", "mail-1", "1s")
            code = run.wait()
            w.cutover("lab", "fault", "heal")
            break
        stay = all_are(w, "back")
        if run.returncode == 0 or stay is not True:
            return [], wrong + [f"a window of {left} s: {run.returncode}, {stay}, see {run.log}"]
    else:
        return [], wrong + ["no window was long enough to begin in"]
    said = open(run.log).read()
    there = dict(collections.Counter((w.cutover.status("wave-3") or {}).values()))
    told = f"a window of {left} s that closes in the middle: {there}, ended with {code}"
    say(f"{told}: {said.strip().splitlines()[-1][:300] if said.strip() else ''}")
    if code == 0 or not 2 <= there.get("moved", 0) < 20 or set(there) - {"moved", "back"} or "is open until" not in said:
        wrong.append(f"{told}, see {run.log}")
    w.open_window(3)
    code, said = w.cutover("apply", "--phase", "deploy-3", "--yes", fails=True)
    held = all_are(w, "moved")
    if code != 0 or held is not True:
        wrong.append(f"with another window: {code}, {held}, {said[-400:]}")
    return [told + "; with another window all 20 moved; windows that are shorter were refused, and nobody moved"], wrong


def edited(w, arrived, say):
    """The ledger of the waves on the anchor host says who moved. With a line that somebody has changed, nobody is taken back by it."""
    folder = "/var/lib/cutover/acme/zones/@wave-3"
    on_anchor = lambda script: w.cutover("lab", "exec", "mail-2", "--", "sh", "-ec", script)
    wrong, told = [], []
    w.open_window(3)
    on_anchor(f"rm -rf /root/kept && cp -a {folder} /root/kept && grep -q '\"new\"' {folder}/marks-*")
    for what, script in (("a side", r's/"new"/"old"/'), ("a person", r's/"[0-9a-f]\{16\}"/"0123456789abcdef"/')):
        on_anchor(f"sed -i '{script}' {folder}/marks-*; ! diff -rq {folder} /root/kept >/dev/null")
        code, said = w.cutover("rollback", "before-3", "--yes", fails=True)
        stay = all_are(w, "moved")
        on_anchor(f"cp -a /root/kept/. {folder}/")
        if code == 0 or stay is not True or "changed by hand" not in said:
            wrong.append(f"ledger edited, {what}: {code}, {stay}, {said[-400:]}")
        told.append(f"{what} changed by hand in the ledger on the anchor: the way back is refused with {code}, nobody moved")
        say(told[-1])
    wrong += back(w)
    w.open_window(3)
    code, said = w.cutover("apply", "--phase", "deploy-3", "--yes", fails=True)
    return told + ["the ledger as it was: all 20 back, and moved again"], wrong + ([] if code == 0 else [f"after the ledger: {code}, {said[-300:]}"])


def upgraded(w, program, arrived, say):
    """Another build takes over in the middle of a wave: it resumes what the first one began, and its services replace those on hosts."""
    wrong = back(w)
    there = killed_in_the_wave(w, arrived)
    w.cutover.program = program

    def must(words, what):
        code, said = w.cutover(*words, fails=True)
        held = all_are(w, what)
        say(f"the other build: {' '.join(words)}: {code}")
        if code != 0 or held is not True:
            wrong.append(f"the other build: {' '.join(words)}: {code}, {held}, {said[-400:]}")
    must(("resume",), "moved")
    must(("apply", "--phase", "build", "--yes"), "moved")
    must(("rollback", "before-3", "--yes"), "back")
    w.open_window(3)
    must(("apply", "--phase", "deploy-3", "--yes"), "moved")
    return [f"killed in the wave with {there}; another build resumed it, replaced the services, took the cohort back and moved it"], wrong


ORDEALS = {"clocks": clocks, "renamed": renamed, "closing": closing, "edited": edited}
