"""Two private Dovecots and a configuration of `cutover-cms` between them, for the runs of this folder."""

import imaplib
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from dovecot import Dovecot

ROOT = HERE.parents[2]
WORDS = ("\\Seen", "\\Answered", "\\Flagged", "$Forwarded", "work", "urgent")


def program():
    """The program under test: CUTOVER_CMS, or that of a build, the released one first."""
    given = os.environ.get("CUTOVER_CMS")
    if given:
        return given
    for kind in ("release", "debug"):
        path = ROOT / "target" / kind / "cutover-cms"
        if path.exists():
            return str(path)
    raise SystemExit("build it first (cargo build --bin cutover-cms), or name it in CUTOVER_CMS")


class Rig:
    def __init__(self, user="ann@acme.example", connections=4, extra="", target_port=None, source_port=None):
        self.user = user
        self.old, self.new = Dovecot(), Dovecot()
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="cms-rig-"))
        self.config = self.folder / "cms.toml"
        (self.folder / "password").write_text("secret\n")
        self.configure(connections, extra, source_port, target_port)

    def configure(self, connections=4, extra="", source_port=None, target_port=None):
        end = """
[%s]
kind = "imap"
server = "127.0.0.1:%d"
tls = "none"
password = "file:%s/password"
timeout = "20s"
"""
        self.config.write_text(
            '[cms]\nstate = "%s/state"\ncontrol = "%s/control"\nconnections = %d\n' % (self.folder, self.folder, connections)
            + end % ("source", source_port or self.old.imap, self.folder)
            + end % ("target", target_port or self.new.imap, self.folder)
            + '[[mailbox]]\nuser = "%s"\n%s' % (self.user, extra))

    def seed(self, count, seed=1, folders="plain", *more):
        made = subprocess.run(
            [sys.executable, str(ROOT / "tests/corpus/make.py"), "--count", str(count), "--seed", str(seed), "--folders", folders, *more, self.old.url(self.user)],
            capture_output=True, text=True, check=True)
        return made.stdout

    def command(self, *words):
        return [program(), "--config", str(self.config), *words]

    def move(self, *words, check=True, env=None):
        done = subprocess.run(self.command(*words), capture_output=True, text=True, env={**os.environ, **(env or {})})
        if check and done.returncode != 0:
            raise AssertionError("%s: %d\n%s%s" % (" ".join(words), done.returncode, done.stdout, done.stderr))
        return done

    def start(self, *words, env=None):
        return subprocess.Popen(self.command(*words), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env={**os.environ, **(env or {})})

    def differences(self, *more):
        """What the independent verifier finds."""
        done = subprocess.run(
            [sys.executable, str(HERE / "verify.py"), "--ignore", "special", "--extra-folders", *more, self.old.url(self.user), self.new.url(self.user)],
            capture_output=True, text=True)
        return "" if done.returncode == 0 else done.stdout + done.stderr

    def client(self, side):
        imap = imaplib.IMAP4("127.0.0.1", side.imap)
        imap.login(self.user, "secret")
        return imap

    def churn(self, dice, side=None, steps=10):
        """Mail comes, flags change, mail goes, folders come and are renamed."""
        for _ in range(5):
            try:
                return self.change(dice, side, steps)
            except imaplib.IMAP4.abort:
                # A server that was killed before throws its sessions out once more when it finds its index damaged.
                pass
        raise RuntimeError("the server ends every session")

    def change(self, dice, side, steps):
        imap = self.client(side or self.old)
        kind, folders = imap.list('""', "*")
        names = [f.decode().split(' "/" ', 1)[1].strip('"') for f in folders]
        names = [n for n in names if not set(n) & set('\\"%*')]
        for _ in range(steps):
            what = dice.random()
            name = dice.choice(names)
            if what < 0.45:
                body = "".join(dice.choice("abc xyz\n") for _ in range(dice.randrange(10, 3000))).replace("\n", "\r\n")
                message = ("From: x@acme.example\r\nSubject: %x\r\n\r\n%s\r\n" % (dice.getrandbits(64), body)).encode()
                flags = "(%s)" % " ".join(dice.sample(WORDS, dice.randrange(3)))
                imap.append('"%s"' % name, flags, '"%02d-Mar-2024 10:11:12 +0100"' % dice.randrange(1, 28), message)
                continue
            if what > 0.95:
                new = "new %x" % dice.getrandbits(32)
                if name != "INBOX" and dice.random() < 0.5 and not any(n.startswith(name + "/") for n in names):
                    imap.rename('"%s"' % name, '"%s"' % new)
                    # As mail programs do; what stays subscribed without being there is not carried over.
                    imap.unsubscribe('"%s"' % name)
                    imap.subscribe('"%s"' % new)
                    names.remove(name)
                else:
                    imap.create('"%s"' % new)
                    imap.subscribe('"%s"' % new)
                names.append(new)
                continue
            if imap.select('"%s"' % name)[0] != "OK":
                continue
            uids = imap.uid("SEARCH", None, "ALL")[1][0].split()
            if not uids:
                continue
            uid = dice.choice(uids).decode()
            if what < 0.8:
                imap.uid("STORE", uid, dice.choice("+-") + "FLAGS.SILENT", "(%s)" % dice.choice(WORDS))
            elif len(uids) > 3:
                imap.uid("STORE", uid, "+FLAGS.SILENT", "(\\Deleted)")
                imap.uid("EXPUNGE", uid)
        imap.logout()

    def stop(self):
        self.old.stop()
        self.new.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def dice(seed):
    return random.Random(seed)
