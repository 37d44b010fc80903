//! Folders: listed with their marks in as few round trips as the server allows, made, renamed, subscribed.

use std::collections::{BTreeMap, BTreeSet};

use super::{Part, Session};
use crate::protocol::imap::answer::{Answer, Done, Figures, Listed};
use crate::protocol::imap::name;
use crate::services::cms::mailbox::{Class, Fault, Folder, FolderPath, Mark, SpecialUse};

/// What one LIST brought.
#[derive(Default)]
struct Listing {
    listed: Vec<Listed>,
    subscribed: BTreeSet<Vec<u8>>,
    figures: BTreeMap<Vec<u8>, Figures>,
}

impl Session {
    pub async fn folders(&mut self) -> Result<Vec<Folder>, Fault> {
        let mut listing = self.list(b"*").await?;
        // A server need not list the folders of others unless they are named.
        for space in self.foreign.clone() {
            let named = listing.listed.iter().any(|l| l.name.starts_with(&space.prefix));
            if !named && !space.prefix.iter().any(|b| b"*%".contains(b)) {
                let more = self.list(&[&space.prefix, &b"*"[..]].concat()).await?;
                listing.listed.extend(more.listed);
                listing.subscribed.extend(more.subscribed);
                listing.figures.extend(more.figures);
            }
        }
        let mut folders: BTreeMap<FolderPath, Folder> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for listed in &listing.listed {
            if listed.has("\\NonExistent") && !listed.has("\\HasChildren") || !seen.insert(listed.name.clone()) {
                continue;
            }
            let mut folder = self.folder(listed, &listing);
            // Two names that read alike are two folders.
            while folders.contains_key(&folder.path) {
                let mut names = folder.path.names().to_vec();
                if let Some(last) = names.last_mut() {
                    last.push('~');
                }
                folder.path = FolderPath::new(names).unwrap_or_else(FolderPath::inbox);
            }
            folders.insert(folder.path.clone(), folder);
        }
        Ok(folders.into_values().collect())
    }

    fn folder(&self, listed: &Listed, listing: &Listing) -> Folder {
        let (path, foreign) = self.path_of(&listed.name, listed.delimiter.or(self.personal.delimiter));
        // XLIST of old Gmail says \Inbox, \Spam, \Starred too.
        let special = listed.attributes.iter().find_map(|a| match a.to_ascii_lowercase().as_str() {
            "\\spam" => Some(SpecialUse::Junk),
            "\\starred" => Some(SpecialUse::Flagged),
            "\\allmail" => Some(SpecialUse::All),
            _ => SpecialUse::of_attribute(a),
        });
        let selectable = !listed.has("\\Noselect") && !listed.has("\\NonExistent");
        let figures = listing.figures.get(&listed.name);
        Folder {
            path,
            raw: listed.name.clone(),
            special,
            subscribed: listed.has("\\Subscribed") || listing.subscribed.contains(&listed.name),
            selectable,
            foreign,
            identity: figures.and_then(|f| f.identity.clone()).filter(|id| is_identity(id)),
            mark: figures.filter(|_| selectable).and_then(mark),
        }
    }

    /// LIST with all that it can return at once. An option that a server offers and does not understand is left out, one by one.
    async fn list(&mut self, pattern: &[u8]) -> Result<Listing, Fault> {
        let mut refused = None;
        for extended in [self.can("LIST-EXTENDED"), false] {
            let mut options: Vec<String> = Vec::new();
            if extended {
                options.push("SUBSCRIBED".into());
                if self.can("SPECIAL-USE") {
                    options.push("SPECIAL-USE".into());
                }
                if self.can("LIST-STATUS") {
                    options.push(format!("STATUS ({})", self.items()));
                }
            }
            loop {
                let returns =
                    if options.is_empty() { String::new() } else { format!(" RETURN ({})", options.join(" ")) };
                let (done, listing) = self.list_once(pattern, &returns).await?;
                if done.is_ok() {
                    let listing = if extended { listing } else { self.with_lsub(pattern, listing).await? };
                    return Ok(listing);
                }
                let fault = self.fault(&done, "LIST", Class::Protocol);
                if fault.class != Class::Protocol || options.is_empty() {
                    refused = Some(fault);
                    break;
                }
                options.pop();
            }
            if !extended {
                break;
            }
        }
        Err(refused.unwrap_or_else(|| self.says("LIST failed", Class::Protocol)))
    }

    /// Octets of all messages in these folders, where the server tells (RFC 8438). A server may have to look at each message for it.
    pub async fn octets(&mut self, folders: &[Folder]) -> Result<Option<u64>, Fault> {
        if !self.can("STATUS=SIZE") {
            return Ok(None);
        }
        let (mut octets, mut told) = (0u64, 0);
        for part in folders.chunks(50) {
            let mut tags = Vec::new();
            for folder in part {
                tags.push(
                    self.begin(&[Part::Text("STATUS "), Part::String(&folder.raw), Part::Text(" (SIZE)")]).await?,
                );
            }
            self.stream.flush().await?;
            for tag in tags {
                let done = self
                    .finish(&tag, |answer| {
                        if let Answer::Status(_, Figures { size: Some(size), .. }) = answer {
                            octets = octets.saturating_add(size);
                            told += 1;
                        }
                    })
                    .await?;
                if !done.is_ok() {
                    return Ok(None);
                }
            }
        }
        Ok((told == folders.len()).then_some(octets))
    }

    fn items(&self) -> String {
        let modseq = if self.can("CONDSTORE") || self.qresync { " HIGHESTMODSEQ" } else { "" };
        // Cyrus 3.6 writes freed memory for it, the same for several folders, when LIST asks.
        let cyrus = self.can("X-REPLICATION") || self.can("XLIST");
        let identity = if self.can("OBJECTID") && !cyrus { " MAILBOXID" } else { "" };
        format!("MESSAGES UIDNEXT UIDVALIDITY{modseq}{identity}")
    }

    async fn list_once(&mut self, pattern: &[u8], returns: &str) -> Result<(Done, Listing), Fault> {
        let mut listing = Listing::default();
        let parts = [Part::Text("LIST \"\" "), Part::String(pattern), Part::Text(returns)];
        let done = self
            .ask(&parts, |answer| match answer {
                Answer::List(listed) => listing.listed.push(listed),
                Answer::Status(name, figures) => drop(listing.figures.insert(name, figures)),
                _ => {}
            })
            .await?;
        Ok((done, listing))
    }

    async fn with_lsub(&mut self, pattern: &[u8], mut listing: Listing) -> Result<Listing, Fault> {
        let mut subscribed = BTreeSet::new();
        let parts = [Part::Text("LSUB \"\" "), Part::String(pattern)];
        let done = self
            .ask(&parts, |answer| {
                if let Answer::Lsub(l) | Answer::List(l) = answer
                    && !l.has("\\Noselect")
                {
                    subscribed.insert(l.name);
                }
            })
            .await?;
        if !done.is_ok() {
            return Err(self.fault(&done, "LSUB", Class::Protocol));
        }
        listing.subscribed = subscribed;
        Ok(listing)
    }

    /// Path of a raw name, and whether it belongs to others.
    pub(super) fn path_of(&self, raw: &[u8], delimiter: Option<u8>) -> (FolderPath, bool) {
        let foreign = self.foreign.iter().any(|s| {
            raw.starts_with(&s.prefix)
                || s.prefix.strip_suffix(s.delimiter.as_slice()).is_some_and(|p| p == raw && !p.is_empty())
        });
        let inner = match raw.strip_prefix(self.personal.prefix.as_slice()) {
            Some(inner) if !foreign && !inner.is_empty() => inner,
            _ => raw,
        };
        let parts: Vec<&[u8]> = match delimiter {
            Some(d) => inner.split(|b| *b == d).collect(),
            None => vec![inner],
        };
        // A name that ends with its delimiter only holds others; one that is empty in between has to be called something.
        let last = parts.len().saturating_sub(1);
        let names = parts.iter().enumerate().filter(|(n, p)| !(p.is_empty() && *n == last && last > 0));
        let names = names.map(|(_, p)| if p.is_empty() { "_".to_owned() } else { name::shown(p) });
        (FolderPath::new(names).unwrap_or_else(FolderPath::inbox), foreign)
    }

    /// How this server writes a path. A name that holds the server's delimiter gets a letter that looks like it; with `careful` all
    /// letters do that stores refuse (a Maildir++ takes no dot, whatever the delimiter).
    fn raw_of(&self, path: &FolderPath, careful: bool) -> Result<Vec<u8>, Fault> {
        if path.is_inbox() {
            return Ok(b"INBOX".to_vec());
        }
        let Some(delimiter) = self.personal.delimiter else {
            return match path.names() {
                [one] => Ok(name::encode(one).into_bytes()),
                _ => Err(self.says(&format!("it has no folders within folders: {path}"), Class::Unsupported)),
            };
        };
        let d = char::from(delimiter);
        let write = |name: &String| {
            let alike = |c: char| if c == d || careful && FORBIDDEN.contains(c) { look_alike(c) } else { c };
            name::encode(&name.chars().map(alike).collect::<String>())
        };
        let names: Vec<String> = path.names().iter().map(write).collect();
        let mut raw = self.personal.prefix.clone();
        raw.extend_from_slice(names.join(&d.to_string()).as_bytes());
        Ok(raw)
    }

    /// Makes a folder, or finds it. What the server shows afterwards counts, not what was asked for.
    pub async fn create(&mut self, path: &FolderPath, special: Option<SpecialUse>) -> Result<Folder, Fault> {
        if let Some(first) = path.names().first()
            && self.dialect.reserved.contains(&first.to_lowercase().as_str())
        {
            return Err(self
                .says(&format!("it keeps the name {first} for itself; map the folder to another"), Class::Permission));
        }
        let raw = self.raw_of(path, false)?;
        match self.create_as(path, &raw, special).await {
            Err(fault) if !fault.class.passes() => {
                let careful = self.raw_of(path, true)?;
                if careful == raw { Err(fault) } else { self.create_as(path, &careful, special).await }
            }
            done => done,
        }
    }

    async fn create_as(&mut self, path: &FolderPath, raw: &[u8], special: Option<SpecialUse>) -> Result<Folder, Fault> {
        if let Some(found) = self.find(raw).await? {
            return Ok(found);
        }
        let refused = match self.make(raw, special).await? {
            done if done.is_ok() => None,
            done => Some(done),
        };
        if refused.is_some()
            && let Some(parent) = path.parent()
        {
            // Some make no parents by themselves.
            Box::pin(self.create(&parent, None)).await?;
            let done = self.make(raw, None).await?;
            if done.is_ok() {
                return self.found(raw, path).await;
            }
        }
        match refused {
            None => self.found(raw, path).await,
            // It is there under another spelling, or somebody else has just made it.
            Some(done) => match self.alike(raw).await? {
                Some(found) => Ok(found),
                None => Err(self.fault(&done, &format!("CREATE {path}"), Class::Permission)),
            },
        }
    }

    async fn make(&mut self, raw: &[u8], special: Option<SpecialUse>) -> Result<Done, Fault> {
        if let Some(special) = special
            && self.can("CREATE-SPECIAL-USE")
        {
            let with = format!(" (USE ({}))", special.attribute());
            let done = self.ask(&[Part::Text("CREATE "), Part::String(raw), Part::Text(&with)], |_| {}).await?;
            if done.is_ok() {
                return Ok(done);
            }
        }
        self.ask(&[Part::Text("CREATE "), Part::String(raw)], |_| {}).await
    }

    async fn found(&mut self, raw: &[u8], path: &FolderPath) -> Result<Folder, Fault> {
        if let Some(found) = self.find(raw).await? {
            return Ok(found);
        }
        let alike = self.alike(raw).await?;
        alike
            .ok_or_else(|| self.says(&format!("CREATE {path} succeeded and the folder is not listed"), Class::Protocol))
    }

    async fn find(&mut self, raw: &[u8]) -> Result<Option<Folder>, Fault> {
        let listing = self.list(raw).await?;
        let same = |l: &&Listed| l.name == raw || raw == b"INBOX" && l.name.eq_ignore_ascii_case(b"INBOX");
        let found = listing.listed.iter().find(same).filter(|l| !l.has("\\NonExistent"));
        Ok(found.map(|l| self.folder(l, &listing)))
    }

    /// The same name but for case and spaces at its end, which servers fold.
    async fn alike(&mut self, raw: &[u8]) -> Result<Option<Folder>, Fault> {
        let fold = |name: &[u8]| String::from_utf8_lossy(name).trim_end().to_lowercase();
        let listing = self.list(b"*").await?;
        let found = listing.listed.iter().find(|l| fold(&l.name) == fold(raw) && !l.has("\\NonExistent"));
        Ok(found.map(|l| self.folder(l, &listing)))
    }

    pub async fn rename(&mut self, folder: &Folder, to: &FolderPath) -> Result<Folder, Fault> {
        if let Some(parent) = to.parent() {
            self.create(&parent, None).await?;
        }
        let raw = self.raw_of(to, false)?;
        let done = self
            .ask(&[Part::Text("RENAME "), Part::String(&folder.raw), Part::Text(" "), Part::String(&raw)], |_| {})
            .await?;
        match done.is_ok() {
            true => self.found(&raw, to).await,
            false => Err(self.fault(&done, &format!("RENAME {} to {to}", folder.path), Class::Permission)),
        }
    }

    pub async fn delete(&mut self, folder: &Folder) -> Result<(), Fault> {
        if self.open.as_ref().is_some_and(|open| open.raw == folder.raw) {
            self.unselect().await?;
        }
        let done = self.ask(&[Part::Text("DELETE "), Part::String(&folder.raw)], |_| {}).await?;
        match done.is_ok() || done.says("NONEXISTENT") {
            true => Ok(()),
            false => Err(self.fault(&done, &format!("DELETE {}", folder.path), Class::Permission)),
        }
    }

    pub async fn subscribe(&mut self, folder: &Folder, on: bool) -> Result<(), Fault> {
        let verb = if on { "SUBSCRIBE " } else { "UNSUBSCRIBE " };
        let done = self.ask(&[Part::Text(verb), Part::String(&folder.raw)], |_| {}).await?;
        match done.is_ok() {
            true => Ok(()),
            false => Err(self.fault(&done, &format!("{verb}{}", folder.path), Class::Permission)),
        }
    }
}

/// RFC 8474, section 4: what an objectid may be.
fn is_identity(id: &str) -> bool {
    (1..=255).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// What one or another store refuses in a name.
const FORBIDDEN: &str = "./\\*%\"~<>|:?";

fn look_alike(c: char) -> char {
    match c {
        '/' => '\u{2215}',
        '.' => '\u{2024}',
        '\\' => '\u{2216}',
        '*' => '\u{2217}',
        '%' => '\u{ff05}',
        '"' => '\u{201d}',
        '~' => '\u{223c}',
        '<' => '\u{2039}',
        '>' => '\u{203a}',
        '|' => '\u{2223}',
        ':' => '\u{a789}',
        '?' => '\u{ff1f}',
        _ => '_',
    }
}

/// A mark needs a UIDVALIDITY and a count; the rest may be missing.
pub(super) fn mark(figures: &Figures) -> Option<Mark> {
    Some(Mark {
        validity: figures.validity?,
        next: figures.next,
        modseq: figures.modseq,
        count: figures.messages?,
        state: None,
    })
}
