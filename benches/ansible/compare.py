"""No-change plan of eight hosts with sixty resources each: cutover beside ansible-playbook --check and pyinfra --dry.

Each tool applies once, so that all three agree that nothing is to do (the run stops when one does not); then the no-change plans
are timed in turn. `run.sh` is the command for people; see README.md beside this file for how the three were kept fair.
"""

import argparse
import os
import sys
from pathlib import Path

import peers
from lab import Lab
from measure import Hosts, in_turn, table

# As cutover/topology.kdl has them.
HOSTS = [(f"host-{n}", f"10.89.33.{10 + n}") for n in range(1, 9)]
GOALS = {"ansible": 10.0, "pyinfra": 3.0}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="runs of each tool, in turn (default 5)")
    parser.add_argument("--tools", default="ansible,pyinfra,cutover", help="which of the three, by comma")
    parser.add_argument("--work", type=Path, default=Path("target/bench/peers"), help="folder for environments, keys and inventories")
    parser.add_argument("--cutover", type=Path, default=Path("target/release/cutover"), help="the program")
    parser.add_argument("--one", action="store_true", help="time one host of the eight: what one host costs with all cores for it")
    parser.add_argument("--keep", action="store_true", help="leave hosts and environments as they are, for another run")
    parser.add_argument("--steady", action="store_true", help="hosts left by --keep: every tool has applied already")
    parser.add_argument("--hosts", help="addresses of hosts that are there already, by comma; without the lab and cutover")
    parser.add_argument("--key", help="private key for --hosts, user root")
    return parser.parse_args()


def peers_of(access, wanted, check):
    return [getattr(peers, name)(access.work, access, check=check) for name in ("ansible", "pyinfra") if name in wanted]


def main():
    args = arguments()
    wanted = args.tools.split(",")
    work = args.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    lab = None
    if args.hosts:
        access = peers.Access(work, [(f"host-{n}", a) for n, a in enumerate(args.hosts.split(","), 1)], args.key)
        wanted = [w for w in wanted if w != "cutover"]
    else:
        lab = Lab(args.cutover.resolve(), Path(__file__).resolve().parent / "cutover", work, HOSTS)
        access = lab.up()
    try:
        compare(args, wanted, access, lab)
    finally:
        if lab and not args.keep:
            lab.down()


def compare(args, wanted, access, lab):
    access.learn()
    ssh = Hosts(access.ssh(), access.targets())
    try:
        print("What Ansible needs on a host (python3, python3-apt), untimed")
        peers.prepare(access)
        # Also warms each: byte code, caches, Ansible's kept connections.
        for tool in [] if args.steady else ([lab.apply()] if "cutover" in wanted else []) + peers_of(access, wanted, check=False):
            print(f"applying once: {tool.name}", flush=True)
            tool.run()
        if args.one:
            access.hosts = access.hosts[:1]
        tools = peers_of(access, wanted, check=True)
        for tool in tools:
            print(f"{tool.name} {tool.version}")
        tools += [lab.plan(target="server:host-1" if args.one else None)] if "cutover" in wanted else []
        in_turn(tools, args.rounds, ssh)
    finally:
        ssh.close()
    print(f"\nno-change plan, {len(access.hosts)} host(s) with 60 resources, median of {args.rounds}; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print(table(tools, "cutover"), flush=True)
    verdict(tools)


def verdict(tools):
    ours = next((t for t in tools if t.name == "cutover"), None)
    for tool in tools:
        if ours and tool.name in GOALS:
            ratio = tool.middle("wall") / ours.middle("wall")
            met = "met" if ratio >= GOALS[tool.name] else "NOT met"
            print(f"cutover : {tool.name} = 1 : {ratio:.1f} in wall time (goal 1 : {GOALS[tool.name]:.0f}, {met})")


if __name__ == "__main__":
    main()
