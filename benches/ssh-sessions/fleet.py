"""A no-change plan of 500 recorded hosts: seconds and memory.

One real lab host is applied, its answer to cutover's question is recorded in its own sshd, and replay.py gives that answer behind
five hundred loopback addresses. So the 500 connections, logins and answers are real; the work that 500 machines would do to look
at themselves is not repeated on this one. The server's half of each key exchange is, which is why it is also measured with
curve25519 alone: OpenSSH's default hybrid with sntrup761 takes many times the CPU, here on both ends.
"""

import argparse
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(HERE.parent / "ansible"))

from lab import Lab  # noqa: E402
from measure import in_turn  # noqa: E402
from sessions import Log  # noqa: E402

# As fleet/topology.kdl has them.
COUNT = 500
SECONDS_GOAL, MIB_GOAL = 30, 300

# Runs in the host's sshd in place of the question, which it passes on to the shell and whose answer it keeps.
RECORD = r"""#!/bin/sh
sh -c "$SSH_ORIGINAL_COMMAND" | tee /run/bench-answer
"""
# Answers with the record: the question's marker and this host's own name in place of those of the record.
REPLAY = r"""#!/bin/sh
marker=$(sed -n "s/^M='\{0,1\}\(cut[0-9a-f]*\)'\{0,1\}$/\1/p")
set -- $SSH_CONNECTION
d=${3##*.} c=${3%.*}; c=${c##*.}
name=$(printf 'host-%03d' $(((c - 1) * 250 + d)))
exec sed -e "s/^@MARKER@/$marker/" -e "s/server:host-1\([^0-9]\)/server:$name\1/g" FOLDER/answer
"""
# HOME: else every session's shell reads the start files of whoever runs this, which can cost more than the session.
SSHD = """HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
StrictModes no
UsePAM no
PidFile none
LogLevel QUIET
ForceCommand {folder}/replay.sh
SetEnv HOME={folder}
{more}
"""


def record(lab, access, folder):
    """What the first lab host answers to a plan, with a mark in place of the question's marker."""
    access.learn()
    log = Log(access)
    lab.apply().run()
    log.ask(f"cat > /run/bench-record <<'END'\n{RECORD}END\nchmod 755 /run/bench-record")
    log.ask("echo 'ForceCommand /run/bench-record' > /etc/ssh/sshd_config.d/00-bench.conf && systemctl reload ssh")
    lab.plan(target="server:host-1").run()
    answer = log.ask("cat /run/bench-answer; rm /etc/ssh/sshd_config.d/00-bench.conf; systemctl reload ssh")
    log.close()
    marker = next((line.split()[0] for line in answer.splitlines() if line.split()[1:2] == ["begin"]), None)
    if not marker or not answer.rstrip().endswith(f"{marker} end"):
        sys.exit(f"the host's answer was not recorded:\n{answer[:500]}")
    (folder / "answer").write_text(answer.replace(marker, "@MARKER@"))


def prepare(lab, folder, kex):
    """The folder that replay.py serves from."""
    if not (folder / "host_key").exists():
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "host_key"], check=True)
    shutil.copy(f"{lab.key}.pub", folder / "authorized_keys")
    (folder / "replay.sh").write_text(REPLAY.replace("FOLDER", str(folder)))
    (folder / "replay.sh").chmod(0o755)
    (folder / "sshd_config").write_text(SSHD.format(folder=folder, more=f"KexAlgorithms {kex}" if kex else ""))
    Path("/run/sshd").mkdir(exist_ok=True)  # sshd's own, made by its service at boot


class Memory(threading.Thread):
    """The largest sum of memory over cutover and its ssh clients, shared pages counted once (PSS), while a plan runs."""

    def __init__(self):
        super().__init__(daemon=True)
        self.stop, self.peak, self.clients = threading.Event(), 0, 0

    def run(self):
        while not self.stop.wait(1.0):
            total = clients = 0
            for folder in Path("/proc").glob("[0-9]*"):
                try:
                    name = (folder / "comm").read_text().strip()
                    if name not in ("cutover", "ssh") or not self.ours(folder):
                        continue
                    rollup = (folder / "smaps_rollup").read_text()
                except OSError:
                    continue
                clients += name == "ssh"
                total += sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
            if total > self.peak:
                self.peak, self.clients = total, clients

    @staticmethod
    def ours(folder):
        """By way of its parents: daemons of what we measure become our own children (see measure.py)."""
        pid = folder.name
        while pid not in ("0", "1"):
            if int(pid) == os.getpid():
                return True
            text = Path("/proc", pid, "stat").read_text()
            pid = text[text.rindex(")") + 2 :].split()[1]
        return False


def measure(fleet, folder, args, kex):
    prepare(fleet, folder, kex)
    replay = subprocess.Popen([sys.executable, HERE / "replay.py", folder, str(COUNT)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        port = replay.stdout.readline().strip()
        host_key = " ".join((folder / "host_key.pub").read_text().split()[:2])
        plan = fleet.plan(sets=[("port", port), ("pin", host_key)])
        plan.argv += ["--parallel", str(args.parallel)]
        memory = Memory()
        memory.start()
        in_turn([plan], args.rounds)
        memory.stop.set()
        memory.join()
    finally:
        replay.stdin.close()
        replay.wait()
    seconds = min(r["wall"] for r in plan.runs)
    print(
        f"{COUNT} hosts, {kex or 'the default key exchange'}, --parallel {args.parallel}: {seconds:.1f} s, {plan.middle('cpu'):.1f} s CPU of"
        f" cutover and ssh; peak {plan.middle('peak'):.0f} MiB of cutover, {memory.peak / 1024:.0f} MiB with its {memory.clients} ssh clients",
        flush=True,
    )
    return seconds, memory.peak / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("target/bench/fleet"))
    parser.add_argument("--cutover", type=Path, default=Path("target/release/cutover"))
    parser.add_argument("--parallel", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--keep", action="store_true", help="leave the lab host running")
    args = parser.parse_args()
    args.work = args.work.resolve()
    folder = args.work / "replay"
    folder.mkdir(parents=True, exist_ok=True)
    pack = HERE.parent / "ansible" / "cutover"
    if not (folder / "answer").exists():
        lab = Lab(args.cutover.resolve(), pack, args.work, [("host-1", "10.89.134.11")])
        # One host of the eight is enough for a record; a lab of its own.
        topology, text = lab.root / "topology.kdl", (pack / "topology.kdl").read_text()
        for old, new in {"organization bench": "organization fleet", "host-[1:8]": "host-1", "192.0.2.[11:18]": "192.0.2.11", "10.89.33.0": "10.89.134.0"}.items():
            text = text.replace(old, new)
        topology.write_text(text)
        access = lab.up()
        try:
            record(lab, access, folder)
        finally:
            if not args.keep:
                lab.down()
    fleet = Lab(args.cutover.resolve(), HERE / "fleet", args.work / "fleet", [])
    shutil.copytree(pack / "modules", fleet.root / "modules", dirs_exist_ok=True)
    found = [measure(fleet, folder, args, kex) for kex in ("", "curve25519-sha256")]
    seconds, mib = found[-1]
    print(f"goal {SECONDS_GOAL} s and {MIB_GOAL} MiB: {'met' if seconds <= SECONDS_GOAL and mib <= MIB_GOAL else 'NOT met'}; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
