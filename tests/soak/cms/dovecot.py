"""A private Dovecot in a temporary folder, for these runs: any name logs in with the password `secret`; its home is `home/NAME`."""

import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import time


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Dovecot:
    """`location` as in mail_location; `extra` is more configuration."""

    def __init__(self, location="maildir:~/Maildir", extra="", separator="/"):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="cms-dovecot-"))
        os.chmod(self.folder, 0o755)
        self.imap, self.pop3, self.lmtp = free_port(), free_port(), free_port()
        self.home = self.folder / "home"
        self.home.mkdir()
        me = "root" if os.getuid() == 0 else os.environ.get("USER", "nobody")
        # Mail is kept by a user that may be another than root, which Dovecot refuses as one.
        self.uid, self.gid = (8, 8) if me == "root" else (os.getuid(), os.getgid())
        if me == "root":
            os.chown(self.home, self.uid, self.gid)
        (self.folder / "users").write_text("")
        (self.folder / "conf").write_text(f"""
base_dir = {self.folder}/run
log_path = {self.folder}/log
state_dir = {self.folder}/state
protocols = imap pop3 lmtp
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
first_valid_uid = 1
first_valid_gid = 1
default_login_user = {"nobody" if me == "root" else me}
default_internal_user = {"dovecot" if me == "root" else me}
default_internal_group = {"dovecot" if me == "root" else me}
mail_max_userip_connections = 0
default_client_limit = 4000
mail_location = {location}
mail_plugins = acl mail_log
maildir_stat_dirs = no
pop3_uidl_format = %08Xu%08Xv
passdb {{
  driver = static
  args = password=secret
}}
userdb {{
  driver = passwd-file
  args = {self.folder}/users
}}
userdb {{
  driver = static
  args = uid={self.uid} gid={self.gid} home={self.home}/%u
}}
namespace inbox {{
  inbox = yes
  separator = {separator}
  mailbox Sent {{
    special_use = \\Sent
  }}
  mailbox Drafts {{
    special_use = \\Drafts
  }}
  mailbox Archive {{
    special_use = \\Archive
  }}
  mailbox Trash {{
    special_use = \\Trash
  }}
}}
service imap-login {{
  inet_listener imap {{
    port = {self.imap}
  }}
  inet_listener imaps {{
    port = 0
  }}
  process_min_avail = 0
  service_count = 0
  chroot =
}}
service pop3-login {{
  inet_listener pop3 {{
    port = {self.pop3}
  }}
  inet_listener pop3s {{
    port = 0
  }}
  service_count = 0
  chroot =
}}
service anvil {{
  chroot =
}}
service imap {{
  process_limit = 500
}}
service lmtp {{
  inet_listener lmtp {{
    port = {self.lmtp}
  }}
}}
{extra}
""".replace("mail_plugins = acl mail_log\n", ""))
        # It stops with its parent: no daemon stays behind a killed run.
        self.process = subprocess.Popen(["dovecot", "-F", "-c", str(self.folder / "conf")], stdin=subprocess.DEVNULL)
        for _ in range(200):
            try:
                with socket.create_connection(("127.0.0.1", self.imap), 1) as s:
                    if s.recv(100).startswith(b"* OK"):
                        return
            except OSError:
                pass
            time.sleep(0.05)
        raise RuntimeError("Dovecot does not start: " + self.log())

    def log(self):
        path = self.folder / "log"
        return path.read_text() if path.exists() else ""

    def url(self, user, kind="imap"):
        return "%s://%s:secret@127.0.0.1:%d" % (kind, user, getattr(self, kind))

    def own(self, path):
        """Hands files to the user that reads mail."""
        if os.getuid() == 0:
            for folder, _, files in os.walk(path):
                for name in [folder] + [os.path.join(folder, f) for f in files]:
                    os.chown(name, self.uid, self.gid)

    def setting(self, user, *settings):
        """Settings of one user, as in `namespace/inbox/mailbox/Sent/special_use=\\Junk`."""
        with open(self.folder / "users", "a") as users:
            users.write("%s::%d:%d::%s/%s::%s\n" % (user, self.uid, self.gid, self.home, user, " ".join("userdb_" + s for s in settings)))

    def doveadm(self, *words):
        return subprocess.run(["doveadm", "-c", str(self.folder / "conf"), *words], check=True, capture_output=True, text=True).stdout

    def stop(self):
        self.process.terminate()
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
