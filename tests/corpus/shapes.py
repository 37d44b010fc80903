"""Messages of many shapes, the same for the same seed. Each shape is a function of a random generator that gives octets with CR LF, or
breaks that rule on purpose. SHAPES names them all; a corpus of N messages has each at least once when N is above their number."""

import base64
import quopri
import zlib

CRLF = b"\r\n"
WORDS = ("budget report meeting invoice draft project client delivery server window quarter figure plan review answer question "
         "mailbox folder archive signature holiday travel ticket order contract garden paper winter station bridge").split()


def text(rng, octets):
    out, line, size = [], [], 0
    while size < octets:
        word = rng.choice(WORDS)
        line.append(word)
        size += len(word) + 1
        if len(line) >= 11:
            out.append(" ".join(line))
            line = []
    return "\r\n".join(out + [" ".join(line)]).encode() + CRLF


def head(rng, n, subject=None, extra=(), message_id=True, date=True, sender=b"Alice Example <alice@example.org>"):
    lines = [b"Return-Path: <alice@example.org>",
             b"Received: from mx%d.example.org (mx.example.org [192.0.2.%d])\r\n\tby mail.example.net with ESMTPS id %08x;\r\n\t"
             b"Tue, 14 Nov 2023 22:13:20 +0000" % (rng.randrange(9), rng.randrange(1, 255), rng.getrandbits(32))]
    if sender is not None:
        lines.append(b"From: " + sender)
    lines.append(b"To: Bob <bob@example.net>")
    lines.append(b"Subject: " + (subject if subject is not None else b"Message %d about the %s" % (n, rng.choice(WORDS).encode())))
    if date:
        lines.append(b"Date: Tue, %d Nov 2023 22:%02d:%02d +0100" % (1 + n % 28, n % 60, rng.randrange(60)))
    if message_id:
        lines.append(b"Message-ID: <%d.%08x@example.org>" % (n, rng.getrandbits(32)))
    return CRLF.join(lines + list(extra)) + CRLF


def mime(kind, boundary, parts, preamble=b""):
    body = preamble
    for part in parts:
        body += b"--" + boundary + CRLF + part + CRLF
    return (b"MIME-Version: 1.0\r\nContent-Type: multipart/" + kind + b'; boundary="' + boundary + b'"\r\n', body + b"--" + boundary + b"--\r\n")


def leaf(kind, body, encoding=b"7bit", extra=b""):
    return b"Content-Type: " + kind + b"\r\nContent-Transfer-Encoding: " + encoding + CRLF + extra + CRLF + body


def b64(octets):
    return base64.encodebytes(octets).replace(b"\n", CRLF)


def whole(rng, n, made, **kw):
    return head(rng, n, **kw) + made[0] + CRLF + made[1]


def size(rng):
    return int(rng.choice((300, 1200, 2500, 5000, 8000, 8600, 9500, 14000, 30000, 60000)) * (0.5 + rng.random()))


def plain(rng, n):
    return head(rng, n) + CRLF + text(rng, size(rng))


def html(rng, n):
    body = b"<html><body><p>" + text(rng, size(rng)).replace(CRLF, b"</p>\r\n<p>") + b"</p></body></html>\r\n"
    made = mime(b"alternative", b"=_alt%d" % n, [leaf(b"text/plain; charset=utf-8", "Grüße aus Köln\r\n".encode(), b"8bit"),
                                                leaf(b"text/html; charset=utf-8", quopri.encodestring(body).replace(b"\n", CRLF), b"quoted-printable")])
    return whole(rng, n, made)


def attachment(rng, n):
    blob = rng.randbytes(size(rng) * 2)
    made = mime(b"mixed", b"----=_Part_%d" % n, [leaf(b"text/plain", text(rng, 400)), leaf(
        b'application/octet-stream; name="data.bin"', b64(blob), b"base64", b'Content-Disposition: attachment; filename="data.bin"\r\n')])
    return whole(rng, n, made)


def over_one_mib(rng, n):
    made = mime(b"mixed", b"big%d" % n, [leaf(b"application/zip", b64(rng.randbytes(900_000 + rng.randrange(900_000))), b"base64")])
    return whole(rng, n, made)


def forwarded(rng, n):
    inner = plain(rng, n)
    made = mime(b"mixed", b"fwd%d" % n, [leaf(b"text/plain", b"see below\r\n"), b"Content-Type: message/rfc822\r\n\r\n" + inner])
    return whole(rng, n, made)


def nested(rng, n):
    made = (b"MIME-Version: 1.0\r\nContent-Type: text/plain\r\n", b"the innermost\r\n")
    for depth in range(60):
        made = mime(b"mixed", b"d%d_%d" % (n, depth), [made[0] + CRLF + made[1]])
    return whole(rng, n, made)


def many_parts(rng, n):
    return whole(rng, n, mime(b"digest", b"many%d" % n, [b"\r\nFrom: a@b\r\n\r\npart %d\r\n" % i for i in range(400)]))


def broken_boundary(rng, n):
    made = mime(b"mixed", b"lost%d" % n, [leaf(b"text/plain", b"no end follows\r\n")])
    return whole(rng, n, (made[0], made[1][:-14]))


CHARSETS = (("iso-2022-jp", "日本語の件名です"), ("shift_jis", "請求書を送ります"), ("euc-jp", "会議の議事録"), ("big5", "繁體中文郵件"), ("gb18030", "简体中文邮件"),
            ("euc-kr", "한국어 메일"), ("koi8-r", "Привет, мир"), ("windows-1251", "Договор и счёт"), ("iso-8859-15", "Preis 5 €"), ("windows-1252", "“curly” quotes — dash"),
            ("iso-8859-8", "שלום"), ("windows-1256", "مرحبا"), ("tis-620", "สวัสดี"), ("utf-16", "sixteen bits"), ("utf-7", "seven bits é"))


def charset(rng, n):
    name, words = CHARSETS[n % len(CHARSETS)]
    raw = words.encode(name)
    subject = b"=?" + name.encode() + b"?B?" + base64.b64encode(raw) + b"?="
    encoding, body = (b"base64", b64(raw)) if name.startswith("utf-1") else (b"8bit", raw + CRLF)
    return head(rng, n, subject=subject) + b"MIME-Version: 1.0\r\n" + leaf(b"text/plain; charset=" + name.encode(), body, encoding)


def unknown_charset(rng, n):
    return head(rng, n, subject=b"=?x-unknown-9?Q?=E4=F6?= =?utf-8?B?w6k?=") + leaf(b"text/plain; charset=x-nobody-knows", b"\xe4\xf6\xfc\r\n", b"8bit")


def raw_eight_bit_headers(rng, n):
    return head(rng, n, subject="Überfällige Rechnung".encode("latin-1"), sender="Jürgen Müller <j@example.org>".encode("latin-1")) + CRLF + b"latin in head\r\n"


def utf8_headers(rng, n):
    return head(rng, n, subject="Grüße 📬".encode(), sender="Ж <почта@пример.рф>".encode()) + CRLF + "naïve\r\n".encode()


def split_encoded_words(rng, n):
    return head(rng, n, subject=b"=?utf-8?Q?half_a_=C3?=\r\n =?utf-8?Q?=A9_letter?=\r\n\t=?ISO-8859-1?Q?and_?=") + CRLF + b"text\r\n"


def bare_lf(rng, n):
    return plain(rng, n).replace(CRLF, b"\n")


def mixed_ends(rng, n):
    return head(rng, n) + CRLF + b"one\r\ntwo\nthree\r\nfour\n\nfive\r\n"


def bare_cr(rng, n):
    return head(rng, n) + CRLF + b"progress 10%\rprogress 20%\rdone\r\r\nend\r\n\r"


def nul(rng, n):
    return head(rng, n) + CRLF + b"before\0after\r\n\0\0\r\n"


def nul_in_head(rng, n):
    return head(rng, n, extra=[b"X-Odd: a\0b"]) + CRLF + b"text\r\n"


def control(rng, n):
    return head(rng, n) + CRLF + bytes(b for b in range(1, 256) if b not in (10, 13)) + CRLF + b"\x1a\x04\x1b[31m\r\n"


def long_lines(rng, n):
    return head(rng, n) + CRLF + b"".join(b"x" * k + CRLF for k in (996, 997, 998, 999, 1000, 1023, 1024, 2047, 2048, 4096, 8191, 8192, 9901, 10240))


def very_long_line(rng, n):
    return head(rng, n) + CRLF + b"y" * (70_000 + rng.randrange(70_000)) + CRLF


def huge_head(rng, n):
    return head(rng, n, extra=[b"X-Trace-%d: %s" % (i, b"z" * 900) for i in range(90)]) + CRLF + b"text\r\n"


def many_recipients(rng, n):
    cc = b",\r\n ".join(b"User Number %d <user%d@example.com>" % (i, i) for i in range(500))
    return head(rng, n, extra=[b"Cc: " + cc]) + CRLF + b"to all\r\n"


def long_header_line(rng, n):
    return head(rng, n, extra=[b"References: " + b" ".join(b"<%d@example.org>" % i for i in range(300))]) + CRLF + b"text\r\n"


def odd_folding(rng, n):
    return head(rng, n, extra=[b"X-Fold: a\r\n\tb\r\n   \r\n c", b"X-Empty:", b"X Bad Name: value", b"NoColonHere"]) + CRLF + b"text\r\n"


def empty_body(rng, n):
    return head(rng, n) + CRLF


def header_only(rng, n):
    return head(rng, n)


def no_header(rng, n):
    return CRLF + text(rng, 300)


def one_octet(rng, n):
    return b"x"


def only_line_end(rng, n):
    return CRLF


def no_last_line_end(rng, n):
    return head(rng, n) + CRLF + b"the last line has no end"


def many_blank_lines(rng, n):
    return head(rng, n) + CRLF * 40 + b"x" + CRLF * 40


def no_message_id(rng, n):
    return head(rng, n, subject=b"without an identity", message_id=False, date=False) + CRLF + text(rng, 200)


def same_identity_other_body(rng, n):
    return b"Message-ID: <the-same@example.org>\r\nFrom: a@b\r\nReceived: from one\r\nSubject: same\r\n\r\nbody %d %d\r\n" % (n, rng.getrandbits(40))


def exact_duplicate(rng, n):
    return b"Message-ID: <twin@example.org>\r\nFrom: a@b\r\nDate: Tue, 14 Nov 2023 22:13:20 +0000\r\nSubject: twin\r\n\r\nall the same\r\n"


def odd_identity(rng, n):
    odd = (b"no brackets %d", b"<two> <identities-%d>", b"<with space %d@x>", b"<>%d", b"<\xe4\xf6-%d@x>", b"<" + b"i" * 900 + b"%d@x>")
    return b"From: a@b\r\nMessage-ID: " + odd[n % len(odd)] % n + b"\r\nMessage-ID: <second-%d@x>\r\n\r\ntext\r\n" % n


def odd_date(rng, n):
    odd = (b"Thu, 1 Jan 1970 00:00:00 +0000", b"Mon, 32 Foo 20222 99:99:99 +9999", b"yesterday", b"", b"Tue, 14 Nov 23 22:13 EST", b"2023-11-14T22:13:20Z", b"Fri, 31 Dec 9999 23:59:59 -1200")
    return b"From: a@b\r\nSubject: date\r\nDate: " + odd[n % len(odd)] + b"\r\nMessage-ID: <date-%d@x>\r\n\r\ntext\r\n" % n


def empty_sender(rng, n):
    return head(rng, n, sender=(b"", b"<>", b"Undisclosed", b"a@b, c@d", b"\"unclosed <x@y>")[n % 5]) + CRLF + b"text\r\n"


def no_sender(rng, n):
    return head(rng, n, sender=None) + CRLF + b"text\r\n"


def from_lines(rng, n):
    return head(rng, n) + CRLF + b"From here on\r\n>From quoted\r\n>>From twice\r\n\r\nFrom alice@example.org Tue Nov 14 22:13:20 2023\r\nFrom: not a head\r\n\r\nend\r\n\r\n"


def dots(rng, n):
    return head(rng, n) + CRLF + b".\r\n..\r\n.a\r\n\r\n.\r\nQUIT\r\n.. \r\n.\r\n"


def protocol_words(rng, n):
    return head(rng, n) + CRLF + b"* 1 FETCH (FLAGS (\\Seen))\r\nA1 OK done\r\n{10}\r\n)\r\n+ go\r\n-ERR no\r\n"


def store_headers(rng, n):
    lines = [b"X-TUID: abcdefghijkl", b"X-UID: 42", b"X-IMAP: 1 2", b"X-IMAPbase: 1700000000 7 work", b"Status: RO", b"X-Status: AF", b"X-Keywords: work   ",
             b"Content-Length: 99999", b"X-OfflineIMAP: 5-6", b"X-Mozilla-Status: 0001", b"X-GM-THRID: 7", b"X-UIDL: a!b"]
    return head(rng, n, extra=lines) + CRLF + b"the headers of stores\r\n"


def uuencoded(rng, n):
    import binascii
    lines = b"".join(binascii.b2a_uu(rng.randbytes(45)).replace(b"\n", CRLF) for _ in range(40))
    return head(rng, n) + CRLF + b"begin 644 old.bin\r\n" + lines + b"`\r\nend\r\n"


def binary(rng, n):
    return head(rng, n) + b"Content-Transfer-Encoding: binary\r\nContent-Type: application/zlib\r\n\r\n" + zlib.compress(rng.randbytes(900)).replace(b"\0", b"\1")


def winmail(rng, n):
    made = mime(b"mixed", b"tnef%d" % n, [leaf(b'application/ms-tnef; name="winmail.dat"', b64(b"\x78\x9f\x3e\x22" + rng.randbytes(700)), b"base64")])
    return whole(rng, n, made)


def calendar(rng, n):
    made = mime(b"alternative", b"cal%d" % n, [leaf(b"text/plain", b"An invitation\r\n"), leaf(
        b"text/calendar; method=REQUEST; charset=utf-8", b"BEGIN:VCALENDAR\r\nMETHOD:REQUEST\r\nBEGIN:VEVENT\r\nUID:%d\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n" % n)])
    return whole(rng, n, made)


def signed(rng, n):
    made = mime(b'signed; micalg="pgp-sha256"; protocol="application/pgp-signature"', b"sig%d" % n, [
        leaf(b"text/plain", b"every octet  \r\ncounts \t\r\n-- \r\nA\r\n"), leaf(b"application/pgp-signature", b"-----BEGIN PGP SIGNATURE-----\r\n\r\nAAAA\r\n-----END PGP SIGNATURE-----\r\n")])
    return whole(rng, n, made)


def encrypted(rng, n):
    return head(rng, n) + leaf(b'application/pkcs7-mime; smime-type=enveloped-data; name="smime.p7m"', b64(rng.randbytes(3000)), b"base64")


def bounce(rng, n):
    made = mime(b"report; report-type=delivery-status", b"dsn%d" % n, [
        leaf(b"text/plain", b"could not be delivered\r\n"), leaf(b"message/delivery-status", b"Reporting-MTA: dns; mx\r\n\r\nFinal-Recipient: rfc822; x@y\r\nAction: failed\r\nStatus: 5.1.1\r\n"),
        leaf(b"text/rfc822-headers", b"Subject: lost\r\n")])
    return whole(rng, n, made, sender=b"<>")


def receipt(rng, n):
    return head(rng, n, extra=[b"Disposition-Notification-To: alice@example.org", b"Return-Receipt-To: alice@example.org"]) + CRLF + b"please confirm\r\n"


def partial(rng, n):
    return head(rng, n) + b'MIME-Version: 1.0\r\nContent-Type: message/partial; id="p@x"; number=2; total=3\r\n\r\nthe middle\r\n'


def long_parameters(rng, n):
    return head(rng, n) + b"MIME-Version: 1.0\r\nContent-Type: text/plain;\r\n name*0*=utf-8''%C3%84;\r\n name*1=\"" + b"n" * 300 + b"\";\r\n name*2*=%E2%82%AC\r\n\r\ntext\r\n"


def whitespace(rng, n):
    return head(rng, n, subject=b"   trailing and leading   ") + b" \r\n" + b"  \r\n\t\r\ntext   \r\n\x0b\x0c\r\n"


def flowed(rng, n):
    return head(rng, n) + leaf(b"text/plain; format=flowed; delsp=yes", b"> quoted \r\n> more\r\n from stuffed\r\n-- \r\nsig\r\n")


def labels(rng, n):
    return b"X-SurgeWeb-Label: %s\r\n" % (b"work", b"home", b"old")[n % 3] + b"Message-ID: <labelled@example.org>\r\nFrom: a@b\r\nSubject: label\r\n\r\nthe same body\r\n"


USUAL = (plain, html, attachment, plain, charset, plain)
SHAPES = [html, attachment, over_one_mib, forwarded, nested, many_parts, broken_boundary, charset, unknown_charset, raw_eight_bit_headers, utf8_headers,
          split_encoded_words, bare_lf, mixed_ends, bare_cr, nul, nul_in_head, control, long_lines, very_long_line, huge_head, many_recipients, long_header_line,
          odd_folding, empty_body, header_only, no_header, one_octet, only_line_end, no_last_line_end, many_blank_lines, no_message_id, no_message_id,
          same_identity_other_body, same_identity_other_body, exact_duplicate, exact_duplicate, exact_duplicate, odd_identity, odd_date, empty_sender, no_sender,
          from_lines, dots, protocol_words, store_headers, uuencoded, binary, winmail, calendar, signed, encrypted, bounce, receipt, partial, long_parameters,
          whitespace, flowed, labels, labels]
# What several servers alter or refuse in an APPEND: delivered only when asked for, or straight into files.
ALTERED = {bare_lf, mixed_ends, nul, nul_in_head}
