#!/usr/bin/env python3
"""Compares two mailboxes without any code of ours: imaplib, SHA-256, nothing else.

    verify.py [OPTIONS] SOURCE TARGET      compares
    verify.py --snapshot SOURCE            prints what SOURCE holds, as JSON, for a later comparison

SOURCE and TARGET are imap://USER:PASSWORD@HOST:PORT, imaps:// (any certificate), @FILE (its first line is such an address, so that no password stands
in the argument list), or FILE.json (a former snapshot).

Compared: folders; of each folder the multiset of messages by SHA-256 of their octets with flags, keywords (without case) and INTERNALDATE (the
instant; --zones the zone too); subscriptions; special use (only where both ends tell it). --order: the order of messages by UID. --uidl-source and
--uidl-target pop3://..: the POP3 list of UIDLs with digests, in order.

--rename FROM=TO     the source's folder FROM is the target's TO, and so are those below (names joined by /, with % and / in names as %25 and %2F)
--extra-folders      folders that are on the target only are no difference when they are empty
--except FILE        JSON list of digests (or objects with `digest`) that were reported as not moved: their absence is no difference, each once
--ignore KINDS       as in `date,special`

Prints each difference as a JSON line and a summary. Exit status: 0 the same, 1 differences, 2 could not look.
"""

import argparse
import base64
import collections
import datetime
import hashlib
import imaplib
import json
import poplib
import re
import ssl
import sys
import urllib.parse

imaplib._MAXLINE = poplib._MAXLINE = 1 << 26
KINDS = "lost doubled extra altered flag keyword date folder subscription special order uidl".split()
BATCH = 200


def of_utf7(name):
    def shifted(m):
        if m.group(1) == "":
            return "&"
        b64 = m.group(1).replace(",", "/")
        return base64.b64decode(b64 + "=" * (-len(b64) % 4)).decode("utf-16-be")
    try:
        return re.sub(r"&([^-&]*)-", shifted, name)
    except (ValueError, UnicodeError):
        return name


def address(text):
    if text.startswith("@"):
        with open(text[1:]) as file:
            text = file.readline().strip()
    where = urllib.parse.urlsplit(text)
    return where, urllib.parse.unquote(where.username or ""), urllib.parse.unquote(where.password or "")


def checked(answer, what):
    kind, data = answer
    if kind != "OK":
        raise RuntimeError("%s: %s %r" % (what, kind, data))
    return data


def pieces(data):
    """LIST answers as (octets of the line, name)."""
    for item in data:
        if item is None:
            continue
        if isinstance(item, tuple):
            yield item[0].rsplit(b"{", 1)[0], item[1]
        elif item.strip():
            m = re.match(rb'(\((?:[^)]*)\) (?:"(?:[^"\\]|\\.)*"|NIL) )(.*)$', item, re.S)
            if not m:
                continue
            name = m.group(2)
            if name.startswith(b'"'):
                end = re.match(rb'"((?:[^"\\]|\\.)*)"', name)
                name = re.sub(rb"\\(.)", rb"\1", end.group(1))
            else:
                name = name.split(b" ")[0]
            yield m.group(1), name


def key(raw, delimiter, prefixes):
    name = raw.decode("utf-8", "surrogateescape")
    for prefix in prefixes:
        if prefix and name.startswith(prefix) and name != prefix.rstrip(delimiter or ""):
            name = name[len(prefix):]
            break
    names = name.split(delimiter) if delimiter else [name]
    if names[0].upper() == "INBOX":
        names[0] = "INBOX"
    return "/".join(of_utf7(n).replace("%", "%25").replace("/", "%2F") for n in names)


def listed(data, prefixes):
    for line, raw in pieces(data):
        m = re.match(rb'\(([^)]*)\) (?:"((?:[^"\\]|\\.)*)"|NIL)', line)
        attributes = m.group(1).decode().split()
        delimiter = re.sub(r"\\(.)", r"\1", m.group(2).decode()) if m.group(2) else None
        yield raw, key(raw, delimiter, prefixes), attributes


def quoted(raw):
    return b'"' + raw.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def connect(text):
    where, user, password = address(text)
    if where.scheme == "imaps":
        imap = imaplib.IMAP4_SSL(where.hostname, where.port or 993, ssl_context=ssl._create_unverified_context())
    else:
        imap = imaplib.IMAP4(where.hostname, where.port or 143)
    checked(imap.login(user, password), "login")
    imap.capabilities = tuple(checked(imap.capability(), "capability")[0].decode().upper().split())
    return imap


SPECIALS = ("\\ALL", "\\ARCHIVE", "\\DRAFTS", "\\FLAGGED", "\\JUNK", "\\SENT", "\\TRASH", "\\IMPORTANT")


def snapshot(text):
    if text.endswith(".json"):
        with open(text) as file:
            return json.load(file)
    imap = connect(text)
    prefixes = []
    if "NAMESPACE" in imap.capabilities:
        answer = checked(imap.namespace(), "namespace")[0]
        personal = re.match(rb'\(\("([^"]*)" ', answer)
        prefixes = [personal.group(1).decode()] if personal else []
    special_told = "SPECIAL-USE" in imap.capabilities
    ask = ("LIST", '""', '"*"') + (("RETURN (SPECIAL-USE)",) if special_told and "LIST-EXTENDED" in imap.capabilities else ())
    checked(imap._simple_command(*ask), "list")
    everything = imap._untagged_response("OK", [None], "LIST")[1]
    checked(imap._simple_command("LSUB", '""', '"*"'), "lsub")
    subscribed = sorted(k for _, k, a in listed(imap._untagged_response("OK", [None], "LSUB")[1], prefixes) if "\\NOSELECT" not in [x.upper() for x in a])
    folders = {}
    for raw, name, attributes in listed(everything, prefixes):
        upper = [a.upper() for a in attributes]
        special = sorted(a for a in upper if a in SPECIALS) if special_told else None
        if "\\NOSELECT" in upper or "\\NONEXISTENT" in upper:
            continue
        if name in folders:
            raise RuntimeError("%s is listed twice" % name)
        folders[name] = {"special": special, "messages": messages(imap, raw)}
    imap.logout()
    return {"folders": folders, "subscribed": subscribed}


def messages(imap, raw):
    checked(imap._simple_command("EXAMINE", quoted(raw)), "examine %r" % raw)
    imap.state = "SELECTED"
    imap.untagged_responses.clear()
    uids = checked(imap.uid("SEARCH", "ALL"), "search")
    uids = sorted(int(u) for u in (uids[0] or b"").split())
    out = []
    for n in range(0, len(uids), BATCH):
        part = uids[n:n + BATCH]
        want = set(part)
        data = checked(imap.uid("FETCH", "%d:%d" % (part[0], part[-1]), "(UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[])"), "fetch")
        got = {}
        pending = b""
        body = None
        for item in list(data) + [b")"]:
            if isinstance(item, tuple):
                if body is not None:
                    finish(got, pending, body)
                pending, body = item
            elif item is not None:
                pending += b" " + item
                if body is not None:
                    finish(got, pending, body)
                pending, body = b"", None
        if set(got) & want != want:
            raise RuntimeError("%r: no content of %s" % (raw, sorted(want - set(got))[:5]))
        out += [got[u] for u in part]
    return out


def finish(got, line, body):
    uid = int(re.search(rb"UID (\d+)", line).group(1))
    flags = sorted(f for f in re.search(rb"FLAGS \(([^)]*)\)", line).group(1).decode().lower().split() if f != "\\recent")
    at = datetime.datetime.strptime(re.search(rb'INTERNALDATE "([^"]*)"', line).group(1).decode().strip(), "%d-%b-%Y %H:%M:%S %z")
    size = int(re.search(rb"RFC822.SIZE (\d+)", line).group(1))
    got[uid] = {"sha": hashlib.sha256(body).hexdigest(), "flags": flags, "at": int(at.timestamp()), "zone": int(at.utcoffset().total_seconds()) // 60,
                "size": len(body), "claimed": size, "head": hashlib.sha256(body.split(b"\r\n\r\n", 1)[0]).hexdigest()}


def uidls(text):
    where, user, password = address(text)
    pop = poplib.POP3_SSL(where.hostname, where.port or 995, context=ssl._create_unverified_context()) if where.scheme == "pop3s" else poplib.POP3(where.hostname, where.port or 110)
    pop.user(user)
    pop.pass_(password)
    names = [line.decode("utf-8", "replace").split(" ", 1) for line in pop.uidl()[1]]
    out = []
    for number, name in names:
        lines = pop.retr(int(number))[1]
        out.append([name, hashlib.sha256(b"".join(l + b"\r\n" for l in lines)).hexdigest()])
    pop.quit()
    return out


class Differences:
    def __init__(self, ignored):
        self.counts, self.ignored = collections.Counter(), ignored

    def __call__(self, kind, folder, **what):
        if kind in self.ignored:
            return
        self.counts[kind] += 1
        if sum(self.counts.values()) <= 1000:
            print(json.dumps({"difference": kind, "folder": folder, **what}))


def system(flags):
    return frozenset(f for f in flags if f.startswith("\\"))


def keywords(flags):
    return frozenset(f for f in flags if not f.startswith("\\"))


def compare(source, target, args, excepted):
    report = Differences(set(args.ignore.split(",")) if args.ignore else set())

    def mapped(name):
        for rule in args.rename:
            old, new = rule.split("=", 1)
            if name == old or name.startswith(old + "/"):
                return new + name[len(old):]
        return name

    here = {}
    for name, folder in source["folders"].items():
        if mapped(name) in here:
            here[mapped(name)]["messages"] += folder["messages"]
        else:
            here[mapped(name)] = dict(folder, messages=list(folder["messages"]))
    there = target["folders"]
    for name in sorted(set(here) | set(there)):
        if name not in there:
            report("folder", name, what="is not on the target", messages=len(here[name]["messages"]))
        elif name not in here:
            if there[name]["messages"] or not args.extra_folders:
                report("folder", name, what="is on the target only", messages=len(there[name]["messages"]))
            continue
        compare_folder(report, name, here[name]["messages"], there.get(name, {"messages": []})["messages"], args, excepted)
        if name in there and here[name]["special"] is not None and there[name]["special"] is not None and here[name]["special"] != there[name]["special"]:
            report("special", name, source=here[name]["special"], target=there[name]["special"])
    want, have = {mapped(n) for n in source["subscribed"]}, set(target["subscribed"])
    for name in sorted(want ^ have):
        report("subscription", name, source=name in want, target=name in have)
    return report


def compare_folder(report, name, here, there, args, excepted):
    ours, theirs = group(here), group(there)
    lost, extra = [], []
    for sha in sorted(set(ours) | set(theirs)):
        a, b = ours.get(sha, []), theirs.get(sha, [])
        missing = len(a) - len(b)
        while missing > 0 and excepted[sha] > 0:
            excepted[sha] -= 1
            missing -= 1
        if missing > 0:
            lost += [a[0]] * missing
        elif len(b) > len(a):
            if a:
                report("doubled", name, digest=sha, times=len(b) - len(a))
            else:
                extra += b
        # Of equal contents the best pairing counts: what is equal in all is set against each other first.
        for kind, of in (("flag", lambda m: tuple(sorted(system(m["flags"])))), ("keyword", lambda m: tuple(sorted(keywords(m["flags"])))),
                         ("date", lambda m: (m["at"], m["zone"] if args.zones else None))):
            x, y = collections.Counter(map(of, a)), collections.Counter(map(of, b))
            only_x, only_y = list((x - y).elements()), list((y - x).elements())
            for p, q in zip(only_x, only_y):
                report(kind, name, digest=sha, source=p, target=q)
        # Flags, keywords and dates may each be the same as multisets and yet be swapped between twins.
        if len(a) == len(b) > 1:
            whole = lambda m: (tuple(m["flags"]), m["at"], m["zone"] if args.zones else None)
            x, y = collections.Counter(map(whole, a)), collections.Counter(map(whole, b))
            if x != y and all(collections.Counter(map(f, a)) == collections.Counter(map(f, b)) for f in (lambda m: tuple(m["flags"]), lambda m: m["at"])):
                report("flag", name, digest=sha, what="flags and dates are swapped between equal messages")
    # An altered message is one lost and one that came: said as one where date or head tell so.
    for m in lost:
        twin = next((e for e in extra if e["head"] == m["head"] or (e["at"] == m["at"] and e["flags"] == m["flags"])), None)
        if twin:
            extra.remove(twin)
            report("altered", name, digest=m["sha"], target=twin["sha"], source_size=m["size"], target_size=twin["size"])
        else:
            report("lost", name, digest=m["sha"], size=m["size"])
    for m in extra:
        report("extra", name, digest=m["sha"], size=m["size"])
    if args.order and [m["sha"] for m in here] != [m["sha"] for m in there]:
        first = next((n for n, (x, y) in enumerate(zip(here, there)) if x["sha"] != y["sha"]), min(len(here), len(there)))
        report("order", name, first=first)


def group(messages):
    out = {}
    for m in messages:
        out.setdefault(m["sha"], []).append(m)
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--snapshot", action="store_true")
    parser.add_argument("--order", action="store_true")
    parser.add_argument("--zones", action="store_true")
    parser.add_argument("--extra-folders", action="store_true")
    parser.add_argument("--rename", action="append", default=[])
    parser.add_argument("--except", dest="excepted")
    parser.add_argument("--ignore", default="")
    parser.add_argument("--uidl-source")
    parser.add_argument("--uidl-target")
    parser.add_argument("source")
    parser.add_argument("target", nargs="?")
    args = parser.parse_args()
    wrong = set(filter(None, args.ignore.split(","))) - set(KINDS)
    if wrong:
        parser.error("--ignore knows " + ", ".join(KINDS))
    try:
        source = snapshot(args.source)
        if args.snapshot:
            json.dump(source, sys.stdout)
            return 0
        target = snapshot(args.target)
        excepted = collections.Counter()
        if args.excepted:
            with open(args.excepted) as file:
                excepted.update(e["digest"] if isinstance(e, dict) else e for e in json.load(file))
        pops = (uidls(args.uidl_source), uidls(args.uidl_target)) if args.uidl_source else ([], [])
    except Exception as e:
        print(json.dumps({"could_not_look": "%s: %s" % (type(e).__name__, e)}))
        return 2
    report = compare(source, target, args, excepted)
    if pops[0] != pops[1]:
        for n, (x, y) in enumerate(zip(*pops)):
            if x != y:
                report("uidl", "POP3", number=n + 1, source=x, target=y)
        if len(pops[0]) != len(pops[1]):
            report("uidl", "POP3", source=len(pops[0]), target=len(pops[1]))
    count = lambda s: sum(len(f["messages"]) for f in s["folders"].values())
    print(json.dumps({"source": count(source), "target": count(target), "folders": len(source["folders"]), "uidls": len(pops[0]),
                      "unused_exceptions": sum(excepted.values()), "differences": dict(report.counts)}))
    return 1 if report.counts else 0


if __name__ == "__main__":
    sys.exit(main())
