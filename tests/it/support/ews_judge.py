#!/usr/bin/python3
"""Looks into mailboxes with exchangelib (an EWS client that is not ours) and imaplib, and compares what they hold. None of the code under test is in it.

    ews_judge.py compare [--exact] [--ignore KINDS] FROM TO
    ews_judge.py fill TO [--count N] [--seed N]     puts messages there, with exchangelib
    ews_judge.py change TO                          reads one, flags one, deletes one, adds one
    ews_judge.py contacts TO                        each contact as a line of JSON, by its name
    ews_judge.py meet TO                            makes three contacts in two address books
    ews_judge.py edit TO NAME                       gives the contact of this name another number and other notes, adds one
    ews_judge.py away TO                            the out-of-office as JSON
    ews_judge.py leave TO WORDS                     sets it, for a week to come and for those outside as well
    ews_judge.py touch TO NAME                      gives the contact of this name another family name

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
import json
import random
import re
import sys
import urllib.parse

import exchangelib
from exchangelib import DELEGATE, Account, Configuration, Contact, Credentials, EWSDate, ExtendedProperty, Folder, Message
from exchangelib.folders import Contacts
from exchangelib.indexed_properties import EmailAddress, PhoneNumber, PhysicalAddress
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


CONTACT = "display_name given_name middle_name surname generation nickname company_name department job_title email_addresses phone_numbers physical_addresses im_addresses birthday wedding_anniversary business_homepage body categories spouse_name".split()


def books(box):
    yield "Contacts", box.contacts
    for folder in box.contacts.walk():
        if folder.folder_class == "IPF.Contact":
            yield folder.name, folder


def contacts(where):
    out = []
    for name, folder in books(account(where)):
        for item in folder.all().only(*CONTACT, "item_class"):
            if not isinstance(item, Contact):
                continue
            said = {"book": name}
            for field in CONTACT:
                value = getattr(item, field)
                if isinstance(value, list):
                    value = {getattr(v, "label", v): (getattr(v, "email", None) or getattr(v, "phone_number", None) or getattr(v, "im_address", None)
                             or " / ".join(filter(None, (getattr(v, f, None) for f in ("street", "city", "state", "zipcode", "country"))))) for v in value if not isinstance(v, str)} or value
                if value:
                    said[field] = value if isinstance(value, (dict, list)) else str(value)
            out.append(said)
    for one in sorted(out, key=json.dumps):
        print(json.dumps(one, sort_keys=True, ensure_ascii=False))


def meet(where):
    box = account(where)
    book = Contacts(parent=box.contacts, name="Verein")
    book.save()
    Contact(account=box, folder=box.contacts, display_name="Jörg Groß", given_name="Jörg", surname="Groß", company_name="Acme", birthday=EWSDate(1970, 1, 2),
            email_addresses=[EmailAddress(email="j@acme.example", label="EmailAddress1")], phone_numbers=[PhoneNumber(label="MobilePhone", phone_number="+1"), PhoneNumber(label="HomeFax", phone_number="+2")],
            physical_addresses=[PhysicalAddress(label="Business", street="S 1", city="T", state="R", country="D", zipcode="1")], body="Notiz\nzwei", categories=["work"]).save()
    Contact(account=box, folder=box.contacts, display_name="Ann", given_name="Ann").save()
    Contact(account=box, folder=book, display_name="Bob <&> Co", surname="Bob").save()


def edit(where, name):
    box = account(where)
    for _, folder in list(books(box)):
        for item in list(folder.all()):
            if not isinstance(item, Contact):
                continue
            if item.display_name == name:
                item.phone_numbers = [PhoneNumber(label="MobilePhone", phone_number="+99")]
                item.body = "of the new side"
                item.save(update_fields=["phone_numbers", "body"])
    Contact(account=box, folder=box.contacts, display_name="Own", surname="Own").save()


def away(where):
    said = account(where).oof_settings
    print(json.dumps({f: str(getattr(said, f)) for f in ("state", "external_audience", "start", "end", "internal_reply", "external_reply")}))


def leave(where, words):
    utc = exchangelib.EWSTimeZone("UTC")
    box, start = account(where), exchangelib.EWSDateTime(2090, 1, 1, tzinfo=utc)
    box.oof_settings = exchangelib.OofSettings(state="Scheduled", external_audience="Known", start=start, end=exchangelib.EWSDateTime(2090, 1, 8, tzinfo=utc),
                                               internal_reply="<html><body><p>%s</p><p>Gr&#252;&#223;e</p></body></html>" % words, external_reply="Outside " + words)


def touch(where, name):
    item = next(i for _, folder in books(account(where)) for i in folder.all() if getattr(i, "display_name", None) == name)
    item.surname = "Touched"
    item.save(update_fields=["surname"])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["compare", "fill", "change", "contacts", "meet", "edit", "touch", "away", "leave"])
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
    if args.what in ("contacts", "meet", "edit", "touch", "away", "leave"):
        work = {"contacts": contacts, "meet": meet, "edit": edit, "touch": touch, "away": away, "leave": leave}[args.what]
        return work(urllib.parse.urlsplit(args.ends[0]), *args.ends[1:])
    a, b = (snapshot(end, args.exact, args.ignore.split(",")) for end in args.ends)
    for one in sorted((a - b).elements()):
        print("only in the first:", one)
    for one in sorted((b - a).elements()):
        print("only in the second:", one)
    print("%d messages and %d" % (sum(a.values()), sum(b.values())))
    sys.exit(0 if a == b and sum(a.values()) else 1)


main()
