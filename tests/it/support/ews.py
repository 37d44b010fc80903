#!/usr/bin/python3
"""A server of Exchange Web Services for tests. It is no Exchange: it keeps folders and items in memory and answers by the rules of Microsoft's reference.

    ews.py --schema FOLDER --port-file FILE [--violations FILE] [--version 2007|2010|2013]

FOLDER holds messages.xsd and types.xsd of Microsoft. Each request is held against them, as Exchange does (ErrorSchemaValidation), and each of its own answers,
too: what does not fit is written to --violations. A message is taken apart and built anew when it is read, unless `exact` is set.

Anybody logs in with the password `secret` (Basic, or as a bearer token); whom the account `mover` names by ExchangeImpersonation, it is. POST /control takes JSON:
    drop F    a field of contacts that is never kept, as `OfficeLocation`
    lose N    the next N CreateItem (UpdateInboxRules, SetUserOofSettings) are done, and the connection is closed without an answer
    late S    ... and done only S seconds after it was closed
    cut N     the next N answers end in their middle
    busy N    the next N requests are put off (ErrorServerBusy, with `backoff` milliseconds)
    stale N   the next N sync states are not known any more
    quota, largest    octets of a mailbox, of a message
    exact     messages are given back as they came
    alter N   the next N messages that are read say something else
    count     nothing; the answer says how often each operation was asked for
    outlook   Outlook keeps rules of its own in every mailbox
    refuse W  rules with this word in their name are refused
POST /rules?user=.. takes rules as XML, behind those that are there, and gives all of them as JSON: name to XML.
POST /items?user=.. adds an item that is no mail: {"folder": name, "class": "IPM.Appointment", "subject": .., "attachments": 0}.
"""

import argparse
import base64
import collections
import datetime
import email
import hashlib
import http.server
import json
import os
import socket
import sys
import threading
import time
import urllib.parse

from ews_store import Fault, Item, Mailbox, Refused, opaque, rebuilt, stamp
from lxml import etree

SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
T = "http://schemas.microsoft.com/exchange/services/2006/types"
M = "http://schemas.microsoft.com/exchange/services/2006/messages"
E = "http://schemas.microsoft.com/exchange/services/2006/errors"
VERSIONS = {"2007": ("Exchange2007_SP1", 8, 1), "2010": ("Exchange2010_SP2", 14, 2), "2013": ("Exchange2013", 15, 0)}
ORDER = ["Exchange2007", "Exchange2007_SP1", "Exchange2010", "Exchange2010_SP1", "Exchange2010_SP2", "Exchange2013"]
ITEM_FIELDS = "MimeContent ItemId ParentFolderId ItemClass Subject Sensitivity Body Attachments DateTimeReceived Size Categories Importance IsDraft DateTimeSent DateTimeCreated HasAttachments ExtendedProperty LastModifiedTime InternetMessageId IsRead".split()

CONTACT_FIELDS = ("FileAs FileAsMapping DisplayName GivenName Initials MiddleName Nickname CompanyName EmailAddresses PhysicalAddresses PhoneNumbers AssistantName Birthday BusinessHomePage"
                  " Children Department Generation ImAddresses JobTitle Manager Mileage OfficeLocation Profession SpouseName Surname WeddingAnniversary").split()
DICTIONARIES = {"contacts:EmailAddress": "EmailAddresses", "contacts:PhoneNumber": "PhoneNumbers", "contacts:ImAddress": "ImAddresses", "contacts:PhysicalAddress": "PhysicalAddresses"}
ADDRESS = ["Street", "City", "State", "CountryOrRegion", "PostalCode"]


def t(name, text=None, **attributes):
    node = etree.Element("{%s}%s" % (T, name), **attributes)
    node.text = text
    return node


def local(node):
    return etree.QName(node).localname


def kid(node, name):
    return next((c for c in node if local(c) == name), None) if node is not None else None


class Exchange:
    def __init__(self, args):
        self.lock = threading.RLock()
        self.version = VERSIONS[args.version]
        self.schema = etree.XMLSchema(etree.parse(os.path.join(args.schema, "messages.xsd")))
        self.violations = args.violations
        self.mailboxes, self.control, self.counts = {}, {}, collections.Counter()

    def violation(self, what, text):
        if self.violations:
            with open(self.violations, "a") as file:
                file.write("%s: %s\n" % (what, text))

    def mailbox(self, user):
        name = user.lower()
        if name.startswith("nobody"):
            raise Refused("ErrorNonExistentMailbox", "No mailbox with such guid or SMTP address.")
        return self.mailboxes.setdefault(name, Mailbox(name))

    def spend(self, name):
        if self.control.get(name, 0) > 0:
            self.control[name] -= 1
            return True
        return False


class Call:
    """One request: whose it is, and what it asks."""

    def __init__(self, server, user):
        self.server, self.user, self.box = server, user, None

    def run(self, envelope):
        server = self.server
        header, body = envelope.find("{%s}Header" % SOAP), envelope.find("{%s}Body" % SOAP)
        if body is None or len(body) != 1:
            raise Fault("ErrorSchemaValidation", "The request failed schema validation.")
        operation = body[0]
        for node in list(header if header is not None else []) + [operation]:
            # Of it the schema knows the server's own version only, and servers take those before it.
            if local(node) == "RequestServerVersion":
                continue
            if etree.QName(node).namespace in (T, M) and not server.schema.validate(etree.ElementTree(etree.fromstring(etree.tostring(node)))):
                server.violation("request", "%s: %s" % (local(node), server.schema.error_log))
                raise Fault("ErrorSchemaValidation", "The request failed schema validation: %s" % server.schema.error_log.last_error)
        asked = kid(header, "RequestServerVersion")
        version = asked.get("Version") if asked is not None else "Exchange2007"
        if version not in ORDER or ORDER.index(version) > ORDER.index(server.version[0]):
            raise Fault("ErrorInvalidServerVersion", "The specified server version is invalid.")
        acts = kid(header, "ExchangeImpersonation")
        owner = self.user
        if acts is not None:
            if self.user != "mover":
                raise Fault("ErrorImpersonateUserDenied", "The account does not have permission to impersonate the requested user.")
            owner = "".join(acts.itertext()).strip()
        name = local(operation)
        server.counts[name] += 1
        with server.lock:
            if server.spend("busy"):
                raise Fault("ErrorServerBusy", "The server cannot service this request right now. Try again later.", [("BackOffMilliseconds", str(server.control.get("backoff", 200)))])
        method = getattr(self, "do_" + name, None)
        if method is None:
            raise Fault("ErrorInvalidOperation", name)
        self.owner = owner
        with server.lock:
            return name, method(operation)

    def own(self):
        return self.server.mailbox(self.owner)

    def folder(self, node):
        if local(node) == "DistinguishedFolderId":
            who = kid(node, "Mailbox")
            if who is not None:
                owner = kid(who, "EmailAddress").text or ""
                if owner.lower() != self.owner.lower() and self.user != "mover":
                    raise Refused("ErrorFolderNotFound", "The specified folder could not be found in the store.")
                box = self.server.mailbox(owner)
            else:
                box = self.own()
            known = node.get("Id")
            found = next((f for f in box.folders.values() if f.known == known), None)
        else:
            box, found = None, None
            for box in self.server.mailboxes.values():
                if node.get("Id") in box.folders:
                    found = box.folders[node.get("Id")]
                    break
        if found is None:
            raise Refused("ErrorFolderNotFound", "The specified folder could not be found in the store.")
        return box, found

    def item(self, node):
        id = node.get("Id")
        for box in self.server.mailboxes.values():
            for folder in box.folders.values():
                if id in folder.items:
                    return box, folder, folder.items[id]
        try:
            ours = base64.b64decode(id, validate=True).startswith(b"I|")
        except ValueError:
            ours = False
        if not ours:
            raise Refused("ErrorInvalidIdMalformed", "Id is malformed.")
        raise Refused("ErrorItemNotFound", "The specified object was not found in the store.")

    # Answers.

    def message(self, operation, content=(), refused=None):
        node = etree.Element("{%s}%sResponseMessage" % (M, operation), ResponseClass="Error" if refused else "Success")
        if refused:
            etree.SubElement(node, "{%s}MessageText" % M).text = refused.text
        etree.SubElement(node, "{%s}ResponseCode" % M).text = refused.code if refused else "NoError"
        if refused:
            etree.SubElement(node, "{%s}DescriptiveLinkKey" % M).text = "0"
            if refused.values:
                xml = etree.SubElement(node, "{%s}MessageXml" % M)
                for name, value in refused.values:
                    etree.SubElement(xml, "{%s}Value" % T, Name=name).text = value
        for one in content:
            node.append(one)
        return node

    def each(self, operation, nodes, work, empty):
        """One response message a node. `empty` makes what an error's message must hold."""
        messages = []
        for node in nodes:
            try:
                messages.append(self.message(operation, work(node)))
            except Refused as refused:
                if isinstance(refused, Fault):
                    raise
                messages.append(self.message(operation, [empty()] if empty else [], refused))
        return messages

    def listed(self, name, nodes):
        made = etree.Element("{%s}%s" % (M, name))
        made.extend(nodes)
        return made

    def wanted(self, shape):
        base = kid(shape, "BaseShape").text
        fields, extended = {"ItemId", "FolderId"}, []
        if base in ("Default", "AllProperties"):
            fields |= {"Subject", "DateTimeReceived", "DateTimeSent", "Size", "IsRead", "ItemClass", "DisplayName", "TotalCount", "ChildFolderCount", "HasAttachments", "IsDraft", "Importance", "Sensitivity", "DateTimeCreated"}
        if base == "AllProperties":
            fields |= {"ParentFolderId", "FolderClass", "Categories", "InternetMessageId", "LastModifiedTime"}
        for one in kid(shape, "AdditionalProperties") if kid(shape, "AdditionalProperties") is not None else []:
            if local(one) == "FieldURI":
                fields.add(one.get("FieldURI").split(":")[1])
            elif local(one) == "IndexedFieldURI":
                fields.add(DICTIONARIES[":".join(one.get("FieldURI").split(":")[:2])])
            elif local(one) == "ExtendedFieldURI":
                extended.append(one)
        mime = kid(shape, "IncludeMimeContent")
        if mime is not None and mime.text == "true":
            fields.add("MimeContent")
        return fields, extended

    @staticmethod
    def key(uri):
        if uri.get("PropertyTag"):
            return "0x%04X" % int(uri.get("PropertyTag"), 0)
        return "%s/%s" % ((uri.get("PropertySetId") or uri.get("DistinguishedPropertySetId")).lower(), uri.get("PropertyName") or uri.get("PropertyId"))

    def property(self, uri, value):
        node = t("ExtendedProperty")
        node.append(t("ExtendedFieldURI", **{k: (hex(int(v, 0)) if k == "PropertyTag" else v) for k, v in uri.attrib.items()}))
        node.append(t("Value", value))
        return node

    def item_node(self, item, fields, extended, brief=False):
        node = t(item.tag())
        values = {
            "ItemClass": item.kind, "Subject": item.subject, "Sensitivity": "Normal", "Size": str(item.size()), "Importance": "Normal",
            "IsDraft": str(bool(item.flags() & 8)).lower(), "DateTimeCreated": stamp(item.created),
            "HasAttachments": str(b"multipart/mixed" in (item.mime or b"")).lower(), "LastModifiedTime": stamp(item.created), "InternetMessageId": item.message_id,
            "DateTimeReceived": stamp(item.received or item.created), "DateTimeSent": stamp(item.sent or item.received or item.created), "IsRead": str(item.read).lower(),
        }
        if item.tag() != "Message":
            for name in ("IsRead", "InternetMessageId"):
                values[name] = None
        for name in ITEM_FIELDS:
            if name not in fields and name != "ExtendedProperty":
                continue
            if name == "MimeContent" and item.mime is not None:
                octets = item.mime if self.server.control.get("exact") else rebuilt(item.mime)
                if self.server.spend("alter"):
                    octets = octets.replace(b"Subject: ", b"Subject: not ", 1)
                node.append(t("MimeContent", base64.b64encode(octets).decode(), CharacterSet="UTF-8"))
            elif name == "ItemId":
                node.append(t("ItemId", Id=item.id, ChangeKey=opaque("C", item.key)))
            elif name == "ParentFolderId":
                node.append(t("ParentFolderId", Id=item.folder.id, ChangeKey=opaque("C", 1)))
            elif name == "Categories":
                if item.categories:
                    held = t("Categories")
                    held.extend(t("String", c) for c in item.categories)
                    node.append(held)
            elif name == "ExtendedProperty":
                for uri in extended:
                    value = item.properties.get(self.key(uri))
                    value = str(item.flags()) if self.key(uri) == "0x0E07" else value
                    if value is not None:
                        # A listing cuts long texts off.
                        node.append(self.property(uri, value[:255] if brief else value))
            elif name == "Body":
                if item.body is not None and not brief:
                    node.append(t("Body", item.body, BodyType="Text"))
            elif name == "Attachments":
                if item.attachments and not brief:
                    held = t("Attachments")
                    for n in range(item.attachments):
                        held.append(t("FileAttachment"))
                        held[-1].append(t("AttachmentId", Id=opaque("A", item.id, n)))
                        held[-1].append(t("Name", "ContactPicture.jpg"))
                    node.append(held)
            elif values.get(name) is not None:
                node.append(t(name, values[name]))
        if item.tag() == "Contact":
            node.extend(self.contact_nodes(item, fields))
        return node

    @staticmethod
    def contact_nodes(item, fields):
        for name in CONTACT_FIELDS:
            held = {path[1:]: value for path, value in item.contact.items() if path[0] == name}
            if name not in fields or not held:
                continue
            if () in held:
                yield t(name, held[()])
                continue
            made = t(name)
            if name == "Children":
                made.extend(t("String", one) for one in held[("all",)].split("\n"))
            elif name == "PhysicalAddresses":
                for key in sorted({path[0] for path in held}):
                    entry = t("Entry", Key=key)
                    entry.extend(t(part, held[(key, part)]) for part in ADDRESS if (key, part) in held)
                    made.append(entry)
            else:
                made.extend(t("Entry", value, Key=path[0]) for path, value in sorted(held.items()))
            yield made

    def set_contact(self, item, name, field):
        """A field of a contact; of a dictionary the entries that are named."""
        if self.server.control.get("drop") == name:
            return
        if name == "Children":
            item.contact[(name, "all")] = "\n".join(c.text or "" for c in field)
        elif name == "PhysicalAddresses":
            for entry in field:
                for part in entry:
                    item.contact[(name, entry.get("Key"), local(part))] = part.text or ""
        elif name in DICTIONARIES.values():
            for entry in field:
                item.contact[(name, entry.get("Key"))] = entry.text or ""
        elif name in ("Birthday", "WeddingAnniversary"):
            at = datetime.datetime.fromisoformat(field.text.replace("Z", "+00:00"))
            item.contact[(name,)] = stamp(at if at.tzinfo else at.replace(tzinfo=datetime.timezone.utc))
        else:
            item.contact[(name,)] = field.text or ""

    def folder_node(self, box, folder, fields, extended):
        tags = {"IPF.Appointment": "CalendarFolder", "IPF.Contact": "ContactsFolder", "IPF.Task": "TasksFolder"}
        node = t(tags.get(folder.kind, "Folder"))
        values = {"FolderClass": folder.kind, "DisplayName": folder.name, "TotalCount": str(len(folder.items)),
                  "ChildFolderCount": str(sum(f.parent == folder.id for f in box.folders.values()))}
        node.append(t("FolderId", Id=folder.id, ChangeKey=opaque("C", 1)))
        for name in ("ParentFolderId", "FolderClass", "DisplayName", "TotalCount", "ChildFolderCount"):
            if name not in fields:
                continue
            if name == "ParentFolderId":
                if folder.parent:
                    node.append(t("ParentFolderId", Id=folder.parent, ChangeKey=opaque("C", 1)))
            elif values[name] is not None:
                node.append(t(name, values[name]))
        for uri in extended:
            key = self.key(uri)
            value = {"0x670A": folder.committed.strftime("%Y-%m-%dT%H:%M:%S.%fZ"), "0x670B": str(folder.deleted)}.get(key, folder.properties.get(key))
            if value is not None:
                node.append(self.property(uri, value))
        return node

    # Folders.

    def do_GetFolder(self, op):
        fields, extended = self.wanted(kid(op, "FolderShape"))
        def work(node):
            box, folder = self.folder(node)
            return [self.listed("Folders", [self.folder_node(box, folder, fields, extended)])]
        return self.each("GetFolder", kid(op, "FolderIds"), work, lambda: self.listed("Folders", []))

    @staticmethod
    def page(op, name, all):
        view = kid(op, name)
        offset = int(view.get("Offset")) if view is not None else 0
        most = int(view.get("MaxEntriesReturned") or 1000) if view is not None else 1000
        part = all[offset:offset + min(most, 1000)]
        last = offset + len(part) >= len(all)
        return part, {"IndexedPagingOffset": str(offset + len(part)), "TotalItemsInView": str(len(all)), "IncludesLastItemInRange": str(last).lower()}

    def do_FindFolder(self, op):
        fields, extended = self.wanted(kid(op, "FolderShape"))
        deep = op.get("Traversal") == "Deep"
        def work(node):
            box, top = self.folder(node)
            def below(id):
                for folder in [f for f in box.folders.values() if f.parent == id]:
                    yield folder
                    if deep:
                        yield from below(folder.id)
            part, attributes = self.page(op, "IndexedPageFolderView", list(below(top.id)))
            root = etree.Element("{%s}RootFolder" % M, **attributes)
            held = etree.SubElement(root, "{%s}Folders" % T)
            held.extend(self.folder_node(box, f, fields, extended) for f in part)
            return [root]
        return self.each("FindFolder", kid(op, "ParentFolderIds"), work, None)

    def do_CreateFolder(self, op):
        box, parent = self.folder(kid(op, "ParentFolderId")[0])
        def work(node):
            name = kid(node, "DisplayName").text or ""
            if any(f.parent == parent.id and f.name.lower() == name.lower() for f in box.folders.values()):
                raise Refused("ErrorFolderExists", "A folder with the specified name already exists.")
            kind = kid(node, "FolderClass")
            made = box.add(parent.id, name, kind.text if kind is not None else "IPF.Note")
            return [self.listed("Folders", [self.folder_node(box, made, set(), [])])]
        return self.each("CreateFolder", kid(op, "Folders"), work, lambda: self.listed("Folders", []))

    def do_UpdateFolder(self, op):
        def work(change):
            box, folder = self.folder(change[0])
            for update in change[1]:
                uri, value = update[0], update[1][0] if len(update) > 1 else None
                if local(uri) == "FieldURI" and uri.get("FieldURI") == "folder:DisplayName":
                    if any(f is not folder and f.parent == folder.parent and f.name.lower() == (value.text or "").lower() for f in box.folders.values()):
                        raise Refused("ErrorFolderExists", "A folder with the specified name already exists.")
                    folder.name = value.text or ""
                elif local(uri) == "FieldURI" and uri.get("FieldURI") == "folder:FolderClass" and value is not None:
                    folder.kind = value.text
                elif local(uri) == "ExtendedFieldURI":
                    if value is None:
                        folder.properties.pop(self.key(uri), None)
                    else:
                        folder.properties[self.key(uri)] = kid(value, "Value").text or ""
                else:
                    raise Refused("ErrorInvalidPropertySet", "The property cannot be set.")
            return [self.listed("Folders", [self.folder_node(box, folder, set(), [])])]
        return self.each("UpdateFolder", kid(op, "FolderChanges"), work, lambda: self.listed("Folders", []))

    def do_MoveFolder(self, op):
        _, to = self.folder(kid(op, "ToFolderId")[0])
        def work(node):
            box, folder = self.folder(node)
            if folder.known:
                raise Refused("ErrorMoveDistinguishedFolder", "Distinguished folders cannot be moved.")
            if any(f.parent == to.id and f.name.lower() == folder.name.lower() for f in box.folders.values()):
                raise Refused("ErrorFolderExists", "A folder with the specified name already exists.")
            folder.parent = to.id
            return [self.listed("Folders", [self.folder_node(box, folder, set(), [])])]
        return self.each("MoveFolder", kid(op, "FolderIds"), work, lambda: self.listed("Folders", []))

    def do_DeleteFolder(self, op):
        def work(node):
            box, folder = self.folder(node)
            if folder.known:
                raise Refused("ErrorDeleteDistinguishedFolder", "Distinguished folders cannot be deleted.")
            def drop(id):
                for one in [f.id for f in box.folders.values() if f.parent == id]:
                    drop(one)
                del box.folders[id]
            drop(folder.id)
            return []
        return self.each("DeleteFolder", kid(op, "FolderIds"), work, None)

    def do_ConvertId(self, op):
        """Ids stay as they are; clients learn the mailbox's address so."""
        def work(node):
            made = etree.Element("{%s}AlternateId" % M, nsmap={"t": T})
            made.set("{http://www.w3.org/2001/XMLSchema-instance}type", "t:AlternateIdType")
            for name, value in (("Format", op.get("DestinationFormat")), ("Id", node.get("Id")), ("Mailbox", self.owner)):
                made.set(name, value)
            return [made]
        return self.each("ConvertId", kid(op, "SourceIds"), work, None)

    # Items.

    def matches(self, item, node):
        kind = local(node)
        if kind in ("And", "Or"):
            return (all if kind == "And" else any)(self.matches(item, c) for c in node)
        if kind == "Not":
            return not self.matches(item, node[0])
        uri = node[0]
        if local(uri) == "ExtendedFieldURI":
            value = item.properties.get(self.key(uri))
        else:
            value = {"item:Subject": item.subject, "item:ItemClass": item.kind, "message:IsRead": str(item.read).lower(), "message:InternetMessageId": item.message_id}.get(uri.get("FieldURI"))
        if kind == "Exists":
            return value is not None
        if kind in ("IsEqualTo", "IsNotEqualTo"):
            constant = node.find(".//{%s}Constant" % T).get("Value")
            return (value == constant) == (kind == "IsEqualTo")
        raise Refused("ErrorUnsupportedPathForQuery", kind)

    def do_FindItem(self, op):
        fields, extended = self.wanted(kid(op, "ItemShape"))
        fields.discard("MimeContent")
        def work(node):
            _, folder = self.folder(node)
            wanted = kid(op, "Restriction")
            found = [i for i in folder.items.values() if wanted is None or self.matches(i, wanted[0])]
            part, attributes = self.page(op, "IndexedPageItemView", found)
            root = etree.Element("{%s}RootFolder" % M, **attributes)
            held = etree.SubElement(root, "{%s}Items" % T)
            held.extend(self.item_node(i, fields, extended, brief=True) for i in part)
            return [root]
        return self.each("FindItem", kid(op, "ParentFolderIds"), work, None)

    def do_GetItem(self, op):
        fields, extended = self.wanted(kid(op, "ItemShape"))
        def work(node):
            item = self.item(node)[2]
            if "MimeContent" in fields and item.kind.startswith("IPM.Task"):
                raise Refused("ErrorUnsupportedMimeConversion", "The item cannot be converted.")
            return [self.listed("Items", [self.item_node(item, fields, extended)])]
        return self.each("GetItem", kid(op, "ItemIds"), work, lambda: self.listed("Items", []))

    def do_SyncFolderItems(self, op):
        fields, extended = self.wanted(kid(op, "ItemShape"))
        try:
            box, folder = self.folder(kid(op, "SyncFolderId")[0])
        except Refused as refused:
            if refused.code == "ErrorFolderNotFound":
                refused = Refused("ErrorSyncFolderNotFound", refused.text)
            return [self.message("SyncFolderItems", [], refused)]
        state = kid(op, "SyncState")
        since, upto = 0, None
        if state is not None and state.text:
            try:
                kind, of, since = base64.b64decode(state.text).decode().split("|")
                since = int(since)
            except ValueError:
                kind, of = None, None
            if kind != "S" or of != hashlib.sha256(folder.id.encode()).hexdigest()[:16] or self.server.spend("stale"):
                return [self.message("SyncFolderItems", [], Refused("ErrorInvalidSyncStateData", "Synchronization state data is corrupt or otherwise invalid."))]
        most = min(int(kid(op, "MaxChangesReturned").text), 512)
        latest = collections.OrderedDict()
        for at, kind, id in folder.log:
            if at > since:
                before = latest.pop(id, None)
                first = before[2] if before else kind
                latest[id] = (at, kind, first)
        changes = list(latest.items())
        part, last = changes[:most], len(changes) <= most
        upto = part[-1][1][0] if part and not last else box.serial
        out = etree.Element("{%s}Changes" % M)
        for id, (at, kind, first) in part:
            if id not in folder.items:
                if first != "Create" or since:
                    out.append(t("Delete"))
                    out[-1].append(t("ItemId", Id=id, ChangeKey=opaque("C", 1)))
                continue
            item = folder.items[id]
            if first == "ReadFlagChange" and kind == "ReadFlagChange":
                change = t("ReadFlagChange")
                change.append(t("ItemId", Id=id, ChangeKey=opaque("C", item.key)))
                change.append(t("IsRead", str(item.read).lower()))
            else:
                change = t("Create" if first == "Create" else "Update")
                change.append(self.item_node(item, fields - {"MimeContent"}, extended))
            out.append(change)
        content = [etree.Element("{%s}SyncState" % M), etree.Element("{%s}IncludesLastItemInRange" % M), out]
        content[0].text = opaque("S", hashlib.sha256(folder.id.encode()).hexdigest()[:16], upto)
        content[1].text = str(last).lower()
        return [self.message("SyncFolderItems", content)]

    def do_CreateItem(self, op):
        if op.get("MessageDisposition") is None:
            raise Fault("ErrorMessageDispositionRequired", "Message disposition is required.")
        saved = kid(op, "SavedItemFolderId")
        try:
            box, folder = self.folder(saved[0]) if saved is not None else self.folder(t("DistinguishedFolderId", Id="drafts"))
        except Refused as refused:
            return [self.message("CreateItem", [self.listed("Items", [])], refused) for _ in kid(op, "Items")]
        def work(node):
            item = Item(opaque("I", self.owner, box.next(), os.urandom(9).hex()), folder)
            item.kind = {"Contact": "IPM.Contact"}.get(local(node), item.kind)
            mime = kid(node, "MimeContent")
            if mime is not None:
                try:
                    item.mime = base64.b64decode(mime.text or "", validate=True)
                except ValueError:
                    raise Refused("ErrorMimeContentInvalidBase64String", "The MIME content is no valid base64.")
                if not item.mime:
                    raise Refused("ErrorMimeContentInvalid", "The MIME content is invalid.")
                if len(item.mime) > self.server.control.get("largest", 1 << 40):
                    raise Refused("ErrorMessageSizeExceeded", "The message exceeds the maximum supported size.")
                parsed = email.message_from_bytes(item.mime[:200000])
                item.subject = str(parsed["subject"] or "")[:255].replace("\0", "")
                item.subject = "".join(c if c >= " " and not 0xD800 <= ord(c) < 0xE000 else " " for c in item.subject)
                item.message_id = "".join(c for c in str(parsed["message-id"] or "") if " " <= c <= "~") or None
                try:
                    sent = email.utils.parsedate_to_datetime(str(parsed["date"]))
                    item.sent = sent if sent.tzinfo else sent.replace(tzinfo=datetime.timezone.utc)
                    stamp(item.sent)
                except Exception:
                    item.sent = None
            if box.octets() + item.size() > self.server.control.get("quota", 1 << 50):
                raise Refused("ErrorQuotaExceeded", "The mailbox is over its quota.")
            for field in node:
                self.set(item, local(field), field, True)
            folder.items[item.id] = item
            box.changed(folder, "Create", item.id)
            return [self.listed("Items", [self.item_node(item, {"ItemId"}, [])])]
        return self.each("CreateItem", kid(op, "Items"), work, lambda: self.listed("Items", []))

    def set(self, item, name, field, creates):
        if name == "ExtendedProperty":
            key, value = self.key(kid(field, "ExtendedFieldURI")), kid(field, "Value").text or ""
            if key == "0x0E07":
                if not creates:
                    raise Refused("ErrorInvalidPropertySet", "PidTagMessageFlags cannot be set after the message was saved.")
                item.read = bool(int(value) & 1)
            if key == "0x0E06":
                item.received = datetime.datetime.fromisoformat(value.replace("Z", "+00:00"))
                return
            item.properties[key] = value
        elif name == "IsRead":
            item.read = field.text == "true"
        elif name == "Categories":
            item.categories = [c.text for c in field]
        elif name == "ItemClass":
            item.kind = field.text
        elif name == "Subject":
            item.subject = field.text or ""
        elif item.tag() == "Contact" and name in CONTACT_FIELDS:
            self.set_contact(item, name, field)
        elif name == "Body":
            item.body = field.text or ""
        elif name in ("MimeContent", "PostalAddressIndex", "ToRecipients", "Sensitivity", "Importance", "Culture", "ReminderIsSet", "IsReadReceiptRequested", "IsDeliveryReceiptRequested", "IsResponseRequested") or name.startswith("Reminder"):
            pass
        else:
            raise Refused("ErrorInvalidPropertySet", name)

    def do_UpdateItem(self, op):
        if op.get("MessageDisposition") is None:
            raise Fault("ErrorMessageDispositionRequired", "Message disposition is required.")
        how = op.get("ConflictResolution")
        def work(change):
            box, folder, item = self.item(change[0])
            key = change[0].get("ChangeKey")
            if how != "AlwaysOverwrite" and key is None:
                raise Refused("ErrorChangeKeyRequiredForWriteOperations", "A change key is required.")
            if (how == "NeverOverwrite" and key != opaque("C", item.key)) or self.server.spend("conflict"):
                raise Refused("ErrorIrresolvableConflict", "The send or update operation could not be performed because the change key is out of date.")
            if box.octets() > self.server.control.get("quota", 1 << 50):
                raise Refused("ErrorQuotaExceeded", "The mailbox is over its quota.")
            read_only = True
            for update in change[1]:
                uri = update[0]
                value = update[1][0] if len(update) > 1 and len(update[1]) else None
                read_only &= uri.get("FieldURI") == "message:IsRead"
                if local(update) == "SetItemField":
                    self.set(item, local(value), value, False)
                elif local(uri) == "ExtendedFieldURI":
                    item.properties.pop(self.key(uri), None)
                elif uri.get("FieldURI") == "item:Categories":
                    item.categories = []
                elif uri.get("FieldURI") == "item:Body":
                    item.body = None
                elif local(uri) == "IndexedFieldURI":
                    words = uri.get("FieldURI").split(":")
                    item.contact.pop((DICTIONARIES[":".join(words[:2])], uri.get("FieldIndex"), *words[2:]), None)
                elif (uri.get("FieldURI") or "").startswith("contacts:"):
                    gone = uri.get("FieldURI").split(":")[1]
                    item.contact = {path: value for path, value in item.contact.items() if path[0] != gone}
                else:
                    raise Refused("ErrorInvalidPropertyDelete", uri.get("FieldURI"))
            item.key += 1
            box.changed(folder, "ReadFlagChange" if read_only else "Update", item.id)
            conflicts = etree.Element("{%s}ConflictResults" % M)
            conflicts.append(t("Count", "0"))
            return [self.listed("Items", [self.item_node(item, {"ItemId"}, [])]), conflicts]
        return self.each("UpdateItem", kid(op, "ItemChanges"), work, lambda: self.listed("Items", []))

    def do_DeleteItem(self, op):
        def work(node):
            box, folder, item = self.item(node)
            del folder.items[item.id]
            folder.deleted += 1
            box.changed(folder, "Delete", item.id)
            if op.get("DeleteType") == "MoveToDeletedItems":
                bin = next(f for f in box.folders.values() if f.known == "deleteditems")
                item.id, item.folder = opaque("I", self.owner, box.next(), os.urandom(9).hex()), bin
                bin.items[item.id] = item
                box.changed(bin, "Create", item.id)
            return []
        return self.each("DeleteItem", kid(op, "ItemIds"), work, None)


    # Beside mail.

    def addressed(self, address):
        if (address or "").lower() != self.owner.lower() and self.user != "mover":
            raise Refused("ErrorAccessDenied", "Access is denied. Check credentials and try again.")
        return self.server.mailbox(address)

    @staticmethod
    def responded(refused=None):
        node = etree.Element("{%s}ResponseMessage" % M, ResponseClass="Error" if refused else "Success")
        if refused:
            etree.SubElement(node, "{%s}MessageText" % M).text = refused.text
        etree.SubElement(node, "{%s}ResponseCode" % M).text = refused.code if refused else "NoError"
        return node

    def do_GetUserOofSettingsRequest(self, op):
        answer = etree.Element("{%s}GetUserOofSettingsResponse" % M, nsmap={"m": M, "t": T})
        try:
            box = self.addressed(kid(op[0], "Address").text)
        except Refused as refused:
            answer.append(self.responded(refused))
            return answer
        answer.append(self.responded())
        said = t("OofSettings")
        for name in ("OofState", "ExternalAudience"):
            said.append(t(name, box.away[name]))
        said.append(t("Duration"))
        for name in ("StartTime", "EndTime"):
            said[-1].append(t(name, box.away[name]))
        for name in ("InternalReply", "ExternalReply"):
            said.append(t(name))
            # It is written anew, as a page.
            said[-1].append(t("Message", box.away[name].replace("<br>", "<br>\r\n").replace("<div>", "<div dir=\"ltr\">")))
        answer.append(said)
        etree.SubElement(answer, "{%s}AllowExternalOof" % M).text = "All"
        return answer

    def do_SetUserOofSettingsRequest(self, op):
        answer = etree.Element("{%s}SetUserOofSettingsResponse" % M, nsmap={"m": M, "t": T})
        try:
            box, said = self.addressed(kid(op[0], "Address").text), op[1]
            times = kid(said, "Duration")
            if kid(said, "OofState").text == "Scheduled":
                if times is None or not kid(times, "StartTime").text < kid(times, "EndTime").text or kid(times, "EndTime").text < stamp(datetime.datetime.now(datetime.timezone.utc)):
                    raise Refused("ErrorInvalidUserOofSettings", "The duration is invalid.")
            for name in ("OofState", "ExternalAudience"):
                box.away[name] = kid(said, name).text
            for name in ("StartTime", "EndTime") if times is not None else ():
                box.away[name] = kid(times, name).text
            for name in ("InternalReply", "ExternalReply"):
                reply = kid(said, name)
                box.away[name] = (kid(reply, "Message").text or "") if reply is not None and kid(reply, "Message") is not None else ""
            answer.append(self.responded())
        except Refused as refused:
            answer.append(self.responded(refused))
        return answer

    def ruled(self, op, name):
        if self.server.version[1] < 14:
            raise Fault("ErrorInvalidServerVersion", name)
        return self.addressed(kid(op, "MailboxSmtpAddress").text)

    def do_GetInboxRules(self, op):
        answer = etree.Element("{%s}GetInboxRulesResponse" % M, nsmap={"m": M, "t": T}, ResponseClass="Success")
        box = self.ruled(op, "GetInboxRules")
        etree.SubElement(answer, "{%s}ResponseCode" % M).text = "NoError"
        etree.SubElement(answer, "{%s}OutlookRuleBlobExists" % M).text = str(bool(self.server.control.get("outlook"))).lower()
        if box.rules:
            held = etree.SubElement(answer, "{%s}InboxRules" % M)
            held.extend(etree.fromstring(rule) for rule in box.rules.values())
        return answer

    def do_UpdateInboxRules(self, op):
        answer = etree.Element("{%s}UpdateInboxRulesResponse" % M, nsmap={"m": M, "t": T}, ResponseClass="Success")
        box = self.ruled(op, "UpdateInboxRules")
        rules, errors = dict(box.rules), []
        def refuse(n, field, code):
            errors.append((n, field, code))
        for n, operation in enumerate(kid(op, "Operations")):
            if local(operation) == "DeleteRuleOperation":
                if rules.pop(operation[0].text, None) is None:
                    refuse(n, "RuleId", "RuleNotFound")
                continue
            rule = operation[0]
            if len(kid(rule, "Actions") if kid(rule, "Actions") is not None else []) == 0:
                refuse(n, "Actions", "MissingAction")
            if self.server.control.get("refuse") and self.server.control["refuse"] in kid(rule, "DisplayName").text:
                refuse(n, "DisplayName", "UnexpectedError")
            for id in rule.iter("{%s}FolderId" % T):
                if id.get("Id") not in box.folders:
                    refuse(n, "Action:MoveToFolder", "FolderDoesNotExist")
            id = opaque("R", box.user, box.next())
            rule.insert(0, t("RuleId", id))
            rules[id] = etree.tostring(rule)
        places = [kid(etree.fromstring(rule), "Priority").text for rule in rules.values()]
        if len(set(places)) != len(places):
            refuse(len(kid(op, "Operations")) - 1, "Priority", "DuplicatedPriority")
        if not errors:
            box.rules = rules
            etree.SubElement(answer, "{%s}ResponseCode" % M).text = "NoError"
            return answer
        answer.set("ResponseClass", "Error")
        etree.SubElement(answer, "{%s}MessageText" % M).text = "A validation error occurred while executing the rule operation."
        etree.SubElement(answer, "{%s}ResponseCode" % M).text = "ErrorInboxRulesValidationError"
        held = etree.SubElement(answer, "{%s}RuleOperationErrors" % M)
        for n, field, code in errors:
            one = etree.SubElement(held, "{%s}RuleOperationError" % T)
            one.append(t("OperationIndex", str(n)))
            one.append(t("ValidationErrors"))
            one[-1].append(t("Error"))
            for name, text in (("FieldURI", field), ("ErrorCode", code), ("ErrorMessage", "It cannot be."), ("FieldValue", "")):
                one[-1][-1].append(t(name, text))
        return answer


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def send(self, status, octets, kind="text/xml; charset=utf-8", **headers):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(octets)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(octets)

    def do_GET(self):
        """As Exchange does: nothing is shown to those who have not logged in. Some clients look whether it is there so."""
        known = (self.headers.get("Authorization") or "").startswith("Basic ")
        self.send(200 if known else 401, b"", WWW_Authenticate="Basic realm=\"ews\"")

    do_HEAD = do_GET

    def do_POST(self):
        server = self.server.exchange
        held = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        where = urllib.parse.urlsplit(self.path)
        if where.path == "/control":
            with server.lock:
                server.control.update(json.loads(held or b"{}"))
                return self.send(200, json.dumps(server.counts).encode(), "application/json")
        if where.path == "/rules":
            with server.lock:
                box = server.mailbox(urllib.parse.parse_qs(where.query)["user"][0])
                for rule in etree.fromstring(held) if held else []:
                    id = opaque("R", box.user, box.next())
                    rule.insert(0, t("RuleId", id))
                    for folder in rule.iter("{%s}FolderId" % T):
                        folder.set("Id", next(f.id for f in box.folders.values() if folder.get("Id") in (f.known, f.name)))
                    box.rules[id] = etree.tostring(rule)
                said = {kid(etree.fromstring(rule), "DisplayName").text: rule.decode() for rule in box.rules.values()}
                return self.send(200, json.dumps(said).encode(), "application/json")
        if where.path == "/items":
            with server.lock:
                box, said = server.mailbox(urllib.parse.parse_qs(where.query)["user"][0]), json.loads(held)
                folder = next(f for f in box.folders.values() if said["folder"] in (f.known, f.name))
                item = Item(opaque("I", box.user, box.next(), os.urandom(9).hex()), folder)
                item.attachments, item.body = said.get("attachments", 0), "" if said["class"] == "IPM.Contact" else None
                item.kind, item.subject, item.mime = said["class"], said.get("subject", ""), b"BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n"
                folder.items[item.id] = item
                box.changed(folder, "Create", item.id)
                return self.send(200, b"{}", "application/json")
        scheme, _, word = (self.headers.get("Authorization") or "").partition(" ")
        user = None
        if scheme == "Basic":
            name, _, password = base64.b64decode(word).decode().partition(":")
            user = name if password == "secret" else None
        elif scheme == "Bearer" and word == "secret":
            user = "mover"
        if user is None:
            return self.send(401, b"", WWW_Authenticate="Basic realm=\"ews\"")
        call = Call(server, user)
        name = ""
        try:
            parser = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=True)
            try:
                envelope = etree.fromstring(held, parser)
            except etree.XMLSyntaxError as error:
                server.violation("request", str(error))
                raise Fault("ErrorSchemaValidation", "The request is no XML.")
            if any(word in held[:4000] for word in (b"CreateItem", b"<m:UpdateInboxRules>", b"<m:SetUserOofSettings")) and (server.control.get("late") or server.control.get("lose", 0) > 0):
                late = server.control.get("late", 0)
                with server.lock:
                    loses = server.spend("lose")
                if loses:
                    if late:
                        threading.Timer(late, lambda: call.run(envelope)).start()
                    else:
                        call.run(envelope)
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
            name, messages = call.run(envelope)
            if isinstance(messages, list):
                answer = etree.Element("{%s}%sResponse" % (M, name), nsmap={"m": M, "t": T})
                etree.SubElement(answer, "{%s}ResponseMessages" % M).extend(messages)
            else:
                answer = messages
            status = 200
        except Fault as fault:
            answer = etree.Element("{%s}Fault" % SOAP)
            etree.SubElement(answer, "faultcode").text = "a:" + fault.code
            etree.SubElement(answer, "faultstring").text = fault.text
            detail = etree.SubElement(answer, "detail")
            etree.SubElement(detail, "{%s}ResponseCode" % E).text = fault.code
            etree.SubElement(detail, "{%s}Message" % E).text = fault.text
            if fault.values:
                xml = etree.SubElement(detail, "{%s}MessageXml" % T)
                for key, value in fault.values:
                    etree.SubElement(xml, "{%s}Value" % T, Name=key).text = value
            status = 500
        except Refused as refused:
            answer = etree.Element("{%s}Fault" % SOAP)
            etree.SubElement(answer, "faultcode").text = "a:" + refused.code
            etree.SubElement(answer, "faultstring").text = refused.text
            detail = etree.SubElement(answer, "detail")
            etree.SubElement(detail, "{%s}ResponseCode" % E).text = refused.code
            status = 500
        envelope = etree.Element("{%s}Envelope" % SOAP, nsmap={"s": SOAP})
        header = etree.SubElement(envelope, "{%s}Header" % SOAP)
        version, major, minor = server.version
        etree.SubElement(header, "{%s}ServerVersionInfo" % T, nsmap={"h": T}, MajorVersion=str(major), MinorVersion=str(minor), MajorBuildNumber="516", MinorBuildNumber="32", Version=version)
        etree.SubElement(envelope, "{%s}Body" % SOAP).append(answer)
        octets = etree.tostring(envelope, xml_declaration=True, encoding="utf-8")
        if status == 200:
            whole = etree.fromstring(etree.tostring(answer), etree.XMLParser(huge_tree=True))
            if not server.schema.validate(etree.ElementTree(whole)):
                server.violation("answer", "%s: %s" % (name, server.schema.error_log))
        with server.lock:
            cuts = name in ("GetItem", "SyncFolderItems", "CreateItem") and server.spend("cut")
        if cuts:
            self.send_response(status)
            self.send_header("Content-Type", "text/xml; charset=utf-8")
            self.send_header("Content-Length", str(len(octets)))
            self.end_headers()
            self.wfile.write(octets[:len(octets) * 2 // 3])
            self.wfile.flush()
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.send(status, octets)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request, address):
        if not isinstance(sys.exc_info()[1], (ConnectionError, BrokenPipeError, OSError)):
            self.exchange.violation("server", repr(sys.exc_info()[1]))
            super().handle_error(request, address)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--schema", required=True)
    parser.add_argument("--port-file", required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--violations")
    parser.add_argument("--version", default="2013", choices=VERSIONS)
    args = parser.parse_args()
    server = Server(("127.0.0.1", args.port), Handler)
    server.exchange = Exchange(args)
    with open(args.port_file + ".new", "w") as file:
        file.write(str(server.server_address[1]))
    os.rename(args.port_file + ".new", args.port_file)
    server.serve_forever()


main()
