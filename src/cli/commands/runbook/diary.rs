//! Who carried out which step of a runbook, kept beside the journal. What commands print stands nowhere: it may be anybody's mail.

use serde::{Deserialize, Serialize};

use super::super::super::context::Context;
use super::super::super::exit::Exit;
use super::super::super::failure::Failure;
use super::super::super::lines::{LinesFile, author};
use super::super::super::project::Project;
use super::super::Answer;
use super::find;
use crate::journal::StateDir;
use crate::model::Digest;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// A run begins.
    Started,
    /// Written before the command is sent.
    Begun,
    Done,
    Failed,
    /// The connection was lost: the command may have run.
    Unknown,
    /// A person's step of a run without questions: nobody said that it was done.
    Told,
    Skipped,
    /// Somebody said that they want no more; the step is the next one.
    Left,
    /// All steps are behind it.
    Ended,
}

/// One line of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The run that it belongs to.
    pub run: String,
    /// RFC 3339.
    pub at: String,
    /// USER@MACHINE.
    pub by: String,
    pub runbook: String,
    /// Of the runbook as it was read for this run.
    pub digest: Digest,
    /// From 1; of [`Event::Ended`] how many there were.
    pub step: usize,
    /// Of [`Event::Started`]: where the run's commands go.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    pub event: Event,
    /// The exit code of a command that ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    /// What it is about: an incident's number, a change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The entries of one run.
pub struct Diary {
    file: LinesFile<Entry>,
    first: Entry,
}

pub fn file(state: &StateDir) -> LinesFile<Entry> {
    LinesFile::of(state, "runbooks.jsonl")
}

impl Diary {
    /// A run that begins with this step.
    pub fn begin(
        state: &StateDir,
        runbook: &str,
        digest: Digest,
        reason: Option<String>,
        hosts: Vec<String>,
        step: usize,
    ) -> Result<Self, Failure> {
        let now = jiff::Timestamp::now();
        let first = Entry {
            run: format!("{}-{}", now.strftime("%Y%m%dT%H%M%SZ"), std::process::id()),
            at: format!("{now:.0}"),
            by: author(),
            runbook: runbook.to_owned(),
            digest,
            step,
            hosts,
            host: None,
            event: Event::Started,
            code: None,
            reason,
        };
        let file = file(state);
        file.append(&first)?;
        Ok(Self { file, first: Entry { hosts: Vec::new(), ..first } })
    }

    pub fn write(&self, step: usize, host: Option<&str>, event: Event, code: Option<i32>) -> Result<(), Failure> {
        let at = format!("{:.0}", jiff::Timestamp::now());
        self.file.append(&Entry { at, step, host: host.map(str::to_owned), event, code, ..self.first.clone() })
    }
}

/// The entries of the last run of a runbook on this host, if it is not at its end and nobody left it: it was killed, it failed, or it goes on.
pub fn open<'e>(entries: &'e [Entry], runbook: &str, host: &str) -> Vec<&'e Entry> {
    let of = |e: &&Entry| e.runbook == runbook;
    let there = |e: &&Entry| e.event == Event::Started && (e.hosts.is_empty() || e.hosts.iter().any(|h| h == host));
    let Some(started) = entries.iter().filter(of).rfind(there) else { return Vec::new() };
    let run: Vec<&Entry> = entries.iter().filter(|e| e.run == started.run).collect();
    let closed = run.last().is_none_or(|e| matches!(e.event, Event::Ended | Event::Left));
    if closed { Vec::new() } else { run }
}

/// The last entry of each run, the newest run first.
fn runs(entries: &[Entry]) -> Vec<&Entry> {
    let mut last: Vec<&Entry> = Vec::new();
    let mut at = std::collections::BTreeMap::new();
    for entry in entries {
        match at.get(&entry.run) {
            Some(i) => last[*i] = entry,
            None => {
                at.insert(&entry.run, last.len());
                last.push(entry);
            }
        }
    }
    last.reverse();
    last
}

pub fn history(name: Option<&str>, context: &Context) -> Answer {
    let project = Project::compile(context)?;
    if let Some(name) = name {
        find(&project.topology, name)?;
    }
    let mut entries = file(&project.state(context)).read()?;
    entries.retain(|e| name.is_none_or(|n| e.runbook == n));
    if context.json() {
        context.out.json(&entries);
        return Ok(Exit::Ok);
    }
    for e in runs(&entries) {
        let end = end(e);
        let reason = e.reason.as_ref().map(|r| format!(", {r}")).unwrap_or_default();
        context.out.result(format!("{}  {}  {}{reason}: {end}", e.at, e.runbook, e.by));
    }
    Ok(Exit::Ok)
}

/// How far a run came, by its last entry.
pub fn end(e: &Entry) -> String {
    let host = e.host.as_ref().map(|h| format!(" on {h}")).unwrap_or_default();
    let n = e.step;
    match (e.event, e.code) {
        (Event::Ended, _) => format!("all {n} steps"),
        (Event::Left, _) => format!("left before step {n}"),
        (Event::Started, _) => format!("began before step {n} and was not ended"),
        (Event::Begun, _) => format!("began step {n}{host}: it still runs, or was killed and may have run"),
        (Event::Unknown, _) => format!("heard no end of step {n}{host}: it may have run, and may still"),
        (Event::Failed, Some(code)) => format!("failed in step {n}{host} (exit code {code})"),
        (Event::Failed, None) => format!("failed in step {n}{host}"),
        (Event::Done | Event::Told | Event::Skipped, _) => format!("came to the end of step {n}{host} and no further"),
    }
}
