//! Before an old side is put out of use by a phase: its removal has a gate, everybody is on the new side, and what was left is looked after.

use std::sync::Arc;

use super::certificate;
use super::moving::{Service, old_side};
use super::routes::Reached;
use super::session::{Session, Wish};
use crate::model::HostName;
use crate::model::course::{Gate, before, gates};
use crate::model::host::HostAccess;
use crate::model::plan::{Plan, PlanNote};
use crate::model::topology::{Node, Topology};
use crate::moving::standing::{self, State};
use crate::people::Chosen;
use crate::process::after::After;

/// Looks at a plan of a phase that retires an old side, or lets it pass on mail, and blocks it where it would be too early.
pub async fn look(session: &Session, plan: &mut Plan, wish: &Wish) {
    let topology = &session.project.topology;
    let phase = wish.phase.as_deref().filter(|_| !wish.destroy).and_then(|name| topology.get("phase", name));
    let Some(phase) = phase else { return };
    for (field, stops) in [("forwards", false), ("retires", true)] {
        for legacy in topology.targets(phase, field) {
            let of = Of { session, phase, legacy, stops };
            let (told, refused) = of.look(plan).await;
            let note = |(text, blocks)| PlanNote { address: None, text, blocks };
            plan.notes
                .extend(told.into_iter().map(|t| (t, false)).chain(refused.into_iter().map(|t| (t, true))).map(note));
        }
    }
}

struct Of<'a> {
    session: &'a Session,
    phase: &'a Node,
    legacy: &'a Node,
    stops: bool,
}

impl Of<'_> {
    fn topology(&self) -> &Topology {
        &self.session.project.topology
    }

    fn host(&self) -> Option<&HostAccess> {
        let id = self.legacy.reference("server")?;
        let host = self.session.project.site.hosts.get(&HostName::from(id.name.as_str()));
        host.filter(|h| h.is_machine())
    }

    /// What is said, and what keeps the plan from being applied.
    async fn look(&self, plan: &Plan) -> (Vec<String>, Vec<String>) {
        let name = &self.legacy.id.name;
        let Some(host) = self.host() else {
            return (
                vec![format!(
                    "legacy {name} is no server of this topology with a connection: nothing is asked or changed there"
                )],
                Vec::new(),
            );
        };
        let made = self.session.project.site.retirements.get(&host.name);
        let mut refused = Vec::new();
        if !self.stops && made.is_none_or(|r| r.forwards.is_empty()) {
            refused.push(format!("legacy {name} cannot pass on mail: it needs role smtp, and a gate or a server of the new side that takes mail"));
        }
        // What is done already needs nothing more.
        if !plan.steps.iter().any(|s| s.address.host == host.name) {
            return (Vec::new(), refused);
        }
        if self.stops && self.legacy.flag("protect") && !self.gated() {
            refused.push(format!(
                "legacy {name} is protected, and nothing keeps phase {} shut: give it a gate at=entry, or let it come after a phase with a gate",
                self.phase.id.name
            ));
        }
        refused.extend(self.people().await);
        if self.stops {
            refused.extend(self.queue(host).await);
        }
        (
            vec![format!(
                "{} steps on {}: no mailbox and no message there is deleted",
                plan.steps.iter().filter(|s| s.address.host == host.name).count(),
                host.name
            )],
            refused,
        )
    }

    /// Whether a gate has to open before the phase.
    fn gated(&self) -> bool {
        let before = before(self.topology(), self.phase);
        let opens = |g: &Gate<'_>| match g.phase {
            Some(p) if g.is_entry() => p.id == self.phase.id,
            Some(p) => before.contains_key(&p.id),
            None => false,
        };
        gates(self.topology()).iter().any(opens)
    }

    async fn people(&self) -> Vec<String> {
        let topology = self.topology();
        let from_here = |c: &&Node| {
            let migration = topology.target(c, "migration");
            migration.and_then(|m| m.reference("from")).is_some_and(|id| *id == self.legacy.id)
        };
        let mut refused = Vec::new();
        let cohorts: Vec<&Node> = topology.all("cohort").filter(from_here).collect();
        if cohorts.is_empty() {
            refused.push(format!(
                "no cohort moves anybody from legacy {}: who is left there is not known",
                self.legacy.id.name
            ));
        }
        for cohort in cohorts {
            let name = &cohort.id.name;
            let Some(chosen) = self.session.project.made.people.get(name.as_str()).filter(|c| c.unasked.is_empty())
            else {
                refused.push(format!("who is in cohort {name} is not known"));
                continue;
            };
            match self.left(cohort, chosen).await {
                Ok(0) => {}
                Ok(n) => refused
                    .push(format!("{n} of {} people of cohort {name} are not on the new side", chosen.members.len())),
                Err(why) => refused.push(format!("whether cohort {name} has moved is not known: {why}")),
            }
            if self.stops && !chosen.members.is_empty() {
                refused.extend(self.after(name, chosen));
            }
        }
        refused
    }

    /// How many of a cohort are not on the new side.
    async fn left(&self, cohort: &Node, chosen: &Chosen) -> Result<usize, String> {
        if chosen.members.is_empty() {
            return Ok(0);
        }
        let project = &self.session.project;
        let migration = project.topology.target(cohort, "migration").ok_or("it has no migration")?;
        let named = |field: &str| migration.text(field);
        let near = Arc::clone(&self.session.near);
        let gates = Reached::of(project, Arc::clone(&near), named("proxy"), &[]).map_err(|f| f.told())?;
        let service = Service::of(project, near, named("cms")).map_err(|f| f.told())?;
        let users: Vec<String> = chosen.addresses().map(str::to_owned).collect();
        let stands = standing::look(&gates, &service, &users, gates.default).await.map_err(|s| s.to_string())?;
        Ok(stands.iter().filter(|s| s.state != State::Moved).count())
    }

    /// What `cutover cohort after` has found must be there, of these people, with nothing open.
    fn after(&self, cohort: &str, chosen: &Chosen) -> Vec<String> {
        let project = &self.session.project;
        let file = certificate::folder(project.topology.environment.as_deref()).join(format!("{cohort}.after.json"));
        let say = |what: String| vec![format!("{what}: `cutover cohort after {cohort}`")];
        let Ok(text) = std::fs::read_to_string(project.root.join(&file)) else {
            return say(format!(
                "nobody has looked after what cohort {cohort} left there ({} is not there)",
                file.display()
            ));
        };
        match serde_json::from_str::<After>(&text) {
            Err(e) => say(format!("{} cannot be read: {e}", file.display())),
            Ok(a) if a.cohort != cohort || a.list != chosen.digest() => {
                say(format!("{} is about other people", file.display()))
            }
            Ok(a) if !a.open().is_empty() => {
                say(format!("{} says that {} things are open", file.display(), a.open().len()))
            }
            Ok(_) => Vec::new(),
        }
    }

    async fn queue(&self, host: &HostAccess) -> Option<String> {
        match old_side::queue(&self.session.near, host).await {
            Ok(Some(queue)) => match queue.lines().filter(|l| !l.trim().is_empty()).count() {
                0 => None,
                n => Some(format!("{n} messages wait in the queue of {}", host.name)),
            },
            Ok(None) => None,
            Err(why) => Some(format!("the queue of {} cannot be asked: {why}", host.name)),
        }
    }
}
