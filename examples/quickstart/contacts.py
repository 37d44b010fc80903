#!/usr/bin/env python3
"""Address books of the lab's users, by CardDAV (RFC 6352) with their own passwords.

    contacts.py fill    gives each of them two address books on the old side, and opens their account on the new one
    contacts.py hold    ends with 1 when the address books of a user on the new side are not those
"""

import base64
import re
import sys
import time
import urllib.error
import urllib.request

import boxes

BOOKS = {"friends": 12, "customers": 25}


def card(user, book, n):
    """A contact, each time the same."""
    return "\r\n".join(["BEGIN:VCARD", "VERSION:3.0", f"UID:{user}-{book}-{n}", f"FN:Größe {n} of {user}", f"N:{n};Größe;;;",
                        f"EMAIL;TYPE=WORK:c{n}@elsewhere.example", f"TEL;TYPE=CELL:+353 1 {n:07}", f"NOTE:{'met in the lab ' * (n % 5)}", "END:VCARD", ""])


def ask(host, user, method, path, body="", **headers):
    """The answer's text; what is not there is an empty one."""
    token = base64.b64encode(f"{user}@{boxes.DOMAIN}:{boxes.password(user)}".encode()).decode()
    request = urllib.request.Request(f"https://{host}.{boxes.DOMAIN}:5232/{user}%40{boxes.DOMAIN}/{path}", body.encode(), method=method,
                                     headers={"Authorization": f"Basic {token}", "Content-Type": "text/xml; charset=utf-8", **headers})
    try:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=boxes.trust()))
        with opener.open(request, timeout=30) as answer:
            return answer.read().decode()
    except urllib.error.HTTPError as e:
        if e.code == 404:
            return ""
        raise


def found(host, user, book):
    """What every contact says, in order, without what a server adds or folds."""
    texts = re.findall(r"BEGIN:VCARD.*?END:VCARD", re.sub(r"\r?\n ", "", ask(host, user, "GET", book + "/")), re.S)
    return sorted(sorted(line.strip().upper() for line in text.splitlines() if line.strip() and not line.startswith(("REV:", "PRODID:"))) for text in texts)


def wanted(user, book):
    return sorted(sorted(line.strip().upper() for line in card(user, book, n).splitlines() if line.strip()) for n in range(BOOKS[book]))


def fill(user):
    for host in ("old", "mail-1"):
        # The first login makes the account.
        ask(host, user, "PROPFIND", "", Depth="0")
    for book, count in BOOKS.items():
        if len(found("old", user, book)) == count:
            continue
        if not ask("old", user, "PROPFIND", book + "/", Depth="0"):
            ask("old", user, "MKCOL", book + "/", '<?xml version="1.0"?><mkcol xmlns="DAV:" xmlns:C="urn:ietf:params:xml:ns:carddav"><set><prop>'
                f"<resourcetype><collection/><C:addressbook/></resourcetype><displayname>{book}</displayname></prop></set></mkcol>")
        for n in range(count):
            ask("old", user, "PUT", f"{book}/{n}.vcf", card(user, book, n), **{"Content-Type": "text/vcard; charset=utf-8"})


def names(user):
    """Address books on the new side by what users call them: the service chooses their addresses."""
    listed = ask("mail-1", user, "PROPFIND", "", '<?xml version="1.0"?><propfind xmlns="DAV:"><prop><displayname/></prop></propfind>', Depth="1")
    pairs = re.findall(r"<href>/[^/]+/([^/<]+)/</href>.*?<displayname>([^<]*)</displayname>", listed, re.S)
    return {name: path for path, name in pairs}


def reach():
    """Names lead to the hosts of the lab."""
    lookup = boxes.socket.getaddrinfo

    def here(name, *rest, **more):
        host, _, domain = str(name).partition(".")
        return lookup(boxes.address(host) if domain == boxes.DOMAIN else name, *rest, **more)
    boxes.socket.getaddrinfo = here


def main():
    reach()
    if sys.argv[1:] == ["fill"]:
        for _ in range(30):
            try:
                for user in boxes.USERS:
                    fill(user)
                break
            except urllib.error.HTTPError:
                raise
            except OSError:  # the server begins to listen
                time.sleep(1)
        else:
            sys.exit("the servers of address books cannot be reached")
        print(f"    each of them has {len(BOOKS)} address books with {sum(BOOKS.values())} contacts")
    elif sys.argv[1:] == ["hold"]:
        for user in boxes.USERS:
            there = names(user)
            for book in BOOKS:
                now = found("mail-1", user, there.get(book, book))
                if now != wanted(user, book):
                    sys.exit(f"the address book {book} of {user} is not as it was: {len(now)} contacts, {now[:1]}")
        print(f"    all {len(boxes.USERS) * sum(BOOKS.values())} contacts are on the new side as they were")
    else:
        sys.exit(__doc__)


main()
