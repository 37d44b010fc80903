//! The order that the site itself asks for: stages inside a group, `after`, and the habits that nobody writes down.
//!
//! ```text
//! group server.a/imap:   [stage 0] -> (barrier) -> [stage 3] -> (barrier) -> [stage 6] -> (barrier: all of it)
//! ```
//!
//! A barrier makes n + m edges of n * m. Unchanged resources stay in the graph, so an order passes through them.

use std::collections::{BTreeMap, HashMap};

use crate::model::address::Kind;
use crate::model::resource::Dependency;

use super::error::{CycleMember, PlanError};
use super::graph::{Graph, Node};
use super::index::{HostId, Index, folders, path_of};

pub type GroupId = u32;

pub struct Constraints<'a> {
    /// Node i is resource i of the index; barriers stand behind them.
    pub graph: Graph,
    pub groups: Vec<&'a str>,
    /// Group of each resource.
    pub group_of: Vec<GroupId>,
    /// Nodes of service resources.
    pub services: HashMap<(HostId, &'a str), Node>,
    /// Group and stage of each barrier, by node minus the number of resources.
    barriers: Vec<(GroupId, u8)>,
    resources: usize,
}

impl<'a> Constraints<'a> {
    pub fn new(index: &Index<'a>) -> Result<Self, PlanError> {
        let n = index.resources.len();
        let mut graph = Graph::with_capacity(n + n / 4, n * 4);
        let mut group_ids: HashMap<&str, GroupId> = HashMap::new();
        let mut groups: Vec<&str> = Vec::new();
        let mut stages: Vec<BTreeMap<u8, Vec<Node>>> = Vec::new();
        let mut group_of = Vec::with_capacity(n);
        for r in &index.resources {
            let node = graph.add();
            let id = *group_ids.entry(r.group.as_str()).or_insert_with(|| {
                groups.push(&r.group);
                stages.push(BTreeMap::new());
                groups.len() as GroupId - 1
            });
            group_of.push(id);
            stages[id as usize].entry(r.stage).or_default().push(node);
        }
        let mut barriers = Vec::new();
        let mut ends = Vec::with_capacity(groups.len());
        for (id, stages) in stages.iter().enumerate() {
            let mut last: Option<Node> = None;
            for (stage, nodes) in stages {
                let barrier = graph.add();
                barriers.push((id as GroupId, *stage));
                for node in nodes {
                    if let Some(last) = last {
                        graph.require(last, *node);
                    }
                    graph.require(*node, barrier);
                }
                last = Some(barrier);
            }
            ends.push(last);
        }
        for (node, r) in index.resources.iter().enumerate() {
            for dependency in &r.after {
                let earlier = match dependency {
                    Dependency::Resource(wants) => {
                        Some(index.find(wants).ok_or_else(|| PlanError::UnknownDependency {
                            address: r.address.clone(),
                            wants: Box::new(wants.clone()),
                            origin: r.origin.clone(),
                        })?)
                    }
                    // A role without resources has nothing to wait for; the language has checked that it exists.
                    Dependency::Group(group) => group_ids.get(group.as_str()).and_then(|id| ends[*id as usize]),
                };
                if let Some(earlier) = earlier {
                    graph.require(earlier, node as Node);
                }
            }
        }
        let services = index.resources.iter().enumerate().filter(|(_, r)| r.address.kind == Kind::Service);
        let services = services.map(|(i, r)| ((index.host_of[i], r.address.key.as_str()), i as Node)).collect();
        let mut out = Self { graph, groups, group_of, services, barriers, resources: n };
        out.add_habits(index);
        Ok(out)
    }

    /// What a file, a folder, a user and a service need of others on their host, whatever role made them: the folder that it
    /// stands in, the user and group that it belongs to, the unit file that describes it.
    fn add_habits(&mut self, index: &Index<'a>) {
        for (i, r) in index.resources.iter().enumerate() {
            let (node, host, kind) = (i as Node, index.host_of[i], r.address.kind);
            let text = |name: &str| r.attrs.get(name).and_then(|a| a.as_text());
            if let Some(path) = path_of(kind, &r.address.key, text("path"))
                && let Some(folder) = folders(&path).find_map(|f| index.named(host, Kind::Directory, f))
            {
                self.graph.prefer(folder, node);
            }
            let needs = match kind {
                Kind::File | Kind::Directory | Kind::Binary | Kind::DnsZone => {
                    [("owner", Kind::User), ("group", Kind::Group)].as_slice()
                }
                Kind::User => [("group", Kind::Group)].as_slice(),
                Kind::Command => [("user", Kind::User)].as_slice(),
                _ => &[],
            };
            for (attr, kind) in needs {
                if let Some(needed) = text(attr).and_then(|key| index.named(host, *kind, key)) {
                    self.graph.prefer(needed, node);
                }
            }
            if kind == Kind::User
                && let Some(crate::model::Attr::List(groups)) = r.attrs.get("groups")
            {
                for needed in groups.iter().filter_map(|g| index.named(host, Kind::Group, g)) {
                    self.graph.prefer(needed, node);
                }
            }
            if kind == Kind::Service {
                for suffix in ["", ".service"] {
                    if let Some(unit) = index.named(host, Kind::Unit, &format!("{}{suffix}", r.address.key)) {
                        self.graph.prefer(unit, node);
                    }
                }
            }
            if kind == Kind::Timer {
                let stem = r.address.key.trim_end_matches(".timer");
                if let Some(unit) = index.named(host, Kind::Unit, &format!("{stem}.service")) {
                    self.graph.prefer(unit, node);
                }
            }
        }
    }

    /// A node of a cycle as people read it.
    pub fn member(&self, index: &Index<'a>, node: Node) -> CycleMember {
        if let Some(r) = index.resources.get(node as usize) {
            return CycleMember { name: r.address.to_string(), origin: Some(r.origin.clone()) };
        }
        let name = match (node as usize).checked_sub(self.resources).and_then(|i| self.barriers.get(i)) {
            Some((group, stage)) => format!("{} (all up to stage {stage})", self.groups[*group as usize]),
            None => "a later step".to_owned(),
        };
        CycleMember { name, origin: None }
    }
}
