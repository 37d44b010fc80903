#!/usr/bin/env python3
"""What the users have had for years, and what they do while they are moved.

    letters.py fill          gives each of them 2,000 messages on the old side, in folders, with dates and flags; only what is missing is added
    letters.py watch STOP    each keeps a mail program open at the name that they know, until the file STOP is there
                         or who began it is gone; ends with 1 if a login was refused
    letters.py post WORD LIST STOP
                         somebody outside writes to each of them every three seconds, to the host that the MX names; what was taken stands in LIST
    letters.py arrived LIST
                         waits until each finds all letters of the list in the inbox
    letters.py mx        prints the host that the MX names
"""

import base64
import collections
import datetime
import email.utils
import os
import random
import smtplib
import sys
import threading
import time

import boxes

EACH = 2_000
FOLDERS = {"INBOX": 50, "Sent": 15, "Archive/2024": 15, "Archive/2025": 10, "Projekte/&ANw-bersicht": 6, "Trash": 3, "Drafts": 1}
FLAGS = ["", "", r"\Seen", r"\Seen", r"\Seen", r"\Seen \Answered", r"\Seen \Flagged", r"\Seen $Forwarded", r"\Seen Project"]
BEGIN = datetime.datetime(2023, 1, 2, 8, 0, tzinfo=datetime.timezone(datetime.timedelta(hours=1)))
WORDS = "budget invoice meeting Angebot réunion draft تست план minutes travel order delivery holiday Größe report".split()


def letter(user, n):
    """The nth message of a user, each time the same: (folder, flags, date, octets)."""
    dice = random.Random(f"{user} {n}")
    at = BEGIN + datetime.timedelta(minutes=n * 700 + dice.randrange(600), seconds=dice.randrange(60))
    text = "\r\n".join(" ".join(dice.choices(WORDS, k=11)) for _ in range(dice.choice([2, 5, 12, 40])))
    subject = " ".join(dice.choices(WORDS, k=4))
    head = [f"X-Letter: {n}", f"From: Sender {n} <s{n % 97}@elsewhere.example>", f"To: <{user}@{boxes.DOMAIN}>", f"Date: {email.utils.format_datetime(at)}",
            f"Subject: =?utf-8?B?{base64.b64encode(subject.encode()).decode()}?="]
    if n % 50:  # some mail has no Message-ID
        head += [f"Message-ID: <{n}.{user}@elsewhere.example>"]
    coded = base64.encodebytes(text.encode()).replace(b"\n", b"\r\n")
    shape = dice.choices(["8bit", "base64", "html", "attachment", "large"], [50, 20, 20, 9.5, 0.5])[0]
    if shape == "8bit":
        head, body = head + ["Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: 8bit"], text.encode() + b"\r\n"
    elif shape == "base64":
        head, body = head + ["MIME-Version: 1.0", "Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: base64"], coded
    else:
        other = b"Content-Type: text/html; charset=utf-8\r\n\r\n<p>" + text.encode() + b"</p>\r\n"
        if shape != "html":
            size = dice.randrange(1_000, 40_000) if shape == "attachment" else 700_000
            data = base64.encodebytes(dice.randbytes(size)).replace(b"\n", b"\r\n")
            other = b"Content-Type: application/pdf\r\nContent-Disposition: attachment; filename=plan.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n" + data
        head += ["MIME-Version: 1.0", f"Content-Type: multipart/{'alternative' if shape == 'html' else 'mixed'}; boundary=b{n}"]
        first = b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n" + coded
        body = b"".join(b"--b%d\r\n%s" % (n, part) for part in (first, other)) + b"--b%d--\r\n" % n
    folder = dice.choices(list(FOLDERS), FOLDERS.values())[0]
    return folder, dice.choice(FLAGS), at, "\r\n".join(head).encode() + b"\r\n\r\n" + body


def append(box, folder, batch):
    """Stores a batch at once (MULTIAPPEND, RFC 3502, without waiting for each literal, RFC 7888)."""
    tag = box._new_tag()
    out = [tag + b' APPEND "' + folder.encode() + b'"']
    for flags, at, octets in batch:
        out.append(b' (%s) "%s" {%d+}\r\n%s' % (flags.encode(), at.strftime("%d-%b-%Y %H:%M:%S %z").encode(), len(octets), octets))
    box.send(b"".join(out) + b"\r\n")
    while not (line := box.readline()).startswith(tag):
        if not line:
            raise RuntimeError("the old side has closed the connection")
    if not line.startswith(tag + b" OK"):
        raise RuntimeError(line.decode())


def fill(user):
    box = boxes.Box("old", user)
    have = {folder: collections.Counter() for folder in box.folders()}
    for folder in have:
        have[folder].update(int(octets.split(b":")[1]) for _, octets in box.fetched(folder, "(BODY.PEEK[HEADER.FIELDS (X-LETTER)])") if octets.strip())
    box.close()
    missing = collections.defaultdict(list)
    for n in range(EACH):
        folder, *rest = letter(user, n)
        # Every hundredth is there twice, octet for octet, as happens.
        wanted = 1 + (n % 100 == 1)
        missing[folder] += [rest] * (wanted - have.get(folder, {}).get(n, 0))
    for folder in FOLDERS:
        if folder not in have:
            box.asked(box.create(f'"{folder}"'))
            box.asked(box.subscribe(f'"{folder}"'))
        for i in range(0, len(missing[folder]), 100):
            append(box, folder, missing[folder][i:i + 100])
    box.logout()
    return sum(map(len, missing.values()))


def goes_on(stop):
    """Until the file is there, or whoever began it is gone, however that ended."""
    return not os.path.exists(stop) and os.path.exists(f"/proc/{os.environ['RUN_PID']}")


class Client:
    """A mail program: it logs in, looks for new mail again and again, and when it is thrown out it comes back."""

    def __init__(self, user):
        self.user, self.logins, self.longest, self.refused = user, 0, 0.0, None

    def run(self, stop):
        box, well = None, time.monotonic()
        while goes_on(stop):
            try:
                if box is None:
                    box = boxes.Box("mail", self.user)
                    self.logins += 1
                    box.asked(box.select(readonly=True))
                box.asked(box.noop())
                self.longest, well = max(self.longest, time.monotonic() - well), time.monotonic()
            except (boxes.imaplib.IMAP4.abort, OSError):
                box = None  # the connection is gone: at once again
            except (boxes.imaplib.IMAP4.error, RuntimeError) as e:
                # A login that has to come later is no refusal of the password (RFC 5530).
                if "AUTHENTICATIONFAILED" in str(e):
                    self.refused = str(e)
                    return
                box = None
            time.sleep(0.2)


def post(word, listed, stop):
    """Ends with 1 when a host refuses; a sender would try again, but nobody needs to here."""
    by, n = collections.Counter(), 0
    with open(listed, "a", buffering=1) as out:
        while goes_on(stop):
            n, host = n + 1, boxes.mail_host()
            # One connection for all five: the gate takes a hundred a minute from one client.
            with smtplib.SMTP(boxes.address(host), 25, local_hostname="quickstart.test", timeout=30) as smtp:
                for user in boxes.USERS:
                    to, subject = f"{user}@{boxes.DOMAIN}", f"{word}-{n}-{user}"
                    smtp.sendmail("someone@elsewhere.example", [to],
                                  f"From: <someone@elsewhere.example>\r\nTo: <{to}>\r\nSubject: {subject}\r\nDate: {email.utils.formatdate()}\r\n"
                                  f"Message-ID: <{subject}@quickstart.test>\r\n\r\nSent by the quickstart.\r\n")
                    out.write(f"{user} {subject}\n")
                    by[host] += 1
            time.sleep(3)
    print("    letters that came meanwhile: " + ", ".join(f"{count} to {host}" for host, count in by.items()))


def arrived(user, wanted, patience=60):
    """Waits until all these subjects are in the inbox."""
    end = time.monotonic() + patience
    while True:
        box = boxes.Box("mail", user)
        there = {octets.split(b":", 1)[1].strip().decode() for _, octets in box.fetched("INBOX", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])") if octets.strip()}
        box.logout()
        missing = set(wanted) - there
        if not missing:
            return len(wanted)
        if time.monotonic() > end:
            raise RuntimeError(f"{len(missing)} letters have not arrived, as {min(missing)}")
        time.sleep(1)


def each(work):
    """Does it for all users side by side; the first mistake ends all."""
    out, wrong = {}, []

    def one(user):
        try:
            out[user] = work(user)
        except Exception as e:  # told below, with its user
            wrong.append(f"{user}: {e!r}")
    threads = [threading.Thread(target=one, args=(user,)) for user in boxes.USERS]
    [t.start() for t in threads]
    [t.join() for t in threads]
    if wrong:
        sys.exit("\n".join(wrong))
    return out


def main():
    if sys.argv[1:] == ["fill"]:
        added = each(fill)
        print(f"    {len(added)} users have {EACH} messages and more each on the old side; {sum(added.values())} were added now")
    elif len(sys.argv) == 3 and sys.argv[1] == "watch":
        clients = {user: Client(user) for user in boxes.USERS}
        each(lambda user: clients[user].run(sys.argv[2]))
        for c in clients.values():
            print(f"    {c.user}: a mail program open all the while, {c.logins - 1} times thrown out and back at once, at most {c.longest:.1f} s without an answer")
        if refused := [f"{c.user}: {c.refused}" for c in clients.values() if c.refused]:
            sys.exit("a login was refused: " + "; ".join(refused))
    elif len(sys.argv) == 5 and sys.argv[1] == "post":
        post(*sys.argv[2:])
    elif len(sys.argv) == 3 and sys.argv[1] == "arrived":
        wanted = collections.defaultdict(list)
        for line in open(sys.argv[2]):
            wanted[line.split()[0]].append(line.split()[1])
        print(f"    all {sum(each(lambda user: arrived(user, wanted[user])).values())} letters that came meanwhile are there")
    elif sys.argv[1:] == ["mx"]:
        print(boxes.mail_host() or "")
    else:
        sys.exit(__doc__)


main()
