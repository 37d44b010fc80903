//! Address books at a CardDAV server (RFC 6352): found, read in batches, written one by one with the ETag that is replaced.
//!
//! A contact's address is made of its UID, so that a put that is repeated after a kill meets its own work. What was put is read
//! again: servers write contacts anew, and what one left out is said.

mod http;
mod xml;

use std::collections::BTreeMap;

use reqwest::{StatusCode, Url};

use self::http::Http;
use super::{Gathering, contact, plain_name};
use crate::protocol::vcard::{self, Card, Form, Version};
use crate::services::cms::config::{End, Item};
use crate::services::cms::mailbox::{Access, Class, Fault};
use crate::services::cms::personal::{Known, Left, Listing, Thing};

/// Contacts of one request.
const BATCH: usize = 40;
/// A server that fails at so many contacts behind each other is ill itself.
const FAILURES: usize = 5;
/// Between the address and the ETag of a mark.
const BETWEEN: char = ' ';

const ASKED: &str = "<propfind xmlns=\"DAV:\" xmlns:C=\"urn:ietf:params:xml:ns:carddav\"><prop>\
    <current-user-principal/><resourcetype/><displayname/><C:addressbook-home-set/><C:supported-address-data/></prop></propfind>";
const ETAGS: &str = "<propfind xmlns=\"DAV:\"><prop><getetag/><resourcetype/></prop></propfind>";

#[derive(Debug)]
pub struct CardDav {
    http: Http,
    home: Url,
    books: Vec<Book>,
    lost: Vec<Left>,
}

#[derive(Debug, Clone)]
struct Book {
    /// As people call it; no two of a user have the same.
    name: String,
    url: Url,
    /// vCard 4.0 is taken.
    four: bool,
}

/// What was put, until it has been read again.
struct Stored<'t> {
    n: usize,
    card: &'t Card,
    book: Book,
    /// What this version of vCard cannot hold.
    lost: Vec<String>,
}

impl CardDav {
    /// Finds the address books of the user: from the address that is configured, the well-known one (RFC 6764), the principal, the home.
    /// `writes` makes a home that is not there yet, where the address names the user.
    pub async fn connect(end: &End, access: &Access, writes: bool) -> Result<Self, Fault> {
        let http = Http::open(end, access)?;
        let named = end.url.as_deref().is_some_and(|u| u.contains("{user}") || u.contains("{name}"));
        let home = if named { named_home(&http, writes).await? } else { found_home(&http).await? };
        let mut this = Self { http, home, books: Vec::new(), lost: Vec::new() };
        this.find_books().await?;
        Ok(this)
    }

    async fn find_books(&mut self) -> Result<(), Fault> {
        let found = match self.http.resources("PROPFIND", &self.home, "1", ASKED.into()).await {
            // A home that nobody has made holds no books.
            Err(fault) if fault.class == Class::Vanished => Vec::new(),
            found => found?,
        };
        let mut books: BTreeMap<String, Book> = BTreeMap::new();
        for one in found.into_iter().filter(|r| r.is_book) {
            let url = self.http.resolved(&self.home, &one.href)?;
            let last = url.path().trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_owned();
            // Radicale calls a book without a name by its path.
            let name =
                one.name.filter(|n| !n.contains('/') || !url.path().contains(n.as_str())).unwrap_or(last.clone());
            let name = if books.contains_key(&name) { format!("{name} ({last})") } else { name };
            books.insert(name.clone(), Book { name, url: folder(url), four: one.takes_four });
        }
        self.books = books.into_values().collect();
        Ok(())
    }

    /// All contacts; of those whose mark is known only that they are there.
    pub async fn list(&mut self, known: &Known) -> Result<Listing, Fault> {
        let ids: BTreeMap<&str, &str> = known
            .iter()
            .filter(|((item, _), _)| *item == Item::Contacts)
            .map(|((_, id), mark)| (mark.as_str(), id.as_str()))
            .collect();
        let mut gathering = Gathering::default();
        let mut read = Vec::new();
        for book in &self.books {
            let found = self.http.resources("PROPFIND", &book.url, "1", ETAGS.into()).await?;
            for one in found.into_iter().filter(|r| !r.is_collection && r.status.is_none_or(|s| s == 200)) {
                let url = self.http.resolved(&book.url, &one.href)?;
                if url.path() == book.url.path() {
                    continue;
                }
                let mark = one.etag.map(|etag| mark(&url, &etag));
                match mark.as_deref().and_then(|m| ids.get(m)) {
                    Some(id) => gathering.unchanged(id, mark.unwrap_or_default()),
                    None => read.push((book.clone(), url)),
                }
            }
        }
        for book in &self.books {
            let urls: Vec<Url> = read.iter().filter(|(b, _)| b.url == book.url).map(|(_, u)| u.clone()).collect();
            for part in urls.chunks(BATCH) {
                for (url, etag, text) in self.read(book, part).await? {
                    let place = url.path().trim_start_matches(self.home.path()).to_owned();
                    let (mut cards, bad) = vcard::parse(text.as_bytes());
                    bad.iter().for_each(|b| gathering.bad(&place, b));
                    match cards.len() {
                        1 => gathering.add(&book.name, cards.remove(0), etag.map(|e| mark(&url, &e)), Vec::new())?,
                        0 if !bad.is_empty() => {}
                        n => gathering.left(&place, &format!("{n} contacts in one resource, where one belongs")),
                    }
                }
            }
        }
        Ok(gathering.end())
    }

    /// Contacts by their addresses; one that went meanwhile is left out.
    async fn read(&self, book: &Book, urls: &[Url]) -> Result<Vec<(Url, Option<String>, String)>, Fault> {
        let hrefs: String = urls.iter().map(|u| format!("<href>{}</href>", xml::escaped(u.path()))).collect();
        let version = if book.four { " content-type=\"text/vcard\" version=\"4.0\"" } else { "" };
        let body = format!(
            "<C:addressbook-multiget xmlns=\"DAV:\" xmlns:C=\"{}\"><prop><getetag/><C:address-data{version}/></prop>{hrefs}</C:addressbook-multiget>",
            xml::CARD
        );
        let found = match self.http.resources("REPORT", &book.url, "0", body).await {
            // One by one, where they are too large together.
            Err(fault) if fault.class == Class::TooLarge => Vec::new(),
            found => found?,
        };
        let mut by_url: BTreeMap<Url, xml::Resource> = BTreeMap::new();
        for one in found {
            by_url.insert(self.http.resolved(&book.url, &one.href)?, one);
        }
        let mut read = Vec::new();
        for url in urls {
            match by_url.remove(url) {
                Some(one) if one.status == Some(404) => {}
                Some(xml::Resource { data: Some(data), etag, .. }) => read.push((url.clone(), etag, data)),
                _ => {
                    let answer = self.http.ask("GET", url, &[], None).await?;
                    match answer.status {
                        StatusCode::OK => read.push((url.clone(), answer.etag, answer.body)),
                        StatusCode::NOT_FOUND | StatusCode::GONE => {}
                        _ => return Err(answer.fault(&format!("GET {}", url.path()))),
                    }
                }
            }
        }
        Ok(read)
    }

    /// Writes contacts; `former` is the mark of what is replaced. An error means that any of them may be there.
    pub async fn put(&mut self, things: &[(&Thing, Option<&str>)]) -> Result<Vec<Result<String, Fault>>, Fault> {
        self.lost.clear();
        let mut done: Vec<Result<String, Fault>> = Vec::with_capacity(things.len());
        let mut put: BTreeMap<Url, Stored<'_>> = BTreeMap::new();
        let (mut full, mut failures) = (None::<Fault>, 0);
        for (n, (thing, former)) in things.iter().enumerate() {
            if let Some(fault) = &full {
                done.push(Err(fault.clone()));
                continue;
            }
            let one = contact(thing)?;
            match self.put_one(&one.book, &one.card, *former).await {
                Ok((url, book, mark, lost)) => {
                    put.insert(url, Stored { n, card: &one.card, book, lost });
                    done.push(Ok(mark));
                    failures = 0;
                }
                // Some fail at what they cannot read instead of refusing it.
                Err(fault) if fault.what.contains("HTTP 500") && failures < FAILURES => {
                    failures += 1;
                    done.push(Err(Fault { class: Class::Protocol, ..fault }));
                }
                // The others go where this one cannot.
                Err(fault)
                    if !matches!(fault.class, Class::Unreachable | Class::Login | Class::Busy) || is_race(&fault) =>
                {
                    if fault.class == Class::Quota {
                        full = Some(fault.clone());
                    }
                    done.push(Err(fault));
                }
                Err(fault) => return Err(fault),
            }
        }
        for book in self.books.clone() {
            let urls: Vec<Url> = put.iter().filter(|(_, s)| s.book.url == book.url).map(|(u, _)| u.clone()).collect();
            for part in urls.chunks(BATCH) {
                for (url, etag, text) in self.read(&book, part).await? {
                    let Some(stored) = put.remove(&url) else { continue };
                    let (cards, _) = vcard::parse(text.as_bytes());
                    let mut lost = cards.first().map_or_else(|| stored.card.lines(), |c| stored.card.missing_in(c));
                    lost.extend(stored.lost);
                    if let (Some(Ok(mark_)), Some(etag)) = (done.get_mut(stored.n), etag) {
                        *mark_ = mark(&url, &etag);
                    }
                    if !lost.is_empty() {
                        let lines: Vec<String> = lost.iter().map(|l| l.chars().take(120).collect()).collect();
                        let what = format!("the server left out or changed: {}", lines.join(" | "));
                        self.lost.push(Left::new(Item::Contacts, &things[stored.n].0.id, what));
                    }
                }
            }
        }
        // What was taken and is not there when it is asked for.
        for (url, stored) in put {
            let what = format!("carddav: {}: it was stored and is not there", url.path());
            done[stored.n] = Err(Fault::new(Class::Protocol, what));
        }
        Ok(done)
    }

    /// What the server left out of contacts that it took in the last put.
    pub fn lost(&mut self) -> Vec<Left> {
        std::mem::take(&mut self.lost)
    }

    async fn put_one(
        &mut self,
        book: &str,
        card: &Card,
        former: Option<&str>,
    ) -> Result<(Url, Book, String, Vec<String>), Fault> {
        let book = self.book(book).await?;
        let form = match book.four {
            true => Form { version: Version::V4, careful: false },
            false => Form { version: Version::V3, careful: true },
        };
        let written = vcard::write(card, form);
        let (url, etag) = match former {
            Some(mark) => {
                let (path, etag) = parted(mark);
                (self.http.resolved(&book.url, path)?, Some(etag))
            }
            None => {
                let name = format!("{}.vcf", plain_name(&card.uid()));
                (self.http.resolved(&book.url, &name)?, None)
            }
        };
        let guard = match etag {
            Some(etag) => ("If-Match", etag),
            None => ("If-None-Match", "*"),
        };
        let kind = (
            "Content-Type",
            if book.four { "text/vcard; version=4.0; charset=utf-8" } else { "text/vcard; charset=utf-8" },
        );
        let answer = self.http.ask("PUT", &url, &[kind, guard], Some(written.text)).await?;
        if !answer.status.is_success() {
            let fault = answer.fault(&format!("PUT {}", url.path()));
            if fault.class == Class::Vanished {
                return Err(Fault { class: Class::Busy, ..fault });
            }
            return Err(fault);
        }
        let mark = answer.etag.map(|etag| mark(&url, &etag)).unwrap_or_default();
        Ok((url, book, mark, written.lost))
    }

    /// The address book of this name, which is made where it is not there (RFC 5689). Its address is made of its name: a second making
    /// meets the first.
    async fn book(&mut self, name: &str) -> Result<Book, Fault> {
        if let Some(book) = self.books.iter().find(|b| b.name == name) {
            return Ok(book.clone());
        }
        if let Some(book) = self.books.iter().find(|b| b.name.to_lowercase() == name.to_lowercase()) {
            return Ok(book.clone());
        }
        let url = self.http.resolved(&self.home, &format!("{}/", plain_name(name)))?;
        let body = format!(
            "<mkcol xmlns=\"DAV:\" xmlns:C=\"{}\"><set><prop><resourcetype><collection/><C:addressbook/></resourcetype>\
             <displayname>{}</displayname></prop></set></mkcol>",
            xml::CARD,
            xml::escaped(name)
        );
        let headers = [("Content-Type", "application/xml; charset=utf-8")];
        let answer = self.http.ask("MKCOL", &url, &headers, Some(body)).await?;
        // 405: it is there already.
        if !answer.status.is_success() && answer.status != StatusCode::METHOD_NOT_ALLOWED {
            return Err(answer.fault(&format!("MKCOL {}", url.path())));
        }
        self.find_books().await?;
        let found = self.books.iter().find(|b| b.url == url || b.name == name).cloned();
        found.ok_or_else(|| {
            let what = format!("carddav: the address book {} is not there after MKCOL: {}", name, answer.status);
            Fault::new(Class::Permission, what)
        })
    }

    /// Removes a contact that still has this mark; one that is gone already is no fault.
    pub async fn remove(&mut self, mark: &str) -> Result<(), Fault> {
        let (path, etag) = parted(mark);
        let url = self.http.resolved(&self.home, path)?;
        let answer = self.http.ask("DELETE", &url, &[("If-Match", etag)], None).await?;
        match answer.status {
            StatusCode::NOT_FOUND | StatusCode::GONE => Ok(()),
            status if status.is_success() => Ok(()),
            _ => Err(answer.fault(&format!("DELETE {}", url.path()))),
        }
    }
}

/// Somebody else wrote it meanwhile: the next pass looks again.
fn is_race(fault: &Fault) -> bool {
    fault.what.contains("HTTP 412") || fault.what.contains("HTTP 409") || fault.what.contains("HTTP 404")
}

fn mark(url: &Url, etag: &str) -> String {
    format!("{}{BETWEEN}{etag}", url.path())
}

/// No path of a URL holds a space.
fn parted(mark: &str) -> (&str, &str) {
    mark.split_once(BETWEEN).unwrap_or((mark, "*"))
}

fn folder(mut url: Url) -> Url {
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    url
}

/// The address names the user: it is the home.
async fn named_home(http: &Http, writes: bool) -> Result<Url, Fault> {
    let home = folder(http.base.clone());
    match http.resources("PROPFIND", &home, "0", ASKED.into()).await {
        Err(fault) if fault.class == Class::Vanished && writes => {
            // Radicale makes it at a user's first login only.
            let answer = http.ask("MKCOL", &home, &[], None).await?;
            match answer.status.is_success() || answer.status == StatusCode::METHOD_NOT_ALLOWED {
                true => Ok(home),
                false => Err(answer.fault(&format!("MKCOL {}", home.path()))),
            }
        }
        // A source without a home has nothing; who asks for its books learns that.
        Err(fault) if fault.class == Class::Vanished => Ok(home),
        found => {
            let home_set = found?.into_iter().find_map(|r| r.home);
            match home_set {
                Some(href) => http.resolved(&home, &href).map(folder),
                None => Ok(home),
            }
        }
    }
}

/// RFC 6764 section 6: from the address that is configured, or the well-known one, to the principal, and from there to the home.
async fn found_home(http: &Http) -> Result<Url, Fault> {
    let known = http.resolved(&http.base, "/.well-known/carddav")?;
    let bare = http.base.path() == "/";
    let mut at = http.base.clone();
    let mut found = match bare {
        true => http.resources("PROPFIND", &known, "0", ASKED.into()).await.unwrap_or_default(),
        false => Vec::new(),
    };
    if found.is_empty() {
        found = http.resources("PROPFIND", &at, "0", ASKED.into()).await?;
    }
    for _ in 0..3 {
        if let Some(href) = found.iter().find_map(|r| r.home.clone()) {
            return http.resolved(&at, &href).map(folder);
        }
        let Some(href) = found.iter().find_map(|r| r.principal.clone()) else { break };
        let next = http.resolved(&at, &href)?;
        if next == at {
            break;
        }
        at = next;
        found = http.resources("PROPFIND", &at, "0", ASKED.into()).await?;
    }
    Err(Fault::new(
        Class::Login,
        format!(
            "carddav: {} names no home of address books; write the address of one, as in https://HOST/{{user}}/",
            http.base
        ),
    ))
}
