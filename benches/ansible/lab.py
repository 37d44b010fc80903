"""The hosts, by `cutover lab up`, and cutover's own commands on them.

The topology is copied into the work folder, so that keys and state never lie beside the sources.
"""

import shutil
import subprocess

from measure import Tool, cutover_steady
from peers import Access


class Lab:
    def __init__(self, program, source, work, addresses, environment="lab"):
        """`addresses`: name and address of each host, as the topology's environment makes them."""
        self.program, self.work, self.addresses, self.environment = program, work, addresses, environment
        self.root = work / source.parent.name
        shutil.copytree(source, self.root, dirs_exist_ok=True)
        self.key = self.root / "keys" / "bench"
        if not self.key.exists():
            self.key.parent.mkdir(exist_ok=True)
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "bench", "-f", self.key], check=True)

    def argv(self, *words, environment=None, sets=()):
        argv = [self.program, "--root", self.root, "--env", environment or self.environment, *words]
        for name, value in sets:
            argv += ["--set", f"{name}={value}"]
        return [str(a) for a in argv]

    def up(self):
        subprocess.run(self.argv("lab", "up"), check=True)
        return Access(self.work, self.addresses, self.key)

    def down(self):
        subprocess.run(self.argv("lab", "down"), check=True)

    def apply(self):
        """Brings the hosts to what the topology says; not timed."""
        return Tool("cutover", self.argv("apply", "--yes"), lambda _, code: code == 0)

    def plan(self, environment=None, sets=(), target=None):
        words = ["plan", "--detailed-exitcode", *(["--target", target] if target else [])]
        tool = Tool("cutover", self.argv(*words, environment=environment, sets=sets), cutover_steady)
        tool.version = subprocess.run([self.program, "--version"], capture_output=True, text=True, check=True).stdout.split()[-1]
        return tool
