//! vCards in files of this machine: one file with many (one address book), or a folder. In a folder each folder is an address book, and
//! what lies beside them belongs to the book [`super::BOOK`]; files may hold one contact or many.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::{BOOK, Gathering, contact, plain_name};
use crate::protocol::vcard::{self, Card, Form, Version};
use crate::services::cms::config::End;
use crate::services::cms::mailbox::{Access, Class, Fault};
use crate::services::cms::personal::{Listing, Thing};

/// Octets of one file.
const LARGEST: u64 = 64 << 20;
/// Keeps the name of a folder that cannot be called as its book.
const NAME: &str = ".displayname";

#[derive(Debug)]
pub struct Files {
    path: PathBuf,
    /// A single file.
    one: bool,
}

/// A card with the place it was read from.
struct Held {
    book: String,
    file: PathBuf,
    card: Card,
}

fn failed(path: &Path, e: &std::io::Error) -> Fault {
    Fault::new(Class::Local, format!("{}: {e}", path.display()))
}

/// The content of a file that is not too large.
pub(super) fn content(path: &Path) -> Result<Vec<u8>, Fault> {
    let size = path.metadata().map_err(|e| failed(path, &e))?.len();
    if size > LARGEST {
        let what = format!("{}: {size} octets; {LARGEST} are the most", path.display());
        return Err(Fault::new(Class::TooLarge, what));
    }
    std::fs::read(path).map_err(|e| failed(path, &e))
}

/// The files of a user: the one that the path names, or those in that folder with one of these endings. One that is not there holds
/// nothing.
pub(super) fn of(path: &Path, endings: &[&str]) -> Result<Vec<PathBuf>, Fault> {
    match path.metadata() {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(failed(path, &e)),
        Ok(found) if !found.is_dir() => return Ok(vec![path.to_owned()]),
        Ok(_) => {}
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(|e| failed(path, &e))? {
        let file = entry.map_err(|e| failed(path, &e))?.path();
        let ending = file.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
        let hidden = file.file_name().is_none_or(|n| n.as_encoded_bytes().starts_with(b"."));
        if file.is_file() && !hidden && endings.contains(&ending.as_str()) {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

impl Files {
    pub fn open(end: &End, access: &Access) -> Result<Self, Fault> {
        let path = end.path_of(&access.user).map_err(|e| Fault::new(Class::Local, e))?;
        let ending = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("vcf"));
        Ok(Self { one: path.is_file() || ending && !path.is_dir(), path })
    }

    fn books(&self) -> Result<Vec<(String, PathBuf)>, Fault> {
        let mut books = vec![(BOOK.to_owned(), self.path.clone())];
        if self.one || !self.path.exists() {
            return Ok(books);
        }
        for entry in std::fs::read_dir(&self.path).map_err(|e| failed(&self.path, &e))? {
            let folder = entry.map_err(|e| failed(&self.path, &e))?.path();
            let Some(name) = folder.file_name().map(|n| n.to_string_lossy().into_owned()) else { continue };
            if folder.is_dir() && !name.starts_with('.') {
                let said = std::fs::read_to_string(folder.join(NAME)).ok().map(|n| n.trim().to_owned());
                books.push((said.filter(|n| !n.is_empty()).unwrap_or(name), folder));
            }
        }
        books.sort();
        Ok(books)
    }

    fn each(&self, mut bad: impl FnMut(&Path, &vcard::Bad)) -> Result<Vec<Held>, Fault> {
        let mut held = Vec::new();
        for (book, folder) in self.books()? {
            for file in of(&folder, &["vcf", "vcard"])? {
                let (cards, faults) = vcard::parse(&content(&file)?);
                faults.iter().for_each(|b| bad(&file, b));
                held.extend(cards.into_iter().map(|card| Held { book: book.clone(), file: file.clone(), card }));
            }
        }
        Ok(held)
    }

    /// A folder that is not there holds none.
    pub async fn list(&mut self) -> Result<Listing, Fault> {
        let mut gathering = Gathering::default();
        let mut bads = Vec::new();
        let held = self.each(|file, bad| bads.push((file.to_owned(), bad.clone())))?;
        for (file, bad) in bads {
            let place = file.strip_prefix(&self.path).ok().filter(|p| !p.as_os_str().is_empty());
            let place = place.or(file.file_name().map(Path::new)).unwrap_or(&file).display().to_string();
            gathering.bad(&place, &bad);
        }
        for one in held {
            gathering.add(&one.book, one.card, None, Vec::new())?;
        }
        Ok(gathering.end())
    }

    /// Writes vCard 4.0: in a folder a file for each contact, named by its UID; a single file is written anew as a whole.
    pub async fn put(&mut self, things: &[(&Thing, Option<&str>)]) -> Result<Vec<Result<String, Fault>>, Fault> {
        let held = self.each(|_, _| {})?;
        if self.one {
            return self.put_one_file(held, things);
        }
        let mut done = Vec::new();
        for (thing, _) in things {
            let one = contact(thing)?;
            let uid = one.card.uid();
            let former = held.iter().find(|h| h.book.to_lowercase() == one.book.to_lowercase() && h.card.uid() == uid);
            done.push(
                match former {
                    // A file with others in it is changed as a whole.
                    Some(former) if held.iter().filter(|h| h.file == former.file).count() > 1 => {
                        let others =
                            held.iter().filter(|h| h.file == former.file && h.card.uid() != uid).map(|h| &h.card);
                        write(&former.file, others.chain([&one.card]))
                    }
                    Some(former) => write(&former.file, [&one.card].into_iter()),
                    None => self.folder(&one.book).and_then(|folder| {
                        write(&folder.join(format!("{}.vcf", plain_name(&uid))), [&one.card].into_iter())
                    }),
                }
                .map(|()| thing.digest().to_string()),
            );
        }
        Ok(done)
    }

    fn folder(&self, book: &str) -> Result<PathBuf, Fault> {
        let known = self
            .books()?
            .into_iter()
            .find(|(name, _)| name.to_lowercase() == book.to_lowercase())
            .map(|(_, folder)| folder);
        let folder = known.unwrap_or_else(|| self.path.join(plain_name(book)));
        std::fs::create_dir_all(&folder).map_err(|e| failed(&folder, &e))?;
        if book != BOOK && plain_name(book) != book {
            let name = folder.join(NAME);
            std::fs::write(&name, format!("{book}\n")).map_err(|e| failed(&name, &e))?;
        }
        Ok(folder)
    }

    fn put_one_file(
        &self,
        held: Vec<Held>,
        things: &[(&Thing, Option<&str>)],
    ) -> Result<Vec<Result<String, Fault>>, Fault> {
        let mut cards: Vec<Card> = held.into_iter().map(|h| h.card).collect();
        let mut done = Vec::new();
        for (thing, _) in things {
            let one = contact(thing)?;
            if one.book.to_lowercase() != BOOK.to_lowercase() {
                let what =
                    format!("{} is one address book; contacts of {} need a folder", self.path.display(), one.book);
                done.push(Err(Fault::new(Class::Unsupported, what)));
                continue;
            }
            let uid = one.card.uid();
            cards.retain(|c| c.uid() != uid);
            cards.push(one.card.clone());
            done.push(Ok(thing.digest().to_string()));
        }
        if let Some(folder) = self.path.parent() {
            std::fs::create_dir_all(folder).map_err(|e| failed(folder, &e))?;
        }
        write(&self.path, cards.iter())?;
        Ok(done)
    }

    /// One that is not there is no fault.
    pub async fn remove(&mut self, id: &str) -> Result<(), Fault> {
        let held = self.each(|_, _| {})?;
        let Some(gone) = held.iter().find(|h| super::id(&h.book, &h.card.uid()) == id) else { return Ok(()) };
        let rest: Vec<&Card> =
            held.iter().filter(|h| h.file == gone.file && h.card.uid() != gone.card.uid()).map(|h| &h.card).collect();
        if rest.is_empty() && !self.one {
            return match std::fs::remove_file(&gone.file) {
                Err(e) if e.kind() != ErrorKind::NotFound => Err(failed(&gone.file, &e)),
                _ => Ok(()),
            };
        }
        write(&gone.file, rest.into_iter())
    }
}

/// Aside and then in place: a kill leaves the old file or the new one.
fn write<'c>(file: &Path, cards: impl Iterator<Item = &'c Card>) -> Result<(), Fault> {
    let form = Form { version: Version::V4, careful: false };
    let text: String = cards.map(|card| vcard::write(card, form).text).collect();
    let folder = file.parent().unwrap_or(Path::new("."));
    let failed = |e: std::io::Error| failed(file, &e);
    let mut aside = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    std::io::Write::write_all(&mut aside, text.as_bytes()).map_err(failed)?;
    aside.as_file().sync_all().map_err(failed)?;
    aside.persist(file).map_err(|e| failed(e.error))?;
    Ok(())
}
