"""No-change plan of a zone of 10,000 records on a real name server: cutover beside octodns-sync, and what an apply of them all takes.

Knot and BIND are installed by cutover's own packs, each on a lab host, and each holds a zone of its own. The first also keeps
cutover's ledger, which octoDNS does not have: what is owned in a zone, asked over SSH. Both tools read the wanted records from text of their own
(KDL, YAML), ask for the zone by AXFR with the same TSIG key, and must say that nothing is to do; then they are timed in turn.
`run.sh` is the command for people.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(HERE.parent / "ansible"))

from lab import Lab  # noqa: E402
from measure import Tool, in_turn, table  # noqa: E402

# As cutover/topology.kdl has them.
HOSTS = {"knot": "10.89.153.11", "bind": "10.89.153.12"}
SECRET = "b25seSBhIHRlc3Qgc2VjcmV0IG9mIDMyIG9jdGV0cy4="
CPU_GOAL, MEMORY_GOAL, RATIO_GOAL, APPLY_GOAL = 0.25, 40.0, 20.0, 5.0
# The peer, as PyPI has it.
PEER = ["octodns==1.22.0", "octodns-bind==1.1.0"]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="runs of each tool, in turn (default 5)")
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--only", choices=["knot", "bind"], help="one of the two servers")
    parser.add_argument("--work", type=Path, default=Path("target/bench/dns"), help="folder for the environment, keys and configurations")
    parser.add_argument("--cutover", type=Path, default=Path("target/release/cutover"), help="the program")
    parser.add_argument("--keep", action="store_true", help="leave the hosts as they are, for another run")
    return parser.parse_args()


def records(zone, count):
    """Name, type and data of each record: addresses mostly, one in ten each of AAAA, TXT and MX."""
    for n in range(count):
        at = f"{n >> 8 & 255}.{n & 255}"
        match n % 10:
            case 7:
                yield f"h{n}", "AAAA", f"2001:db8::{n:x}"
            case 8:
                yield f"h{n}", "TXT", f"record number {n}"
            case 9:
                yield f"h{n}", "MX", f"h0.{zone}"
            case _:
                yield f"h{n}", "A", f"10.1.{at}"


def kdl(server, count, ttl=300):
    """The zone as a topology has it, each record on a line of its own."""
    zone = f"{server}.bench.test"
    lines = [f'zone {zone} provider={server} ttl="{ttl}s" protect=#false {{']
    for name, kind, data in records(zone, count):
        lines.append(f'    record {name} {kind} "{data}"' + (" priority=10" if kind == "MX" else ""))
    return "\n".join([*lines, "}", ""])


def octodns_yaml(folder, server, count):
    """The same for octoDNS: its configuration, and the zone."""
    zone = f"{server}.bench.test"
    out = ["---"]
    for name, kind, data in records(zone, count):
        value = {"TXT": f'"{data}"', "MX": "{preference: 10, exchange: " + data + ".}"}.get(kind, f"'{data}'")
        out += [f"{name}:", f"  type: {kind}", "  ttl: 300", f"  value: {value}"]
    folder.mkdir(exist_ok=True)
    (folder / f"{zone}.yaml").write_text("\n".join(out) + "\n")
    config = folder / f"{server}-config.yaml"
    config.write_text(
        f"""---
manager:
  max_workers: 1
providers:
  config:
    class: octodns.provider.yaml.YamlProvider
    directory: {folder}
    default_ttl: 300
    enforce_order: false
  server:
    class: octodns_bind.Rfc2136Provider
    host: {HOSTS[server]}
    key_name: bench.example
    key_secret: {SECRET}
    key_algorithm: hmac-sha256
zones:
  {zone}.:
    sources: [config]
    targets: [server]
"""
    )
    return config


def octodns(work, server, count):
    home = work / "venv-octodns"
    if not (home / "bin" / "octodns-sync").exists():
        venv.create(home, with_pip=True, clear=True)
        subprocess.run([home / "bin" / "pip", "install", "--quiet", *PEER], check=True)
    config = octodns_yaml(work / "octodns", server, count)
    return Tool("octodns", [str(home / "bin" / "octodns-sync"), "--config-file", str(config)], lambda text, code: code == 0 and "No changes were planned" in text)


class Bench:
    def __init__(self, args):
        self.args, self.work = args, args.work.resolve()
        self.work.mkdir(parents=True, exist_ok=True)
        self.lab = Lab(args.cutover.resolve(), HERE / "cutover", self.work, list(HOSTS.items()))
        (self.lab.root / "keys" / "tsig").write_text(SECRET)
        self.servers = [args.only] if args.only else ["knot", "bind"]
        self.met = True

    def wants(self, zones):
        """Writes the zones of the topology; a server that none is named for has an empty one."""
        text = [zones.get(s, kdl(s, 0)) for s in ("knot", "bind")]
        (self.lab.root / "zones.kdl").write_text("".join(text))

    def cutover(self, *words, code=0):
        argv = self.lab.argv(*words)
        done = subprocess.run(argv, capture_output=True, text=True)
        if done.returncode != code:
            sys.exit(f"{' '.join(argv)} ended with {done.returncode}:\n{(done.stdout + done.stderr)[-3000:]}")
        return done.stdout

    def run(self):
        count = self.args.records
        self.wants({})
        print("two name servers from their packs, untimed", flush=True)
        self.cutover("apply", "--yes", "--exceed", "updates,deletes")
        for server in self.servers:
            self.foreign(server, count)
            self.ours(server, count)
        print("\nall goals met" if self.met else "\nNOT all goals met")

    def foreign(self, server, count):
        """A zone that others made, in which twenty sets are ours. The peer has no such case: what it is not told of it deletes."""
        zone = f"{server}.bench.test"
        print(f"\n{server}: a zone of {count:,} foreign records, twenty ours")
        theirs = [f'{name}.{zone}. 300 {kind} ' + {"MX": f"10 {data}.", "TXT": f'"{data}"'}.get(kind, data) for name, kind, data in records(zone, count)]
        self.update(server, [f"add {line}" for line in theirs])
        twenty = "".join(f'    record own{n} A "10.2.0.{n}"\n' for n in range(20))
        self.wants({server: kdl(server, 0).replace("}\n", twenty + "}\n")})
        self.cutover("apply", "--yes", "--target", f"zone.{zone}")
        self.planned(server, "foreign", [])
        self.wants({})
        self.cutover("apply", "--yes", "--exceed", "deletes", "--target", f"zone.{zone}")
        self.update(server, [f"delete {line.split()[0]} {line.split()[2]}" for line in theirs])

    def ours(self, server, count):
        """A zone whose records are all ours, from text of each tool's own."""
        print(f"\n{server}: {count:,} records, all ours, each written on a line of its own in both tools' files")
        zone = f"zone.{server}.bench.test"
        self.wants({server: kdl(server, count)})
        goal = APPLY_GOAL if server == "knot" else None
        self.say(f"{server}: apply of {count:,} additions, wall", self.timed("apply", "--yes", "--target", zone), goal, "s")
        self.planned(server, "all ours", [octodns(self.work, server, count)])
        self.wants({server: kdl(server, count, ttl=600)})
        self.say(f"{server}: apply of {count:,} updates, wall", self.timed("apply", "--yes", "--exceed", "updates", "--target", zone), goal, "s")
        self.wants({})
        self.say(f"{server}: apply of {count:,} deletions, wall", self.timed("apply", "--yes", "--exceed", "deletes", "--target", zone), goal, "s")

    def planned(self, server, what, others):
        ours = self.lab.plan(target=f"zone.{server}.bench.test")
        tools = [ours, *others]
        in_turn(tools, self.args.rounds)
        print(table(tools, "cutover"))
        alone = statistics.median(own_cpu(ours) for _ in range(self.args.rounds))
        self.say(f"{server}, {what}: plan, CPU of cutover", alone, CPU_GOAL, "s")
        self.say(f"{server}, {what}: plan, CPU of cutover and its ssh client", ours.middle("cpu"), CPU_GOAL, "s")
        self.say(f"{server}, {what}: plan, peak memory", ours.middle("peak"), MEMORY_GOAL, "MiB")
        for peer in others:
            ratio = peer.middle("cpu") / ours.middle("cpu")
            met = ratio >= RATIO_GOAL
            self.met &= met
            print(f"{server}, {what}: cutover : {peer.name} = 1 : {ratio:.0f} in CPU time, ssh counted (goal 1 : {RATIO_GOAL:.0f}, {'met' if met else 'NOT met'})")

    def update(self, server, lines):
        """By another hand: dynamic updates from the other host."""
        for at in range(0, len(lines), 400):
            text = "\n".join([f"server {HOSTS[server]}", f"zone {server}.bench.test.", *(f"update {line}" for line in lines[at : at + 400]), "send", ""])
            argv = [*self.access.ssh(), HOSTS["bind"], f"nsupdate -v -y hmac-sha256:bench.example:{SECRET}"]
            done = subprocess.run(argv, input=text, capture_output=True, text=True)
            if done.returncode:
                sys.exit(f"nsupdate: {done.stderr}{done.stdout}")

    def timed(self, *words):
        began = time.monotonic()
        self.cutover(*words)
        return time.monotonic() - began

    def say(self, what, found, goal, unit):
        met = goal is None or found <= goal
        self.met &= met
        beside = f" (goal {goal:g} {unit}, {'met' if met else 'NOT met'})" if goal else ""
        print(f"{what}: {found:.2f} {unit}{beside}", flush=True)


def own_cpu(tool):
    """CPU seconds of the process alone: its children, as ssh, have time of their own."""
    child = subprocess.Popen(tool.argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    fields = Path(f"/proc/{child.pid}/stat").read_text().rsplit(")", 1)[1].split()
    child.wait()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main():
    args = arguments()
    bench = Bench(args)
    bench.wants({})
    bench.access = bench.lab.up()
    try:
        bench.access.learn()
        bench.run()
    finally:
        if not args.keep:
            bench.lab.down()
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    sys.exit(0 if bench.met else 1)


if __name__ == "__main__":
    main()
