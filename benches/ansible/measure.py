"""Times commands in turn, round after round, so that a busy minute of the machine falls on all of them.

Wall time is what a person waits. CPU is user + system time of the command and everything it started here, daemons that stay
behind (kept SSH connections) included. Host CPU is what the asked hosts spent: in a lab they share the controller's cores, so
wall time of a tool that works a lot on the hosts is worse here than on a real fleet. The peak is the resident memory of the
largest process.
"""

import ctypes
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

# So that daemons of the measured commands become our children and their time can be read and counted.
PR_SET_CHILD_SUBREAPER = 36
ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
TIME = shutil.which("time")
TICK = os.sysconf("SC_CLK_TCK")

# Prints the CPU nanoseconds of the container or machine that it runs in: cgroup v1, then v2.
HOST_CPU = r"""
p=$(sed -n 's/^[0-9]*:[^:]*cpuacct[^:]*:\(.*\)$/\1/p' /proc/1/cgroup | head -n 1); p=${p%/init.scope}
q=$(sed -n 's/^0::\(.*\)$/\1/p' /proc/1/cgroup); q=${q%/init.scope}
if [ -r /sys/fs/cgroup/cpuacct$p/cpuacct.usage ]; then cat /sys/fs/cgroup/cpuacct$p/cpuacct.usage
else for f in /sys/fs/cgroup$q/cpu.stat /sys/fs/cgroup/cpu.stat; do
  [ -r $f ] && { sed -n 's/^usage_usec \(.*\)$/\1000/p' $f; break; }; done; fi
"""


class Hosts:
    """The asked hosts, for their CPU time: one kept connection each, so that asking costs them next to nothing."""

    def __init__(self, ssh, targets):
        self.folder = tempfile.TemporaryDirectory()
        self.ssh = [*ssh, "-o", "ControlMaster=auto", "-o", "ControlPersist=yes", "-o", f"ControlPath={self.folder.name}/%C"]
        self.targets = targets

    def _ask(self, target):
        out = subprocess.run([*self.ssh, *target, HOST_CPU], capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout
        return int(out) / 1e9 if out.strip().isdigit() else 0.0

    def cpu(self):
        with ThreadPoolExecutor(8) as pool:
            return sum(pool.map(self._ask, self.targets))

    def close(self):
        for target in self.targets:
            subprocess.run([*self.ssh, "-O", "exit", *target], capture_output=True, stdin=subprocess.DEVNULL)
        self.folder.cleanup()


def _daemons():
    """CPU seconds of live children of ours: daemons that measured commands left behind."""
    total, me = 0.0, os.getpid()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text()
        except OSError:
            continue
        fields = text[text.rindex(")") + 2 :].split()
        if int(fields[1]) == me:
            total += (int(fields[11]) + int(fields[12]) + int(fields[13]) + int(fields[14])) / TICK
    return total


def _spent():
    use = resource.getrusage(resource.RUSAGE_CHILDREN)
    return use.ru_utime + use.ru_stime + _daemons()


class Tool:
    """A command to time. `steady(output, code)` says whether the run was what is to be timed (a plan without changes)."""

    def __init__(self, name, argv, steady, env=None, cwd=None):
        self.name, self.argv, self.steady, self.cwd = name, argv, steady, cwd
        self.env = {**os.environ, **(env or {})}
        self.runs = []

    def run(self, hosts=None):
        before_hosts = hosts.cpu() if hosts else 0.0
        before, start = _spent(), time.monotonic()
        with tempfile.TemporaryDirectory() as out_folder, tempfile.TemporaryFile() as out:
            # GNU time starts it from a small process: a child's own figure would begin with what we ourselves have in memory.
            peak = Path(out_folder, "peak")
            argv = [TIME, "-q", "-f", "%M", "-o", str(peak), *self.argv] if TIME else self.argv
            child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, env=self.env, cwd=self.cwd)
            child.wait()
            wall = time.monotonic() - start
            out.seek(0)
            text = out.read().decode(errors="replace")
            memory = int(peak.read_text().split()[-1]) / 1024 if TIME else float("nan")
        while True:  # reap daemons that are done
            try:
                if os.waitpid(-1, os.WNOHANG)[0] == 0:
                    break
            except ChildProcessError:
                break
        cpu = _spent() - before
        host = (hosts.cpu() - before_hosts) if hosts else 0.0
        if not self.steady(text, child.returncode):
            sys.exit(f"{self.name} did not make the run that is to be timed (exit {child.returncode}):\n{text[-3000:]}")
        self.runs.append({"wall": wall, "cpu": cpu, "host": host, "peak": memory})

    def middle(self, what):
        return statistics.median(r[what] for r in self.runs)


def in_turn(tools, rounds, hosts=None, say=print):
    for number in range(1, rounds + 1):
        for tool in tools:
            tool.run(hosts)
            last = tool.runs[-1]
            say(f"  round {number} {tool.name}: {last['wall']:.2f} s wall, {last['cpu']:.2f} s CPU, hosts {last['host']:.2f} s CPU", flush=True)


def table(tools, against):
    """Medians of all tools, with how many times more each one needs than `against`."""
    base = next((t for t in tools if t.name == against), None)
    lines = [
        f"{'':10} {'wall s':>9} {'min..max':>15} {'CPU s':>8} {'hosts CPU s':>12} {'peak MiB':>9} {'x wall':>8} {'x CPU':>8} {'x both CPU':>11}"
    ]
    for tool in tools:
        wall, cpu, host = tool.middle("wall"), tool.middle("cpu"), tool.middle("host")
        walls = [r["wall"] for r in tool.runs]
        ratio = ["", "", ""]
        if base and base is not tool:
            ratio = [
                f"{wall / base.middle('wall'):.1f}",
                f"{cpu / max(base.middle('cpu'), 1e-3):.1f}",
                f"{(cpu + host) / max(base.middle('cpu') + base.middle('host'), 1e-3):.1f}",
            ]
        lines.append(
            f"{tool.name:10} {wall:9.2f} {min(walls):7.2f}..{max(walls):<6.2f} {cpu:8.2f} {host:12.2f} {tool.middle('peak'):9.0f}"
            f" {ratio[0]:>8} {ratio[1]:>8} {ratio[2]:>11}"
        )
    return "\n".join(lines)


def ansible_steady(text, code):
    recap = re.findall(r"ok=(\d+)\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)", text)
    return code == 0 and bool(recap) and all(c == u == f == "0" for _, c, u, f in recap)


def pyinfra_steady(text, code):
    """Each line of the table of detected changes ends with two dashes."""
    body = text.partition("Detected changes:")[2].partition("Detected changes may not")[0]
    rows = [line.split() for line in body.splitlines()[2:] if line.strip() and "Grand total" not in line]
    return code == 0 and bool(rows) and all(row[-2:] == ["-", "-"] for row in rows)


def cutover_steady(_text, code):
    """`plan --detailed-exitcode`: 0 is a plan without changes."""
    return code == 0
