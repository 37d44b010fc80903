#!/usr/bin/python3
"""Looks into mailboxes with exchangelib (an EWS client that is not ours) and imaplib, and compares what they hold. None of the code under test is in it.

    ews_judge.py compare [--exact] [--ignore KINDS] FROM TO
    ews_judge.py fill TO [--count N] [--seed N]     puts messages there, with exchangelib
    ews_judge.py change TO                          reads one, flags one, deletes one, adds one

FROM and TO are imap://USER:PASSWORD@HOST:PORT or ews://USER:PASSWORD@HOST:PORT. --exact: octet for octet; otherwise what a message says: Message-ID,
From, Subject, Date, and its parts decoded, as Python's email package reads them. Always compared: flags, keywords, dates, and how often each is there.
"""

import argparse
import base64
import collections
import datetime
import email
import email.header
import email.utils
import hashlib
import imaplib
import random
import re
import sys
import urllib.parse

import exchangelib
from exchangelib import DELEGATE, Account, Configuration, Credentials, ExtendedProperty, Folder, Message
from exchangelib.transport import BASIC
from exchangelib.version import EXCHANGE_2013, Version

imaplib._MAXLINE = 1 << 26
SPECIAL = {"Gesendete Elemente": "Sent", "Entwürfe": "Drafts", "Gelöschte Elemente": "Trash", "Junk-E-Mail": "Junk"}


class FlagStatus(ExtendedProperty):
    property_tag = 0x1090
    property_type = "Integer"


class LastVerb(ExtendedProperty):
    property_tag = 0x1081
    property_type = "Integer"


class MessageFlags(ExtendedProperty):
    property_tag = 0x0E07
    property_type = "Integer"


class Delivered(ExtendedProperty):
    property_tag = 0x0E06
    property_type = "SystemTime"


class OwnWords(ExtendedProperty):
    property_set_id = "05dad45b-3c24-4c42-bf02-f954026dd0b8"
    property_name = "cutover-keywords"
    property_type = "String"


for name, kind in (("flag_status", FlagStatus), ("last_verb", LastVerb), ("message_flags", MessageFlags), ("delivered", Delivered), ("own_words", OwnWords)):
    Message.register(name, kind)


def account(where):
    user, password = urllib.parse.unquote(where.username), urllib.parse.unquote(where.password)
    config = Configuration(service_endpoint="http://%s:%d/EWS/Exchange.asmx" % (where.hostname, where.port), credentials=Credentials(user, password),
                           auth_type=BASIC, version=Version(build=EXCHANGE_2013))
    return Account(user, config=config, autodiscover=False, access_type=DELEGATE)


def of_utf7(name):
    def shifted(m):
        return base64.b64decode(m.group(1).replace(",", "/") + "=" * (-len(m.group(1)) % 4)).decode("utf-16-be") if m.group(1) else "&"
    return re.sub(r"&([^-&]*)-", shifted, name)


def decoded(text):
    try:
        return str(email.header.make_header(email.header.decode_header(" ".join(str(text).split()))))
    except Exception:
        return str(text)


def said(octets):
    message = email.message_from_bytes(octets)
    try:
        date = email.utils.parsedate_to_datetime(str(message["date"])).timestamp()
    except Exception:
        date = None
    parts = []
    for part in message.walk():
        if part.is_multipart():
            continue
        payload = part.get_payload(decode=True) or b""
        if part.get_content_maintype() == "text":
            payload = b"".join(payload.split())
        if payload:
            parts.append(hashlib.sha256(payload).hexdigest())
    subject = "".join(decoded(message["subject"] or "").split())
    words = (str(message["message-id"] or "").strip(), email.utils.parseaddr(str(message["from"] or ""))[1].lower(), subject, date, sorted(parts))
    return hashlib.sha256(repr(words).encode()).hexdigest()[:16] + " " + subject[:30]


def of_ews(where, exact):
    box, held = account(where), collections.defaultdict(list)
    root = box.msg_folder_root
    for folder in root.walk():
        if not (folder.folder_class or "IPF.Note").startswith("IPF.Note"):
            continue
        names, at = [], folder
        while at.id != root.id:
            names.insert(0, "INBOX" if at.id == box.inbox.id else SPECIAL.get(at.name, at.name))
            at = at.parent
        fields = ("mime_content", "is_read", "categories", "datetime_received", "flag_status", "last_verb", "message_flags", "own_words", "item_class")
        for item in folder.all().only(*fields):
            if not item.item_class.startswith("IPM.Note"):
                continue
            flags = set((item.own_words or "").split())
            flags |= {"\\Seen"} if item.is_read else set()
            flags |= {"\\Flagged"} if item.flag_status == 2 else set()
            flags |= {"\\Answered"} if item.last_verb in (102, 103) else set()
            flags |= {"$Forwarded"} if item.last_verb == 104 else set()
            flags |= {"\\Draft"} if item.message_flags & 8 else set()
            flags |= set(item.categories or [])
            held["/".join(names)].append((item.mime_content, flags, item.datetime_received.timestamp()))
    return held


def of_imap(where, exact):
    client = imaplib.IMAP4(where.hostname, where.port)
    client.login(urllib.parse.unquote(where.username), urllib.parse.unquote(where.password))
    held = collections.defaultdict(list)
    for line in client.list()[1]:
        name = re.match(rb'\(.*?\) "?." (.*)', line).group(1).decode().strip('"')
        assert client.select('"%s"' % name, readonly=True)[0] == "OK"
        for one in client.fetch("1:*", "(FLAGS INTERNALDATE BODY.PEEK[])")[1] if int(client.select('"%s"' % name, readonly=True)[1][0]) else []:
            if isinstance(one, tuple):
                flags = {f.decode() for f in imaplib.ParseFlags(one[0])} - {"\\Recent"}
                at = re.search(rb'INTERNALDATE "([^"]*)"', one[0]).group(1).decode()
                held[SPECIAL.get(of_utf7(name), of_utf7(name))].append((one[1], flags, datetime.datetime.strptime(at, "%d-%b-%Y %H:%M:%S %z").timestamp()))
    return held


def snapshot(text, exact, ignore):
    where = urllib.parse.urlsplit(text)
    held = (of_ews if where.scheme == "ews" else of_imap)(where, exact)
    out = collections.Counter()
    for folder, messages in held.items():
        for octets, flags, at in messages:
            name = hashlib.sha256(octets).hexdigest() if exact else said(octets)
            flags = () if "flags" in ignore else tuple(sorted(f.lower() for f in flags))
            out[(folder, name, flags, 0 if "date" in ignore else int(at))] += 1
    return out


def text_of(n, chance):
    lines = ["".join(chance.choice("abcdefghij klmnopq ") for _ in range(chance.randrange(1, 70))) for _ in range(chance.randrange(1, 30))]
    head = "From: Jörg <j%d@acme.example>\r\nTo: ann@acme.example\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= %d\r\nMessage-ID: <%d@acme.example>\r\nDate: Mon, 01 Jan 2024 10:%02d:00 +0100\r\nMIME-Version: 1.0\r\n" % (n, n, n, n % 60)
    head = head.replace("Jörg", "=?utf-8?b?SsO2cmc=?=")
    if n % 3:
        return (head + "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nGrüße\r\n" + "\r\n".join(lines) + "\r\n").encode()
    blob = base64.encodebytes(chance.randbytes(3000 if n % 6 else 40000)).decode().replace("\n", "\r\n")
    return (head + "Content-Type: multipart/mixed; boundary=\"x y\"\r\n\r\n--x y\r\nContent-Type: text/plain\r\n\r\n" + "\r\n".join(lines)
            + "\r\n--x y\r\nContent-Type: application/pdf; name=a.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n" + blob + "--x y--\r\n").encode()


def fill(where, count, seed):
    box, chance = account(where), random.Random(seed)
    sub = Folder(parent=box.inbox, name="Projekte & mehr")
    sub.save()
    for n in range(count):
        folder = [box.inbox, sub, box.sent][n % 3]
        item = Message(account=box, folder=folder, mime_content=text_of(n, chance), is_read=n % 2 == 0, message_flags=n % 2 == 0,
                       delivered=exchangelib.EWSDateTime(2021, 2, 1 + n % 27, 7, 8, 9, tzinfo=exchangelib.EWSTimeZone("UTC")))
        if n % 4 == 0:
            item.categories = ["work"]
        if n % 5 == 0:
            item.flag_status = 2
        item.last_verb = [None, 102, 104][n % 7] if n % 7 < 3 else None
        item.save()


def change(where):
    box = account(where)
    items = list(box.inbox.all().only("is_read", "flag_status", "subject", "changekey"))
    items[0].is_read = not items[0].is_read
    items[0].save(update_fields=["is_read"])
    items[1].flag_status = 2
    items[1].save(update_fields=["flag_status"])
    items[2].delete()
    Message(account=box, folder=box.inbox, mime_content=text_of(10_000, random.Random(1)), is_read=False, message_flags=0).save()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["compare", "fill", "change"])
    parser.add_argument("ends", nargs="+")
    parser.add_argument("--exact", action="store_true")
    parser.add_argument("--ignore", default="")
    parser.add_argument("--count", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    if args.what == "fill":
        return fill(urllib.parse.urlsplit(args.ends[0]), args.count, args.seed)
    if args.what == "change":
        return change(urllib.parse.urlsplit(args.ends[0]))
    a, b = (snapshot(end, args.exact, args.ignore.split(",")) for end in args.ends)
    for one in sorted((a - b).elements()):
        print("only in the first:", one)
    for one in sorted((b - a).elements()):
        print("only in the second:", one)
    print("%d messages and %d" % (sum(a.values()), sum(b.values())))
    sys.exit(0 if a == b and sum(a.values()) else 1)


main()
