#!/usr/bin/env python3
"""An end of `cutover-cms` for a store that is a directory: `kind = "custom"`, `program = ["store.py", "/var/store"]`.

A mailbox is /var/store/LOGIN, a folder a directory in it with `folder.json`, a message `N.eml` (as on the wire) with `N.json` beside it (flags, date). It
shows every request of the protocol, which the docs of the content service describe.
"""

import hashlib
import json
import os
import sys

root = None
opened = None
source = sys.stdin.buffer
out = sys.stdout.buffer


class Fault(Exception):
    def __init__(self, kind, what):
        super().__init__(what)
        self.kind = kind


def say(**words):
    out.write(json.dumps(words).encode() + b"\n")


def place(raw):
    """No name leads out of the mailbox."""
    path = os.path.join(root, raw)
    if not os.path.realpath(path).startswith(os.path.realpath(root) + os.sep):
        raise Fault("permission", "no folder of this mailbox: %s" % raw)
    return path


def load(path):
    with open(path) as file:
        return json.load(file)


def save(path, octets):
    """Whole or not at all, and on the disk before it is said to be there."""
    with open(path + ".new", "wb") as file:
        file.write(octets)
        file.flush()
        os.fsync(file.fileno())
    os.rename(path + ".new", path)


def folder(raw):
    about = load(os.path.join(place(raw), "folder.json"))
    return {"path": about["path"], "raw": raw, "special": about.get("special"), "subscribed": about.get("subscribed", False)}


def numbers(path):
    return sorted(int(name[:-5]) for name in os.listdir(path) if name.endswith(".json") and name[:-5].isdigit())


def about_message(number):
    about = load(os.path.join(opened, "%d.json" % number))
    about["id"] = str(number)
    about["size"] = os.path.getsize(os.path.join(opened, "%d.eml" % number))
    return about


def begin(r):
    global root
    root = os.path.join(sys.argv[1], os.path.basename(r["login"]))
    if not os.path.isdir(root):
        if r["role"] == "source":
            raise Fault("login", "no mailbox of %s" % r["login"])
        os.makedirs(root)
    # A real program would check r["password"].
    say(ok=True, batch=50)


def folders(r):
    for raw in sorted(os.listdir(root)):
        say(folder=folder(raw))
    say(ok=True)


def open_folder(r):
    global opened
    path = place(r["raw"])
    if not os.path.isdir(path):
        raise Fault("vanished", "the folder is gone")
    opened = path
    have = numbers(path)
    say(ok=True, validity=1, next=load(os.path.join(path, "folder.json"))["next"], count=len(have))


def list_messages(r):
    for number in numbers(opened):
        if number >= (r.get("from") or 0):
            say(message=about_message(number))
    say(ok=True)


def fetch(r):
    for name in r["ids"]:
        path = os.path.join(opened, "%d.eml" % int(name))
        if not os.path.exists(path):
            say(failed={"id": name, "class": "vanished", "what": "it is gone"})
            continue
        about = about_message(int(name))
        about["length"] = about["size"]
        say(message=about)
        with open(path, "rb") as file:
            while piece := file.read(65536):
                out.write(piece)
        out.write(b"\n")
    say(ok=True)


def create(r):
    # Whatever the names are, this one can be a directory's.
    raw = hashlib.sha256(json.dumps(r["path"]).encode()).hexdigest()[:32]
    path = place(raw)
    if not os.path.isdir(path):
        os.makedirs(path)
        save(os.path.join(path, "folder.json"), json.dumps({"path": r["path"], "special": r["special"], "next": 1}).encode())
    say(ok=True, folder=folder(raw))


def change(raw, **words):
    path = os.path.join(place(raw), "folder.json")
    save(path, json.dumps({**load(path), **words}).encode())


def subscribe(r):
    change(r["raw"], subscribed=r["on"])
    say(ok=True)


def rename(r):
    change(r["raw"], path=r["path"])
    say(ok=True, folder=folder(r["raw"]))


def delete(r):
    path = place(r["raw"])
    for name in os.listdir(path):
        os.unlink(os.path.join(path, name))
    os.rmdir(path)
    say(ok=True)


def append(r):
    left, pieces = r["length"], []
    while left:
        piece = source.read(min(left, 65536))
        if not piece:
            sys.exit(1)
        pieces.append(piece)
        left -= len(piece)
    if source.read(1) != b"\n":
        sys.exit(1)
    about = os.path.join(opened, "folder.json")
    number = load(about)["next"]
    save(about, json.dumps({**load(about), "next": number + 1}).encode())
    save(os.path.join(opened, "%d.eml" % number), b"".join(pieces))
    # With this file the message is there.
    save(os.path.join(opened, "%d.json" % number), json.dumps({k: r.get(k) for k in ("flags", "at", "zone", "uidl")}).encode())
    say(ok=True, id=str(number))


def flags(r):
    path = os.path.join(opened, "%d.json" % int(r["id"]))
    if os.path.exists(path):
        save(path, json.dumps({**load(path), "flags": r["flags"]}).encode())
    say(ok=True)


def remove(r):
    for name in r["ids"]:
        for end in ("json", "eml"):
            try:
                os.unlink(os.path.join(opened, "%d.%s" % (int(name), end)))
            except FileNotFoundError:
                pass
    say(ok=True)


OPS = {"begin": begin, "folders": folders, "open": open_folder, "list": list_messages, "fetch": fetch, "create": create, "rename": rename,
       "delete": delete, "subscribe": subscribe, "append": append, "flags": flags, "remove": remove}

while line := source.readline():
    request = json.loads(line)
    try:
        OPS[request["op"]](request)
    except Fault as fault:
        say(ok=False, **{"class": fault.kind, "what": str(fault)})
    except OSError as error:
        say(ok=False, **{"class": "local", "what": str(error)})
    out.flush()
