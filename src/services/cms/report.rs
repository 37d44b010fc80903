//! What was moved, what was not and why: one report a mailbox, as JSON for programs and as text for people.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use sha2::{Digest as _, Sha256};

use super::config::Verify;
use super::ledger::{CarriedThing, Exception, Ledger, Passed, Summary};
use super::mailbox::Fault;
use super::personal::is_personal;
use crate::model::unit::format_bytes;

#[derive(Debug, Clone, Serialize)]
pub struct Report {
    pub version: u32,
    /// When it was made (RFC 3339).
    pub at: String,
    #[serde(flatten)]
    pub mailbox: Summary,
    pub folders: Vec<FolderReport>,
    /// What was carried beside mail, counted by item, and each.
    pub carried: BTreeMap<String, u64>,
    pub things: Vec<CarriedThing>,
    pub exceptions: Vec<Excepted>,
    pub passes: Vec<PassReport>,
}

#[derive(Debug, Clone, Serialize)]
pub struct FolderReport {
    pub old: String,
    pub new: String,
    pub messages: u64,
    pub octets: u64,
    /// SHA-256 over the sorted digests (SHA-256, in hexadecimal, each with a line feed) of its messages: the same for the same messages,
    /// whatever their order.
    pub digest: String,
}

#[derive(Debug, Clone, Serialize)]
pub struct Excepted {
    #[serde(flatten)]
    pub what: Exception,
    /// What a person can do.
    pub help: &'static str,
}

impl Excepted {
    fn line(&self) -> String {
        let Exception { path, item, class, what, .. } = &self.what;
        let at = if path.is_empty() { String::new() } else { format!("{path}, ") };
        format!("{at}{item}: {class}: {what}")
    }
}

#[derive(Debug, Clone, Serialize)]
pub struct PassReport {
    pub at: String,
    #[serde(flatten)]
    pub what: Passed,
}

/// A report in short, for who certifies many mailboxes: what was carried, how that was checked, and where the whole report stands.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Brief {
    #[serde(flatten)]
    pub mailbox: Summary,
    /// By which the last pass before the switch compares both sides.
    pub verify: Verify,
    /// That pass, where there was one: when, and what came of it.
    pub last: Option<(String, Passed)>,
    pub carried: BTreeMap<String, u64>,
    /// Each with the words of the report.
    pub excepted: Vec<String>,
    /// Differences that the verification found and nothing has settled.
    pub differs: u64,
    pub filed: Option<Filed>,
}

/// A report in a file of the service's host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filed {
    pub path: String,
    pub sha256: String,
    /// By the `report-key` of the configuration.
    pub signed: bool,
}

fn time(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).map_or_else(|_| String::new(), |t| format!("{t:.0}"))
}

/// A difference that a verification found is of no class of an end.
fn help(what: &Exception) -> &'static str {
    match what.item.strip_prefix("verify:") {
        Some(name) if is_personal(name) => {
            "if the user changed it on the new side since, nothing; otherwise let another pass run and verify again"
        }
        None if is_personal(&what.item) && what.class == super::mailbox::Class::Unsupported => {
            "do it by hand on the written side, or tell the user; all else of the user is carried"
        }
        Some(_) => "let another pass run and verify again; if it stays, look at the message on both sides",
        None => what.class.help(),
    }
}

impl Report {
    /// `None` when the ledger does not know the user.
    pub async fn of(ledger: &Ledger, user: &str) -> Result<Option<Self>, Fault> {
        let Some(mailbox) = ledger.summaries(Some(user)).await?.pop() else { return Ok(None) };
        let mut folders = Vec::new();
        for (old, new, digests, octets) in ledger.contents(user).await? {
            let mut lines: Vec<String> = digests.iter().map(|d| format!("{d}\n")).collect();
            lines.sort_unstable();
            let mut digest = Sha256::new();
            lines.iter().for_each(|l| digest.update(l.as_bytes()));
            let digest = super::mailbox::Sha256(digest.finalize().into()).to_string();
            folders.push(FolderReport { old, new, messages: digests.len() as u64, octets, digest });
        }
        let things = ledger.carried_things(user).await?;
        let mut carried: BTreeMap<String, u64> = BTreeMap::new();
        things.iter().for_each(|t| *carried.entry(t.item.clone()).or_default() += 1);
        let exceptions = ledger.exceptions(user).await?;
        let exceptions = exceptions.into_iter().map(|what| Excepted { help: help(&what), what }).collect();
        let passes =
            ledger.history(user).await?.into_iter().map(|(at, what)| PassReport { at: time(at), what }).collect();
        Ok(Some(Self {
            version: 1,
            at: format!("{:.0}", jiff::Timestamp::now()),
            mailbox,
            folders,
            carried,
            things,
            exceptions,
            passes,
        }))
    }

    pub fn brief(&self, verify: Verify, filed: Option<Filed>) -> Brief {
        let last = self.passes.iter().rfind(|p| p.what.pass == "final").map(|p| (p.at.clone(), p.what.clone()));
        Brief {
            mailbox: self.mailbox.clone(),
            verify,
            last,
            carried: self.carried.clone(),
            excepted: self.exceptions.iter().map(Excepted::line).collect(),
            differs: self.exceptions.iter().filter(|e| e.what.item.starts_with("verify:")).count() as u64,
            filed,
        }
    }

    pub fn text(&self) -> String {
        let m = &self.mailbox;
        let mut text = String::new();
        let _ = writeln!(text, "{}: {}, {} messages, {}", m.user, m.phase.as_str(), m.messages, format_bytes(m.octets));
        if let Some(fault) = &m.fault {
            let _ = writeln!(text, "stopped by {fault}");
        }
        let _ = writeln!(text, "\nFolders");
        for f in &self.folders {
            let to = if f.old == f.new { String::new() } else { format!(" -> {}", f.new) };
            let short = f.digest.get(..16).unwrap_or_default();
            let _ =
                writeln!(text, "  {}{to}: {} messages, {}, sha256 {short}", f.old, f.messages, format_bytes(f.octets));
        }
        if !self.carried.is_empty() {
            let counts: Vec<String> = self.carried.iter().map(|(item, n)| format!("{item}: {n}")).collect();
            let _ = writeln!(text, "\nBeside mail\n  {}", counts.join(", "));
        }
        for thing in &self.things {
            for note in &thing.notes {
                let _ = writeln!(text, "  {} `{}`: {note}", thing.item, thing.id);
            }
        }
        if self.exceptions.is_empty() {
            let _ = writeln!(text, "\nNo exceptions.");
        } else {
            let _ = writeln!(text, "\nExceptions");
        }
        for e in &self.exceptions {
            let _ = writeln!(text, "  {}\n    {}", e.line(), e.help);
        }
        let _ = writeln!(text, "\nPasses");
        for p in &self.passes {
            let w = &p.what;
            let _ = write!(text, "  {} {}: {} messages, {}", p.at, w.pass, w.appended, format_bytes(w.octets));
            for (n, what) in [
                (w.flags, "flags"),
                (w.removed, "removed"),
                (w.doubts, "lost answers"),
                (w.found, "found again"),
                (w.surplus, "late copies removed"),
                (w.things, "things beside mail"),
            ] {
                if n > 0 {
                    let _ = write!(text, ", {n} {what}");
                }
            }
            let _ = writeln!(text, "{}", w.fault.as_ref().map_or_else(String::new, |f| format!("; {f}")));
        }
        text
    }
}
