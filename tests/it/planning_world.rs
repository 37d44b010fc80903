//! Sites by hand, and hosts that exist only as data: enough to plan, to pretend that a plan was applied, and to plan again.

use std::collections::BTreeMap;

use cutover::catalog::{self, Compare};
use cutover::model::address::{Address, HostName, Kind};
use cutover::model::attr::{Attr, Attrs, Body, Content, Digest, SecretRef, Segment};
use cutover::model::host::{HostAccess, HostError, HostErrorKind};
use cutover::model::observed::{Facts, Observation, Observed, Owned, Record};
use cutover::model::plan::Plan;
use cutover::model::resource::{Dependency, Notify, NotifyHow, Resource};
use cutover::model::site::Site;
use cutover::model::source::Origin;
use cutover::model::step::{Action, Outcome, Step, StepId};
use cutover::planning::{PlanError, PlanInput, PlanOptions, plan};

pub fn access(host: &str) -> HostAccess {
    HostAccess::at(host, "192.0.2.1")
}

pub fn content(body: &Body, masked_with: &str) -> Attr {
    let text = body.shown().unwrap_or_default();
    let digest =
        if body.sensitive() { Digest::masked(masked_with, text.as_bytes()) } else { Digest::of(text.as_bytes()) };
    Attr::Content(Content { id: body.intent(), digest: Some(digest), sensitive: body.sensitive() })
}

/// A site, written one resource at a time.
pub struct Story {
    pub site: Site,
    pub options: PlanOptions,
    line: u32,
}

pub fn story() -> Story {
    let site = Site { organization: "acme".into(), environment: Some("lab".into()), ..Site::default() };
    Story { site, options: PlanOptions::default(), line: 0 }
}

/// One resource of a [`Story`], being written.
pub struct Writing<'a>(pub &'a mut Resource);

impl Writing<'_> {
    pub fn set(self, name: &str, value: impl Into<Value>) -> Self {
        self.0.attrs.insert(name.into(), value.into().0);
        self
    }

    pub fn after(self, address: &str) -> Self {
        let dependency = match address.parse() {
            Ok(address) => Dependency::Resource(address),
            Err(_) => Dependency::Group(address.into()),
        };
        self.0.after.push(dependency);
        self
    }

    pub fn reloads(self, service: &str) -> Self {
        self.0.notifies.push(Notify { service: service.into(), how: NotifyHow::Reload });
        self
    }

    pub fn restarts(self, service: &str) -> Self {
        self.0.notifies.push(Notify { service: service.into(), how: NotifyHow::Restart });
        self
    }

    pub fn protect(self) -> Self {
        self.0.protect = true;
        self
    }

    pub fn stage(self, stage: u8) -> Self {
        self.0.stage = stage;
        self
    }
}

pub struct Value(Attr);

impl From<&str> for Value {
    fn from(s: &str) -> Self {
        Value(Attr::text(s))
    }
}

impl From<bool> for Value {
    fn from(b: bool) -> Self {
        Value(Attr::Bool(b))
    }
}

impl From<Attr> for Value {
    fn from(a: Attr) -> Self {
        Value(a)
    }
}

impl Story {
    /// `"mail-1/imap"`, kind, key.
    pub fn add(&mut self, group: &str, kind: Kind, key: &str) -> Writing<'_> {
        let host: HostName = group.split('/').next().unwrap_or_default().into();
        self.site.hosts.entry(host.clone()).or_insert_with(|| access(&host.0));
        self.site.anchor.get_or_insert(host.clone());
        self.line += 1;
        let resource = Resource {
            address: Address::new(&host, kind, key),
            attrs: Attrs::new(),
            group: format!("server.{group}"),
            stage: catalog::spec(kind).stage,
            after: vec![],
            notifies: vec![],
            protect: false,
            owner: format!("server:{host}"),
            origin: Origin { file: "site.kdl".into(), line: self.line, column: 5 },
        };
        let at = self.site.resources.partition_point(|r| r.address < resource.address);
        self.site.resources.insert(at, resource);
        Writing(&mut self.site.resources[at])
    }

    pub fn file(&mut self, group: &str, path: &str, text: &str) -> Writing<'_> {
        self.body(group, Kind::File, path, Body::text(text))
    }

    pub fn secret_file(&mut self, group: &str, path: &str, reference: &str) -> Writing<'_> {
        let secret = Segment::Secret(SecretRef(reference.into()));
        let body = Body { segments: vec![Segment::Text("password = ".into()), secret, Segment::Text("\n".into())] };
        self.body(group, Kind::File, path, body)
    }

    pub fn body(&mut self, group: &str, kind: Kind, key: &str, body: Body) -> Writing<'_> {
        self.site.bodies.insert(body.intent(), body.clone());
        self.add(group, kind, key).set("content", content(&body, "key")).set("mode", "0644")
    }

    pub fn service(&mut self, group: &str, name: &str) -> Writing<'_> {
        self.add(group, Kind::Service, name).set("enabled", true).set("running", true)
    }

    pub fn remove(&mut self, address: &str) {
        let address: Address = address.parse().expect("address");
        self.site.resources.retain(|r| r.address != address);
    }

    pub fn plan(&self, world: &World) -> Plan {
        self.try_plan(world).expect("a plan")
    }

    pub fn try_plan(&self, world: &World) -> Result<Plan, PlanError> {
        let observed = world.observe(&self.site);
        plan(&PlanInput { site: &self.site, observed: &observed, options: &self.options, key_id: "0123abcd" })
    }
}

/// Hosts as data.
#[derive(Debug, Clone, Default)]
pub struct World {
    pub state: BTreeMap<Address, Attrs>,
    /// Text of contents, for diffs.
    pub texts: BTreeMap<Address, String>,
    pub owned: BTreeMap<Address, Owned>,
    pub pending: BTreeMap<(HostName, String), NotifyHow>,
    pub down: Vec<HostName>,
    /// What each step of each apply found; the position is the apply's id.
    pub former: Vec<BTreeMap<StepId, Former>>,
}

/// State, text and ledger entry of a resource.
pub type Former = (Option<Attrs>, Option<String>, Option<Owned>);

impl World {
    pub fn record(&self, address: &Address) -> Record {
        match self.state.get(address) {
            None => Record { present: false, attrs: Attrs::new(), fingerprint: "absent".into(), text: None },
            Some(attrs) => {
                let shown: Vec<String> = attrs.iter().map(|(k, v)| format!("{k}={v}")).collect();
                let text = self.texts.get(address).cloned();
                Record { present: true, attrs: attrs.clone(), fingerprint: shown.join(" "), text }
            }
        }
    }

    pub fn observe(&self, site: &Site) -> Observed {
        let mut out = Observed::default();
        for host in site.hosts.keys() {
            if self.down.contains(host) {
                out.failed.push(HostError {
                    host: host.clone(),
                    kind: HostErrorKind::Unreachable,
                    message: "connection refused".into(),
                    help: Some("is sshd running there?".into()),
                });
                continue;
            }
            let wanted = site.resources.iter().map(|r| &r.address).filter(|a| a.host == *host);
            let owned: Vec<Owned> =
                self.owned.iter().filter(|(a, _)| a.host == *host).map(|(_, o)| o.clone()).collect();
            let also = self.owned.keys().filter(|a| a.host == *host);
            let records = wanted.chain(also).map(|a| (a.local(), self.record(a))).collect();
            let pending = self.pending.iter().filter(|((h, _), _)| h == host);
            out.hosts.insert(
                host.clone(),
                Observation {
                    host: host.clone(),
                    facts: Facts::default(),
                    records,
                    owned,
                    pending: pending.map(|((_, s), how)| (s.clone(), *how)).collect(),
                    lease: None,
                    armed: None,
                    zone: None,
                },
            );
        }
        out
    }

    /// Does what the plan says, as a host would: refuses a step whose resource is not as it was, or that comes too early.
    pub fn apply(&mut self, plan: &Plan) -> BTreeMap<StepId, Outcome> {
        let mut outcomes = BTreeMap::new();
        self.former.push(BTreeMap::new());
        for (i, step) in plan.steps.iter().enumerate() {
            assert_eq!(step.id as usize, i);
            assert!(step.after.iter().all(|s| (*s as usize) < i), "{} comes too early", step.address);
            let found = self.record(&step.address).fingerprint;
            if let Some(expect) = &step.expect {
                assert_eq!(expect, &found, "stale: {}", step.address);
            }
            let a = &step.address;
            let former = (self.state.get(a).cloned(), self.texts.get(a).cloned(), self.owned.get(a).cloned());
            self.former.last_mut().expect("pushed above").insert(step.id, former);
            self.step(plan, step);
            let fingerprint = match step.action {
                Action::Reload | Action::Restart => None,
                _ => Some(self.record(&step.address).fingerprint),
            };
            outcomes.insert(step.id, Outcome::Done { fingerprint });
        }
        outcomes
    }

    fn step(&mut self, plan: &Plan, step: &Step) {
        let address = &step.address;
        match step.action {
            Action::Wait | Action::Move => {}
            Action::Reload | Action::Restart => {
                self.pending.remove(&(address.host.clone(), address.key.clone()));
                return;
            }
            Action::Delete => {
                if address.kind == Kind::Service {
                    self.pending.remove(&(address.host.clone(), address.key.clone()));
                }
                self.state.remove(address);
                self.texts.remove(address);
                self.owned.remove(address);
            }
            Action::Restore => {
                let (apply, id) = step.restores.clone().expect("what to restore");
                let (state, text, owned) = self.former[apply.parse::<usize>().expect("id")][&id].clone();
                set(&mut self.state, address, state);
                set(&mut self.texts, address, text);
                set(&mut self.owned, address, owned);
            }
            Action::Create | Action::Update | Action::Replace | Action::Run => {
                let was_running = self.record(address).attrs.get("running") == Some(&Attr::Bool(true));
                let attrs = self.put(address, &step.attrs);
                if address.kind == Kind::Service && !was_running && attrs.get("running") == Some(&Attr::Bool(true)) {
                    self.pending.remove(&(address.host.clone(), address.key.clone()));
                }
                if let Some(Attr::Content(c)) = step.attrs.get("content")
                    && !c.sensitive
                {
                    let text = plan.bodies.get(&c.id).and_then(Body::shown).expect("the plan holds its bodies");
                    self.texts.insert(address.clone(), text);
                }
                self.own(address, step);
                // One entry in the ledger, under the name that it has now.
                if let Some(former) = step.changes.iter().find(|c| c.field == "key").and_then(|c| c.before.clone()) {
                    self.owned.remove(&Address::new(&address.host, address.kind, former.clone()));
                    self.state.remove(&Address::new(&address.host, address.kind, former));
                }
            }
        }
        for notify in &step.notifies {
            let how = self.pending.entry((address.host.clone(), notify.service.clone())).or_insert(notify.how);
            *how = (*how).max(notify.how);
        }
    }

    /// Puts attributes on a host, with digests instead of contents.
    pub fn put(&mut self, address: &Address, desired: &Attrs) -> Attrs {
        let spec = catalog::spec(address.kind);
        let state = self.state.entry(address.clone()).or_default();
        for (name, attr) in desired {
            if spec.field(name).is_some_and(|f| f.compare == Compare::Input) {
                continue;
            }
            let seen = match attr {
                Attr::Content(c) => Attr::Digest(c.digest.clone().expect("sealed")),
                other => other.clone(),
            };
            state.insert(name.to_owned(), seen);
        }
        match address.kind {
            Kind::Command => state.insert("satisfied".into(), Attr::Bool(true)),
            Kind::Firewall => state.insert("loaded".into(), Attr::Bool(true)),
            _ => None,
        };
        state.clone()
    }

    pub fn own(&mut self, address: &Address, step: &Step) {
        self.owned.insert(
            address.clone(),
            Owned {
                kind: address.kind,
                key: address.key.clone(),
                owner: step.owner.clone(),
                attrs: step.attrs.clone(),
                notifies: step.notifies.clone(),
                protect: step.protect,
            },
        );
    }

    /// Somebody changes one attribute by hand.
    pub fn tamper(&mut self, address: &str, name: &str, value: impl Into<Value>) {
        let address: Address = address.parse().expect("address");
        self.state.entry(address).or_default().insert(name.into(), value.into().0);
    }

    /// Something that is there and not ours.
    pub fn foreign(&mut self, address: &str, attrs: &[(&str, &str)]) {
        let address: Address = address.parse().expect("address");
        let attrs = attrs.iter().map(|(k, v)| ((*k).to_owned(), Attr::text(*v))).collect();
        self.state.insert(address, attrs);
    }
}

fn set<T>(map: &mut BTreeMap<Address, T>, address: &Address, value: Option<T>) {
    match value {
        Some(value) => map.insert(address.clone(), value),
        None => map.remove(address),
    };
}

/// `create file:/etc/x` for each step, host left out when there is one only.
pub fn lines(plan: &Plan) -> Vec<String> {
    let one = plan.steps.iter().all(|s| s.address.host == plan.steps[0].address.host);
    plan.steps
        .iter()
        .map(|s| {
            let name = if one { s.address.local() } else { format!("{}/{}", s.address.host, s.address.local()) };
            format!("{} {name}", s.action.as_str())
        })
        .collect()
}

/// Position of a step by `action kind:key` as in [`lines`].
pub fn at(plan: &Plan, line: &str) -> usize {
    let lines = lines(plan);
    lines.iter().position(|l| l == line).unwrap_or_else(|| panic!("no `{line}` in {lines:#?}"))
}
