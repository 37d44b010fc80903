"""Mailboxes of the lab's users, reached as a mail program does: IMAP over TLS, by name, trusting the organisation's own authority."""

import imaplib
import os
import re
import socket
import ssl
import struct

DOMAIN, USERS = "acme.test", ["ann", "bob", "cem", "dana", "eli"]
# Names that users and administrators know, and the hosts behind them.
HOSTS = {"mail": "gate", "old": "old-host"}
imaplib._MAXLINE = 1 << 26


def address(name):
    for line in open(".cutover/lab/lab/known_hosts"):
        host, ip = re.split("[, ]", line)[:2]
        if host == HOSTS.get(name, name):
            return ip
    raise SystemExit(f"{name} is no host of the lab")


def trust():
    return ssl.create_default_context(cafile="keys/ca.pem")


def password(user):
    return os.environ[user.upper()]


def mail_host():
    """Where a sender delivers mail for the domain: its MX, asked of the name server (RFC 1035)."""
    question = b"".join(bytes([len(label)]) + label.encode() for label in DOMAIN.split(".")) + b"\0"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(5)
        s.sendto(struct.pack(">6H", 1, 0, 1, 0, 0, 0) + question + struct.pack(">2H", 15, 1), (address("ns"), 53))
        answer = s.recv(4096)
    found, at = [], 12 + len(question) + 4
    for _ in range(struct.unpack(">H", answer[6:8])[0]):
        # The owner's name is a pointer to the question, and the exchange begins with the host's own label.
        length = struct.unpack(">H", answer[at + 10:at + 12])[0]
        preference, label = struct.unpack(">HB", answer[at + 12:at + 15])
        found.append((preference, answer[at + 15:at + 15 + label].decode()))
        at += 12 + length
    return min(found)[1] if found else None


class Box(imaplib.IMAP4_SSL):
    """The box of a user on a host that is called by its name and found in the lab."""

    def __init__(self, host, user, timeout=60):
        self.ip = address(host)
        super().__init__(f"{host}.{DOMAIN}", 993, ssl_context=trust(), timeout=timeout)
        self.login(f"{user}@{DOMAIN}", password(user))

    def _create_socket(self, timeout):
        sock = socket.create_connection((self.ip, self.port), timeout)
        return self.ssl_context.wrap_socket(sock, server_hostname=self.host)

    def asked(self, answer):
        kind, data = answer
        if kind != "OK":
            raise RuntimeError(f"{kind} {data!r}")
        return data

    def folders(self):
        """Names as they go over the wire; both sides have / between the levels."""
        lines = self.asked(self.list())
        return sorted(re.match(rb'\([^)]*\) "/" (.*)$', line).group(1).decode().strip('"') for line in lines if line and b"\\Noselect" not in line)

    def fetched(self, folder, what):
        """Yields (the line of the answer, octets) for each message; nothing is marked as read."""
        self.asked(self.select(f'"{folder}"', readonly=True))
        if self.asked(self.uid("SEARCH", "ALL"))[0]:
            data = self.asked(self.uid("FETCH", "1:*", what))
            # What an answer says behind the literal belongs to the same message.
            for i, item in enumerate(data):
                if isinstance(item, tuple):
                    rest = data[i + 1] if i + 1 < len(data) and isinstance(data[i + 1], bytes) else b""
                    yield (item[0] + rest).decode(), item[1]
