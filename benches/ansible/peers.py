"""The peers: their programs from PyPI in environments of their own, their inventories, their commands."""

import atexit
import shutil
import subprocess
import sys
import tempfile
import venv
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from measure import Tool, ansible_steady, pyinfra_steady

HERE = Path(__file__).resolve().parent
# The newest that the system's Python takes; name a version here to compare with another.
WANTED = {"ansible": "ansible-core", "pyinfra": "pyinfra"}


# Ansible's kept connections: a socket's path may not be long, so not in the work folder.
SOCKETS = tempfile.mkdtemp(prefix="bench-")
atexit.register(shutil.rmtree, SOCKETS, ignore_errors=True)


def install(work, tool):
    """Makes `work/venv-<tool>` once and says what version it holds."""
    home = work / f"venv-{tool}"
    if not (home / "bin" / tool).exists():
        venv.create(home, with_pip=True, clear=True)
        subprocess.run([home / "bin" / "pip", "install", "--quiet", WANTED[tool]], check=True)
    out = subprocess.run([home / "bin" / "pip", "show", WANTED[tool]], capture_output=True, text=True, check=True).stdout
    return home / "bin", next(line.split()[1] for line in out.splitlines() if line.startswith("Version:"))


class Access:
    """How the hosts are reached: the same key, user and known host keys for every tool."""

    def __init__(self, work, hosts, key, port=22):
        self.work, self.hosts, self.key, self.port = work, hosts, Path(key).resolve(), port
        self.known = work / "known_hosts"

    def ssh(self):
        return [
            "ssh", "-F", "none", "-i", str(self.key), "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes",
            "-o", f"UserKnownHostsFile={self.known}", "-p", str(self.port), "-l", "root",
        ]  # fmt: skip

    def targets(self):
        return [[address] for _, address in self.hosts]

    def learn(self):
        """Notes the host keys. The lab is ours and fresh, so first sight is trusted."""
        argv = ["ssh-keyscan", "-p", str(self.port), "-t", "ed25519", *(a for _, a in self.hosts)]
        found = subprocess.run(argv, capture_output=True, text=True).stdout
        if len(found.splitlines()) < len(self.hosts):
            sys.exit(f"not every host shows a key:\n{found}")
        self.known.write_text(found)


def prepare(access):
    """What Ansible needs on a host beside sshd, untimed. cutover and pyinfra need nothing."""
    script = (
        "dpkg -s python3-apt >/dev/null 2>&1 || { apt-get -qq update && "
        "DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends python3 python3-apt; } >/dev/null 2>&1"
    )
    ask = lambda target: subprocess.run([*access.ssh(), *target, script], stdin=subprocess.DEVNULL).returncode
    with ThreadPoolExecutor(8) as pool:
        if any(pool.map(ask, access.targets())):
            sys.exit("python3-apt could not be installed on a host")


def ansible(work, access, check=True, tags=None, name="ansible"):
    binary, version = install(work, "ansible")
    inventory = work / "inventory.ini"
    rows = [f"{name} ansible_host={address} ansible_port={access.port} ansible_user=root" for name, address in access.hosts]
    common = f"-o UserKnownHostsFile={access.known} -o IdentitiesOnly=yes"
    inventory.write_text("\n".join(["[hosts]", *rows, "[hosts:vars]", f"ansible_ssh_common_args='{common}'"]) + "\n")
    argv = [binary / "ansible-playbook", "-i", inventory, HERE / "playbook.yml"]
    argv += ["--check"] if check else []
    argv += ["--tags", tags] if tags else []
    env = {
        "ANSIBLE_CONFIG": str(HERE / "ansible.cfg"), "ANSIBLE_PRIVATE_KEY_FILE": str(access.key),
        "ANSIBLE_HOME": str(work / "ansible"), "ANSIBLE_SSH_CONTROL_PATH_DIR": SOCKETS,
    }  # fmt: skip
    tool = Tool(name, [str(a) for a in argv], ansible_steady if check else lambda _, code: code == 0, env=env)
    tool.version = version
    return tool


def pyinfra(work, access, check=True, tags=None, name="pyinfra"):
    binary, version = install(work, "pyinfra")
    inventory = work / "inventory.py"
    settings = {
        "ssh_user": "root", "ssh_key": str(access.key), "ssh_port": access.port,
        "ssh_known_hosts_file": str(access.known), "ssh_strict_host_key_checking": "yes",
    }  # fmt: skip
    inventory.write_text(f"hosts = {[(address, settings) for _, address in access.hosts]!r}\n")
    argv = [binary / "pyinfra", *(["--dry"] if check else ["--yes"]), *(["--data", f"only={tags}"] if tags else [])]
    argv += [inventory, HERE.parent / "pyinfra" / "deploy.py"]
    tool = Tool(name, [str(a) for a in argv], pyinfra_steady if check else lambda _, code: code == 0, cwd=str(work))
    tool.version = version
    return tool
