#!/usr/bin/env python3
"""Rules and out-of-office of the lab's users, as their mail programs keep them: Sieve scripts, by ManageSieve (RFC 5804) with their own passwords.

    rules.py fill          gives each of them rules on the old side; dana is away
    rules.py hold HOST..   ends with 1 when a user's scripts on a host are not those, or another one is active
"""

import base64
import socket
import sys
import time

import boxes

RULES = '''require ["fileinto", "mailbox"];
# Lists of %s
if header :contains "list-id" "news" { fileinto :create "Lists/News"; stop; }
if header :contains "subject" "invoice" { addflag "\\\\Flagged"; }
'''.replace('"mailbox"]', '"mailbox", "imap4flags"]')
AWAY = '''require ["fileinto", "mailbox", "vacation"];
if header :contains "list-id" "news" { fileinto :create "Lists/News"; stop; }
# Colleagues only.
if address :domain :is "from" "%s" { vacation :days 1 :subject "Away until Monday" "Ask bob meanwhile."; }
''' % boxes.DOMAIN


def scripts(user):
    """Name and text of each script, the active one first."""
    if user == "dana":
        return {"away": AWAY, "rules": RULES % user}
    return {"rules": RULES % user}


class Sieve:
    def __init__(self, host, user):
        self.socket = socket.create_connection((boxes.address(host), 4190), 30)
        self.file = self.socket.makefile("rb")
        self.answer()
        self.ask(b"STARTTLS")
        self.socket = boxes.trust().wrap_socket(self.socket, server_hostname=f"{host}.{boxes.DOMAIN}")
        self.file = self.socket.makefile("rb")
        self.answer()
        plain = base64.b64encode(f"\0{user}@{boxes.DOMAIN}\0{boxes.password(user)}".encode())
        self.ask(b'AUTHENTICATE "PLAIN" "' + plain + b'"')

    def answer(self):
        """Lines and literals until OK; NO and BYE are errors."""
        said = []
        while True:
            line = self.file.readline()
            if line.upper().startswith(b"OK"):
                return said
            if not line or line.upper().startswith((b"NO", b"BYE")):
                raise RuntimeError(line.decode())
            if line.rstrip().endswith(b"}"):
                line = self.file.read(int(line.strip().strip(b"{}")))
            said.append(line)

    def ask(self, line, text=None):
        self.socket.sendall(line + (b" {%d+}\r\n" % len(text) + text if text is not None else b"") + b"\r\n")
        return self.answer()

    def listed(self):
        """Scripts by name, and which is active."""
        names = [line.decode().split('"')[1] for line in self.ask(b"LISTSCRIPTS")]
        active = [line.decode().split('"')[1] for line in self.ask(b"LISTSCRIPTS") if line.rstrip().upper().endswith(b"ACTIVE")]
        return {name: self.ask(b'GETSCRIPT "%s"' % name.encode())[0].decode() for name in names}, active


def main():
    if sys.argv[1:] == ["fill"]:
        for user in boxes.USERS:
            sieve = Sieve("old", user)
            for name, text in scripts(user).items():
                sieve.ask(b'PUTSCRIPT "%s"' % name.encode(), text.encode())
            sieve.ask(b'SETACTIVE "%s"' % next(iter(scripts(user))).encode())
        print("    each of them has rules, and dana is away")
    elif sys.argv[1:2] == ["hold"]:
        for host in sys.argv[2:]:
            for user in boxes.USERS:
                wanted = scripts(user), [next(iter(scripts(user)))]
                # The second of a pair gets them with the mail that follows.
                for _ in range(30):
                    try:
                        there = Sieve(host, user).listed()
                    except RuntimeError as e:
                        there = e
                    if there == wanted:
                        break
                    time.sleep(1)
                else:
                    sys.exit(f"rules of {user} on {host}: {there}")
        print(f"    rules and out-of-office of all are on {' and '.join(sys.argv[2:])} as they were")
    else:
        sys.exit(__doc__)


main()
