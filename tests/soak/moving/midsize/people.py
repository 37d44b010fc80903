"""Sixty people: what they have, their mail programs, who writes to them. Nothing of cutover is asked here."""

import collections
import email.utils
import imaplib
import multiprocessing.dummy
import os
import random
import smtplib
import sys
import threading
import time

QUICKSTART = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../../examples/quickstart")
sys.path.insert(0, QUICKSTART)
sys.dont_write_bytecode = True
import boxes  # noqa: E402
import comparison  # noqa: E402

USERS = [f"u{n:02}" for n in range(1, 61)]
COHORTS = {f"wave-{n}": USERS[20 * (n - 1):20 * n] for n in (1, 2, 3)}
boxes.USERS = USERS
boxes.password = lambda user: os.environ["PEOPLE"]
boxes.HOSTS = {"mail": "gate-1", "old": "old-host"}
FOLDERS = {"INBOX": 5, "Sent": 2, "Archive/2025": 2, "Projekte/&ANw-bersicht": 1}
FLAGS = ["", r"\Seen", r"\Seen", r"\Seen \Answered", r"\Flagged", r"\Seen Project"]


def side_by_side(work, users=USERS, hands=12):
    """Does it for each; what went wrong is told with its user."""
    def one(user):
        try:
            return user, work(user), None
        except Exception as e:  # told below
            return user, None, repr(e)
    with multiprocessing.dummy.Pool(hands) as pool:
        done = pool.map(one, users)
    wrong = [f"{user}: {why}" for user, _, why in done if why]
    if wrong:
        sys.exit("\n".join(wrong[:10]))
    return {user: out for user, out, _ in done}


def fill(user, each):
    dice, box = random.Random(user), boxes.Box("old", user)
    have = set(box.folders())
    for folder in FOLDERS:
        if folder not in have:
            box.asked(box.create(f'"{folder}"'))
            box.asked(box.subscribe(f'"{folder}"'))
    n = each + dice.randrange(-5, 6)
    for i in range(n):
        at = 1_700_000_000 + dice.randrange(80_000_000)
        text = "\r\n".join(" ".join(dice.choices("budget Größe plan réunion minutes تست order".split(), k=11)) for _ in range(dice.choice([2, 10, 60, 400])))
        raw = (f"From: <s{i}@elsewhere.example>\r\nTo: <{user}@{boxes.DOMAIN}>\r\nSubject: old {i} of {user}\r\nDate: {email.utils.formatdate(at)}\r\n"
               f"Message-ID: <{i}.{user}@elsewhere.example>\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{text}\r\n").encode()
        folder = dice.choices(list(FOLDERS), FOLDERS.values())[0]
        box.asked(box.append(f'"{folder}"', f"({dice.choice(FLAGS)})", imaplib.Time2Internaldate(at), raw))
    box.logout()
    return n


class Program:
    """A mail program that stays open; when it is thrown out it comes back, by the other gate where its own does not answer."""

    def __init__(self, user):
        self.user, self.gates = user, ["gate-1", "gate-2"] if int(user[1:]) % 2 else ["gate-2", "gate-1"]
        self.gaps, self.logins, self.refused = [], 0, []

    def run(self, stop):
        box, well = None, time.time()
        while not stop.is_set():
            try:
                if box is None:
                    box = boxes.Box(self.gates[0], self.user, timeout=30)
                    self.logins += 1
                    box.asked(box.select(readonly=True))
                    box.sock.settimeout(8)
                box.asked(box.noop())
                now = time.time()
                if now - well > 1.5:
                    self.gaps.append((well, now - well))
                well = now
            except (imaplib.IMAP4.abort, OSError) as e:
                # A line that is dead shows at the other gate; who was only thrown out comes back to where they were.
                if isinstance(e, OSError) and not isinstance(e, ConnectionResetError):
                    self.gates.reverse()
                box = None
            except (imaplib.IMAP4.error, RuntimeError) as e:
                # A login that has to come later is no refusal of the password (RFC 5530).
                if "AUTHENTICATIONFAILED" in str(e):
                    self.refused.append(str(e))
                box = None
            stop.wait(0.7)

    def longest(self, begin, end):
        return max([gap for at, gap in self.gaps if at + gap > begin and at < end], default=0.0)


class Poster:
    """Somebody outside who writes to all of them, to the host that the MX names, and keeps what was not taken to try it again, as a mail server would."""

    def __init__(self):
        self.word, self.taken, self.doubt, self.by = f"mid-{os.getpid()}", collections.defaultdict(list), set(), collections.Counter()
        self.waiting, self.n, self.servers, self.refused = [], 0, ["ns", "ns-2"], []

    def host(self):
        boxes.HOSTS["ns"] = self.servers[0]
        try:
            return boxes.mail_host()
        except OSError:
            self.servers.reverse()
            raise

    def send(self):
        """What waits, on one connection. A line that breaks ends it; who is refused for now waits for the next."""
        queue, self.waiting, host = self.waiting, [], None
        try:
            host = self.host()
            with smtplib.SMTP(boxes.address(host), 25, local_hostname="outside.test", timeout=15) as smtp:
                smtp.ehlo_or_helo_if_needed()
                while queue:
                    user, subject = queue[0]
                    to = f"{user}@{boxes.DOMAIN}"
                    text = (f"From: <someone@elsewhere.example>\r\nTo: <{to}>\r\nSubject: {subject}\r\nDate: {email.utils.formatdate()}\r\n"
                            f"Message-ID: <{subject}@outside.test>\r\n\r\nSent while they move.\r\n")
                    smtp.mail("someone@elsewhere.example")
                    code, said = smtp.rcpt(to)
                    if code == 250:
                        # From here on a line that breaks leaves it open whether it was taken: it may come twice.
                        self.doubt.add(subject)
                        code, said = smtp.data(text)
                        self.doubt.discard(subject)
                    if code >= 500:
                        self.refused.append(f"{host}: {subject}: {code} {said!r}")
                    elif code == 250:
                        self.taken[user].append(subject)
                        self.by[host] += 1
                    else:
                        self.waiting.append(queue[0])
                        smtp.rset()
                    queue.pop(0)
        finally:
            self.waiting += queue

    def run(self, stop):
        while not stop.is_set():
            self.n += 1
            self.waiting += [(user, f"{self.word}-{self.n}-{user}") for user in USERS]
            self.try_send()
            stop.wait(3)

    def try_send(self):
        try:
            self.send()
        except (OSError, smtplib.SMTPException):
            pass

    def drain(self, patience=90):
        end = time.time() + patience
        while self.waiting and time.time() < end:
            self.try_send()
            time.sleep(1)


def subjects(host, user):
    """How often each subject is in the inbox on a host."""
    box = boxes.Box(host, user)
    found = collections.Counter(octets.split(b":", 1)[1].strip().decode(errors="replace")
                                for _, octets in box.fetched("INBOX", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])") if octets.strip())
    box.logout()
    return found


def keep():
    with multiprocessing.Pool(6) as pool:
        return dict(zip(USERS, pool.map(comparison.messages, USERS)))


def started(work):
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread
