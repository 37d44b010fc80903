//! Asks all hosts side by side, one script each, and judges what they say.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;
use zeroize::Zeroizing;

use crate::model::address::HostName;
use crate::model::audit::{Item, Verdict};
use crate::model::host::{HostAccess, HostError, HostErrorKind};
use crate::transport::{Far, Link, Script, Transport};

use super::judge::{Found, holds};
use super::script::{Answers, script};
use super::wish::Question;

/// How it is asked.
#[derive(Debug, Clone, Copy)]
pub struct Course {
    /// Hosts at one time.
    pub parallel: usize,
    /// What a host may take for all its questions.
    pub limit: Duration,
}

/// Every question gets an item: one that no host answered is not asked, and never absent. `progress` hears of each host that is done.
pub async fn ask<T: Transport>(
    transport: &T,
    access: &BTreeMap<HostName, HostAccess>,
    wish: &BTreeMap<HostName, Vec<Question>>,
    course: Course,
    mut progress: impl FnMut(&HostName, bool),
) -> (Vec<Item>, Vec<HostError>) {
    let each = wish.iter().map(|(name, questions)| async move {
        let (answers, error) = of_host(transport, access.get(name), questions, course.limit).await;
        (name, questions, answers, error)
    });
    let mut all = stream::iter(each).buffer_unordered(course.parallel.max(1));
    let (mut items, mut failed) = (Vec::new(), Vec::new());
    while let Some((name, questions, answers, error)) = all.next().await {
        progress(name, error.is_none());
        let why = error.as_ref().map(|e| e.message.as_str());
        items.extend(questions.iter().enumerate().map(|(n, q)| item(name, q, answers.of(n), why)));
        failed.extend(error);
    }
    items.sort_by(|a, b| (&a.host, &a.baseline, &a.check).cmp(&(&b.host, &b.baseline, &b.check)));
    failed.sort_by(|a, b| a.host.cmp(&b.host));
    (items, failed)
}

/// What came before a line broke counts.
async fn of_host<T: Transport>(
    transport: &T,
    access: Option<&HostAccess>,
    questions: &[Question],
    limit: Duration,
) -> (Answers, Option<HostError>) {
    let mut answers = Answers::default();
    let Some(access) = access.filter(|_| questions.iter().any(|q| q.unasked.is_none())) else {
        return (answers, None);
    };
    let body = Zeroizing::new(script(questions));
    let script = Script { body, payload: None, link: Link::Kept, limit, far: Far::Shell };
    let ended = transport.exec(access, script, |line| answers.hear(line)).await;
    let error = match ended {
        Err(error) => Some(error),
        Ok(_) if answers.whole() => None,
        Ok(exit) => {
            let said = exit.stderr.trim().lines().next_back().unwrap_or("it said nothing").to_owned();
            Some(HostError {
                host: access.name.clone(),
                kind: HostErrorKind::Protocol,
                message: format!("the questions did not come to their end there: {said}"),
                help: None,
            })
        }
    };
    (answers, error)
}

fn item(host: &HostName, q: &Question, found: Option<&Found>, error: Option<&str>) -> Item {
    let held = found.and_then(|f| holds(q.source, &q.key, &q.wanted, f));
    let waived = q.waiver.as_ref().is_some_and(|w| !w.ended);
    let verdict = match held {
        None => Verdict::NotAsked,
        Some(true) => Verdict::AsWanted,
        Some(false) if waived => Verdict::Waived,
        Some(false) => Verdict::Deviates,
    };
    let why = (verdict == Verdict::NotAsked).then(|| match (&q.unasked, found) {
        (Some(why), _) => why.clone(),
        (None, Some(Found::Unknown(why))) => why.clone(),
        (None, _) => error.unwrap_or("the host did not answer").to_owned(),
    });
    Item {
        host: host.clone(),
        baseline: q.baseline.clone(),
        check: q.check.clone(),
        source: q.source,
        key: q.key.clone(),
        severity: q.severity,
        wanted: q.wanted.to_string(),
        verdict,
        found: found.and_then(|f| f.shown(q.source)),
        why,
        waiver: q.waiver.clone(),
    }
}
