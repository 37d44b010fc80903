"""What the EWS server of the tests keeps: mailboxes with folders and items, in memory, and how it builds a message anew."""

import base64
import datetime
import email
import email.encoders
import email.generator
import email.message
import email.policy
import hashlib
import io
import os

WELL_KNOWN = [("inbox", "Posteingang", "IPF.Note"), ("drafts", "Entwürfe", "IPF.Note"), ("sentitems", "Gesendete Elemente", "IPF.Note"),
              ("deleteditems", "Gelöschte Elemente", "IPF.Note"), ("junkemail", "Junk-E-Mail", "IPF.Note"), ("outbox", "Postausgang", "IPF.Note"),
              ("calendar", "Kalender", "IPF.Appointment"), ("contacts", "Kontakte", "IPF.Contact"), ("tasks", "Aufgaben", "IPF.Task"),
              ("notes", "Notizen", "IPF.StickyNote"), ("journal", "Journal", "IPF.Journal")]


def now():
    return datetime.datetime.now(datetime.timezone.utc)


def stamp(at):
    return at.astimezone(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def opaque(*words):
    return base64.b64encode("|".join(str(w) for w in words).encode()).decode()


class Refused(Exception):
    def __init__(self, code, text="", values=()):
        super().__init__(code)
        self.code, self.text, self.values = code, text or code, values


class Fault(Refused):
    """The request as a whole."""


class Folder:
    def __init__(self, id, parent, name, kind, known=None):
        self.id, self.parent, self.name, self.kind, self.known = id, parent, name, kind, known
        self.properties, self.items, self.log = {}, {}, []
        self.deleted, self.committed = 0, now()


class Item:
    def __init__(self, id, folder):
        self.id, self.folder, self.key = id, folder, 1
        self.mime, self.kind = None, "IPM.Note"
        self.properties, self.categories = {}, []
        self.subject, self.created, self.received, self.message_id = "", now(), None, None
        self.read, self.sent = True, None
        # Of a contact: path of elements and keys to text; and its notes.
        self.contact, self.body, self.attachments = {}, None, 0

    def size(self):
        return len(self.mime or b"") + 300

    def flags(self):
        return (int(self.properties.get("0x0E07", "8")) & ~1) | int(self.read)

    def tag(self):
        for kind, tag in (("IPM.Appointment", "CalendarItem"), ("IPM.Contact", "Contact"), ("IPM.DistList", "DistributionList"), ("IPM.Task", "Task")):
            if self.kind.startswith(kind):
                return tag
        return "Message"


class Mailbox:
    def __init__(self, user):
        self.user, self.serial, self.folders = user, 0, {}
        # Rules by their ids, as XML; out-of-office as nobody has set it.
        self.rules = {}
        self.away = {"OofState": "Disabled", "ExternalAudience": "All", "StartTime": "2026-01-01T00:00:00Z", "EndTime": "2026-01-02T00:00:00Z", "InternalReply": "", "ExternalReply": ""}
        top = self.add(None, "root", None, "root")
        self.root = self.add(top.id, "Oberste Ebene des Informationsspeichers", None, "msgfolderroot")
        for known, name, kind in WELL_KNOWN:
            self.add(self.root.id, name, kind, known)

    def next(self):
        self.serial += 1
        return self.serial

    def add(self, parent, name, kind, known=None):
        folder = Folder(opaque("F", self.user, self.next(), os.urandom(6).hex()), parent, name, kind, known)
        self.folders[folder.id] = folder
        return folder

    def changed(self, folder, kind, id):
        folder.log.append((self.next(), kind, id))
        folder.committed = now()

    def octets(self):
        return sum(i.size() for f in self.folders.values() for i in f.items.values())


def rebuilt(octets):
    """As a store that keeps fields and parts, not octets: encodings, boundaries, folding and the order of fields are its own."""
    message = email.message_from_bytes(octets)
    def part(node, depth=0):
        if node.is_multipart() and node.get_content_maintype() == "multipart":
            made = email.message.Message()
            made["Content-Type"] = "%s; boundary=\"_%03d_%s_\"" % (node.get_content_type(), depth, hashlib.sha256(octets).hexdigest()[:24])
            for n, one in enumerate(node.get_payload()):
                made.attach(part(one, depth * 10 + n + 1))
            return made
        made = email.message.Message()
        if node.get_content_maintype() == "message" and node.is_multipart():
            made["Content-Type"] = node.get_content_type()
            made.set_payload([node.get_payload(0)])
            return made
        payload = node.get_payload(decode=True) or b""
        for name in ("Content-Type", "Content-Disposition", "Content-ID"):
            if name in node:
                made[name] = " ".join(str(node[name]).split())
        if node.get_content_maintype() == "text" and b"\0" not in payload:
            made.set_payload(payload)
            email.encoders.encode_quopri(made)
        else:
            made.set_payload(payload)
            email.encoders.encode_base64(made)
        return made
    try:
        made = part(message)
        out = email.message.Message()
        for name, value in message.items():
            if name.lower() in ("received", "to", "cc", "from", "subject", "date", "message-id", "references", "in-reply-to", "reply-to", "sender", "bcc") or name.lower().startswith("x-"):
                out[name] = value
        for name, value in made.items():
            out[name] = value
        out["MIME-Version"] = "1.0"
        out["X-MS-Has-Attach"] = "yes" if made.is_multipart() else ""
        out["X-MS-Exchange-Organization-AuthAs"] = "Internal"
        out._payload = made._payload
        held = io.BytesIO()
        email.generator.BytesGenerator(held, policy=email.policy.compat32.clone(max_line_length=76, linesep="\r\n")).flatten(out)
        return held.getvalue()
    except Exception:
        return octets
