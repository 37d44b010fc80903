//! Emails: what a mailbox holds, octets there and back.

use std::collections::HashMap;
use std::io::{Read as _, Seek as _, SeekFrom};

use jiff::Timestamp;
use jiff::tz::Offset;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

use super::http::{error, unreachable};
use super::{Jmap, Known, flags_of, keywords_of};
use crate::services::cms::mailbox::{
    Changes, Class, Content, Date, Fault, Fetched, Flags, IN_MEMORY, Id, Mark, Message, Seen, Spool,
};
use crate::services::cms::source::Means;
use crate::services::cms::target::Appended;

/// Ids of one query.
const PAGE: u64 = 1000;

impl Jmap {
    pub async fn changes(&mut self, _since: Option<&Mark>) -> Result<Changes, Fault> {
        let ids = self.query().await?;
        self.known.clear();
        let mut seen = Vec::with_capacity(ids.len());
        for part in ids.chunks(self.http.objects) {
            let words = json!({ "accountId": self.http.account, "ids": part, "properties": ["blobId", "keywords", "size", "receivedAt"] });
            let answer = self.http.one("Email/get", words).await?;
            let mut by_id: HashMap<&str, &Value> =
                answer["list"].as_array().into_iter().flatten().filter_map(|e| Some((e["id"].as_str()?, e))).collect();
            let gone: Vec<&str> =
                answer["notFound"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            for id in part {
                match by_id.remove(id.as_str()) {
                    Some(email) => {
                        let known = known(id, email)?;
                        seen.push(known.seen.clone());
                        self.known.insert(known.seen.id.clone(), known);
                    }
                    None if gone.contains(&id.as_str()) => {}
                    // Neither there nor gone: then nothing is known of the whole.
                    None => return Err(Fault::new(Class::Busy, format!("jmap: nothing is said of {id}"))),
                }
            }
        }
        Ok(Changes::Whole(seen))
    }

    pub async fn arrived(&mut self, _from: Option<u64>) -> Result<Changes, Fault> {
        self.changes(None).await
    }

    /// All ids of the open mailbox, as they were at one moment: pages of different states do not make a whole.
    async fn query(&self) -> Result<Vec<String>, Fault> {
        let mailbox = self.mailbox()?;
        'again: for _ in 0..5 {
            let (mut ids, mut state): (Vec<String>, Option<String>) = (Vec::new(), None);
            loop {
                let words = json!({ "accountId": self.http.account, "filter": { "inMailbox": mailbox }, "sort": [{ "property": "receivedAt", "isAscending": true }],
                    "collapseThreads": false, "position": ids.len(), "limit": PAGE, "calculateTotal": true });
                let answer = self.http.one("Email/query", words).await?;
                let now = answer["queryState"].as_str().unwrap_or("").to_owned();
                if state.as_ref().is_some_and(|before| *before != now) {
                    continue 'again;
                }
                state = Some(now);
                let page: Vec<String> = answer["ids"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_str)
                    .map(str::to_owned)
                    .collect();
                let total = answer["total"].as_u64();
                let is_last = page.is_empty() || total.is_some_and(|t| ids.len() as u64 + page.len() as u64 >= t);
                ids.extend(page);
                if is_last {
                    if total.is_some_and(|t| t != ids.len() as u64) {
                        return Err(Fault::new(Class::Busy, "jmap: fewer emails are listed than counted"));
                    }
                    return Ok(ids);
                }
            }
        }
        Err(Fault::new(Class::Busy, "jmap: the mailbox changes while it is listed"))
    }

    pub async fn fetch(&mut self, ids: &[Id], means: &Means, to: &mpsc::Sender<Fetched>) -> Result<(), Fault> {
        for id in ids {
            let fetched = match self.read(id, means).await {
                Ok(message) => Fetched::Message(Box::new(message)),
                // The session is broken, not the message.
                Err(fault) if matches!(fault.class, Class::Unreachable | Class::Login) => return Err(fault),
                Err(fault) => Fetched::Failed(id.clone(), fault),
            };
            to.send(fetched).await.map_err(|_| Fault::new(Class::Local, "nobody takes the messages"))?;
        }
        Ok(())
    }

    /// Flags, date and blob as they are now; gone only when the server says `notFound`.
    async fn look(&mut self, id: &Id) -> Result<Known, Fault> {
        let words = json!({ "accountId": self.http.account, "ids": [id.0.as_str()], "properties": ["blobId", "keywords", "size", "receivedAt"] });
        let answer = self.http.one("Email/get", words).await?;
        match answer["list"].get(0) {
            Some(email) => known(&id.0, email),
            None if answer["notFound"].as_array().is_some_and(|gone| gone.iter().any(|g| g == id.0.as_str())) => {
                Err(Fault::new(Class::Vanished, format!("jmap: {id} is gone")))
            }
            None => Err(Fault::new(Class::Busy, format!("jmap: nothing is said of {id}"))),
        }
    }

    async fn read(&mut self, id: &Id, means: &Means) -> Result<Message, Fault> {
        let known = match self.known.get(id) {
            Some(known) => known.clone(),
            None => self.look(id).await?,
        };
        let size = known.seen.size.unwrap_or(0);
        let too_large = |n: u64| Fault::new(Class::TooLarge, format!("{n} octets, {} is the most", means.largest));
        if size > means.largest {
            return Err(too_large(size));
        }
        let share = if size > IN_MEMORY { None } else { Some(means.budget.wait(size.max(1)).await?) };
        let mut response = match self.http.download(&known.blob).await {
            Ok(response) => response,
            // A blob that is not there does not say that the email is not.
            Err(fault) if fault.class == Class::Vanished => {
                self.look(id).await?;
                return Err(Fault::new(Class::Busy, fault.what));
            }
            Err(fault) => return Err(fault),
        };
        let mut spool = Spool::begin(size, share, &means.spool)?;
        let mut length = 0;
        while let Some(piece) = response.chunk().await.map_err(|e| unreachable(&e))? {
            length += piece.len() as u64;
            if length > means.largest {
                return Err(too_large(length));
            }
            if length > size.max(IN_MEMORY) {
                return Err(Fault::new(Class::Protocol, format!("jmap: {id} is larger than the server says")));
            }
            spool.push(&piece)?;
        }
        let (content, digest) = spool.end();
        let Known { seen, .. } = known;
        Ok(Message { id: id.clone(), flags: seen.flags, date: seen.date, content, digest, uidl: None })
    }

    pub async fn append(&mut self, messages: &[Message]) -> Appended {
        let mailbox = match self.mailbox() {
            Ok(mailbox) => mailbox,
            Err(fault) => return Appended::Refused { stored: Vec::new(), culprit: None, fault },
        };
        let mut each: Vec<Option<Result<Option<Id>, Fault>>> = Vec::with_capacity(messages.len());
        let mut emails = Map::new();
        for (n, message) in messages.iter().enumerate() {
            let length = message.content.length();
            let uploaded = match body(&message.content) {
                Ok(body) => self.http.upload(body, length).await,
                Err(fault) => Err(fault),
            };
            match uploaded {
                Ok(blob) => {
                    each.push(None);
                    let mut email = json!({ "blobId": blob, "mailboxIds": { &mailbox: true }, "keywords": keywords_of(&message.flags) });
                    if let Some(date) = message.date {
                        email["receivedAt"] =
                            Timestamp::from_second(date.at.as_second()).unwrap_or(date.at).to_string().into();
                    }
                    emails.insert(n.to_string(), email);
                }
                // An upload that is lost stores nothing.
                Err(fault) if fault.class.of_message() => each.push(Some(Err(fault))),
                Err(fault) => return Appended::Refused { stored: Vec::new(), culprit: None, fault },
            }
        }
        let answer =
            match self.http.one("Email/import", json!({ "accountId": self.http.account, "emails": emails })).await {
                Ok(answer) => answer,
                // An error of the method or an answer that is lost: some may be stored (RFC 8620 section 3.6.2 on serverPartialFail).
                Err(fault) => return Appended::Unknown(fault),
            };
        let mut done = Vec::with_capacity(each.len());
        for (n, known) in each.into_iter().enumerate() {
            let key = n.to_string();
            done.push(match known {
                Some(known) => known,
                None => match (answer["created"][&key]["id"].as_str(), &answer["notCreated"][&key]) {
                    (Some(id), _) => Ok(Some(Id(id.into()))),
                    (None, Value::Null) => {
                        return Appended::Unknown(Fault::new(
                            Class::Protocol,
                            "jmap: an import without an answer for each email",
                        ));
                    }
                    (None, told) if told["type"] == "alreadyExists" => self.join(told, &mailbox, &messages[n]).await,
                    (None, told) => Err(error(told)),
                },
            });
        }
        Appended::Each(done)
    }

    /// The server has an email of this content and keeps one only (RFC 8621 section 4.8): it joins this mailbox, unless it is in it.
    async fn join(&mut self, told: &Value, mailbox: &str, message: &Message) -> Result<Option<Id>, Fault> {
        let id = told["existingId"].as_str().ok_or_else(|| error(told))?;
        let words = json!({ "accountId": self.http.account, "ids": [id], "properties": ["mailboxIds"] });
        let answer = self.http.one("Email/get", words).await?;
        if answer["list"][0]["mailboxIds"][mailbox] == true {
            let what =
                format!("the server keeps one of equal messages in a folder, and {id} is there ({})", message.digest);
            return Err(Fault::new(Class::Malformed, what));
        }
        let update = json!({ id: { format!("mailboxIds/{mailbox}"): true } });
        let answer = self.http.one("Email/set", json!({ "accountId": self.http.account, "update": update })).await?;
        match &answer["notUpdated"][id] {
            Value::Null => Ok(Some(Id(id.into()))),
            told => Err(error(told)),
        }
    }

    pub async fn set_flags(&mut self, flags: &[(Id, Flags)]) -> Result<(), Fault> {
        for part in flags.chunks(self.http.objects) {
            let update: Map<String, Value> =
                part.iter().map(|(id, flags)| (id.0.to_string(), json!({ "keywords": keywords_of(flags) }))).collect();
            self.set(json!({ "accountId": self.http.account, "update": update }), "notUpdated").await?;
            part.iter().for_each(|(id, _)| drop(self.known.remove(id)));
        }
        Ok(())
    }

    /// From this mailbox; the email goes when it was its last.
    pub async fn remove(&mut self, ids: &[Id]) -> Result<(), Fault> {
        let mailbox = self.mailbox()?;
        for part in ids.chunks(self.http.objects) {
            let names: Vec<&str> = part.iter().map(|id| id.0.as_str()).collect();
            let words = json!({ "accountId": self.http.account, "ids": names, "properties": ["mailboxIds"] });
            let answer = self.http.one("Email/get", words).await?;
            let (mut destroy, mut update) = (Vec::new(), Map::new());
            for email in answer["list"].as_array().into_iter().flatten() {
                let Some(id) = email["id"].as_str() else { continue };
                let of = email["mailboxIds"].as_object().map_or(0, Map::len);
                if email["mailboxIds"][&mailbox] != true {
                    continue;
                } else if of > 1 {
                    update.insert(id.to_owned(), json!({ format!("mailboxIds/{mailbox}"): null }));
                } else {
                    destroy.push(id.to_owned());
                }
            }
            self.set(json!({ "accountId": self.http.account, "update": update }), "notUpdated").await?;
            self.set(json!({ "accountId": self.http.account, "destroy": destroy }), "notDestroyed").await?;
            part.iter().for_each(|id| drop(self.known.remove(id)));
        }
        Ok(())
    }

    /// What is gone is no fault.
    async fn set(&self, words: Value, not: &str) -> Result<(), Fault> {
        let answer = self.http.one("Email/set", words).await?;
        let failed =
            answer[not].as_object().into_iter().flatten().map(|(_, told)| told).find(|told| told["type"] != "notFound");
        failed.map_or(Ok(()), |told| Err(error(told)))
    }
}

fn known(id: &str, email: &Value) -> Result<Known, Fault> {
    let missing = |what: &str| Fault::new(Class::Protocol, format!("jmap: {id} has no {what}"));
    let blob = email["blobId"].as_str().ok_or_else(|| missing("blobId"))?.to_owned();
    let date =
        email["receivedAt"].as_str().and_then(|t| t.parse::<Timestamp>().ok()).map(|at| Date { at, zone: Offset::UTC });
    let seen = Seen { id: Id(id.into()), flags: flags_of(&email["keywords"]), size: email["size"].as_u64(), date };
    Ok(Known { blob, seen })
}

/// A large message goes from its file, piece by piece.
fn body(content: &Content) -> Result<reqwest::Body, Fault> {
    let failed = |e: std::io::Error| Fault::new(Class::Local, format!("the spool cannot be read: {e}"));
    match content {
        Content::Spooled { file, .. } => {
            let mut file = file.try_clone().map_err(failed)?;
            file.seek(SeekFrom::Start(0)).map_err(failed)?;
            Ok(tokio::fs::File::from_std(file).into())
        }
        Content::Memory { .. } => {
            let mut octets = Vec::with_capacity(usize::try_from(content.length()).unwrap_or(0));
            content.reader().and_then(|mut r| r.read_to_end(&mut octets)).map_err(failed)?;
            Ok(octets.into())
        }
    }
}
