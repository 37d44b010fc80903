//! Resources and steps as plan and execution would make them, for tests of the agent.

use cutover::model::attr::{Attr, Content};
use cutover::model::resource::Resource;
use cutover::model::step::{Action, Outcome, Step, StepId, Undo};
use cutover::model::{Address, Digest, HostName, Kind, Origin};
use cutover::providers::agent::{RemoteStep, StepReport};
use zeroize::Zeroizing;

/// Masks digests of secrets.
pub const KEY: &str = "state-key";

pub fn outcome(reports: &[StepReport], id: StepId) -> Option<Outcome> {
    reports.iter().find_map(|r| match r {
        StepReport::Ended(i, o) if *i == id => Some(o.clone()),
        _ => None,
    })
}

pub fn resource(host: &str, kind: Kind, key: &str, attrs: &[(&str, Attr)]) -> Resource {
    Resource {
        address: Address::new(&HostName::from(host), kind, key),
        attrs: attrs.iter().map(|(n, a)| ((*n).to_owned(), a.clone())).collect(),
        group: format!("server.{host}/test"),
        stage: 3,
        after: vec![],
        notifies: vec![],
        protect: false,
        owner: format!("server:{host}"),
        origin: Origin::default(),
    }
}

pub fn content(text: &[u8], sensitive: bool) -> Attr {
    let digest = if sensitive { Digest::masked(KEY, text) } else { Digest::of(text) };
    Attr::Content(Content { id: Digest::of(text), digest: Some(digest), sensitive })
}

pub fn step(id: StepId, resource: &Resource, action: Action, expect: Option<&str>, bytes: Option<&[u8]>) -> RemoteStep {
    RemoteStep {
        step: Step {
            id,
            address: resource.address.clone(),
            action,
            attrs: resource.attrs.clone(),
            expect: expect.map(str::to_owned),
            after: vec![],
            notifies: resource.notifies.clone(),
            protect: false,
            undo: Undo::Nothing,
            risky: false,
            owner: resource.owner.clone(),
            origin: Origin::default(),
            changes: vec![],
            before_text: None,
            reason: String::new(),
            restores: None,
        },
        content: bytes.map(|b| Zeroizing::new(b.to_vec())),
        after_in_batch: vec![],
    }
}

pub fn restore(id: StepId, resource: &Resource, apply: &str, of: StepId, expect: &str) -> RemoteStep {
    let mut s = step(id, resource, Action::Restore, Some(expect), None);
    s.step.restores = Some((apply.into(), of));
    s
}

pub fn done(outcome: Outcome) -> String {
    match outcome {
        Outcome::Done { fingerprint } => fingerprint.unwrap_or_default(),
        other => panic!("not done: {other:?}"),
    }
}
