//! Contacts of a mailbox: its contact folders are address books. Operations are those of items ([MS-OXWSCORE], [MS-OXWSCONT]).
//!
//! Exchange has fields ([`fields`]) where a vCard may have anything. Beside its fields each contact therefore gets a property of ours
//! ([`stamp`]): the contact as it came, by which it is known again after a lost answer and goes back as it was.
//!
//! A contact's mark is its item id and its change key: what has not changed is listed, and not read.

mod fields;
mod held;
mod stamp;
mod wire;

use std::collections::{BTreeMap, BTreeSet};

use self::fields::Fields;
use self::held::{Held, id_in, item_id, mark};
use self::stamp::Stamp;
use super::folders::{CONTACTS, SPECIAL, folder_id};
use super::items::item_ids;
use super::properties::id_of;
use super::xml::{Node, escaped};
use super::{Class, Ews, Fault, codes};
use crate::protocol::vcard::{Property, unescape};
use crate::services::cms::config::{End, Item};
use crate::services::cms::contacts::{BOOK, Gathering, contact, id};
use crate::services::cms::mailbox::{Access, Id, SpecialUse};
use crate::services::cms::personal::{Body, Known, Left, Listing, Seen, Thing};
use crate::services::cms::wire::shown;

/// Contacts of one request that writes, and of one that reads.
const WRITES: usize = 25;
const READS: usize = 100;

/// Say nothing that a person would miss.
const IDLE: [&str; 10] =
    ["UID", "REV", "PRODID", "KIND", "CREATED", "VERSION", "CLIENTPIDMAP", "MAILER", "CLASS", "SORT-STRING"];
/// Content that stands in a card itself.
const MEDIA: [&str; 4] = ["PHOTO", "LOGO", "SOUND", "KEY"];

#[derive(Debug)]
pub struct EwsContacts {
    ews: Ews,
    books: Vec<Book>,
    lost: Vec<Left>,
    /// Of the last listing: what a lost answer doubled.
    copies: Vec<(String, Id)>,
}

#[derive(Debug, Clone)]
struct Book {
    name: String,
    folder: String,
}

/// Whether it says something of the server, and not of one contact.
fn ends(code: &str, fault: &Fault) -> bool {
    codes::is_doubtful(code)
        || matches!(fault.class, Class::Unreachable | Class::Login)
        || fault.class == Class::Busy && !matches!(code, "ErrorIrresolvableConflict" | "ErrorStaleObject")
}

impl EwsContacts {
    pub async fn connect(end: &End, access: &Access, writes: bool) -> Result<Self, Fault> {
        let ews = Ews::connect(end, access, writes).await?;
        Ok(Self { ews, books: Vec::new(), lost: Vec::new(), copies: Vec::new() })
    }

    /// The user's address books. What lies in the deleted items has been deleted, and what clients keep for themselves is no book.
    async fn find_books(&mut self) -> Result<(), Fault> {
        let own = self.ews.distinguished("contacts");
        let asked = format!(
            "<m:GetFolder><m:FolderShape><t:BaseShape>IdOnly</t:BaseShape></m:FolderShape><m:FolderIds>{own}</m:FolderIds></m:GetFolder>"
        );
        let message = self.ews.soap.one(&asked).await?;
        let folder = message.find("Folders").and_then(|f| f.children.first()).ok_or_else(super::soap::silent)?;
        let own = super::folders::id_of(folder, "FolderId").ok_or_else(super::soap::silent)?;
        let (top, nodes) = self.ews.tree().await?;
        let bin = SPECIAL.iter().position(|(_, special)| *special == Some(SpecialUse::Trash));
        let bin = self.ews.special().await?.into_iter().find(|(_, n)| Some(*n) == bin).map(|(id, _)| id);
        let by_id: BTreeMap<String, &Node> =
            nodes.iter().filter_map(|n| Some((super::folders::id_of(n, "FolderId")?, n))).collect();
        let mut books = vec![Book { name: BOOK.to_owned(), folder: own.clone() }];
        for (folder, node) in &by_id {
            let class = node.value("FolderClass").unwrap_or_default();
            if *folder == own || node.name == "SearchFolder" || !class.eq_ignore_ascii_case(CONTACTS) {
                continue;
            }
            let (mut names, mut at) = (Vec::new(), Some(folder.clone()));
            while let Some(id) = at.take().filter(|id| *id != own && *id != top && names.len() < 64) {
                let Some(node) = by_id.get(&id) else { break };
                names.push(node.value("DisplayName").unwrap_or_default());
                at = super::folders::id_of(node, "ParentFolderId");
                if bin.is_some() && at == bin {
                    names.clear();
                    break;
                }
            }
            names.reverse();
            let name = names.join("/");
            let taken = |name: &str| books.iter().any(|b| b.name.to_lowercase() == name.to_lowercase());
            let free = (1..).map(|n| if n == 1 { name.clone() } else { format!("{name} ({n})") });
            if let Some(name) = free.take(1000).find(|n| !taken(n)).filter(|_| !names.is_empty()) {
                books.push(Book { name, folder: folder.clone() });
            }
        }
        self.books = books;
        Ok(())
    }

    /// The address book of this name, which is made where it is not there.
    async fn book(&mut self, name: &str) -> Result<Book, Fault> {
        let found = |books: &[Book]| books.iter().find(|b| b.name.to_lowercase() == name.to_lowercase()).cloned();
        if let Some(book) = found(&self.books) {
            return Ok(book);
        }
        let asked = format!(
            "<m:CreateFolder><m:ParentFolderId>{}</m:ParentFolderId><m:Folders><t:ContactsFolder><t:FolderClass>IPF.Contact</t:FolderClass>\
             <t:DisplayName>{}</t:DisplayName></t:ContactsFolder></m:Folders></m:CreateFolder>",
            self.ews.distinguished("contacts"),
            escaped(name)
        );
        match self.ews.soap.one(&asked).await {
            Err(fault) if fault.what.contains("ErrorFolderExists") => {}
            made => drop(made?),
        }
        self.find_books().await?;
        found(&self.books).ok_or_else(|| {
            Fault::new(
                Class::Unsupported,
                format!("ews: {name} cannot be an address book: another folder has this name"),
            )
        })
    }

    /// Contacts by their ids; those that went meanwhile are left out.
    async fn read(&self, ids: &[Id]) -> Result<Vec<Held>, Fault> {
        let mut held = Vec::with_capacity(ids.len());
        for part in ids.chunks(READS) {
            let asked = format!("<m:GetItem>{}<m:ItemIds>{}</m:ItemIds></m:GetItem>", wire::shape(), item_ids(part));
            let messages = self.ews.soap.ask(&asked).await?;
            if messages.len() != part.len() {
                return Err(super::soap::silent());
            }
            for message in &messages {
                match codes::refusal(message) {
                    None => {
                        let item = message.child("Items").and_then(|i| i.children.first());
                        held.push(item.and_then(Held::of).ok_or_else(super::soap::silent)?);
                    }
                    Some((_, fault)) if fault.class == Class::Vanished => {}
                    Some((_, fault)) => return Err(fault),
                }
            }
        }
        Ok(held)
    }

    /// All contacts; of those whose mark is known only that they are there.
    pub async fn list(&mut self, known: &Known) -> Result<Listing, Fault> {
        let marks: BTreeMap<&str, &str> = known
            .iter()
            .filter(|((item, _), _)| *item == Item::Contacts)
            .map(|((_, id), mark)| (mark.as_str(), id.as_str()))
            .collect();
        self.copies.clear();
        self.find_books().await?;
        let mut gathering = Gathering::default();
        let mut left: Vec<Left> = Vec::new();
        for book in self.books.clone() {
            let (mut unread, mut same) = (Vec::new(), BTreeMap::new());
            for item in self.ews.find(&book.folder, wire::brief(), "").await? {
                let (Some(id), Some(mark)) = (id_of(&item), mark(&item)) else { continue };
                let class = item.value("ItemClass").unwrap_or_default().to_ascii_lowercase();
                if class != "ipm.contact" && !class.starts_with("ipm.contact.") {
                    let name = item.value("Subject").unwrap_or_default();
                    let what = match class.starts_with("ipm.distlist") {
                        true => "a list of contacts is not carried",
                        false => "it is no contact, and is not carried",
                    };
                    let place = format!("{}/{}", book.name, shown(name));
                    let number = left.iter().filter(|l| l.id.starts_with(&place)).count();
                    let place = if number == 0 { place } else { format!("{place} ({})", number + 1) };
                    left.push(Left::new(Item::Contacts, place, what));
                    continue;
                }
                match marks.get(mark.as_str()) {
                    Some(known) => drop(same.insert((*known).to_owned(), (id, mark))),
                    None => unread.push(id),
                }
            }
            let mut held = self.read(&unread).await?;
            // What has the name of one that has not changed may be its copy: both are looked at.
            let again: BTreeSet<String> = held.iter().map(|h| id(&book.name, &h.uid())).collect();
            let again: Vec<Id> = again.iter().filter_map(|id| same.remove(id)).map(|(id, _)| id).collect();
            held.extend(self.read(&again).await?);
            for (id, (_, mark)) in same {
                gathering.unchanged(&id, mark);
            }
            self.gather(&book, held, &marks, &mut gathering, &mut left)?;
        }
        let mut listing = gathering.end();
        listing.left.extend(left);
        Ok(listing)
    }

    /// Those that we wrote twice are one; a copy that a user made is another.
    fn gather(
        &mut self,
        book: &Book,
        mut held: Vec<Held>,
        marks: &BTreeMap<&str, &str>,
        gathering: &mut Gathering,
        left: &mut Vec<Left>,
    ) -> Result<(), Fault> {
        held.sort_by(|a, b| {
            let order = |h: &Held| (!marks.contains_key(h.mark.as_str()), h.created.clone(), h.id.clone());
            order(a).cmp(&order(b))
        });
        let mut first: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for one in held {
            let mut uid = one.uid();
            if let Some(stamp) = &one.stamp {
                match first.get_mut(&uid) {
                    Some(tokens) => {
                        if tokens.insert(stamp.token.clone()) && one.is_untouched() {
                            self.copies.push((id(&book.name, &uid), one.id));
                            continue;
                        }
                        uid = one.own_uid();
                    }
                    None => drop(first.insert(uid.clone(), BTreeSet::from([stamp.token.clone()]))),
                }
            }
            if one.attachments > 0 {
                let what = format!("{} attachments (a photograph is one) are not carried", one.attachments);
                left.push(Left::new(Item::Contacts, format!("{}:attachments", id(&book.name, &uid)), what));
            }
            gathering.add(&book.name, one.card(&uid), Some(one.mark.clone()), Vec::new())?;
        }
        Ok(())
    }

    /// What of these can be held, and what stays behind or is not seen.
    pub fn holds(things: Vec<Seen>) -> (Vec<Seen>, Vec<Left>) {
        let (mut out, mut left) = (Vec::with_capacity(things.len()), Vec::new());
        for mut seen in things {
            let Some(thing) = &mut seen.thing else {
                out.push(seen);
                continue;
            };
            let Body::Contact(contact) = &mut thing.body else {
                out.push(seen);
                continue;
            };
            if contact.card.is_group() {
                let what = "a group of contacts is not made there";
                left.push(Left::new(Item::Contacts, &thing.id, what));
                continue;
            }
            let inline = |p: &Property| MEDIA.contains(&p.name.as_str()) && p.value.starts_with("data:");
            for media in contact.card.properties.iter().filter(|p| inline(p)) {
                let what = format!("{} is not carried", media.name);
                left.push(Left::new(Item::Contacts, format!("{}:{}", thing.id, media.name), what));
            }
            contact.card.properties.retain(|p| !inline(p));
            let unshown = fields::of(&contact.card).unshown.into_iter().map(|n| &contact.card.properties[n]);
            let unshown = unshown.filter(|p| !IDLE.contains(&p.name.as_str()));
            let (own, known): (Vec<_>, Vec<_>) = unshown.partition(|p| p.name.starts_with("X-"));
            let words = |of: &[&Property]| {
                let each = of.iter().map(|p| format!("{} {}", p.name, unescape(&p.value).replace('\n', " ")));
                each.map(|w| w.chars().take(120).collect::<String>()).collect::<Vec<_>>().join(" | ")
            };
            const KEPT: &str = "kept for a way back, and not shown by Exchange";
            if !known.is_empty() {
                let what = format!("{KEPT}: {}", words(&known));
                left.push(Left::new(Item::Contacts, format!("{}:unshown", thing.id), what));
            }
            if !own.is_empty() {
                thing.notes.push(format!("{KEPT}: {}", words(&own)));
            }
            out.push(seen);
        }
        (out, left)
    }

    /// Writes contacts; `former` is the mark of what is replaced. An error means that any of them may be there.
    pub async fn put(&mut self, things: &[(&Thing, Option<&str>)]) -> Result<Vec<Result<String, Fault>>, Fault> {
        self.lost.clear();
        let mut done: Vec<Option<Result<String, Fault>>> = vec![None; things.len()];
        let mut orders: BTreeMap<Option<String>, Vec<(usize, String)>> = BTreeMap::new();
        let token = token()?;
        let mut written: BTreeMap<usize, (Fields, Stamp)> = BTreeMap::new();
        for (n, (thing, former)) in things.iter().enumerate() {
            let one = contact(thing)?;
            let fields = fields::of(&one.card).fields;
            let stamp = Stamp::new(&format!("{token}-{n}"), &fields, &one.card);
            let text = match stamp.written() {
                Ok(text) => text,
                Err(fault) => {
                    done[n] = Some(Err(fault));
                    continue;
                }
            };
            let (folder, order) = match former {
                Some(mark) => {
                    let updates = wire::changed(&fields, &text);
                    (None, format!("<t:ItemChange>{}<t:Updates>{updates}</t:Updates></t:ItemChange>", item_id(mark)))
                }
                None => match self.book(&one.book).await {
                    Ok(book) => (Some(book.folder), wire::made(&fields, &text)),
                    Err(fault) if matches!(fault.class, Class::Permission | Class::Unsupported | Class::Protocol) => {
                        done[n] = Some(Err(fault));
                        continue;
                    }
                    Err(fault) => return Err(fault),
                },
            };
            written.insert(n, (fields, stamp));
            orders.entry(folder).or_default().push((n, order));
        }
        let mut stored: Vec<(usize, Id)> = Vec::new();
        for (folder, orders) in orders {
            for part in orders.chunks(WRITES) {
                let each: String = part.iter().map(|(_, order)| order.as_str()).collect();
                let numbers: Vec<usize> = part.iter().map(|(n, _)| *n).collect();
                stored.extend(self.write(&request(folder.as_deref(), &each), &numbers, &mut done).await?);
            }
        }
        self.look(things, &stored, &written, &mut done).await?;
        let silent = || Err(super::soap::silent());
        Ok(done.into_iter().map(|d| d.unwrap_or_else(silent)).collect())
    }

    /// Sends one request about these; gives what it stored.
    async fn write(
        &self,
        asked: &str,
        numbers: &[usize],
        done: &mut [Option<Result<String, Fault>>],
    ) -> Result<Vec<(usize, Id)>, Fault> {
        let messages = self.ews.soap.ask(asked).await?;
        if messages.len() != numbers.len() {
            return Err(super::soap::silent());
        }
        let mut stored = Vec::new();
        for (n, message) in numbers.iter().zip(&messages) {
            match codes::refusal(message) {
                Some((code, fault)) if ends(&code, &fault) => return Err(fault),
                Some((_, fault)) => done[*n] = Some(Err(fault)),
                None => {
                    let item = message.child("Items").and_then(|i| i.children.first());
                    let mark = item.and_then(mark).ok_or_else(super::soap::silent)?;
                    stored.push((*n, id_in(&mark)));
                    done[*n] = Some(Ok(mark));
                }
            }
        }
        Ok(stored)
    }

    /// Reads what was stored. What the server made otherwise is said, and is what counts as untouched from now on.
    async fn look(
        &mut self,
        things: &[(&Thing, Option<&str>)],
        stored: &[(usize, Id)],
        written: &BTreeMap<usize, (Fields, Stamp)>,
        done: &mut [Option<Result<String, Fault>>],
    ) -> Result<(), Fault> {
        let numbers: BTreeMap<&Id, usize> = stored.iter().map(|(n, id)| (id, *n)).collect();
        let ids: Vec<Id> = stored.iter().map(|(_, id)| id.clone()).collect();
        let mut orders = Vec::new();
        for held in self.read(&ids).await? {
            let Some((n, (fields, stamp))) = numbers.get(&held.id).and_then(|n| Some((*n, written.get(n)?))) else {
                continue;
            };
            let lost: Vec<String> = fields
                .iter()
                .filter(|(slot, value)| held.fields.get(*slot) != Some(value))
                .map(|(slot, value)| format!("{slot} {}", value.chars().take(80).collect::<String>()))
                .collect();
            if !lost.is_empty() {
                let what = format!("the server left out or changed: {}", lost.join(" | "));
                self.lost.push(Left::new(Item::Contacts, &things[n].0.id, what));
            }
            if held.fields != *fields {
                let text = Stamp::new(&stamp.token, &held.fields, &stamp.card).written()?;
                let update = wire::stamped(&text);
                orders.push((
                    n,
                    format!("<t:ItemChange>{}<t:Updates>{update}</t:Updates></t:ItemChange>", item_id(&held.mark)),
                ));
            }
            done[n] = Some(Ok(held.mark));
        }
        for part in orders.chunks(WRITES) {
            let each: String = part.iter().map(|(_, order)| order.as_str()).collect();
            let numbers: Vec<usize> = part.iter().map(|(n, _)| *n).collect();
            self.write(&request(None, &each), &numbers, done).await?;
        }
        Ok(())
    }

    /// What the server left out of contacts that it took in the last put.
    pub fn lost(&mut self) -> Vec<Left> {
        std::mem::take(&mut self.lost)
    }

    /// Removes the copies that the last listing found.
    pub async fn mend(&mut self) -> Result<Vec<(Item, String)>, Fault> {
        let copies = std::mem::take(&mut self.copies);
        let ids: Vec<Id> = copies.iter().map(|(_, id)| id.clone()).collect();
        self.ews.remove(&ids).await?;
        Ok(copies.into_iter().map(|(id, _)| (Item::Contacts, id)).collect())
    }

    /// Removes a contact that still has this mark; one that is gone already is no fault.
    pub async fn remove(&mut self, mark: &str) -> Result<(), Fault> {
        let id = id_in(mark);
        match self.read(std::slice::from_ref(&id)).await?.pop() {
            Some(held) if held.mark == mark => self.ews.remove(&[id]).await,
            // Somebody has changed it meanwhile: the next pass looks again.
            Some(_) => Err(Fault::new(Class::Busy, "ews: the contact was changed while it was to be removed")),
            None => Ok(()),
        }
    }

    pub async fn close(self) {
        self.ews.close().await;
    }
}

/// A request that makes contacts in a folder, or changes some.
fn request(folder: Option<&str>, each: &str) -> String {
    match folder {
        Some(folder) => format!(
            "<m:CreateItem MessageDisposition=\"SaveOnly\"><m:SavedItemFolderId>{}</m:SavedItemFolderId><m:Items>{each}</m:Items></m:CreateItem>",
            folder_id(folder)
        ),
        None => format!(
            "<m:UpdateItem ConflictResolution=\"NeverOverwrite\" MessageDisposition=\"SaveOnly\"><m:ItemChanges>{each}</m:ItemChanges></m:UpdateItem>"
        ),
    }
}

fn token() -> Result<String, Fault> {
    let mut random = [0u8; 8];
    getrandom::fill(&mut random).map_err(|e| Fault::new(Class::Local, format!("no random octets: {e}")))?;
    Ok(random.iter().map(|b| format!("{b:02x}")).collect())
}
