#!/usr/bin/env python3
"""Makes a corpus of messages, the same for the same seed, and delivers it.

    make.py [--count N] [--seed S] [--big MIB] [--real] [--altered] [--zero] [--folders odd|plain|none] TO

TO is one of
    files:FOLDER                 N.eml and manifest.jsonl: folder, flags, date, shape, digest
    maildir:FOLDER               Maildir++ (folder names in modified UTF-7, dots cannot be)
    maildir-fs:FOLDER            a folder on disk for each folder
    mbox:FILE                    mboxrd, all in one
    imap://USER:PASSWORD@HOST:PORT, imaps:// (any certificate)

--real adds test messages that installed packages bring along (Python, Perl, crates). --altered adds bare LF and NUL also to an IMAP target, which
usually alters or refuses them; --zero an empty message. What a server refuses is printed as a JSON line and left out. The last line says how many
were delivered. Nothing but Python's library is needed.
"""

import argparse
import base64
import glob
import hashlib
import imaplib
import json
import os
import random
import re
import ssl
import sys
import time
import urllib.parse

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import shapes

imaplib._MAXLINE = 1 << 24
SYSTEM = ("\\Seen", "\\Answered", "\\Flagged", "\\Draft", "\\Deleted")
KEYWORDS = ("$Forwarded", "$MDNSent", "$Junk", "NonJunk", "$Label1", "work", "project-x", "a.b", "UPPER", "k123", "$ATTACHMENT", "urgent")
PLAIN = (("INBOX",), ("Sent",), ("Drafts",), ("Archive",), ("Archive", "2023"), ("Archive", "2023", "Q4"), ("Trash",))
ODD = PLAIN + (("per%cent",), ("trailing ",), (" leading",), ("2024",), ("2024", "01"), ("NIL",), ("v1.2.3",), ("a.b", "c.d"), ("slash/name",), ("Entwürfe",), ("日本語", "メール"),
               ("📬 post",), ("Cafe\u0301",), ("Café",), ("&amp",), ("R&D",), ('quo"ted',), ("back\\slash",), ("[Gmail]",), ("(paren)",), ("{10}",), ("trash",), ("~tilde",), ("star*",),
               ("under_score", "tilde~"), ("INBOX", "below"), ("INBOX", "below", "deeper"), ("hash#",), ("plus+minus-",), ("semi;colon: comma,",), ("two  spaces",), ("é" * 60,),
               tuple("abcdefghijkl"), ("only", "parents", "here"), ("cur",), ("new",), ("tmp",), ("dovecot",), ("Inbox2",), ("'single'",), ("$dollar",), ("=equals?",))
UNSUBSCRIBED = {("Trash",), ("R&D",), ("per%cent",), ("a", "b", "c")}
SPECIAL = {("Sent",): "\\Sent", ("Drafts",): "\\Drafts", ("Trash",): "\\Trash", ("Archive",): "\\Archive"}


class Item:
    def __init__(self, shape, octets, folder, flags, at, zone):
        self.shape, self.octets, self.folder, self.flags, self.at, self.zone = shape, octets, folder, flags, at, zone
        self.digest = hashlib.sha256(octets).hexdigest()

    def internal_date(self):
        sign, z = ("-" if self.zone < 0 else "+"), abs(self.zone)
        t = time.gmtime(self.at + self.zone * 60)
        months = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
        return '"%2d-%s-%04d %02d:%02d:%02d %s%02d%02d"' % (t.tm_mday, months[t.tm_mon - 1], t.tm_year, t.tm_hour, t.tm_min, t.tm_sec, sign, z // 60, z % 60)


def flags(rng):
    chosen = {f for f in SYSTEM[:4] if rng.random() < 0.3}
    if rng.random() < 0.03:
        chosen.add("\\Deleted")
    for _ in range(rng.choice((0, 0, 0, 1, 1, 2, 5))):
        chosen.add(rng.choice(KEYWORDS))
    return sorted(chosen)


def date(rng, future):
    """Mostly of the last years; some at edges: the epoch, both sides of a change of clocks, 29 February and, with --altered, the far future, instead
    of which Dovecot's APPEND writes the time of day."""
    edges = (1, 86399, 946684799, 1079999999, 1079913600, 1698541199, 1698541201, 1698544800, 1709164800)
    at = rng.choice(edges + (2145916800,) * future) if rng.random() < 0.05 else 1262304000 + rng.randrange(500_000_000)
    return at, rng.choice((0, 0, 60, 120, -300, 330, 345, 720, -660))


def real():
    """Test messages of installed packages."""
    places = ["/usr/lib/python3*/test/test_email/data/*.txt", os.path.dirname(os.__file__) + "/test/test_email/data/*.txt"]
    places += ["/usr/share/doc/lib%s*-perl/**/*.eml" % p for p in ("email", "mail", "mime")]
    places += ["/usr/share/perl5/%s/**/t/**/*" % p for p in ("Email", "Mail", "MIME")]
    cargo = os.environ.get("CARGO_HOME") or os.path.expanduser("~/.cargo")
    places += ["%s/registry/src/*/%s-*/**/*.%s" % (cargo, c, e) for c in ("mail-parser", "mailparse", "mail-builder", "eml-parser", "imap-proto", "mail-send") for e in ("eml", "txt", "mbox")]
    seen = set()
    for place in places:
        for path in sorted(glob.glob(place, recursive=True)):
            if not os.path.isfile(path) or os.path.getsize(path) > 4 << 20:
                continue
            octets = open(path, "rb").read()
            if octets and (b"\n" in octets) and hashlib.sha256(octets).digest() not in seen:
                seen.add(hashlib.sha256(octets).digest())
                yield os.path.basename(path), octets


def corpus(args, to_server):
    folders = {"odd": ODD, "plain": PLAIN, "none": (("INBOX",),)}[args.folders]
    allowed = [s for s in shapes.SHAPES if args.altered or not to_server or s not in shapes.ALTERED]
    rng = random.Random(args.seed)
    made = []
    for n in range(args.count):
        # Each message has a generator of its own, so that N messages begin like N+1.
        own = random.Random("%d/%d" % (args.seed, n))
        shape = allowed[n // 3 % len(allowed)] if n % 3 == 0 and n // 3 < 2 * len(allowed) else own.choice(shapes.USUAL)
        made.append((shape.__name__, shape(own, n)))
    if args.zero:
        made.append(("zero", b""))
    if args.big:
        body = shapes.b64(rng.randbytes(args.big * (1 << 20) * 54 // 73 if args.big > 1 else 1 << 20))
        made.append(("big", shapes.head(rng, 0, subject=b"big") + b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n" + body))
    if args.real:
        for name, octets in real():
            if to_server and not args.altered:
                octets = re.sub(rb"(?<!\r)\n", b"\r\n", octets).replace(b"\0", b"")
            made.append(("real " + name, octets))
    for n, (shape, octets) in enumerate(made):
        own = random.Random("%d/place/%d" % (args.seed, n))
        folder = folders[n % len(folders)] if n % 5 == 0 else own.choice(folders[:7])
        yield Item(shape, octets, folder, flags(own), *date(own, args.altered))


def utf7(name):
    """Modified UTF-7, RFC 3501 section 5.1.3."""
    def shifted(m):
        if m.group(0) == "&":
            return "&-"
        return "&" + base64.b64encode(m.group(0).encode("utf-16-be")).decode().rstrip("=").replace("/", ",") + "-"
    return re.sub(r"&|[^\x20-\x7e]+", shifted, name)


class Files:
    def __init__(self, path):
        os.makedirs(path, exist_ok=True)
        self.path, self.n, self.manifest = path, 0, open(os.path.join(path, "manifest.jsonl"), "w")

    def put(self, item):
        name = "%06d.eml" % self.n
        self.n += 1
        open(os.path.join(self.path, name), "wb").write(item.octets)
        json.dump({"file": name, "folder": item.folder, "flags": item.flags, "at": item.at, "zone": item.zone, "shape": item.shape, "digest": item.digest}, self.manifest)
        self.manifest.write("\n")

    def end(self, folders):
        self.manifest.close()


class Maildir:
    """Keywords as Dovecot writes them: a letter from a to z in the name, its word in dovecot-keywords of the folder."""

    def __init__(self, path, fs):
        self.path, self.fs, self.n, self.words = path, fs, 0, {}

    def folder(self, names):
        if names == ("INBOX",):
            return self.path
        if self.fs:
            return os.path.join(self.path, *(utf7(n) for n in names))
        return os.path.join(self.path, "." + ".".join(utf7(n) for n in names))

    def put(self, item):
        bad = "/" if self.fs else "./"
        reserved = self.fs and any(n in ("cur", "new", "tmp") for n in item.folder)
        if reserved or any(c in n for n in item.folder for c in bad) or any(len(utf7(n)) > 250 for n in item.folder) or item.folder[0].startswith("~"):
            return "this name cannot be in a Maildir"
        base = self.folder(item.folder)
        for sub in ("cur", "new", "tmp"):
            os.makedirs(os.path.join(base, sub), exist_ok=True)
        words = self.words.setdefault(base, [])
        letters = ""
        for flag in item.flags:
            if flag.startswith("\\"):
                letters += {"\\Seen": "S", "\\Answered": "R", "\\Flagged": "F", "\\Draft": "D", "\\Deleted": "T"}[flag]
            else:
                if flag not in words:
                    words.append(flag)
                letters += chr(97 + words.index(flag))
        self.n += 1
        # Servers number by the time that stands in front, so it grows with n.
        path = os.path.join(base, "cur", "%d.M%dP%d.corpus:2,%s" % (1262304000 + self.n, self.n, 1, "".join(sorted(letters))))
        with open(path, "wb") as file:
            file.write(item.octets.replace(b"\r\n", b"\n"))
        os.utime(path, (item.at, item.at))

    def end(self, folders):
        for base, words in self.words.items():
            if words:
                open(os.path.join(base, "dovecot-keywords"), "w").write("".join("%d %s\n" % (n, w) for n, w in enumerate(words)))
        # One form for both layouts, as Dovecot writes it since 2.2.
        lines = ["\t".join(utf7(n) for n in f) for f in sorted(folders) if f not in UNSUBSCRIBED]
        open(os.path.join(self.path, "subscriptions"), "w").write("V\t2\n\n" + "".join(l + "\n" for l in lines))


class Mbox:
    def __init__(self, path):
        self.file = open(path, "wb")

    def put(self, item):
        body = re.sub(rb"^(>*From )", rb">\1", item.octets.replace(b"\r\n", b"\n"), flags=re.M)
        self.file.write(b"From alice@example.org " + time.asctime(time.gmtime(item.at)).encode() + b"\n" + body + (b"\n" if body.endswith(b"\n") else b"\n\n"))

    def end(self, folders):
        self.file.close()


class Imap:
    def __init__(self, url):
        where = urllib.parse.urlsplit(url)
        if where.scheme == "imaps":
            context = ssl._create_unverified_context()
            self.imap = imaplib.IMAP4_SSL(where.hostname, where.port or 993, ssl_context=context)
        else:
            self.imap = imaplib.IMAP4(where.hostname, where.port or 143)
        self.imap.login(urllib.parse.unquote(where.username), urllib.parse.unquote(where.password))
        self.imap._mode_ascii()
        self.delimiter, self.prefix, self.inbox_prefix = "/", "", ""
        kind, answer = self.imap.namespace() if "NAMESPACE" in self.imap.capabilities else ("NO", [])
        m = re.match(rb'\(\("((?:[^"\\]|\\.)*)" (?:"((?:[^"\\]|\\.)*)"|NIL)', answer[0]) if kind == "OK" else None
        if m:
            self.prefix = m.group(1).decode()
            self.delimiter = (m.group(2) or b"").decode().replace("\\\\", "\\") or None
        self.made, self.refused = {("INBOX",): "INBOX"}, {}

    def quoted(self, name):
        return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'

    def folder(self, names):
        if names in self.made or names in self.refused:
            return self.made.get(names), self.refused.get(names)
        if self.delimiter and any(self.delimiter in n for n in names) or self.delimiter is None and len(names) > 1:
            self.refused[names] = "the delimiter stands in the name"
            return None, self.refused[names]
        prefix = self.prefix if not (names[0] == "INBOX" and self.prefix.upper().startswith("INBOX")) else ""
        raw = self.quoted(prefix + self.delimiter.join(utf7(n) for n in names))
        use = " (USE (%s))" % SPECIAL[names] if names in SPECIAL and "CREATE-SPECIAL-USE" in self.imap.capabilities else ""
        kind, answer = self.imap._simple_command("CREATE", raw + use)
        if kind != "OK" and use:
            kind, answer = self.imap._simple_command("CREATE", raw)
        if kind != "OK" and b"ALREADYEXISTS" not in answer[0]:
            self.refused[names] = answer[0].decode("utf-8", "replace")
            return None, self.refused[names]
        if names not in UNSUBSCRIBED:
            self.imap.subscribe(raw)
        self.made[names] = raw
        return raw, None

    def put(self, item):
        raw, why = self.folder(item.folder)
        if raw is None:
            raw = "INBOX"
        try:
            self.imap.literal = item.octets
            kind, answer = self.imap._simple_command("APPEND", raw, "(%s)" % " ".join(item.flags), item.internal_date())
        except imaplib.IMAP4.error as e:
            kind, answer = "BAD", [str(e).encode()]
        return None if kind == "OK" else answer[0].decode("utf-8", "replace")

    def end(self, folders):
        self.imap.subscribe("INBOX")
        for names, why in self.refused.items():
            print(json.dumps({"folder": names, "refused": why, "instead": "INBOX"}))
        self.imap.logout()


def target(to):
    kind, _, rest = to.partition(":")
    if kind in ("imap", "imaps"):
        return Imap(to)
    makers = {"files": Files, "maildir": lambda p: Maildir(p, False), "maildir-fs": lambda p: Maildir(p, True), "mbox": Mbox}
    if kind not in makers:
        sys.exit("write files:, maildir:, maildir-fs:, mbox: or imap://")
    return makers[kind](rest)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--big", type=int, default=0, help="one more message of so many MiB")
    parser.add_argument("--real", action="store_true")
    parser.add_argument("--altered", action="store_true")
    parser.add_argument("--zero", action="store_true")
    parser.add_argument("--folders", choices=("odd", "plain", "none"), default="odd")
    parser.add_argument("to")
    args = parser.parse_args()
    end = target(args.to)
    delivered = octets = refused = 0
    folders = set()
    for item in corpus(args, args.to.startswith("imap")):
        why = end.put(item)
        if why:
            refused += 1
            print(json.dumps({"shape": item.shape, "folder": item.folder, "digest": item.digest, "size": len(item.octets), "refused": why}))
            continue
        folders.add(item.folder)
        delivered += 1
        octets += len(item.octets)
    end.end(folders)
    print(json.dumps({"delivered": delivered, "octets": octets, "refused": refused, "folders": len(folders)}))


if __name__ == "__main__":
    main()
