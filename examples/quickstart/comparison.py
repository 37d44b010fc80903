#!/usr/bin/env python3
"""Is everything there? Reads whole mailboxes with nothing of cutover: Python's imaplib and SHA-256.

    comparison.py keep OLD.json                     what each user has at the name that they know, before they move
    comparison.py hold OLD.json LETTERS OUT.json    what each user has there now: everything of OLD.json, in the same folder with the same octets, date
                                                    and flags, as often as before; and each letter of the list (USER SUBJECT a line) that came since,
                                                    once; and nothing else. Writes what it found to OUT.json. Ends with 1 when something differs.
"""

import collections
import datetime
import hashlib
import json
import multiprocessing
import re
import sys

import boxes


def messages(user):
    """What a user has: (folder, digest, date, flags) of each message, with its subject when it is a letter of the quickstart."""
    box, out = boxes.Box("mail", user), []
    for folder in box.folders():
        for line, octets in box.fetched(folder, "(UID FLAGS INTERNALDATE BODY.PEEK[])"):
            flags = sorted(f.lower() for f in re.search(r"FLAGS \(([^)]*)\)", line).group(1).split() if f != r"\Recent")
            at = datetime.datetime.strptime(re.search(r'INTERNALDATE "([^"]*)"', line).group(1).strip(), "%d-%b-%Y %H:%M:%S %z")
            subject = re.search(rb"\r\nSubject: (\S+)\r\n", octets.split(b"\r\n\r\n", 1)[0])
            out.append([folder, hashlib.sha256(octets).hexdigest(), int(at.timestamp()), " ".join(flags), subject.group(1).decode() if subject else "", len(octets)])
    box.logout()
    return out


def read():
    with multiprocessing.Pool(len(boxes.USERS)) as pool:
        return dict(zip(boxes.USERS, pool.map(messages, boxes.USERS)))


def differences(user, old, new, letters):
    """What is not as it should be, a line each."""
    same = lambda m: tuple(m[:4])
    before, after = collections.Counter(map(same, old)), collections.Counter(map(same, new))
    for (folder, digest, *_), n in (before - after).items():
        elsewhere = [m[:1] + m[2:4] for m in new if m[1] == digest]
        yield f"{user}: {folder}: {digest[:12]} {n} times not as before; now: {elsewhere or 'nowhere'}"
    # What is new has to be a letter that came since; the list names them all.
    names = {same(m): m[4] for m in new}
    since = collections.Counter(names[key] for key in (after - before).elements())
    had = collections.Counter(m[4] for m in old)
    for subject in letters:
        if since[subject] + had[subject] != 1:
            yield f"{user}: letter {subject} is there {since[subject] + had[subject]} times"
    for subject in since.keys() - set(letters):
        yield f"{user}: {since[subject]} messages more than before, which nobody sent ({subject or 'no letter of ours'})"


def main():
    if len(sys.argv) == 3 and sys.argv[1] == "keep":
        found = read()
        with open(sys.argv[2], "w") as out:
            json.dump(found, out)
        print(f"    read {sum(map(len, found.values()))} messages")
    elif len(sys.argv) == 5 and sys.argv[1] == "hold":
        old, letters = json.load(open(sys.argv[2])), collections.defaultdict(list)
        for line in open(sys.argv[3]):
            letters[line.split()[0]].append(line.split()[1])
        new, wrong, report = read(), [], {}
        for user in boxes.USERS:
            here = list(differences(user, old[user], new[user], letters[user]))
            wrong += here
            report[user] = {"before": len(old[user]), "now": len(new[user]), "octets": sum(m[5] for m in new[user]), "letters": len(letters[user]), "differences": here}
            print(f"    {user}: {len(old[user])} messages from before, all there as they were; {len(new[user]) - len(old[user])} came since"
                  if not here else f"    {user}: {len(here)} DIFFERENCES")
        with open(sys.argv[4], "w") as out:
            json.dump(report, out, indent=2)
            out.write("\n")
        if wrong:
            sys.exit("\n".join(wrong[:20]))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
