"""What SSH costs each tool: sessions that sshd starts, and waits on the network, to plan one host without changes.

Sessions are counted in the host's own log (sshd's LogLevel VERBOSE writes `Starting session` for each), so they are free of noise.
Network waits are counted by a relay (relay.py) with a round trip so long that nothing else matters; seconds are taken with a round
trip of 50 ms. What connecting alone costs (`ssh -M -N -f`, the same count) is shown apart: TCP, key exchange and login are
OpenSSH's, in any tool.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(HERE.parent / "ansible"))

import peers  # noqa: E402
from lab import Lab  # noqa: E402
from measure import Tool  # noqa: E402

HOST = [("host", "10.89.133.11")]
# Round trip for counting waits, in ms: long beside key exchange and observation on a busy machine.
LONG = 3000
SESSIONS_GOAL, WAITS_GOAL, SECONDS_GOAL = 1, 3, 1.5

# Counts the sessions since a cursor of the journal, but for those of the connection that asks.
COUNT = """
set -- $SSH_CONNECTION; journalctl -u ssh -o cat --after-cursor='{cursor}' | awk -v own="port $2 " '
  /^Starting session/ && !index($0, own) {{ n++ }} /^Accepted publickey/ && !index($0, own) {{ c++ }} END {{ print n + 0, c + 0 }}'
"""


class Log:
    """The host's sshd log, asked over one kept connection."""

    def __init__(self, access):
        self.folder = tempfile.TemporaryDirectory()
        self.argv = [*access.ssh(), "-o", "ControlMaster=auto", "-o", "ControlPersist=yes", "-o", f"ControlPath={self.folder.name}/%C", access.hosts[0][1]]
        self.ask("echo LogLevel VERBOSE > /etc/ssh/sshd_config.d/00-bench.conf && systemctl reload ssh")
        time.sleep(1)

    def ask(self, script):
        done = subprocess.run([*self.argv, script], capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode:
            sys.exit(f"the host did not do `{script}`: {done.stderr}")
        return done.stdout

    def sessions(self, tool):
        """(sessions, connections) of one run."""
        out = self.ask("journalctl -u ssh -n 1 -o cat --show-cursor")
        cursor = out.rsplit("-- cursor: ", 1)[1].strip()
        tool.run()
        time.sleep(0.5)  # journald writes on its own time
        sessions, connections = self.ask(COUNT.format(cursor=cursor)).split()
        return int(sessions), int(connections)

    def close(self):
        subprocess.run([*self.argv[:-1], "-O", "exit", self.argv[-1]], capture_output=True)
        self.folder.cleanup()


class Relay:
    """relay.py in front of the host, for as long as the block lasts."""

    def __init__(self, access, milliseconds):
        self.argv = [sys.executable, HERE / "relay.py", "0", access.hosts[0][1], str(access.port), str(milliseconds)]

    def __enter__(self):
        self.process = subprocess.Popen([str(a) for a in self.argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())
        return self

    def __exit__(self, *_):
        time.sleep(1.5)  # the kept connection ends on its own
        self.process.stdin.close()
        self.counted = tuple(int(n) for n in self.process.stdout.read().split())
        self.process.wait()


def connect_only(access, port):
    """A master connection that is logged in and does nothing: what every SSH client pays before its first question."""
    folder = tempfile.mkdtemp()
    argv = [a if a != str(access.port) else str(port) for a in access.ssh()]
    argv += ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]
    # Its socket goes with the folder; the master ends after a second without a client.
    argv += ["-M", "-N", "-f", "-S", f"{folder}/master", "-o", "ControlPersist=1", "127.0.0.1"]
    return Tool("connect", argv, lambda _, code: code == 0)


def through(access, make, milliseconds, rounds):
    """Smallest wall time with that round trip, and what the relay counted of the last run: waits, bytes up, bytes down."""
    with Relay(access, milliseconds) as relay:
        tool = make(relay.port)
        for _ in range(rounds):
            tool.run()
    return min(r["wall"] for r in tool.runs), relay.counted


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("target/bench/sessions"))
    parser.add_argument("--cutover", type=Path, default=Path("target/release/cutover"))
    parser.add_argument("--rounds", type=int, default=5, help="runs at each delay")
    parser.add_argument("--tools", default="cutover,pyinfra,ansible")
    parser.add_argument("--keep", action="store_true", help="leave the host running")
    parser.add_argument("--host", help="address of a host that is there already; without the lab and cutover")
    parser.add_argument("--key", help="private key for --host, user root")
    args = parser.parse_args()
    args.work = args.work.resolve()
    args.work.mkdir(parents=True, exist_ok=True)
    wanted = args.tools.split(",")
    if args.host:
        of_peers(args, [w for w in wanted if w != "cutover"], peers.Access(args.work, [("host", args.host)], args.key))
        return
    lab = Lab(args.cutover.resolve(), HERE / "cutover", args.work, HOST)
    access = lab.up()
    try:
        met = of_cutover(args, lab, access) if "cutover" in wanted else True
        of_peers(args, [w for w in wanted if w != "cutover"], access)
    finally:
        if not args.keep:
            lab.down()
    sys.exit(0 if met else 1)


def of_cutover(args, lab, access):
    access.learn()
    log = Log(access)
    packages = log.ask("dpkg-query -W -f '${Package} '").split()
    module = lab.root / "modules" / "many" / "module.kdl"
    module.write_text(module.read_text().replace("package openssh-server", "package " + " ".join(packages)))
    host_key = " ".join(access.known.read_text().split()[1:3])
    print(f"one host: 1000 files, {len(packages)} packages, 50 users; applying once", flush=True)
    lab.apply().run()
    try:
        sessions, connections = log.sessions(lab.plan())
    finally:
        log.close()
    print(f"cutover: {sessions} session(s) over {connections} connection(s) for a plan without changes")
    plan = lambda port: lab.plan("relay", [("port", port), ("pin", host_key)])
    connect = lambda port: connect_only(access, port)
    _, (waits, up, down) = through(access, plan, LONG, 1)
    _, (login, *_) = through(access, connect, LONG, 1)
    print(f"network waits: {waits} in all, {login} of them to connect; {up / 1024:.0f} KiB sent, {down / 1024:.0f} KiB received")
    seconds = {}
    for delay in (0, 50):
        seconds[delay], _ = through(access, plan, delay, args.rounds)
        alone, _ = through(access, connect, delay, args.rounds)
        print(f"at {delay} ms: plan {seconds[delay]:.2f} s, connecting alone {alone:.2f} s (smallest of {args.rounds})")
    rows = [
        ("sessions", sessions, SESSIONS_GOAL),
        ("network waits after connecting", waits - login, WAITS_GOAL),
        ("seconds at 50 ms", round(seconds[50], 2), SECONDS_GOAL),
    ]
    for what, found, goal in rows:
        print(f"{what}: {found} (goal at most {goal}, {'met' if found <= goal else 'NOT met'})")
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores", flush=True)
    return all(found <= goal for _, found, goal in rows[:2])


def of_peers(args, wanted, access):
    """Their sessions for thirty files: the part `files` of the playbook and the deploy that ../ansible/run.sh compares."""
    access.learn()
    if "ansible" in wanted:
        peers.prepare(access)
    log = Log(access)
    try:
        for name in wanted:
            make = getattr(peers, name)
            make(args.work, access, check=False, tags="files").run()
            tool = make(args.work, access, check=True, tags="files")
            log.sessions(tool)  # warm: byte code; Ansible's kept connection stays open as in daily work
            sessions, connections = log.sessions(tool)
            print(f"{name} {tool.version}: {sessions} sessions over {connections} new connections for 30 files", flush=True)
    finally:
        log.close()


if __name__ == "__main__":
    main()
