//! JMAP for mail (RFC 8620, RFC 8621) as a source and as a target: Cyrus 3.6 is what it is proven on.
//!
//! Messages are named by their Email ids, folders by their Mailbox ids. An email may stand in several mailboxes: it is then met in each of them, and what
//! is removed leaves the one mailbox, the email only with its last.
//!
//! What JMAP does not have: `\Deleted` (Cyrus does not even list such messages, so use IMAP to move them), zones of dates, POP3 UIDLs. Cyrus names an email by
//! its content: two equal messages of one folder cannot both be kept, the second is said to be refused and is an exception; equal messages in two folders
//! share their keywords and their date. It adds `$HasAttachment`, refuses what has no valid header (`invalidEmail`), and with its default `munge8bit: yes` writes
//! `X` for octets above 127 in headers: set `munge8bit: no` for the move, or the verification names these messages.

mod http;
mod messages;

use std::collections::HashMap;

use serde_json::{Value, json};

use self::http::{Http, error};
use super::config::End;
use super::mailbox::{Access, Class, Fault, Flags, Folder, FolderPath, Id, Mark, Seen, SpecialUse};
use super::target::Abilities;

/// One session: a login and the folder that is open.
#[derive(Debug)]
pub struct Jmap {
    http: Http,
    abilities: Abilities,
    mailbox: Option<String>,
    /// Of the open folder, what is known of its emails: where their octets are.
    known: HashMap<Id, Known>,
}

#[derive(Debug, Clone)]
struct Known {
    blob: String,
    seen: Seen,
}

/// Roles of RFC 8621 section 2 (and of the IANA registry) that are special uses.
const ROLES: [(&str, SpecialUse); 8] = [
    ("all", SpecialUse::All),
    ("archive", SpecialUse::Archive),
    ("drafts", SpecialUse::Drafts),
    ("flagged", SpecialUse::Flagged),
    ("junk", SpecialUse::Junk),
    ("sent", SpecialUse::Sent),
    ("trash", SpecialUse::Trash),
    ("important", SpecialUse::Important),
];

impl Jmap {
    pub async fn connect(end: &End, access: &Access) -> Result<Self, Fault> {
        let http = Http::open(end, access).await?;
        let abilities = Abilities {
            batch: 50.min(http.objects),
            batch_octets: 8 << 20,
            largest: http.largest,
            ..Abilities::default()
        };
        Ok(Self { http, abilities, mailbox: None, known: HashMap::new() })
    }

    pub fn abilities(&self) -> &Abilities {
        &self.abilities
    }

    async fn mailboxes(&self) -> Result<Vec<Value>, Fault> {
        let words = json!({ "accountId": self.http.account, "ids": null });
        let mut answer = self.http.one("Mailbox/get", words).await?;
        Ok(answer["list"].as_array_mut().map(std::mem::take).unwrap_or_default())
    }

    pub async fn folders(&mut self) -> Result<Vec<Folder>, Fault> {
        let list = self.mailboxes().await?;
        let by_id: HashMap<&str, &Value> = list.iter().filter_map(|m| Some((m["id"].as_str()?, m))).collect();
        let mut folders: Vec<Folder> = list.iter().filter_map(|mailbox| folder(mailbox, &by_id)).collect();
        folders.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(folders)
    }

    pub async fn open(&mut self, folder: &Folder) -> Result<Mark, Fault> {
        let id = id_of(folder);
        let account = &self.http.account;
        let calls = [
            ("Mailbox/get", json!({ "accountId": account, "ids": [id] })),
            ("Email/get", json!({ "accountId": account, "ids": [] })),
        ];
        let answers = self.http.call(&calls).await?;
        let gone = || Fault::new(Class::Vanished, format!("{}: the server no longer has it", folder.path));
        let mailbox = answers[0]["list"].get(0).ok_or_else(gone)?;
        let count = mailbox["totalEmails"].as_u64().unwrap_or(0);
        self.mailbox = Some(id);
        self.known.clear();
        // A state is any text; of Cyrus it is a number that grows with every change of the account's mail.
        let modseq = answers[1]["state"].as_str().and_then(|s| s.parse().ok());
        Ok(Mark { validity: 1, next: None, modseq, count, state: None })
    }

    fn mailbox(&self) -> Result<String, Fault> {
        self.mailbox.clone().ok_or_else(|| Fault::new(Class::Local, "no folder is open"))
    }

    /// A mailbox that is there already is the one meant, whoever made it and when.
    pub async fn create(&mut self, path: &FolderPath, special: Option<SpecialUse>) -> Result<Folder, Fault> {
        let mut parent: Option<String> = None;
        let (mut all, mut made) = (self.folders().await?, None);
        for depth in 1..=path.names().len() {
            let Some(part) = FolderPath::new(path.names()[..depth].to_vec()) else { continue };
            let folder = match found(&all, &part) {
                Some(folder) => folder.clone(),
                None => {
                    let role = special
                        .filter(|_| part == *path)
                        .and_then(|s| ROLES.iter().find(|(_, of)| *of == s))
                        .map(|(role, _)| *role);
                    match self.make(&path.names()[depth - 1], parent.as_deref(), role).await {
                        // A role may be another mailbox's, or not be given to clients.
                        Err(fault) if role.is_some() && fault.class == Class::Protocol => {
                            self.make(&path.names()[depth - 1], parent.as_deref(), None).await?;
                        }
                        // Somebody was quicker.
                        Err(fault) if fault.what.contains("alreadyExists") => {}
                        done => done?,
                    }
                    let lost = || Fault::new(Class::Protocol, format!("jmap: {part} was made and is not there"));
                    all = self.folders().await?;
                    found(&all, &part).cloned().ok_or_else(lost)?
                }
            };
            parent = Some(id_of(&folder));
            made = Some(folder);
        }
        made.ok_or_else(|| Fault::new(Class::Local, "a folder without a name"))
    }

    async fn make(&self, name: &str, parent: Option<&str>, role: Option<&str>) -> Result<(), Fault> {
        let create = json!({ "new": { "name": name, "parentId": parent, "role": role, "isSubscribed": false } });
        let answer = self.http.one("Mailbox/set", json!({ "accountId": self.http.account, "create": create })).await?;
        match &answer["notCreated"]["new"] {
            Value::Null => Ok(()),
            told => Err(error(told)),
        }
    }

    async fn update(&self, folder: &Folder, words: Value) -> Result<(), Fault> {
        let id = id_of(folder);
        let update = json!({ "accountId": self.http.account, "update": { &id: words } });
        let answer = self.http.one("Mailbox/set", update).await?;
        match &answer["notUpdated"][&id] {
            Value::Null => Ok(()),
            told => Err(error(told)),
        }
    }

    pub async fn rename(&mut self, folder: &Folder, to: &FolderPath) -> Result<Folder, Fault> {
        let parent = match to.parent() {
            Some(parent) => Some(id_of(&self.create(&parent, None).await?)),
            None => None,
        };
        self.update(folder, json!({ "name": to.names().last(), "parentId": parent })).await?;
        let lost = || Fault::new(Class::Protocol, format!("jmap: {to} is not there after it was named so"));
        found(&self.folders().await?, to).cloned().ok_or_else(lost)
    }

    pub async fn delete(&mut self, folder: &Folder) -> Result<(), Fault> {
        let id = id_of(folder);
        // Cyrus 3.6 ends with a failed assertion when it is asked to destroy what is destroyed already.
        if !self.mailboxes().await?.iter().any(|m| m["id"] == id.as_str()) {
            return Ok(());
        }
        let words = json!({ "accountId": self.http.account, "destroy": [id], "onDestroyRemoveEmails": true });
        let answer = self.http.one("Mailbox/set", words).await?;
        match &answer["notDestroyed"][&id] {
            Value::Null => Ok(()),
            told if told["type"] == "notFound" => Ok(()),
            told => Err(error(told)),
        }
    }

    pub async fn subscribe(&mut self, folder: &Folder, on: bool) -> Result<(), Fault> {
        self.update(folder, json!({ "isSubscribed": on })).await
    }

    pub async fn close(self) {}
}

fn found<'f>(all: &'f [Folder], path: &FolderPath) -> Option<&'f Folder> {
    all.iter().find(|f| f.path == *path)
}

fn id_of(folder: &Folder) -> String {
    String::from_utf8_lossy(&folder.raw).into_owned()
}

/// `None` for a mailbox whose parents are not all known, or go in a circle.
fn folder(mailbox: &Value, by_id: &HashMap<&str, &Value>) -> Option<Folder> {
    let mut names = Vec::new();
    let mut at = mailbox;
    loop {
        let is_inbox = at["role"] == "inbox";
        names.push(if is_inbox { "INBOX".to_owned() } else { at["name"].as_str()?.to_owned() });
        match at["parentId"].as_str() {
            Some(parent) if names.len() < 64 => at = by_id.get(parent)?,
            Some(_) => return None,
            None => break,
        }
    }
    names.reverse();
    let role = mailbox["role"].as_str();
    let id = mailbox["id"].as_str()?;
    Some(Folder {
        path: FolderPath::new(names)?,
        raw: id.as_bytes().to_vec(),
        special: role.and_then(|role| ROLES.iter().find(|(name, _)| *name == role)).map(|(_, special)| *special),
        subscribed: mailbox["isSubscribed"].as_bool().unwrap_or(true),
        selectable: mailbox["myRights"]["mayReadItems"].as_bool().unwrap_or(true),
        foreign: false,
        identity: Some(id.to_owned()),
        mark: None,
    })
}

/// Keywords of RFC 8621 section 4.1.1 that are system flags of IMAP.
const SYSTEM: [(&str, &str); 4] =
    [("$seen", "\\Seen"), ("$answered", "\\Answered"), ("$flagged", "\\Flagged"), ("$draft", "\\Draft")];

fn flags_of(keywords: &Value) -> Flags {
    let set = keywords.as_object().into_iter().flatten().filter(|(_, on)| **on == true).map(|(word, _)| word.as_str());
    Flags::of(set.map(|word| SYSTEM.iter().find(|(k, _)| k.eq_ignore_ascii_case(word)).map_or(word, |(_, flag)| *flag)))
}

fn keywords_of(flags: &Flags) -> Value {
    let known = flags.words().filter_map(|word| match SYSTEM.iter().find(|(_, flag)| *flag == word) {
        Some((keyword, _)) => Some(*keyword),
        None => (!word.starts_with('\\')).then_some(word),
    });
    known.map(|word| (word.to_lowercase(), Value::Bool(true))).collect::<serde_json::Map<_, _>>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_become_keywords_and_come_back() {
        let flags = Flags::of(["\\Seen", "\\Draft", "$forwarded", "work"]);
        assert_eq!(flags_of(&keywords_of(&flags)), flags);
        assert_eq!(keywords_of(&Flags::of(["\\Deleted"])), json!({}));
    }

    #[test]
    fn paths_follow_parents_and_circles_end() {
        let list = [
            json!({ "id": "1", "name": "Inbox", "role": "inbox", "parentId": null }),
            json!({ "id": "2", "name": "a/b", "role": null, "parentId": "1", "isSubscribed": false }),
            json!({ "id": "3", "name": "c", "parentId": "4" }),
            json!({ "id": "4", "name": "d", "parentId": "3" }),
        ];
        let by_id: HashMap<&str, &Value> = list.iter().filter_map(|m| Some((m["id"].as_str()?, m))).collect();
        let paths: Vec<_> =
            list.iter().filter_map(|m| folder(m, &by_id)).map(|f| (f.path.key(), f.subscribed)).collect();
        assert_eq!(paths, [("INBOX".to_owned(), true), ("INBOX/a%2Fb".to_owned(), false)]);
    }
}
