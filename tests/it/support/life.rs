//! The life of one resource on a real host: made, changed by hand, mended, undone, deleted, brought back.
#![allow(clippy::unwrap_used, clippy::print_stderr)] // helpers of tests are tests

use super::lab::Lab;
use super::steps::{KEY, done, outcome, restore, step};
use cutover::catalog::{self, Compare};
use cutover::model::HostName;
use cutover::model::attr::Attr;
use cutover::model::host::{HostAccess, HostError};
use cutover::model::observed::{Observation, Record};
use cutover::model::resource::Resource;
use cutover::model::step::{Action, Outcome, Step, StepId};
use cutover::providers::agent::{Agent, Batch, ObserveRequest, RemoteStep, StepReport};
use cutover::providers::{Settings, ShellAgent};
use cutover::transport::{FileSecrets, Network};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A lab host and the agent that reaches it.
pub struct Place {
    pub lab: Lab,
    pub agent: ShellAgent<Network>,
    pub host: HostAccess,
}

impl Place {
    pub fn new(lab: Lab) -> Self {
        let host = lab.access("h");
        Self::reached_as(lab, host, BTreeMap::new())
    }

    pub fn reached_as(lab: Lab, host: HostAccess, hosts: BTreeMap<HostName, HostAccess>) -> Self {
        let network = Network::new(
            cutover::transport::Settings::default(),
            hosts,
            Arc::new(FileSecrets { root: lab.root().into() }),
        );
        let settings = Settings { package_lock_seconds: 5, lock_seconds: 30, ..Default::default() };
        Self { lab, agent: ShellAgent::new(network, settings), host }
    }

    pub fn sh(&self, line: &str) -> String {
        self.lab.sh("h", line)
    }

    pub async fn try_observe(&self, resources: &[Resource]) -> Result<Observation, HostError> {
        self.agent.observe(&self.host, ObserveRequest { organization: "acme", state_key: KEY, resources }).await
    }

    pub async fn observe(&self, resources: &[Resource]) -> Observation {
        self.try_observe(resources).await.unwrap()
    }

    pub async fn look(&self, resource: &Resource) -> Record {
        self.observe(std::slice::from_ref(resource)).await.records[&resource.address.local()].clone()
    }

    pub fn batch(apply: &str, steps: Vec<RemoteStep>) -> Batch {
        Batch {
            organization: "acme".into(),
            apply: apply.into(),
            token: 1,
            state_key: KEY.into(),
            steps,
            later: Vec::<Step>::new(),
            arm_seconds: None,
            patience: std::time::Duration::ZERO,
        }
    }

    pub async fn run_batch(&self, batch: Batch) -> (Vec<StepReport>, Result<(), HostError>) {
        let (send, mut receive) = tokio::sync::mpsc::unbounded_channel();
        let result = self.agent.run(&self.host, batch, send).await;
        let mut reports = vec![];
        while let Some(r) = receive.recv().await {
            reports.push(r);
        }
        (reports, result)
    }

    pub async fn run(&self, apply: &str, steps: Vec<RemoteStep>) -> Vec<StepReport> {
        let (reports, result) = self.run_batch(Self::batch(apply, steps)).await;
        result.unwrap();
        reports
    }

    pub async fn one(&self, apply: &str, step: RemoteStep) -> Outcome {
        let id: StepId = step.step.id;
        let reports = self.run(apply, vec![step]).await;
        outcome(&reports, id).unwrap_or_else(|| panic!("no end in {reports:?}"))
    }
}

/// Attributes that differ from what is wished, as planning would compare them.
pub fn differing(wanted: &Resource, record: &Record) -> Vec<&'static str> {
    let fields = catalog::spec(wanted.address.kind).fields.iter().filter(|f| f.compare != Compare::Input);
    let differs = |f: &&catalog::FieldSpec| match (wanted.attrs.get(f.name), record.attrs.get(f.name)) {
        (None, _) => false,
        (Some(Attr::Content(c)), Some(Attr::Digest(d))) => c.digest.as_ref() != Some(d),
        (Some(Attr::List(a)), Some(Attr::List(b))) => {
            let (mut a, mut b) = (a.clone(), b.clone());
            a.sort();
            b.sort();
            a != b
        }
        (Some(a), b) => Some(a) != b,
    };
    fields.filter(differs).map(|f| f.name).collect()
}

/// One kind's life. `by_hand`: attribute and the line that changes it on the host.
pub struct Life<'a> {
    pub place: &'a Place,
    pub wanted: Resource,
    pub bytes: Option<&'a [u8]>,
    pub by_hand: &'a [(&'a str, &'a str)],
    /// What shows the state beyond the fingerprint, for the undo: bytes, ACLs, links.
    pub shown: &'a str,
}

impl Life<'_> {
    pub async fn lived(self) {
        let (p, wanted, name) = (self.place, &self.wanted, self.wanted.address.local());
        let id = |what: &str| format!("{}-{what}", wanted.address.kind);
        let step = |action, expect: &str| step(0, wanted, action, Some(expect), self.bytes);
        let shown =
            || if self.shown.is_empty() { String::new() } else { p.sh(&format!("({}) 2>&1 || true", self.shown)) };

        // Every attribute that can be seen has a change by hand below.
        for field in catalog::spec(wanted.address.kind).fields.iter().filter(|f| f.compare != Compare::Input) {
            let tried = self.by_hand.iter().any(|(f, _)| *f == field.name);
            assert!(tried || !wanted.attrs.contains_key(field.name), "{name}: nobody changes {} by hand", field.name);
        }

        let before = p.look(wanted).await;
        let shown_before = shown();
        let action = if before.present { Action::Update } else { Action::Create };
        let made = done(p.one(&id("make"), step(action, &before.fingerprint)).await);
        let seen = p.look(wanted).await;
        assert_eq!(seen.fingerprint, made, "{name}: the batched look and the single one must agree");
        assert_eq!(differing(wanted, &seen), Vec::<&str>::new(), "{name} as made: {seen:?}");
        assert_eq!(p.look(wanted).await, seen, "{name}: observed twice");
        // The answer was lost: asked again, the mark speaks.
        assert_eq!(done(p.one(&id("make"), step(action, &before.fingerprint)).await), made);
        let shown_made = shown();

        for (n, (field, line)) in self.by_hand.iter().enumerate() {
            p.sh(line);
            let foreign = p.look(wanted).await;
            assert!(
                !foreign.present || differing(wanted, &foreign).contains(field),
                "{name}.{field} changed by `{line}`: {foreign:?}"
            );
            let stale = p.one(&id(&format!("stale{n}")), step(Action::Update, &made)).await;
            assert_eq!(stale, Outcome::Stale { found: foreign.fingerprint.clone() }, "{name}.{field}");
            let shown_foreign = shown();
            let replaces = catalog::spec(wanted.address.kind).field(field).is_some_and(|f| f.replaces);
            let action = if replaces { Action::Replace } else { Action::Update };
            let apply = id(&format!("mend{n}"));
            let mended = done(p.one(&apply, step(action, &foreign.fingerprint)).await);
            let seen = p.look(wanted).await;
            assert_eq!(seen.fingerprint, mended, "{name}.{field}");
            assert_eq!(differing(wanted, &seen), Vec::<&str>::new(), "{name}.{field} after mending: {seen:?}");
            // Undone, twice: exactly the change by hand is back. And mended again.
            for twice in ["undo", "again"] {
                let undone = p.one(&id(&format!("{twice}{n}")), restore(0, wanted, &apply, 0, &mended)).await;
                assert_eq!(done(undone), foreign.fingerprint, "{name}.{field} {twice}");
                assert_eq!(p.look(wanted).await.fingerprint, foreign.fingerprint);
                assert_eq!(shown(), shown_foreign, "{name}.{field} {twice}");
            }
            let again = done(p.one(&id(&format!("remend{n}")), step(action, &foreign.fingerprint)).await);
            assert_eq!(again, mended, "{name}.{field}");
        }
        if self.by_hand.is_empty() || shown_made == shown() {
            let now = p.look(wanted).await.fingerprint;
            let undone = done(p.one(&id("unmake"), restore(0, wanted, &id("make"), 0, &now)).await);
            assert_eq!(undone, before.fingerprint, "{name} unmade");
            assert_eq!(shown(), shown_before, "{name} unmade");
            assert!(
                !p.observe(&[])
                    .await
                    .owned
                    .iter()
                    .any(|o| o.key == wanted.address.key && o.kind == wanted.address.kind)
            );
            done(p.one(&id("remake"), step(action, &before.fingerprint)).await);
        }
        let last = p.look(wanted).await;
        let gone = done(p.one(&id("delete"), step(Action::Delete, &last.fingerprint)).await);
        let left = p.look(wanted).await;
        assert_eq!(left.fingerprint, gone, "{name} deleted");
        assert!(
            p.observe(&[]).await.owned.iter().all(|o| o.kind != wanted.address.kind),
            "{name} is not ours any more"
        );
        let back = done(p.one(&id("undelete"), restore(0, wanted, &id("delete"), 0, &gone)).await);
        assert_eq!(back, last.fingerprint, "{name} is back");
        done(p.one(&id("redelete"), step(Action::Delete, &back)).await);
        eprintln!("{name} has lived");
    }
}
