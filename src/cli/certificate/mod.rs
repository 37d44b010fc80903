//! The certificate of a cohort, put together from all who know something of its move, and read again.
//!
//! ```text
//! gates, content service ──where they are, what was carried, how it was compared──┐
//! diary of moves ──how long logins waited, by whose hand──────────────────────────┼──▶ Certificate ──▶ JSON, its signature, a page
//! journal, records ──which applies, who agreed to what────────────────────────────┘
//! ```

mod page;
mod text;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::calendar::record;
use super::context::Context;
use super::failure::Failure;
use super::moving::{Course, Entry};
use super::records::{Signer, Standing, signature};
use super::runtime;
use super::whole;
use crate::journal::{Journal, StateDir, replay};
use crate::model::topology::{Node, Topology};
use crate::model::{HostName, Kind};
use crate::moving::standing::{Standing as Stands, State};
use crate::people::Chosen;
use crate::process::board::{is_rehearsal, needed, place};
use crate::process::certificate::{
    Apply, CERTIFICATE_VERSION, Certificate, Check, Known, LeftOut, Mailbox, Moved, Person, Phase, Report, Said, Totals,
};
use crate::process::record::ANYWHERE;
use crate::services::cms::report::Brief;

pub use page::page;
pub use text::text;

/// How many who are missing are named.
const NAMED: usize = 20;

/// The phases that move a cohort.
pub fn phases<'t>(topology: &'t Topology, cohort: &str) -> impl Iterator<Item = &'t Node> {
    topology.all("phase").filter(move |p| p.refs("migrates").any(|(id, _)| id.name == *cohort))
}

/// Records and what the phases of a cohort make.
pub fn standing(context: &Context, topology: &Topology, cohort: &str) -> Result<Standing, Failure> {
    let named = phases(topology, cohort).flat_map(|p| needed(topology, &p.id.name)).collect();
    Standing::open(context, topology, &named)
}

/// Asks everybody. Somebody who is not on the new side is an error: there is nothing to certify yet.
pub fn gather(
    context: &Context,
    course: &Course,
    cohort: &str,
    chosen: &Chosen,
    standing: &Standing,
    signer: Option<&Signer>,
) -> Result<Certificate, Failure> {
    let users = course.users(chosen.addresses());
    let (stands, reports) = runtime::block_on(async {
        let stands = course.look(&users).await?;
        all_there(cohort, &stands)?;
        Ok::<_, Failure>((stands, course.reports(&users).await))
    })??;
    let diary = course.diary(context).read()?;
    let state = course.project.state(context);
    let person = |s: &Stands| {
        let past = diary.get(&s.user).map(Vec::as_slice).unwrap_or_default();
        let brief = match &reports {
            Ok(all) => all.get(&s.user.to_lowercase()).ok_or("the content service has no report of them"),
            Err(why) => Err(why.as_str()),
        };
        person(s, past, brief)
    };
    let people: Vec<Person> = stands.iter().map(person).collect();
    let topology = &course.project.topology;
    let node = topology.get("cohort", cohort);
    let migration = node.and_then(|c| topology.target(c, "migration"));
    let named = |field: &str| migration.and_then(|m| m.reference(field)).map(ToString::to_string);
    let left_out: Vec<LeftOut> = chosen.left_out.iter().map(left_out).collect();
    let commit = standing.repository.as_ref().and_then(super::records::Repository::head);
    Ok(Certificate {
        version: CERTIFICATE_VERSION,
        organization: standing.organization.clone(),
        environment: topology.environment.clone(),
        cohort: cohort.to_owned(),
        migration: migration.map(|m| m.id.name.to_string()),
        from: named("from"),
        to: named("to"),
        made: seconds(Timestamp::now().as_second()),
        by: signer.map_or_else(|| record::Entry::new("").by, |s| s.person.clone()),
        commit: commit.map_or_else(|| Known::not("the topology is in no git repository"), Known::Is),
        rehearsal: topology.environment().is_some_and(is_rehearsal),
        list: chosen.digest(),
        totals: Totals::of(&people, left_out.len()),
        phases: phases(topology, cohort).map(|p| phase(topology, p, standing)).collect(),
        applies: applies(&state, cohort, &record::by_apply(&state)?).map_or_else(Known::not, Known::Is),
        people,
        left_out,
    })
}

fn seconds(at: i64) -> Timestamp {
    Timestamp::from_second(at).unwrap_or(Timestamp::UNIX_EPOCH)
}

pub fn all_there(cohort: &str, stands: &[Stands]) -> Result<(), Failure> {
    let missing: Vec<&Stands> = stands.iter().filter(|s| s.state != State::Moved).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut text = format!("{} of {} people of {cohort} are not on the new side:", missing.len(), stands.len());
    for s in missing.iter().take(NAMED) {
        text += &format!("\n  {}: {}", s.user, s.state.as_str());
    }
    if missing.len() > NAMED {
        text += &format!("\n  and {} more", missing.len() - NAMED);
    }
    Err(Failure::new(text).help(
        "move them, or take them out of the cohort with a reason: exclude { users ..; reason \"..\"; }; the certificate names those too",
    ))
}

fn left_out(out: &crate::people::LeftOut) -> LeftOut {
    let reason = out.reason.clone().map_or_else(|| Known::not("`exclude` gives no reason"), Known::Is);
    LeftOut { user: out.address.clone(), by: out.by.clone(), reason }
}

fn person(stands: &Stands, past: &[Entry], brief: Result<&Brief, &str>) -> Person {
    fn or_why<T>(brief: Result<&Brief, &str>, say: impl FnOnce(&Brief) -> Known<T>) -> Known<T> {
        brief.map_or_else(Known::not, say)
    }
    let mailbox = |b: &Brief| Mailbox {
        messages: b.mailbox.messages,
        octets: b.mailbox.octets,
        beside: b.carried.clone(),
        exceptions: b.excepted.clone(),
    };
    let check = |b: &Brief| match &b.last {
        Some((at, passed)) if passed.fault.is_none() => {
            Known::Is(Check { at: at.clone(), how: b.verify.as_str().to_owned(), differs: b.differs })
        }
        _ => Known::not("the content service has no last pass of them that came to its end"),
    };
    let report = |b: &Brief| match &b.filed {
        Some(f) => Known::Is(Report { path: f.path.clone(), sha256: f.sha256.clone(), signed: f.signed }),
        None => Known::not("the content service filed none"),
    };
    Person {
        user: stands.user.clone(),
        state: stands.state.as_str().to_owned(),
        moved: moved(past),
        mailbox: or_why(brief, |b| Known::Is(mailbox(b))),
        check: or_why(brief, check),
        report: or_why(brief, report),
    }
}

/// How somebody came to the new side, as the diary has it.
fn moved(past: &[Entry]) -> Known<Moved> {
    let (new, old) = (|e: &&Entry| e.to == "new", |e: &&Entry| e.to != "new" && e.arrived);
    let Some(at) = past.iter().rposition(|e| e.arrived && e.to == "new") else {
        return Known::not(
            "the diary on this machine has no move of them; somebody else moved them, or by `cutover routes`",
        );
    };
    let (before, after) = past.split_at(at + 1);
    if after.iter().any(|e| old(&e)) {
        return Known::not(
            "by the diary on this machine they were taken back since; somebody else has moved them again",
        );
    }
    // What was before they were last taken back is of another move.
    let begun = before.iter().rposition(|e| old(&e)).map_or(0, |i| i + 1);
    let tried: Vec<&Entry> = before[begun..].iter().filter(new).collect();
    let last = &before[at];
    let downtime_ms = match last.held_ms {
        Some(_) => Known::Is(tried.iter().filter_map(|e| e.held_ms).sum()),
        None => Known::not("the move was cut off while they were held, and done again"),
    };
    Known::Is(Moved {
        at: last.at.clone(),
        by: last.by.clone(),
        downtime_ms,
        attempts: tried.len() as u64,
        taken_back: before.iter().filter(old).count() as u64,
    })
}

fn phase(topology: &Topology, node: &Node, standing: &Standing) -> Phase {
    let name = node.id.name.to_string();
    let intent = standing.phases.get(&name).map(|i| i.digest.clone());
    let here = place(topology, node).environment;
    let of = |s: &&crate::process::record::Signed| {
        s.record.phase.as_deref() == Some(name.as_str()) && s.record.environment.as_deref() == here
    };
    let said = |s: &crate::process::record::Signed| Said {
        kind: s.record.kind.as_str().to_owned(),
        node: s.record.node.clone(),
        who: s.record.who.clone(),
        when: s.record.when,
        file: s.file.clone(),
        sha256: s.record.digest().0,
        trusted: standing.trust.is_some() && standing.deciders().owns(&s.record.who, &s.key),
        of_this_intent: intent.as_ref() == Some(&s.record.intent),
    };
    Phase {
        intent: intent.clone().map_or_else(|| Known::not("what the phase makes cannot be told"), Known::Is),
        records: standing.records.iter().filter(of).map(said).collect(),
        name,
    }
}

/// Applies of the journal that moved people of the cohort, or took them back.
fn applies(state: &StateDir, cohort: &str, changes: &BTreeMap<String, record::Entry>) -> Result<Vec<Apply>, String> {
    let lane = HostName::of_cohort(cohort);
    let said = |e: &dyn std::fmt::Display| format!("the journal on this machine cannot be read: {e}");
    let journal = Journal::read(&state.state()).map_err(|e| said(&e))?;
    let mut all = Vec::new();
    for summary in journal.history().map_err(|e| said(&e))?.into_iter().filter(|s| s.header.phase.is_some()) {
        let Some(saved) = journal.load(&summary.header.apply).map_err(|e| said(&e))? else { continue };
        let waves: Vec<usize> = saved
            .plan
            .steps
            .iter()
            .enumerate()
            .filter(|(_, s)| s.address.kind == Kind::Wave && s.address.host == lane)
            .map(|(at, _)| at)
            .collect();
        if waves.is_empty() {
            continue;
        }
        let ended = replay(&saved).map_err(|e| said(&e))?;
        let done = |at: &&usize| matches!(ended.outcomes.get(**at), Some(Some(o)) if o.is_done());
        let header = saved.header;
        all.push(Apply {
            at: seconds(header.at.div_euclid(1000)),
            by: header.holder.split(" pid ").next().unwrap_or_default().to_owned(),
            intent: header.intent,
            waves: waves.len() as u64,
            done: waves.iter().filter(done).count() as u64,
            takes_back: header.undo_of,
            change: changes.get(&header.apply).and_then(|e| e.change.clone()),
            id: header.apply,
        });
    }
    Ok(all)
}

/// Where a certificate stands, below the folder of the topology.
pub fn folder(environment: Option<&str>) -> PathBuf {
    Path::new("certificates").join(environment.unwrap_or(ANYWHERE))
}

/// Files of a certificate: the document, its signature, the page.
pub struct Files {
    pub json: PathBuf,
    pub signature: PathBuf,
    pub html: PathBuf,
}

impl Files {
    pub fn of(json: PathBuf) -> Self {
        let signature = PathBuf::from(format!("{}.sig", json.display()));
        Self { html: json.with_extension("html"), signature, json }
    }

    pub fn write(&self, certificate: &Certificate, signer: Option<&Signer>) -> Result<(), Failure> {
        let namespace = Certificate::namespace(&certificate.organization);
        self.put(&certificate.bytes(), &namespace, Some(&page(certificate)), signer)
    }

    /// Writes all of them anew; a signature of a former one goes first, so that none ever stands beside what it is not of.
    pub fn put(
        &self,
        bytes: &[u8],
        namespace: &str,
        page: Option<&str>,
        signer: Option<&Signer>,
    ) -> Result<(), Failure> {
        let signed = signer.map(|s| signature::sign(bytes, s.path(), namespace)).transpose().map_err(Failure::new)?;
        let failed = |path: &Path, e: std::io::Error| {
            Failure::new(format!("{} cannot be written: {e}", path.display())).help("say another folder with --out DIR")
        };
        if let Some(folder) = self.json.parent() {
            std::fs::create_dir_all(folder).map_err(|e| failed(folder, e))?;
        }
        match std::fs::remove_file(&self.signature) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(failed(&self.signature, e)),
            _ => {}
        }
        let put = |path: &Path, bytes: &[u8]| {
            whole::write(path, |f| std::io::Write::write_all(f, bytes))
                // It is for others to read.
                .and_then(|()| std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o644)))
                .map_err(|e| failed(path, e))
        };
        put(&self.json, bytes)?;
        page.map_or(Ok(()), |text| put(&self.html, text.as_bytes()))?;
        signed.map_or(Ok(()), |text| put(&self.signature, text.as_bytes()))
    }
}

/// A certificate that was read again, with who signed it.
pub struct Verified {
    pub certificate: Certificate,
    /// The person whose key it is.
    pub holder: String,
    /// The page beside it is the one that it gives.
    pub page: Option<bool>,
}

/// Reads a certificate and holds it against its signature, its own sums and the keys of the topology.
pub fn verify(path: &Path, standing: &Standing) -> Result<Verified, Failure> {
    let refused = |why: String| Failure::new(format!("{} does not hold: {why}", path.display()));
    let bytes = std::fs::read(path).map_err(|e| refused(format!("it cannot be read: {e}")))?;
    let certificate = Certificate::parse(&bytes).map_err(refused)?;
    if certificate.organization != standing.organization {
        return Err(refused(format!("it is of organisation {}", certificate.organization)));
    }
    let files = Files::of(path.to_owned());
    let namespace = Certificate::namespace(&certificate.organization);
    let key = signature::check(&bytes, &files.signature, &namespace).map_err(refused)?;
    let (trusted, now) = (standing.deciders(), &standing.now);
    let owner = trusted.owns(&certificate.by, &key) || now.owns(&certificate.by, &key);
    if !owner {
        let whose = now.holder(&key).map_or_else(|| "of nobody in the topology".to_owned(), |p| format!("{p}'s"));
        return Err(refused(format!("it says that {} signed, and the key is {whose}", certificate.by)));
    }
    let beside = std::fs::read(&files.html).ok().map(|html| html == page(&certificate).as_bytes());
    Ok(Verified { holder: certificate.by.clone(), page: beside, certificate })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(to: &str, arrived: bool, held_ms: Option<u64>) -> Entry {
        Entry {
            at: "2026-11-23T01:40:00Z".into(),
            user: "ann@acme.example".into(),
            to: to.into(),
            arrived,
            held_ms,
            messages: None,
            octets: None,
            why: None,
            by: "kim@desk".into(),
        }
    }

    /// How long logins waited counts moves that came to nothing, and none from before they were taken back.
    #[test]
    fn what_the_diary_does_not_know_is_said_to_be_not_known() {
        let told = |past: &[Entry]| match moved(past) {
            Known::Is(m) => Ok((m.downtime_ms.value().copied(), m.attempts, m.taken_back)),
            Known::Not { not_known } => Err(not_known),
        };
        let there = entry("new", true, Some(700));
        assert_eq!(told(std::slice::from_ref(&there)), Ok((Some(700), 1, 0)));
        let failed = entry("new", false, Some(200));
        assert_eq!(told(&[failed.clone(), there.clone()]), Ok((Some(900), 2, 0)));
        let back = entry("old", true, Some(5_000));
        assert_eq!(told(&[there.clone(), back.clone(), failed.clone(), there.clone()]), Ok((Some(900), 2, 1)));
        assert_eq!(told(&[failed.clone(), entry("new", true, None)]), Ok((None, 2, 0)), "cut off and done again");
        assert!(told(&[]).is_err() && told(&[failed]).is_err() && told(&[there, back]).is_err());
    }
}
