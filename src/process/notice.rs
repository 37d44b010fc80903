//! Notices to people: who is told, by which template, when. What was sent before is an input.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::calendar::{Calendar, Span, cutovers};
use crate::model::attr::Digest;
use crate::model::topology::{Node, NodeId, Topology};
use crate::model::unit::parse_duration;
use crate::people::Chosen;

/// How long after its moment a notice that follows a window is still sent.
const LATE: SignedDuration = SignedDuration::from_hours(7 * 24);

/// One notice to one recipient.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Notice {
    pub communication: String,
    pub cohort: String,
    pub recipient: String,
    /// As the topology has it, shrunk by `time-scale`.
    pub offset: String,
    pub at: Timestamp,
    /// Later it is not sent.
    pub until: Timestamp,
    pub channel: String,
    pub template: String,
    /// Language of the reader, as `fa`: their own where it is known, else that of the organisation.
    pub language: String,
    /// Language of the organisation, for whoever has no template in their own.
    pub usual: String,
    /// Shown name and address of who sends it.
    pub sender: (String, String),
    /// The window that it is about.
    pub begins: Timestamp,
    pub ends: Timestamp,
    /// The same for the same notice, whoever asks and when.
    pub id: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notices {
    /// By time, then by cohort and recipient.
    pub all: Vec<Notice>,
    /// What has no recipient or no time, and why.
    pub nobody: Vec<String>,
}

/// What is to be done with a notice now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    Due,
    /// Its time is to come.
    Waits,
    Sent,
    /// Handed over, and nobody knows with what end.
    Doubt,
    /// The window that it announces is over.
    Late,
    /// A later one of the same series is due already.
    Overtaken,
    /// Not by mail: somebody does it.
    ByHand,
}

impl Standing {
    pub fn as_str(self) -> &'static str {
        match self {
            Standing::Due => "due",
            Standing::Waits => "waits",
            Standing::Sent => "sent",
            Standing::Doubt => "in doubt",
            Standing::Late => "too late",
            Standing::Overtaken => "overtaken",
            Standing::ByHand => "by hand",
        }
    }
}

/// What the journal of notices says of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Past {
    /// About to be handed over.
    Begun,
    /// Taken by the mail server.
    Sent,
    /// Refused by the mail server: not sent.
    Refused,
}

/// When an offset is due: `-14d` before the window begins, `+1h` after it ends.
fn moment(offset: &str, window: Span) -> Option<Timestamp> {
    let (before, length) = match offset.split_at_checked(1)? {
        ("-", rest) => (true, rest),
        ("+", rest) => (false, rest),
        _ => (false, offset),
    };
    let length = SignedDuration::try_from(parse_duration(length)?).ok()?;
    if before { window.from.checked_sub(length).ok() } else { window.to.checked_add(length).ok() }
}

fn emails<'t>(nodes: impl Iterator<Item = &'t Node>) -> BTreeSet<String> {
    nodes.filter_map(|n| n.text("email")).map(str::to_lowercase).collect()
}

/// Those who look after the customer organisations whose people a cohort moves.
fn customers(topology: &Topology, cohort: &Node, chosen: Option<&Chosen>) -> BTreeSet<String> {
    let named: BTreeSet<&str> = cohort.children("select").filter_map(|s| s.text("tenant")).collect();
    let domains: BTreeSet<&str> =
        chosen.into_iter().flat_map(Chosen::addresses).filter_map(|a| Some(a.rsplit_once('@')?.1)).collect();
    let moves = |t: &&Node| {
        let theirs = |id: &NodeId| domains.iter().any(|d| id.name.eq_ignore_ascii_case(d));
        named.contains(&*t.id.name) || t.refs("domains").any(|(id, _)| theirs(id))
    };
    topology.all("tenant").filter(moves).filter_map(|t| t.text("admin")).map(str::to_lowercase).collect()
}

/// The addresses of an audience. `None`: nothing in the topology says who that is.
fn audience(topology: &Topology, word: &str, cohort: &Node, chosen: Option<&Chosen>) -> Option<BTreeSet<String>> {
    let teams = |smf: &'static str| emails(topology.all("team").filter(move |t| t.texts("smf").contains(&smf)));
    let found = match word {
        "users" | "cohort" => chosen.into_iter().flat_map(Chosen::addresses).map(str::to_owned).collect(),
        "helpdesk" => teams("service-desk"),
        "administrators" => teams("system-administration"),
        "customers" => customers(topology, cohort, chosen),
        "sponsors" => emails(topology.all("project").filter_map(|p| topology.target(p, "sponsor"))),
        "project" => emails(topology.all("person")),
        "peer-teams" => {
            let others =
                |t: &&Node| !t.texts("smf").iter().any(|s| ["service-desk", "system-administration"].contains(s));
            emails(topology.all("team").filter(others))
        }
        _ => BTreeSet::new(),
    };
    (!found.is_empty()).then_some(found)
}

/// Who sends: the owner of the communication, else the service desk, else the postmaster.
pub fn sender(topology: &Topology, communication: &Node) -> (String, String) {
    let organization = topology.organization();
    let shown = organization.map_or("", |o| o.text("display").unwrap_or(o.id.name.as_str())).to_owned();
    let reached = |n: &&Node| n.text("email").is_some();
    let desk = || topology.all("team").find(|t| t.texts("smf").contains(&"service-desk") && reached(t));
    match topology.target(communication, "owner").filter(reached).or_else(desk) {
        Some(node) => {
            (node.text("display").map_or(shown, str::to_owned), node.text("email").unwrap_or_default().to_owned())
        }
        None => {
            let domain = organization.and_then(|o| o.text("domain")).unwrap_or("invalid");
            (shown, format!("postmaster@{domain}"))
        }
    }
}

/// The day by which a phase is to have moved a cohort; of several the first.
fn due(topology: &Topology, cohort: &Node, zone: &TimeZone) -> Option<Span> {
    let moves = |p: &&Node| p.refs("migrates").any(|(id, _)| *id == cohort.id);
    let day = topology.all("phase").filter(moves).filter_map(|p| p.text("due")?.parse::<Date>().ok()).min()?;
    let begin = |day: Date| Some(day.to_zoned(zone.clone()).ok()?.timestamp());
    Some(Span { from: begin(day)?, to: begin(day.tomorrow().ok()?)? })
}

/// All notices of the topology: those of a communication for each cohort that names it, timed by the window of the cohort, or by the day of
/// its phase where it has none.
pub fn notices(topology: &Topology, calendar: &Calendar, people: &BTreeMap<String, Chosen>) -> Notices {
    let mut out = Notices::default();
    let windows = cutovers(topology, &calendar.zone);
    let mut named = BTreeSet::new();
    for cohort in topology.all("cohort") {
        for communication in topology.targets(cohort, "notices") {
            let (name, about) = (communication.id.name.as_str(), cohort.id.name.as_str());
            named.insert(name);
            let window = cohort.text("window").and_then(|w| windows.get(w)).copied();
            let Some(window) = window.or_else(|| due(topology, cohort, &calendar.zone)) else {
                out.nobody.push(format!(
                    "{name}: cohort {about} has no window to count from, and no phase with a day (`due`) moves it"
                ));
                continue;
            };
            let mut to = BTreeSet::new();
            for word in communication.texts("audience") {
                match audience(topology, word, cohort, people.get(about)) {
                    Some(found) => to.extend(found),
                    None => out.nobody.push(format!("{name}: nobody with an address is {word} of cohort {about}")),
                }
            }
            out.all.extend(of(topology, communication, (about, people.get(about)), window, &to));
        }
    }
    let alone = topology.all("communication").filter(|c| !named.contains(c.id.name.as_str()));
    out.nobody.extend(alone.map(|c| format!("{}: no cohort names it in `notices`", c.id.name)));
    out.all.sort_by(|a, b| {
        (a.at, &a.cohort, &a.communication, &a.recipient).cmp(&(b.at, &b.cohort, &b.communication, &b.recipient))
    });
    out
}

fn of(
    topology: &Topology,
    communication: &Node,
    (cohort, chosen): (&str, Option<&Chosen>),
    window: Span,
    to: &BTreeSet<String>,
) -> Vec<Notice> {
    let mut out = Vec::new();
    let usual = topology.organization().and_then(|o| o.text("locale")).unwrap_or("en");
    for offset in communication.texts("at") {
        let Some(at) = moment(offset, window) else { continue };
        let until = if at < window.to { window.to } else { at.checked_add(LATE).unwrap_or(at) };
        for recipient in to {
            let name = communication.id.name.as_str();
            let key = Digest::of(format!("{name}\n{cohort}\n{offset}\n{recipient}\n{}", window.from).as_bytes());
            out.push(Notice {
                communication: name.to_owned(),
                cohort: cohort.to_owned(),
                recipient: recipient.clone(),
                offset: offset.to_owned(),
                at,
                until,
                channel: communication.text("channel").unwrap_or("email").to_owned(),
                template: communication.text("template").unwrap_or_default().to_owned(),
                language: chosen.and_then(|c| c.language(recipient)).unwrap_or(usual).to_owned(),
                usual: usual.to_owned(),
                sender: sender(topology, communication),
                begins: window.from,
                ends: window.to,
                id: key.0.chars().filter(char::is_ascii_alphanumeric).take(32).collect(),
            });
        }
    }
    out
}

/// How each notice stands now, in the order of the notices.
pub fn standings<'a>(all: &'a [Notice], past: &BTreeMap<String, Past>, now: Timestamp) -> Vec<Standing> {
    // Of a series before a window only the youngest that is due tells anything new.
    let series = |n: &'a Notice| (n.communication.as_str(), n.cohort.as_str(), n.recipient.as_str());
    let mut youngest: BTreeMap<(&str, &str, &str), Timestamp> = BTreeMap::new();
    for n in all.iter().filter(|n| n.at <= now && n.at < n.ends) {
        let last = youngest.entry(series(n)).or_insert(n.at);
        *last = n.at.max(*last);
    }
    let standing = |n: &'a Notice| match past.get(&n.id) {
        Some(Past::Sent) => Standing::Sent,
        Some(Past::Begun) => Standing::Doubt,
        _ if n.channel != "email" => Standing::ByHand,
        _ if n.at > now => Standing::Waits,
        _ if n.until <= now => Standing::Late,
        _ if n.at < n.ends && youngest.get(&series(n)).is_some_and(|y| *y > n.at) => Standing::Overtaken,
        _ => Standing::Due,
    };
    all.iter().map(standing).collect()
}
