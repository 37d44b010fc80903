//! Every apply belongs to a change or says why not, and runs when that change may.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::super::failure::Failure;
use super::super::output::Output;
use super::super::session::{Session, Wish};
use super::super::work::Work;
use super::record::{self, Entry};
use super::{ahead, moment};
use crate::language::slice;
use crate::model::plan::Plan;
use crate::model::topology::{Node, Topology};
use crate::process::calendar::{self, Calendar, Decision, cutovers};
use crate::process::change::{self, Which};

/// What somebody says of the change.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct ChangeArgs {
    /// The change of the topology that this belongs to [default: the one that names the phase or window, or covers all that is touched]
    #[arg(long, value_name = "NAME")]
    change: Option<String>,
    /// It belongs to no change, and why; a protected environment wants to know
    #[arg(long, value_name = "REASON", conflicts_with = "change")]
    no_change: Option<String>,
    #[command(flatten)]
    urgent: UrgentArgs,
}

impl ChangeArgs {
    /// Why it cannot wait.
    pub fn emergency(&self) -> Option<&str> {
        self.urgent.emergency.as_deref()
    }
}

#[derive(Debug, Clone, Default, clap::Args)]
pub struct UrgentArgs {
    /// Do not wait for the window of a change with urgency=emergency, nor for all signatures of a gate; the reason is recorded
    #[arg(long, value_name = "REASON")]
    pub emergency: Option<String>,
}

/// An apply that may run.
#[derive(Debug, Clone, Default)]
pub struct Admission {
    pub change: Option<String>,
    pub no_change: Option<String>,
    pub emergency: Option<String>,
    pub window: Option<String>,
    /// Then no new step is begun.
    pub closes: Option<Timestamp>,
}

impl Admission {
    pub fn entry(&self, apply: &str) -> Option<Entry> {
        let said = self.change.is_some() || self.no_change.is_some() || self.emergency.is_some();
        said.then(|| Entry {
            change: self.change.clone(),
            no_change: self.no_change.clone(),
            emergency: self.emergency.clone(),
            window: self.window.clone(),
            ..Entry::new(apply)
        })
    }
}

struct Control<'a> {
    topology: &'a Topology,
    calendar: Calendar,
    now: Timestamp,
    out: &'a Output,
}

/// Why nothing may run now, and when it may.
fn shut(who: &str, why: &str, next: Option<Timestamp>, control: &Control<'_>) -> Failure {
    let opens = match next {
        Some(at) => {
            format!("opens {}, in {}", moment(at, &control.calendar.zone), ahead(at.duration_since(control.now)))
        }
        None => "nothing opens in the next two years".to_owned(),
    };
    Failure::new(format!("{who} may not run now: {why}; {opens}. Nothing was changed"))
        .help("`cutover calendar` shows what is open when")
}

impl<'a> Control<'a> {
    /// `None`: this topology knows no change control.
    fn of(session: &'a Session, out: &'a Output) -> Result<Option<Self>, Failure> {
        let topology = &session.project.topology;
        if !change::controlled(topology) {
            return Ok(None);
        }
        let calendar =
            Calendar::of(topology).map_err(|e| Failure::new(e).help("write an IANA name such as Europe/Dublin"))?;
        Ok(Some(Self { topology, calendar, now: Timestamp::now(), out }))
    }

    fn named(&self, name: &str) -> Result<&'a Node, Failure> {
        self.topology.get("change", name).ok_or_else(|| {
            let names: Vec<&str> = self.topology.all("change").map(|c| c.id.name.as_str()).collect();
            let help =
                if names.is_empty() { "it has none".to_owned() } else { format!("it has: {}", names.join(", ")) };
            Failure::new(format!("the topology has no change `{name}`")).help(help)
        })
    }

    /// Whether a change may run now, or the cutover window that it is about.
    fn may(
        &self,
        node: Option<&Node>,
        window: Option<&str>,
        urgent: Option<&str>,
    ) -> Result<Option<Timestamp>, Failure> {
        let kind = node.and_then(|n| n.text("type"));
        let who = node.map_or_else(|| "an apply without a change".to_owned(), |n| format!("change {}", n.id.name));
        if let Some(reason) = urgent {
            if node.and_then(|n| n.text("urgency")) != Some("emergency") {
                return Err(Failure::new(format!("{who} is no emergency")).help(
                    "--emergency is for changes with urgency=emergency; others wait for their window (`cutover calendar`)",
                ));
            }
            self.out.note(format!("emergency: {who} does not wait for a window ({reason})"));
            return Ok(None);
        }
        let decision = match (node, window) {
            // The stages of a cutover window have times of their own.
            (Some(_), Some(name)) => self.by_freezes(kind, Some(name)),
            (Some(node), None) => self.calendar.decide(&change::wish(self.topology, &self.calendar, node), self.now),
            (None, name) => self.by_freezes(None, name),
        };
        match decision {
            Decision::Open { until, .. } => Ok(until),
            Decision::Shut { why, next } => {
                let failure = shut(&who, &why, next, self);
                if change::holds(self.topology) {
                    let emergency = node.and_then(|n| n.text("urgency")) == Some("emergency");
                    return Err(match emergency {
                        true => failure.help("an emergency: --emergency \"why it cannot wait\""),
                        false => failure,
                    });
                }
                self.out.note(format!("{who} would have to wait, were this no rehearsal: {why}"));
                Ok(None)
            }
        }
    }

    fn by_freezes(&self, kind: Option<&str>, window: Option<&str>) -> Decision {
        let when = window.and_then(|w| cutovers(self.topology, &self.calendar.zone).remove(w));
        if let Some((f, name)) = when.and_then(|s| {
            let hit = self.calendar.freezes.iter().find(|f| f.holds(kind) && f.span.meets(s))?;
            Some((hit, window.unwrap_or_default()))
        }) {
            return Decision::Shut { why: format!("cutover window {name} stands in freeze {}", f.name), next: None };
        }
        let only_freezes = Calendar { windows: Vec::new(), ..self.calendar.clone() };
        only_freezes.decide(&calendar::Wish { kind, ..calendar::Wish::default() }, self.now)
    }
}

/// Before any host is asked: what is named must be there and open.
pub fn early(session: &Session, out: &Output, args: &ChangeArgs, wish: &Wish) -> Result<(), Failure> {
    let Some(control) = Control::of(session, out)? else {
        return match &args.change {
            Some(name) => Err(Failure::new(format!("the topology has no change `{name}`")).help("it has none")),
            None => Ok(()),
        };
    };
    let node = match &args.change {
        Some(name) => Some(control.named(name)?),
        None if args.no_change.is_some() => None,
        None => change::early(control.topology, wish.phase.as_deref(), wish.window.as_deref()),
    };
    if let Some(node) = node {
        let quiet = Control { out, ..control };
        quiet.may(Some(node), wish.window.as_deref(), args.urgent.emergency.as_deref())?;
    }
    Ok(())
}

/// Now that it is known what the plan touches.
pub fn admit(
    session: &Session,
    out: &Output,
    args: &ChangeArgs,
    wish: &Wish,
    plan: &Plan,
) -> Result<Admission, Failure> {
    let Some(control) = Control::of(session, out)? else {
        return Ok(Admission { no_change: args.no_change.clone(), ..Admission::default() });
    };
    let node = control.belongs(args, wish, plan)?;
    let protected = control.topology.environment().is_some_and(|e| e.flag("protected"));
    if node.is_none() && args.no_change.is_none() && protected {
        return Err(Failure::new("this apply belongs to no change, and the environment is protected; nothing was changed")
            .help("write a `change` that affects what the plan touches, name one with --change, or say why there is none with --no-change \"REASON\""));
    }
    let (urgent, window) = (args.urgent.emergency.as_deref(), wish.window.as_deref());
    let closes = control.may(node, window, urgent)?;
    if let Some(node) = node {
        let until =
            closes.map_or_else(String::new, |at| format!("; open until {}", moment(at, &control.calendar.zone)));
        out.note(format!("change {}{until}", node.id.name));
    }
    Ok(Admission {
        change: node.map(|n| n.id.name.to_string()),
        no_change: args.no_change.clone(),
        emergency: args.urgent.emergency.clone(),
        window: wish.window.clone(),
        closes: closes.filter(|_| node.is_some()),
    })
}

impl<'a> Control<'a> {
    fn belongs(&self, args: &ChangeArgs, wish: &Wish, plan: &Plan) -> Result<Option<&'a Node>, Failure> {
        if args.no_change.is_some() {
            return Ok(None);
        }
        if let Some(name) = &args.change {
            let node = self.named(name)?;
            let beyond = uncovered(self.topology, node, plan);
            if beyond.is_empty() {
                return Ok(Some(node));
            }
            let list: Vec<&str> = beyond.iter().take(5).map(String::as_str).collect();
            let more = if beyond.len() > 5 { format!(" and {} more", beyond.len() - 5) } else { String::new() };
            return Err(Failure::new(format!(
                "change {name} does not affect {}{more}, which this plan touches; nothing was changed",
                list.join(", ")
            ))
            .help("leave them out with --target, or widen `affects` of the change"));
        }
        let covers = |c: &Node| uncovered(self.topology, c, plan).is_empty();
        match change::which(self.topology, wish.phase.as_deref(), wish.window.as_deref(), covers) {
            (Which::One(node), _) => Ok(Some(node)),
            (Which::None, _) => Ok(None),
            (Which::Several, names) => Err(Failure::new(format!(
                "this apply may belong to any of the changes {}; nothing was changed",
                names.join(", ")
            ))
            .help("say which with --change NAME")),
        }
    }
}

/// What `plan` says of it: to which change the plan belongs and when that may run.
pub fn told(session: &Session, out: &Output, wish: &Wish, plan: &Plan) -> Result<Option<String>, Failure> {
    let Some(control) = Control::of(session, out)?.filter(|_| !plan.is_empty()) else { return Ok(None) };
    let zone = &control.calendar.zone;
    let covers = |c: &Node| uncovered(control.topology, c, plan).is_empty();
    let which = change::which(control.topology, wish.phase.as_deref(), wish.window.as_deref(), covers);
    Ok(Some(match which {
        (Which::None, _) => "This plan belongs to no change of the topology.".to_owned(),
        (Which::Several, names) => {
            format!("This plan may belong to the changes {}: say which with --change.", names.join(", "))
        }
        (Which::One(node), _) => {
            let decision = match &wish.window {
                Some(name) => control.by_freezes(node.text("type"), Some(name)),
                None => control.calendar.decide(&change::wish(control.topology, &control.calendar, node), control.now),
            };
            let name = &node.id.name;
            match decision {
                Decision::Open { until: None, .. } => format!("This plan belongs to change {name}, which may run now."),
                Decision::Open { until: Some(at), .. } => {
                    format!("This plan belongs to change {name}, which may run now, until {}.", moment(at, zone))
                }
                Decision::Shut { why, next } => {
                    let next = next.map_or_else(String::new, |at| {
                        format!("; opens {}, in {}", moment(at, zone), ahead(at.duration_since(control.now)))
                    });
                    format!("This plan belongs to change {name}, which may not run now: {why}{next}.")
                }
            }
        }
    }))
}

/// Whether an apply that was cut off may go on now.
pub fn again(
    session: &Session,
    out: &Output,
    work: &Work,
    apply: &str,
    urgent: Option<&str>,
) -> Result<Admission, Failure> {
    let former = record::by_apply(&session.state)?.remove(apply);
    let Some(control) = Control::of(session, out)? else { return Ok(Admission::default()) };
    let former = former.unwrap_or_else(|| Entry::new(apply));
    let node = former.change.as_deref().map(|name| control.named(name)).transpose()?;
    let urgent = urgent.map(str::to_owned).or(former.emergency.clone());
    // What was taken back half-way is finished at any hour: nobody waits for a window in between.
    let undo = work.journal.load(apply)?.is_some_and(|s| s.header.undo_of.is_some());
    let closes = if undo { None } else { control.may(node, former.window.as_deref(), urgent.as_deref())? };
    Ok(Admission {
        change: former.change,
        no_change: former.no_change,
        emergency: urgent,
        window: former.window,
        closes: closes.filter(|_| node.is_some()),
    })
}

/// Hosts and zones that a plan touches and a change does not affect.
fn uncovered(topology: &Topology, change: &Node, plan: &Plan) -> BTreeSet<String> {
    let all = change::covered(topology, change, slice::deployed, slice::closure);
    let names: BTreeSet<String> = all.iter().map(ToString::to_string).collect();
    let has = |owner: &str, host: &str| names.contains(owner) || names.contains(&format!("server:{host}"));
    plan.steps.iter().filter(|s| !has(&s.owner, &s.address.host.0)).map(|s| s.address.host.0.clone()).collect()
}
