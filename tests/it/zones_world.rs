//! A topology with one zone, its ledger in a folder of this machine, and a name server in this process.

use std::collections::BTreeMap;
use std::sync::Arc;

use cutover::execution::{self, ApplyError, Identity, Report, Run, Settings, SystemClock, Wanted};
use cutover::journal::memory::MemoryDisk;
use cutover::journal::{Holder, Journal, replay};
use cutover::language;
use cutover::lowering::{self, Options};
use cutover::model::Severity;
use cutover::model::dns::RecordSet;
use cutover::model::observed::Observed;
use cutover::model::plan::Plan;
use cutover::model::resource::Resource;
use cutover::model::site::Site;
use cutover::model::step::{Outcome, StepId};
use cutover::planning::{self, PlanInput, PlanOptions, UndoInput};
use cutover::providers::{self, Agents, ShellAgent};
use cutover::secret::Resolver;
use cutover::transport::{FileSecrets, Network};
use tokio::sync::{mpsc, watch};

use crate::support::nameserver::NameServer;

pub struct World {
    _dir: tempfile::TempDir,
    pub server: NameServer,
    pub agent: Agents<Network>,
    pub disk: MemoryDisk,
    pub settings: Settings,
    resolver: Resolver,
    /// Between the braces of the zone.
    pub records: String,
    /// Behind the endpoint of the provider.
    pub provider: String,
    /// Instead of the name server of this process: `type=..` and all that belongs to it.
    pub service: Option<String>,
    /// Fields of the zone itself.
    pub zone: String,
    pub options: PlanOptions,
    pid: std::cell::Cell<u32>,
}

fn holder(pid: u32) -> Holder {
    Holder { user: "kim".into(), machine: "desk".into(), pid, boot: "b".into(), since: 0, apply: "a".into() }
}

impl World {
    pub fn new(sets: &[RecordSet], records: &str) -> Self {
        let dir = tempfile::tempdir().expect("folder");
        let network = Network::new(
            cutover::transport::Settings::default(),
            BTreeMap::new(),
            Arc::new(FileSecrets { root: "/".into() }),
        );
        let shell = providers::Settings {
            state_root: dir.path().join("state").display().to_string(),
            unprivileged: true,
            ..Default::default()
        };
        let mut settings = Settings::new("key");
        settings.reconnect = std::time::Duration::from_secs(2);
        Self {
            _dir: dir,
            server: NameServer::start("acme.example", sets),
            agent: Agents::new(ShellAgent::new(network, shell), Arc::new(FileSecrets { root: "/".into() })),
            disk: MemoryDisk::default(),
            settings,
            resolver: Resolver::fixed([("env:NONE", "a secret that no text holds")]),
            records: records.to_owned(),
            provider: String::new(),
            service: None,
            zone: String::new(),
            options: PlanOptions::default(),
            pid: std::cell::Cell::new(1),
        }
    }

    pub fn topology(&self) -> String {
        let provider = match &self.service {
            Some(service) => service.clone(),
            None => format!("type=rfc2136 endpoint=\"dns://{}\" {}", self.server.address, self.provider),
        };
        format!(
            "language 1\norganization acme domain=acme.example\nsite s\nplatform p postfix=\"3.7\"\naccepted-domain acme.example\n\
             server desk platform=p site=s ip=\"127.0.0.1\" {{ roles bastion; connection {{ transport local; }} }}\n\
             dns-provider ns {provider}\n\
             zone acme.example provider=ns ttl=\"300s\" {} {{\n{}\n}}\n",
            self.zone, self.records
        )
    }

    pub fn site(&self) -> Site {
        let (site, errors) = self.lowered();
        assert!(errors.is_empty(), "{errors:?}");
        site
    }

    /// The site, and the messages of its errors.
    pub fn lowered(&self) -> (Site, Vec<String>) {
        let files = BTreeMap::from([("topology.kdl".to_owned(), self.topology().into_bytes())]);
        let compiled = language::compile_files(&files, "topology.kdl", &language::Options::default());
        let options = Options::unissued(&lowering::needs(&compiled.topology));
        let (site, more) = lowering::lower(&compiled.topology, &[], &compiled.sources, &options);
        let all = compiled.diagnostics.iter().chain(more.iter());
        let errors =
            all.filter(|d| d.severity == Severity::Error).map(|d| format!("{} {}", d.code, d.message)).collect();
        (site, errors)
    }

    pub async fn observe(&self, site: &Site) -> Observed {
        execution::observe_all(&self.agent, site, None, "key", 4, |_, _| {}).await
    }

    pub async fn plan(&self) -> Plan {
        let site = self.site();
        let observed = self.observe(&site).await;
        planning::plan(&PlanInput { site: &site, observed: &observed, options: &self.options, key_id: "k" })
            .expect("plan")
    }

    /// Steps as `create zone.acme.example/record-set:…`.
    pub async fn planned(&self) -> Vec<String> {
        shown(&self.plan().await)
    }

    pub fn journal(&self) -> Journal {
        Journal::in_memory(&self.disk).expect("the journal opens").0
    }

    fn run<'a>(&'a self, journal: &'a Journal) -> Run<'a, Agents<Network>, Resolver, SystemClock> {
        Run {
            agent: &self.agent,
            resolve: &self.resolver,
            clock: &SystemClock,
            journal,
            settings: &self.settings,
            events: mpsc::unbounded_channel().0,
            wanted: watch::channel(Wanted::Run).1,
        }
    }

    /// The process before is dead, and known to be.
    fn identity(&self) -> Identity {
        let pid = self.pid.get();
        self.pid.set(pid + 1);
        Identity { holder: holder(pid + 1), dead: Some(holder(pid)) }
    }

    pub async fn try_apply(&self, plan: &Plan, apply: &str) -> Result<Report, ApplyError> {
        execution::apply(self.run(&self.journal()), plan, apply, &self.identity(), None).await
    }

    /// Plans and applies; every step is done.
    pub async fn apply(&self, apply: &str) -> Report {
        let report = self.try_apply(&self.plan().await, apply).await.expect("applies");
        assert!(report.is_success(), "{:?}", report.outcomes);
        report
    }

    pub async fn resume(&self, apply: &str) -> Report {
        execution::resume(self.run(&self.journal()), apply, &self.identity()).await.expect("resumes")
    }

    /// The plan that takes an apply back.
    pub async fn undo_plan(&self, apply: &str) -> Plan {
        self.undo_plan_without(apply, &[]).await
    }

    /// As where the answers of these steps never came.
    pub async fn undo_plan_without(&self, apply: &str, lost: &[StepId]) -> Plan {
        let saved = self.journal().load(apply).expect("journal").expect("apply");
        let standing = replay(&saved).expect("replay");
        let mut outcomes: BTreeMap<StepId, Outcome> =
            standing.outcomes.into_iter().enumerate().filter_map(|(id, o)| Some((id as StepId, o?))).collect();
        outcomes.extend(lost.iter().map(|id| (*id, Outcome::Unknown { why: "no answer came".into() })));
        let mut site = self.site();
        let resources: BTreeMap<_, Resource> =
            saved.plan.steps.iter().map(|s| (s.address.clone(), s.resource())).collect();
        site.resources = resources.into_values().collect();
        let observed = self.observe(&site).await;
        planning::undo(&UndoInput {
            apply,
            plan: &saved.plan,
            outcomes: &outcomes,
            observed: &observed,
            now: self.options.now,
        })
    }

    pub async fn undo(&self, of: &str, apply: &str) -> Report {
        let plan = self.undo_plan(of).await;
        assert!(!plan.blocked(), "{:?}", plan.notes);
        let report = execution::apply(self.run(&self.journal()), &plan, apply, &self.identity(), Some(of.to_owned()))
            .await
            .expect("undoes");
        assert!(report.is_success(), "{:?}", report.outcomes);
        report
    }
}

pub fn shown(plan: &Plan) -> Vec<String> {
    plan.steps.iter().map(|s| format!("{} {}", s.action.as_str(), s.address)).collect()
}
