//! Looks at a source before anyone moves. It reads, and changes nothing on either side.
//!
//! A listing finds what sizes and names say; a deep look reads each message once and finds what its octets say. What could not be asked is an
//! error, never a finding and never "all is well".

mod finding;
pub mod repair;
mod shape;

use std::collections::{BTreeSet, HashMap};

use tokio::sync::mpsc;

pub use finding::{Examined, Finding, Problem, Repair};
pub use shape::{LONGEST_LINE, Shape};

use super::config::End;
use super::mailbox::{Access, Changes, Class, Fault, Fetched, Folder, Id, Seen, Sha256};
use super::source::{Means, Source};
use super::target::Target;
use crate::model::unit::format_bytes;

/// Other addresses for which a mailbox gets mail before it counts as a catch-all; aliases of a person are fewer.
const ADDRESSES: usize = 20;
/// Findings of one kind in one folder that are named one by one.
const NAMED: usize = 20;

/// Folders of holds, as Exchange names them in Recoverable Items.
const HOLDS: [&str; 5] = ["DiscoveryHolds", "Purges", "SubstrateHolds", "Recoverable Items", "Litigation Hold"];
const ARCHIVES: [&str; 4] = ["Online Archive", "In-Place Archive", "Archives", "Archive"];

/// Both sides of one mailbox.
#[derive(Debug)]
pub struct Sides<'a> {
    pub source: (&'a End, &'a Access),
    /// Without it nothing is said of quota and of accounts that are missing there.
    pub target: Option<(&'a End, &'a Access)>,
}

/// Examines one mailbox. `step` hears of each message that was read.
///
/// # Errors
/// When a server cannot be asked, or a session breaks: nothing is known of the rest then.
pub async fn examine(
    user: &str,
    sides: Sides<'_>,
    means: &Means,
    deep: bool,
    step: impl Fn(u64),
) -> Result<Examined, Fault> {
    let mut found = Examined { user: user.to_owned(), deep, ..Examined::default() };
    let mut source = match Source::connect(sides.source.0, sides.source.1).await {
        Ok(source) => source,
        Err(fault) if fault.class == Class::Login => {
            found.add(Problem::Invalid, None, None, format!("the source does not open it: {}", fault.what));
            return Ok(found);
        }
        Err(fault) => return Err(fault),
    };
    let mut delivered = BTreeSet::new();
    for folder in source.folders().await? {
        found.folders += 1;
        named_for_something(&folder, &mut found);
        if folder.selectable {
            inside(&mut source, &folder, means, deep, &step, &mut found, &mut delivered).await?;
        }
    }
    source.close().await;
    delivered.remove(&user.to_lowercase());
    if delivered.len() >= ADDRESSES {
        let some: Vec<&str> = delivered.iter().take(3).map(String::as_str).collect();
        let what = format!("mail for {} other addresses lies here: {}, ..", delivered.len(), some.join(", "));
        found.add(Problem::CatchAll, None, None, what);
    }
    if let Some((end, access)) = sides.target {
        room(end, access, &mut found).await?;
    }
    Ok(found)
}

fn named_for_something(folder: &Folder, found: &mut Examined) {
    let name = folder.path.names().last().map_or("", String::as_str);
    let is = |list: &[&str]| list.iter().any(|l| l.eq_ignore_ascii_case(name));
    let at = Some(folder.path.key());
    if is(&HOLDS) {
        found.add(Problem::Hold, at, None, "the name of a folder in which a legal hold keeps mail".into());
    } else if is(&ARCHIVES) {
        found.add(Problem::Archive, at, None, "an archive folder".into());
    }
    if folder.path.names().iter().any(|n| n.contains(char::is_control)) {
        let at = Some(folder.path.key());
        found.add(Problem::Encoding, at, None, "its name holds a control character".into());
        if let Some(finding) = found.findings.last_mut() {
            finding.repair =
                Repair::Person("name it anew at the source, or let `preflight --repair` write how the move calls it");
            finding.rename = repair::plain(&folder.path);
        }
    }
}

async fn inside(
    source: &mut Source,
    folder: &Folder,
    means: &Means,
    deep: bool,
    step: &impl Fn(u64),
    found: &mut Examined,
    delivered: &mut BTreeSet<String>,
) -> Result<(), Fault> {
    let at = folder.path.key();
    match source.open(folder).await {
        Ok(_) => {}
        Err(fault) if matches!(fault.class, Class::Permission | Class::Vanished) => {
            found.add(Problem::Invalid, Some(at), None, format!("the folder does not open: {}", fault.what));
            return Ok(());
        }
        Err(fault) => return Err(fault),
    }
    let seen = match source.changes(None).await? {
        Changes::Whole(seen) => seen,
        Changes::Since { changed, .. } => changed,
    };
    found.messages += seen.len() as u64;
    found.octets += seen.iter().filter_map(|s| s.size).sum::<u64>();
    let mut small = Vec::new();
    for message in seen {
        match message.size {
            Some(size) if size > means.largest => found.add(
                Problem::Oversize,
                Some(at.clone()),
                Some(&message.id),
                format!("{}, the limit is {}", format_bytes(size), format_bytes(means.largest)),
            ),
            _ => small.push(message),
        }
    }
    if !deep || small.is_empty() {
        return Ok(());
    }
    let ids: Vec<Id> = small.iter().map(|s| s.id.clone()).collect();
    let (to, mut from) = mpsc::channel(16);
    let fetch = async {
        let done = source.fetch(&ids, means, &to).await;
        drop(to);
        done
    };
    let mut reader =
        Reader { at, known: small.iter().map(|s| (&s.id, s)).collect(), digests: HashMap::new(), found, delivered };
    let read = async {
        while let Some(fetched) = from.recv().await {
            step(1);
            reader.look(fetched)?;
        }
        Ok::<(), Fault>(())
    };
    let (fetched, read) = tokio::join!(fetch, read);
    fetched.and(read)
}

/// Looks at the messages of one folder as they come.
struct Reader<'a> {
    at: String,
    known: HashMap<&'a Id, &'a Seen>,
    digests: HashMap<Sha256, Id>,
    found: &'a mut Examined,
    delivered: &'a mut BTreeSet<String>,
}

impl Reader<'_> {
    fn look(&mut self, fetched: Fetched) -> Result<(), Fault> {
        let message = match fetched {
            Fetched::Message(message) => message,
            Fetched::Failed(_, fault) if fault.class == Class::Vanished => return Ok(()),
            Fetched::Failed(id, fault) => {
                let problem = if fault.class == Class::TooLarge { Problem::Oversize } else { Problem::Corrupt };
                self.add(problem, &id, format!("it cannot be read: {}", fault.what));
                return Ok(());
            }
        };
        let id = message.id.clone();
        let reader = message.content.reader();
        let shape = reader
            .and_then(Shape::of)
            .map_err(|e| Fault::new(Class::Local, format!("the spool cannot be read: {e}")))?;
        if let Some(size) = self.known.get(&id).and_then(|s| s.size)
            && size != shape.octets
        {
            self.add(Problem::Corrupt, &id, format!("the server announces {size} octets and sends {}", shape.octets));
        }
        if shape.octets == 0 {
            self.add(Problem::Corrupt, &id, "it is empty: many servers refuse such a message".into());
        } else if shape.headless {
            self.add(Problem::Corrupt, &id, "it has no header".into());
        }
        let odd = [
            (shape.nul, "a NUL octet".to_owned()),
            (shape.bare_ends, "line ends that are no CR LF".to_owned()),
            (shape.raw_header, "octets above 127 in its header".to_owned()),
            (shape.longest > LONGEST_LINE, format!("a line of {} octets", shape.longest)),
        ];
        let odd: Vec<String> = odd.into_iter().filter(|(is, _)| *is).map(|(_, what)| what).collect();
        if !odd.is_empty() {
            self.add(Problem::Encoding, &id, odd.join(", "));
        }
        self.delivered.extend(shape.delivered_to);
        if let Some(first) = self.digests.get(&message.digest).cloned() {
            self.add(Problem::Duplicate, &id, format!("the same octets as message {first}"));
        } else {
            self.digests.insert(message.digest, id);
        }
        Ok(())
    }

    fn add(&mut self, problem: Problem, id: &Id, what: String) {
        self.found.add(problem, Some(self.at.clone()), Some(id), what);
    }
}

impl Examined {
    /// After the first ones of a kind in a folder only their number is told.
    fn add(&mut self, problem: Problem, folder: Option<String>, message: Option<&Id>, what: String) {
        let same = self.findings.iter().rev().filter(|f| f.problem == problem && f.folder == folder);
        let (count, last) = same.fold((0, None), |(n, last), f| (n + 1, last.or(Some(f))));
        if count <= NAMED {
            let (message, what) = match count {
                NAMED => (None, "1 more like these".to_owned()),
                _ => (message.map(ToString::to_string), what),
            };
            self.findings.push(Finding { repair: problem.repair(), problem, folder, message, what, rename: None });
            return;
        }
        let more = last.and_then(|f| f.what.split(' ').next()?.parse::<u64>().ok()).unwrap_or(1) + 1;
        let at = self.findings.iter().rposition(|f| f.problem == problem && f.folder == folder);
        if let Some(finding) = at.and_then(|at| self.findings.get_mut(at)) {
            finding.what = format!("{more} more like these");
        }
    }
}

/// Whether somebody is there on the new side, and has room.
async fn room(end: &End, access: &Access, found: &mut Examined) -> Result<(), Fault> {
    let mut target = match Target::connect(end, access).await {
        Ok(target) => target,
        Err(fault) if fault.class == Class::Login => {
            found.add(Problem::Orphan, None, None, format!("the new side does not open a mailbox: {}", fault.what));
            return Ok(());
        }
        Err(fault) => return Err(fault),
    };
    let quota = target.quota().await?;
    target.close().await;
    if let Some((used, all)) = quota
        && used.saturating_add(found.octets) > all
    {
        let what = format!(
            "{} come to {} that are used; the quota is {}",
            format_bytes(found.octets),
            format_bytes(used),
            format_bytes(all)
        );
        found.add(Problem::Quota, None, None, what);
        found.wanted = Some(used.saturating_add(found.octets));
    }
    Ok(())
}
