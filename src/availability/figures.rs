//! How often servers and sites fail, how long that lasts, and how soon another one serves: what `reliability` says, else what is assumed.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::model::topology::{Node, NodeId, Topology};

const MINUTE: u64 = 60;
const HOUR: u64 = 3600;
const DAY: u64 = 86_400;

/// Share of failures that take all like servers of a site at once, where nothing says it: the upper end for hardware of what IEC
/// 61508-6, annex D, estimates (1% to 10%), since patches and settings reach all servers of a role too.
pub const COMMON: f64 = 0.1;

/// Between failures, and from a failure to its repair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Figures {
    pub mtbf: Duration,
    pub mttr: Duration,
}

impl Figures {
    const fn of(mtbf: u64, mttr: u64) -> Self {
        Self { mtbf: Duration::from_secs(mtbf), mttr: Duration::from_secs(mttr) }
    }

    /// Share of time that it is down.
    pub fn down(self) -> f64 {
        let round = self.round();
        if round > 0.0 { self.mttr.as_secs_f64() / round } else { 0.0 }
    }

    /// Share of time that is lost when each failure costs so much.
    pub fn lost(self, each: Duration) -> f64 {
        let round = self.round();
        if round > 0.0 { each.as_secs_f64() / round } else { 0.0 }
    }

    fn round(self) -> f64 {
        self.mtbf.as_secs_f64() + self.mttr.as_secs_f64()
    }
}

/// Six hours are the mean repair of 23,000 failures (Schroeder and Gibson, A large-scale study of failures in high-performance computing
/// systems, DSN 2006). Two failures a year are ours.
const SERVER: Figures = Figures::of(180 * DAY, 6 * HOUR);
/// An outage of 95 minutes a year: 99.982%, tier III of the Uptime Institute.
const DATACENTER: Figures = Figures::of(365 * DAY, 95 * MINUTE);
/// An outage of 143 minutes a month: 99.67%, tier I of the Uptime Institute.
const ROOM: Figures = Figures::of(30 * DAY, 143 * MINUTE);
/// What a switch to another site takes by hand, where no level of continuance bounds it.
const SWITCHOVER: Duration = Duration::from_secs(HOUR);

/// Figures that were used, and of how many.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Input {
    /// `servers`, `sites`.
    pub of: String,
    pub count: usize,
    /// Seconds.
    pub mtbf: u64,
    pub mttr: u64,
    /// Where they come from.
    pub source: String,
}

/// What the topology says of failures.
pub struct Known<'t> {
    topology: &'t Topology,
    /// By what they name.
    said: BTreeMap<&'t NodeId, Vec<&'t Node>>,
    continuance: Option<Duration>,
}

impl<'t> Known<'t> {
    pub fn of(topology: &'t Topology) -> Self {
        let mut said: BTreeMap<&NodeId, Vec<&Node>> = BTreeMap::new();
        for node in topology.all("reliability") {
            node.refs("of").for_each(|(id, _)| said.entry(id).or_default().push(node));
        }
        let levels = topology.all("sla").filter(|s| s.text("type") == Some("continuance"));
        Self { topology, said, continuance: levels.filter_map(|s| s.duration("within")).min() }
    }

    fn saying(&self, id: &NodeId, field: &str) -> Option<&'t Node> {
        self.said.get(id)?.iter().find(|n| n.value(field).is_some()).copied()
    }

    /// The figures of a server or site, and where they come from.
    fn figures(&self, ids: &[Option<&NodeId>], assumed: Figures, why: &str) -> (Figures, String) {
        let field = |name: &str| ids.iter().flatten().find_map(|id| self.saying(id, name));
        let (often, long) = (field("mtbf"), field("mttr"));
        let figures = Figures {
            mtbf: often.and_then(|n| n.duration("mtbf")).unwrap_or(assumed.mtbf),
            mttr: long.and_then(|n| n.duration("mttr")).unwrap_or(assumed.mttr),
        };
        let said = |n: &Node| n.text("source").map_or_else(|| n.id.to_string(), |s| format!("{}: {s}", n.id));
        let source = match (often, long) {
            (None, None) => why.to_owned(),
            (Some(a), Some(b)) if a.id == b.id => said(a),
            (a, b) => {
                let part = |n: Option<&Node>| n.map_or_else(|| format!("assumed, {why}"), said);
                format!("{}; {}", part(a), part(b))
            }
        };
        (figures, source)
    }

    pub fn server(&self, server: &Node) -> (Figures, String) {
        let ids = [Some(&server.id), server.reference("hardware")];
        self.figures(&ids, SERVER, "assumed: repair as in Schroeder and Gibson 2006, two failures a year")
    }

    pub fn site(&self, name: &str) -> (Figures, String) {
        let site = self.topology.get("site", name);
        let (assumed, why) = match site.is_some_and(|s| s.flag("datacenter")) {
            true => (DATACENTER, "assumed: a data center of tier III (Uptime Institute), 99.982%"),
            false => (ROOM, "assumed: a server room, tier I (Uptime Institute), 99.67%"),
        };
        self.figures(&[site.map(|s| &s.id)], assumed, why)
    }

    /// Until users are served from another site.
    pub fn switchover(&self, site: &str) -> Duration {
        let id = NodeId::new("site", site);
        let said = self.saying(&id, "failover").and_then(|n| n.duration("failover"));
        said.or(self.continuance).unwrap_or(SWITCHOVER)
    }

    /// Until another server serves in the place of one that failed; `assumed` where nothing says it of these nodes.
    pub fn failover<'a>(&self, of: impl IntoIterator<Item = &'a NodeId>, assumed: Duration) -> Duration {
        let said = of.into_iter().find_map(|id| self.saying(id, "failover")?.duration("failover"));
        said.unwrap_or(assumed)
    }

    /// Share of failures that are common to the servers of a block, by the first node that says it.
    pub fn common<'a>(&self, of: impl IntoIterator<Item = &'a NodeId>) -> f64 {
        let said = of.into_iter().find_map(|id| self.saying(id, "common-cause")?.percent("common-cause"));
        said.map_or(COMMON, |p| (p.0 as f64 / 1e8).min(1.0))
    }
}
