//! What cutover owns in a zone, what stood there before a step, and what became of it: kept on the anchor host, not in the zone. The
//! waves of a cohort have one too.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::model::Digest;
use crate::model::dns::RecordSet;
use crate::model::host::{HostAccess, HostError, HostErrorKind};
use crate::model::observed::Owned;
use crate::model::step::{Outcome, StepId};
use crate::transport::Transport;
use crate::transport::refusal::error;

use super::super::answer::{self, marker};
use super::super::people::Side;
use super::super::render::check_name;
use super::super::script::{Assembly, Part};
use super::super::shell::ShellAgent;

/// Seconds that a script of a ledger may take.
const LIMIT: u64 = 180;

/// State from before a step.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Former {
    pub set: Option<RecordSet>,
    pub owned: Option<Owned>,
    /// Of a wave: who goes where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub people: Option<Going>,
}

/// People who are not where a wave brings them, so that taking it back brings back nobody else.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Going {
    pub to: Side,
    /// The first digits of the SHA-256 of each address: addresses stand in lists, not here.
    pub who: BTreeSet<String>,
}

/// Lines that go into the ledger in one execution.
#[derive(Debug, Default)]
pub struct Entries {
    text: String,
}

impl Entries {
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    pub fn begun(&mut self, id: StepId, former: &Former) {
        let json = serde_json::to_string(former).unwrap_or_default();
        self.mark(&format!("begun {id}"), &json);
    }

    /// `outcome` as [`answer::outcome`] reads it.
    pub fn ended(&mut self, id: StepId, outcome: &Outcome) {
        self.mark(&format!("ended {id}"), &answer::written(outcome));
    }

    fn mark(&mut self, head: &str, text: &str) {
        let _ = writeln!(self.text, "m {head}\t{}\t.", sealed(head, text));
    }

    /// What is owned under a key from now on.
    pub fn owned(&mut self, key: &str, owned: Option<&Owned>) {
        let _ = match owned {
            Some(o) => {
                let json = serde_json::to_string(o).unwrap_or_default();
                writeln!(self.text, "o + {key}\t{}\t.", sealed(key, &json))
            }
            None => writeln!(self.text, "o - {key}\t."),
        };
    }
}

/// What a ledger says.
#[derive(Debug, Default)]
pub struct Kept {
    pub owned: BTreeMap<String, Owned>,
    /// Former states by step, of the apply that was asked for.
    pub formers: BTreeMap<StepId, Former>,
    /// Ends by step; `Unknown` for a step that was begun and has none.
    pub outcomes: BTreeMap<StepId, Outcome>,
}

/// Whether claims were taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    Yes,
    /// A newer apply holds the lease.
    Fenced(u64),
}

/// The ledger of one zone or cohort.
pub struct Ledger<'a, T> {
    shell: &'a ShellAgent<T>,
    /// The zone or the cohort as a place.
    lane: &'a HostAccess,
    host: &'a HostAccess,
    organization: &'a str,
}

impl<'a, T: Transport> Ledger<'a, T> {
    pub fn new(shell: &'a ShellAgent<T>, lane: &'a HostAccess, host: &'a HostAccess, organization: &'a str) -> Self {
        Self { shell, lane, host, organization }
    }

    /// What is owned; and the marks of an apply, where one is named.
    pub async fn read(&self, apply: Option<&str>) -> Result<Kept, HostError> {
        let mut calls = "zone_owned | tell own".to_owned();
        if let Some(apply) = apply {
            check_name("apply", apply).map_err(|m| self.bad(m))?;
            let _ = write!(calls, "\nzone_marks '{apply}' | tell mark");
        }
        let mut kept = Kept::default();
        let mut trouble = None;
        self.script("", 0, &calls, None, |word, rest| {
            let read = match word {
                "own" => owned(rest).map(|(key, owned)| drop(kept.owned.insert(key, owned))),
                "mark" => mark(rest, &mut kept),
                _ => Ok(()),
            };
            if let Err(e) = read {
                trouble.get_or_insert(e);
            }
        })
        .await?;
        match trouble {
            Some(e) => Err(self.bad(e)),
            None => Ok(kept),
        }
    }

    /// Writes claims down, unless a newer apply holds the lease.
    pub async fn begin(&self, apply: &str, token: u64, entries: Entries) -> Result<Taken, HostError> {
        self.write("zone_begin", apply, token, entries).await
    }

    /// Writes down what became of claims.
    pub async fn end(&self, apply: &str, entries: Entries) -> Result<(), HostError> {
        self.write("zone_end", apply, 0, entries).await.map(drop)
    }

    async fn write(&self, call: &str, apply: &str, token: u64, entries: Entries) -> Result<Taken, HostError> {
        check_name("apply", apply).map_err(|m| self.bad(m))?;
        let mut taken = None;
        self.script(apply, token, call, Some(entries.text.into_bytes()), |word, rest| match word {
            "taken" => taken = Some(Ok(Taken::Yes)),
            "fenced" => taken = Some(rest.parse().map(Taken::Fenced).map_err(|_| format!("`{rest}` is no token"))),
            _ => {}
        })
        .await?;
        match taken {
            Some(Ok(taken)) => Ok(taken),
            Some(Err(e)) => Err(self.bad(e)),
            None => Err(self.bad("it did not say that it is written".into())),
        }
    }

    async fn script(
        &self,
        apply: &str,
        token: u64,
        call: &str,
        payload: Option<Vec<u8>>,
        on: impl FnMut(&str, &str) + Send,
    ) -> Result<(), HostError> {
        let (marker, root) = (marker(), self.shell.root(self.host, self.organization)?);
        // No zone begins like a cohort.
        let name = match self.lane.cohort() {
            Some(c) => format!("@{}", c.cohort),
            None => self.lane.name.0.strip_prefix("zone.").unwrap_or(&self.lane.name.0).to_owned(),
        };
        let plain = |c: char| c.is_alphanumeric() || "-_.@".contains(c);
        if name.is_empty() || name.len() > 250 || name.starts_with('.') || !name.chars().all(plain) {
            return Err(self.bad(format!("`{}` cannot be the name of a folder", name.escape_debug())));
        }
        let mut script = Assembly::new(0);
        script.set("M", &marker).set("R", &root).set("Z", &name).set("A", apply).set("T", &token.to_string());
        script.set("S", &payload.as_deref().map(|p| Digest::of(p).0).unwrap_or_default());
        script.part(Part::Base).part(Part::Zone).line(call).line("say end");
        let mut script = ShellAgent::<T>::script(script.done(), LIMIT);
        script.payload = payload.map(Zeroizing::new);
        // The error names the zone: that is what could not be asked or changed.
        self.shell.ask(self.host, &marker, script, on).await.map_err(|e| HostError {
            host: self.lane.name.clone(),
            message: format!("its ledger on {}: {}", self.host.name, e.message),
            ..e
        })
    }

    fn bad(&self, message: String) -> HostError {
        error(self.lane, HostErrorKind::Protocol, format!("its ledger on {}: {message}", self.host.name), None)
    }
}

/// A text with the sum of what it stands for and what it says: a line that was changed by hand is not believed.
fn sealed(head: &str, text: &str) -> String {
    format!("{text}{SEAL}{}", sum(head, text))
}

/// The text of a line. One without a sum is of a former release.
fn opened<'l>(head: &str, text: &'l str) -> Result<&'l str, String> {
    let sealed = text.rsplit_once(SEAL).filter(|(_, s)| s.len() == SUM && s.bytes().all(|b| b.is_ascii_hexdigit()));
    match sealed {
        None => Ok(text),
        Some((text, found)) if found == sum(head, text) => Ok(text),
        Some(_) => Err(format!(
            "the entry of {head} was changed by hand: its sum does not fit. Write it as it was, or take the line out, and what it says is forgotten"
        )),
    }
}

const SEAL: &str = " ~";
/// Digits of a sum.
const SUM: usize = 16;

fn sum(head: &str, text: &str) -> String {
    Digest::of(format!("{head}\t{text}").as_bytes()).0.chars().take(SUM).collect()
}

/// `KEY <tab> JSON`.
fn owned(line: &str) -> Result<(String, Owned), String> {
    let (key, text) = line.split_once('\t').ok_or("an entry without a key")?;
    let json = opened(key, text)?;
    let owned = serde_json::from_str(json).map_err(|e| format!("the entry of {key} cannot be read: {e}"))?;
    Ok((key.to_owned(), owned))
}

/// `begun ID <tab> JSON` or `ended ID <tab> OUTCOME`.
fn mark(line: &str, kept: &mut Kept) -> Result<(), String> {
    let bad = || format!("`{line}` is no mark");
    let (head, text) = line.split_once('\t').ok_or_else(bad)?;
    let rest = opened(head, text)?;
    let (word, id) = head.split_once(' ').ok_or_else(bad)?;
    let id: StepId = id.parse().map_err(|_| bad())?;
    match word {
        "begun" => {
            let former: Former = serde_json::from_str(rest).map_err(|_| bad())?;
            // What the first attempt found is what stood there before.
            kept.formers.entry(id).or_insert(former);
            // A step that is begun again after a failure has no end yet.
            kept.outcomes.insert(id, Outcome::Unknown { why: "begun, and no end was marked".into() });
        }
        "ended" => drop(kept.outcomes.insert(id, answer::outcome(rest)?)),
        _ => return Err(bad()),
    }
    Ok(())
}
