//! A zone whose records people enter (`type=manual`): the sets are asked for name by name, what is to be entered is told in the words
//! of the pages on which it is entered, and a step is done when every name server serves it, and not before.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream;
use tokio::sync::mpsc::UnboundedSender;

use crate::catalog::record_set::{self, set_key};
use crate::model::Kind;
use crate::model::dns::{RecordSet, SetKey};
use crate::model::host::{HostAccess, HostError, HostErrorKind, ZoneAccess};
use crate::model::observed::{Facts, Observation, Owned};
use crate::model::step::{Outcome, Step, StepId};
use crate::protocol::dns::data::Sets;
use crate::protocol::dns::newer;
use crate::transport::Transport;
use crate::transport::refusal::error;

use super::super::agent::{Batch, ObserveRequest, StepReport};
use super::ledger::{Entries, Former, Kept, Ledger, Taken};
use super::places::{Place, authorities, said, serves};
use super::{bad, plan, record};

/// Between two rounds of questions; longer the longer it takes.
const PAUSE: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(15)];

/// Questions in flight.
const AT_ONCE: usize = 16;

/// Rounds in a row in which all have to serve a set, and the pause between them: one address may stand for several machines.
const SURE: (u32, Duration) = (12, Duration::from_millis(60));

/// How long a watcher hears nothing while nothing changes.
const TELL: Duration = Duration::from_secs(60);

pub async fn observe<T: Transport>(
    ledger: &Ledger<'_, T>,
    lane: &HostAccess,
    zone: &ZoneAccess,
    request: ObserveRequest<'_>,
) -> Result<Observation, HostError> {
    let kept = ledger.read(None).await?;
    let wanted = request.resources.iter().filter(|r| r.address.kind == Kind::RecordSet);
    let names: BTreeSet<&str> =
        wanted.map(|r| r.address.key.as_str()).chain(kept.owned.keys().map(String::as_str)).collect();
    let mut keys = BTreeMap::new();
    for name in names {
        keys.insert(name, set_key(name).ok_or_else(|| bad(lane, format!("`{name}` names no record set")))?);
    }
    let seen = look(lane, zone, keys.values()).await?;
    let records =
        keys.iter().map(|(name, key)| (format!("{}:{name}", Kind::RecordSet), record(seen.get(key)))).collect();
    Ok(Observation {
        host: lane.name.clone(),
        facts: Facts { os: "zone".into(), hostname: lane.address.clone(), arch: String::new() },
        records,
        owned: kept.owned.into_values().collect(),
        pending: BTreeMap::new(),
        lease: None,
        armed: None,
        zone: None,
    })
}

/// These sets as the name server with the newest serial serves them. Whoever lags is not waited for here; but a question that has no
/// answer makes the whole an error.
pub async fn look<'k>(
    lane: &HostAccess,
    zone: &ZoneAccess,
    keys: impl Iterator<Item = &'k SetKey>,
) -> Result<Sets, HostError> {
    let unasked = |why: String| {
        let help =
            "records of others' servers are read by asking their name servers; can this machine reach them on port 53?";
        error(lane, HostErrorKind::Unreachable, why, Some(help.to_owned()))
    };
    let places = authorities(lane, zone).await.map_err(unasked)?;
    let soa = SetKey { name: format!("{}.", zone.zone), kind: "SOA".into() };
    let mut newest: Option<(u32, &Place)> = None;
    let mut why = Vec::new();
    for place in &places {
        match said(place, &soa).await {
            Ok(answer) => match answer.serial {
                Some(serial) if newest.is_none_or(|(other, _)| newer(serial, other)) => newest = Some((serial, place)),
                Some(_) => {}
                None => why.push(format!("{place} answers {} without its SOA", answer.code)),
            },
            Err(e) => why.push(format!("{place} {e}")),
        }
    }
    let Some((_, place)) = newest else {
        return Err(unasked(format!("no name server says anything of it: {}", why.join("; "))));
    };
    // Owned, each: a future that borrows from a stream is good for one lifetime only.
    let questions: Vec<(SetKey, Place)> = keys.map(|key| (key.clone(), place.clone())).collect();
    let asked = stream::iter(questions).map(|(key, place)| async move {
        let answer = said(&place, &key).await;
        (key, answer)
    });
    let mut answers = std::pin::pin!(asked.buffered(AT_ONCE));
    let mut sets = Sets::new();
    while let Some((key, answer)) = answers.next().await {
        let answer = answer.map_err(|e| unasked(format!("{place} {key}: {e}")))?;
        match answer.set {
            Some(set) => drop(sets.insert(key, set)),
            None if matches!(answer.code.as_str(), "NOERROR" | "NXDOMAIN") => {}
            None => return Err(unasked(format!("{place} {key}: it answers {}", answer.code))),
        }
    }
    Ok(sets)
}

/// A set that somebody has to enter.
struct Open {
    id: StepId,
    key: SetKey,
    after: Option<RecordSet>,
    former: Former,
    owned: Option<Owned>,
    /// Rounds in a row in which everybody served it.
    good: u32,
}

pub async fn run<T: Transport>(
    ledger: &Ledger<'_, T>,
    lane: &HostAccess,
    zone: &ZoneAccess,
    batch: &Batch,
    formers: &BTreeMap<(String, StepId), Former>,
    reports: &UnboundedSender<StepReport>,
) -> Result<(), HostError> {
    let kept = ledger.read(Some(&batch.apply)).await?;
    let keys: Vec<SetKey> = batch.steps.iter().filter_map(|r| set_key(&r.step.address.key)).collect();
    let seen = look(lane, zone, keys.iter()).await?;
    let report = |id: StepId, outcome: Outcome| drop(reports.send(StepReport::Ended(id, outcome)));
    let mut open = Vec::new();
    for remote in &batch.steps {
        let planned = plan(&begun(&remote.step, &kept), &seen, &kept, formers);
        match planned.job.outcome {
            Some(outcome) => report(remote.step.id, outcome),
            None => open.push(Open {
                id: remote.step.id,
                key: planned.job.key,
                after: planned.job.after,
                former: planned.former,
                owned: planned.owned,
                good: 0,
            }),
        }
    }
    let mut claims = Entries::default();
    for o in &open {
        claims.begun(o.id, &o.former);
        if o.owned.is_some() {
            claims.owned(&record_set::key(&o.key), o.owned.as_ref());
        }
    }
    if !claims.is_empty()
        && let Taken::Fenced(token) = ledger.begin(&batch.apply, batch.token, claims).await?
    {
        open.iter().for_each(|o| report(o.id, Outcome::Fenced { token }));
        return Ok(());
    }
    for o in &open {
        drop(reports.send(StepReport::Started(o.id)));
        let found = seen.get(&o.key);
        if found != o.after.as_ref() {
            let lines = instructions(&zone.zone, &o.key, found, o.after.as_ref());
            lines.into_iter().for_each(|line| drop(reports.send(StepReport::Told(o.id, line))));
        }
    }
    wait(ledger, lane, zone, batch, open, reports).await
}

/// Asks until everybody serves everything, or for as long as the run has patience.
async fn wait<T: Transport>(
    ledger: &Ledger<'_, T>,
    lane: &HostAccess,
    zone: &ZoneAccess,
    batch: &Batch,
    mut open: Vec<Open>,
    reports: &UnboundedSender<StepReport>,
) -> Result<(), HostError> {
    let began = Instant::now();
    let (mut pause, mut told) = (PAUSE[0], (String::new(), Instant::now()));
    while let Some(first) = open.first().map(|o| o.id) {
        let lagging = round(lane, zone, &mut open).await;
        let (done, left): (Vec<Open>, Vec<Open>) = open.into_iter().partition(|o| o.good >= SURE.0);
        open = left;
        if !done.is_empty() {
            let mut ends = Entries::default();
            let outcome = |o: &Open| Outcome::Done { fingerprint: Some(record_set::fingerprint(o.after.as_ref())) };
            for o in &done {
                ends.ended(o.id, &outcome(o));
                if o.owned.is_none() {
                    ends.owned(&record_set::key(&o.key), None);
                }
            }
            ledger.end(&batch.apply, ends).await?;
            done.iter().for_each(|o| drop(reports.send(StepReport::Ended(o.id, outcome(o)))));
            continue;
        }
        if lagging.is_empty() {
            tokio::time::sleep(SURE.1).await;
            continue;
        }
        if began.elapsed() >= batch.patience {
            return leave(ledger, batch, &open, &lagging, reports).await;
        }
        let text = lagging.join("; ");
        if text != told.0 || told.1.elapsed() >= TELL {
            drop(reports.send(StepReport::Told(first, format!("waits for {text}"))));
            told = (text, Instant::now());
        }
        tokio::time::sleep(pause.min(batch.patience.saturating_sub(began.elapsed()).max(PAUSE[0]))).await;
        pause = (pause * 2).min(PAUSE[1]);
    }
    Ok(())
}

/// Nobody has entered it yet: it waits for a resume, which asks again.
async fn leave<T: Transport>(
    ledger: &Ledger<'_, T>,
    batch: &Batch,
    open: &[Open],
    lagging: &[String],
    reports: &UnboundedSender<StepReport>,
) -> Result<(), HostError> {
    let mut ends = Entries::default();
    for o in open {
        // Neither done nor failed: what stands there while a person is at work is no third state.
        ends.ended(o.id, &Outcome::Skipped { because: o.id });
        if o.owned.is_some() {
            // Not ours until it stands there.
            ends.owned(&record_set::key(&o.key), o.former.owned.as_ref());
        }
    }
    ledger.end(&batch.apply, ends).await?;
    let why = format!("{} of what is to be entered is not served by all: {}", open.len(), lagging.join("; "));
    open.iter().for_each(|o| drop(reports.send(StepReport::Later(o.id, why.clone()))));
    Ok(())
}

/// Asks everybody once for all that is open; who does not serve it, and what instead.
async fn round(lane: &HostAccess, zone: &ZoneAccess, open: &mut [Open]) -> Vec<String> {
    let places = match authorities(lane, zone).await {
        Ok(places) => places,
        Err(why) => {
            open.iter_mut().for_each(|o| o.good = 0);
            return vec![why];
        }
    };
    let mut questions: Vec<(usize, Place, SetKey, Option<RecordSet>)> = Vec::new();
    for (i, o) in open.iter().enumerate() {
        questions.extend(places.iter().map(|p| (i, p.clone(), o.key.clone(), o.after.clone())));
    }
    let asked = stream::iter(questions).map(|(i, place, key, after)| async move {
        let answer = serves(&place, &key, after.as_ref()).await;
        (i, format!("{place} {key}"), answer)
    });
    let mut lagging = Vec::new();
    let mut bad = BTreeSet::new();
    let mut answers = std::pin::pin!(asked.buffered(AT_ONCE));
    while let Some((i, what, answer)) = answers.next().await {
        if let Err(instead) = answer {
            lagging.push(format!("{what}: {instead}"));
            bad.insert(i);
        }
    }
    for (i, o) in open.iter_mut().enumerate() {
        o.good = if bad.contains(&i) { 0 } else { o.good + 1 };
    }
    lagging
}

/// A person who has begun leaves states of their own behind: only the first attempt asks for the state that the plan saw.
fn begun(step: &Step, kept: &Kept) -> Step {
    let expect = step.expect.clone().filter(|_| !kept.formers.contains_key(&step.id));
    Step { expect, ..step.clone() }
}

/// What a person is to do, line by line: in the fields that pages of registrars have, then as a zone file.
fn instructions(zone: &str, key: &SetKey, found: Option<&RecordSet>, after: Option<&RecordSet>) -> Vec<String> {
    let mut lines = Vec::new();
    let name = below(&key.name, zone);
    let gone = found.iter().flat_map(|s| s.data.iter()).filter(|d| after.is_none_or(|a| !a.data.contains(*d)));
    for data in gone {
        lines.push(format!("remove: name {name}, type {}, {}", key.kind, fields(&key.kind, data)));
    }
    if let Some(after) = after {
        let stays = |d: &&String| found.is_some_and(|f| f.data.contains(*d));
        for data in &after.data {
            let word = match stays(&data) {
                true if found.is_some_and(|f| f.ttl == after.ttl) => "keep",
                true => "set the TTL of",
                false => "enter",
            };
            lines.push(format!(
                "{word}: name {name}, type {}, TTL {}, {}",
                key.kind,
                after.ttl,
                fields(&key.kind, data)
            ));
        }
        lines.extend(after.data.iter().map(|d| format!("zone file: {} {} IN {} {d}", key.name, after.ttl, key.kind)));
    }
    lines
}

/// `@` for the zone itself, as most pages have it.
fn below(name: &str, zone: &str) -> String {
    let bare = name.trim_end_matches('.');
    match bare.strip_suffix(zone.trim_end_matches('.')) {
        Some("") => "@".to_owned(),
        Some(front) => front.trim_end_matches('.').to_owned(),
        None => name.to_owned(),
    }
}

/// The data of one record in the fields that a page asks for.
fn fields(kind: &str, data: &str) -> String {
    let words: Vec<&str> = data.split(' ').collect();
    let host = |h: &str| if h == "." { ".".to_owned() } else { h.trim_end_matches('.').to_owned() };
    match (kind, words.as_slice()) {
        ("MX", [priority, to]) => format!("priority {priority}, mail server {}", host(to)),
        ("SRV", [priority, weight, port, to]) => {
            format!("priority {priority}, weight {weight}, port {port}, target {}", host(to))
        }
        ("CNAME" | "NS" | "PTR", [to]) => format!("value {}", host(to)),
        ("TXT", _) => format!("value {}", unquoted(data)),
        ("TLSA", [usage, selector, matching, bytes]) => {
            format!("usage {usage}, selector {selector}, matching type {matching}, data {bytes}")
        }
        ("CAA", [flags, tag, value]) => format!("flags {flags}, tag {tag}, value {}", value.trim_matches('"')),
        _ => format!("value {data}"),
    }
}

/// A TXT record as one text, without the quotes and cuts of a zone file.
fn unquoted(data: &str) -> String {
    let mut out = String::new();
    let (mut quoted, mut escaped) = (false, false);
    for c in data.chars() {
        match c {
            _ if escaped => {
                // `\200` has no letter: it stays as it is written.
                if c.is_ascii_digit() {
                    out.push('\\');
                }
                out.push(c);
                escaped = false;
            }
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            ' ' if !quoted => {}
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(kind: &str, ttl: u32, data: &[&str]) -> RecordSet {
        let key = SetKey { name: "acme.example.".into(), kind: kind.into() };
        RecordSet { key, ttl, data: data.iter().map(|d| (*d).to_owned()).collect() }
    }

    #[test]
    fn a_person_reads_what_to_type() {
        let (old, new) = (
            set("MX", 300, &["10 a.example.", "20 old.example."]),
            set("MX", 300, &["10 a.example.", "5 new.example."]),
        );
        assert_eq!(
            instructions("acme.example", &old.key, Some(&old), Some(&new)),
            [
                "remove: name @, type MX, priority 20, mail server old.example",
                "keep: name @, type MX, TTL 300, priority 10, mail server a.example",
                "enter: name @, type MX, TTL 300, priority 5, mail server new.example",
                "zone file: acme.example. 300 IN MX 10 a.example.",
                "zone file: acme.example. 300 IN MX 5 new.example.",
            ]
        );
        let short = set("MX", 60, &["10 a.example."]);
        let lines = instructions("acme.example", &old.key, Some(&set("MX", 300, &["10 a.example."])), Some(&short));
        assert_eq!(lines[0], "set the TTL of: name @, type MX, TTL 60, priority 10, mail server a.example");
        assert_eq!(instructions("acme.example", &old.key, Some(&short), None).len(), 1);
        assert_eq!(below("_25._tcp.mail.acme.example.", "acme.example"), "_25._tcp.mail");
    }

    #[test]
    fn values_are_what_pages_want() {
        for (kind, data, wanted) in [
            ("TXT", "\"v=spf1 \\\"x\\\" -all\"", "value v=spf1 \"x\" -all"),
            ("TXT", "\"aaa\" \"bbb\"", "value aaabbb"),
            ("SRV", "0 1 993 mail.example.", "priority 0, weight 1, port 993, target mail.example"),
            ("TLSA", "3 1 1 abcd", "usage 3, selector 1, matching type 1, data abcd"),
            ("CAA", "0 issue \"ca.example\"", "flags 0, tag issue, value ca.example"),
            ("A", "192.0.2.1", "value 192.0.2.1"),
            ("MX", "0 .", "priority 0, mail server ."),
        ] {
            assert_eq!(fields(kind, data), wanted);
        }
    }
}
