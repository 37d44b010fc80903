#!/usr/bin/env python3
"""Does verify.py find what is wrong? Plants mutations, one at a time, into copies of a mailbox that a real Dovecot serves, and looks whether each is
found, under its own name. The copies are changed on disk, never in a snapshot.

    mutations.py [--count 500] [--seed 1] [--messages 60]

Exit status 0: all were found, and the untouched copy was found equal.
"""

import argparse
import collections
import concurrent.futures
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import time

here = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(here))
from dovecot import Dovecot

SPECIALS = ("\\Sent", "\\Drafts", "\\Trash", "\\Junk", "\\Archive")


def files(home):
    return sorted(p for p in (home / "Maildir").rglob("cur/*") if p.is_file())


def octet(rng, d, user, home):
    path = rng.choice([p for p in files(home) if p.stat().st_size > 0])
    times, octets = path.stat(), bytearray(path.read_bytes())
    at = rng.choice([n for n, b in enumerate(octets) if b not in b"\r\n\0"] or [0])
    octets[at] ^= 1 if octets[at] ^ 1 not in b"\r\n\0" else 2
    path.write_bytes(octets)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    return {"altered"}


def shorter(rng, d, user, home):
    path = rng.choice([p for p in files(home) if p.stat().st_size > 10])
    times = path.stat()
    path.write_bytes(path.read_bytes()[:-rng.randrange(1, 9)])
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    return {"altered"}


def lost(rng, d, user, home):
    rng.choice(files(home)).unlink()
    return {"lost"}


def doubled(rng, d, user, home):
    path = rng.choice(files(home))
    name = path.name.replace(".M", ".M9", 1)
    shutil.copy2(path, path.with_name(name))
    return {"doubled"}


def extra(rng, d, user, home):
    rng.choice(files(home)).with_name("1900000000.M1P1.planted:2,").write_bytes(b"From: a@b\n\nplanted %d\n" % rng.getrandbits(60))
    return {"extra"}


def other_folder(rng, d, user, home):
    path = rng.choice(files(home))
    others = [p for p in {q.parent for q in files(home)} if p != path.parent]
    path.rename(rng.choice(sorted(others)) / (path.name.split(":2,")[0] + ":2,"))
    return {"lost"}


def flag(rng, d, user, home):
    path = rng.choice(files(home))
    base, letters = path.name.split(":2,")
    letters = set(letters) ^ {rng.choice("SRFDT")}
    path.rename(path.with_name(base + ":2," + "".join(sorted(letters))))
    return {"flag"}


def keyword(rng, d, user, home):
    path = rng.choice([p for p in files(home) if (p.parent.parent / "dovecot-keywords").exists()])
    count = len((path.parent.parent / "dovecot-keywords").read_text().splitlines())
    base, letters = path.name.split(":2,")
    letters = set(letters) ^ {chr(97 + rng.randrange(count))}
    path.rename(path.with_name(base + ":2," + "".join(sorted(letters))))
    return {"keyword"}


def keyword_name(rng, d, user, home):
    words = rng.choice(sorted((home / "Maildir").rglob("dovecot-keywords")))
    used = {c for p in (words.parent / "cur").iterdir() for c in p.name.split(":2,")[1] if c.islower()}
    lines = words.read_text().splitlines()
    at = rng.choice(sorted(ord(c) - 97 for c in used))
    lines[at] = "%d planted%d" % (at, rng.randrange(99))
    words.write_text("".join(l + "\n" for l in lines))
    return {"keyword"}


def date(rng, d, user, home):
    path = rng.choice(files(home))
    at = path.stat().st_mtime + rng.choice((1, 60, 3600, 86400, 1e7))
    os.utime(path, (at, at))
    return {"date"}


def swapped(rng, d, user, home):
    """Two messages of one folder trade their content: count, sizes and dates of the folder tell nothing."""
    folder = rng.choice([p for p in {q.parent for q in files(home)} if len(list(p.iterdir())) > 1])
    a, b = rng.sample(sorted(folder.iterdir()), 2)
    x, y = a.read_bytes(), b.read_bytes()
    if x == y or (sorted(a.name.split(":2,")[1]), int(a.stat().st_mtime)) == (sorted(b.name.split(":2,")[1]), int(b.stat().st_mtime)):
        return octet(rng, d, user, home)
    for path, octets in ((a, y), (b, x)):
        times = path.stat()
        path.write_bytes(octets)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    return {"flag", "keyword", "date"}


def folder_gone(rng, d, user, home):
    folders = sorted(p for p in (home / "Maildir").iterdir() if p.name.startswith(".") and p.is_dir())
    shutil.rmtree(rng.choice(folders))
    return {"folder"}


def folder_named(rng, d, user, home):
    folders = sorted(p for p in (home / "Maildir").iterdir() if p.name.startswith(".") and p.is_dir() and not any(q.name.startswith(p.name + ".") for q in (home / "Maildir").iterdir()))
    path = rng.choice(folders)
    path.rename(path.with_name(path.name + rng.choice((" ", "x", "2", "&-"))))
    return {"folder"}


def folder_more(rng, d, user, home):
    for sub in ("cur", "new", "tmp"):
        (home / "Maildir" / ".Planted" / sub).mkdir(parents=True)
    return {"folder"}


def subscription(rng, d, user, home):
    path = home / "Maildir" / "subscriptions"
    head, lines = path.read_text().split("\n\n", 1)
    lines = lines.splitlines()
    if rng.random() < 0.7:
        lines.remove(rng.choice([l for l in lines if l != "INBOX"]))
    else:
        lines.append(rng.choice(("Trash", "per%cent")))
    path.write_text(head + "\n\n" + "".join(l + "\n" for l in lines))
    return {"subscription"}


def special(rng, d, user, home):
    """Planted before any copy is made, because Dovecot looks at its list of users once a second: see `others`."""
    return {"special"}


def others(d, count, rng):
    """Gives the users of the trials of special use another one than the original has."""
    for n in range(count):
        if MUTATIONS[n % len(MUTATIONS)] is special:
            name = rng.choice(("Sent", "Drafts", "Archive", "Trash"))
            other = rng.choice([s for s in SPECIALS if s != "\\" + name])
            d.setting("copy%d" % n, "namespace/inbox/mailbox/%s/special_use=%s" % (name, other))


MUTATIONS = (octet, shorter, lost, doubled, extra, other_folder, flag, keyword, keyword_name, date, swapped, folder_gone, folder_named, folder_more, subscription, special)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--messages", type=int, default=60)
    args = parser.parse_args()
    with Dovecot() as d:
        original = d.home / "original"
        subprocess.run([sys.executable, str(here.parents[1] / "corpus" / "make.py"), "--count", str(args.messages), "--seed", str(args.seed), "--altered",
                        "maildir:%s" % (original / "Maildir")], check=True, stdout=subprocess.DEVNULL)
        d.own(original)
        clean = d.home / "clean"
        shutil.copytree(original, clean)
        for path in list(clean.rglob("dovecot.*")) + list(clean.rglob("dovecot-uidlist")):
            path.unlink()
        d.own(clean)
        source = d.folder / "source.json"
        looked = subprocess.run([sys.executable, str(here / "verify.py"), "--snapshot", d.url("original")], check=True, capture_output=True, text=True)
        source.write_text(looked.stdout)
        held = sum(len(f["messages"]) for f in json.loads(looked.stdout)["folders"].values())

        def trial(n):
            user = "copy%d" % n
            home = d.home / user
            shutil.copytree(clean, home)
            rng = random.Random("%d/%d" % (args.seed, n))
            mutation = MUTATIONS[n % len(MUTATIONS)]
            expected = mutation(rng, d, user, home) if n >= 0 else set()
            d.own(home)
            answer = subprocess.run([sys.executable, str(here / "verify.py"), str(source), d.url(user)], capture_output=True, text=True)
            shutil.rmtree(home)
            summary = json.loads((answer.stdout.strip().splitlines() or ["{}"])[-1])
            told = set(summary.get("differences", {}))
            # One of two equal messages that changes leaves one lost and one that came.
            allowed = expected | ({"lost", "extra"} if "altered" in expected else set())
            good = answer.returncode == 1 and told & allowed if n >= 0 else answer.returncode == 0 and not told
            return n, mutation.__name__ if n >= 0 else "untouched", bool(good), answer.stdout + answer.stderr

        others(d, args.count, random.Random(args.seed))
        time.sleep(1.1)
        missed, found = [], collections.Counter()
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            for n, name, good, said in pool.map(trial, range(-1, args.count)):
                if good:
                    found[name] += 1
                else:
                    missed.append((n, name, said))
        for miss in missed[:10]:
            print("WRONG:", *miss)
        print(json.dumps({"messages": held, "planted": args.count, "found": sum(found.values()) - found["untouched"], "by": found}))
        return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
