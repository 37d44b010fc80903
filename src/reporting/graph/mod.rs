//! Who waits for whom, as a picture: DOT, Mermaid and SVG of one view.
//!
//! Where many wait for many, a *joint* stands between: n + m lines are drawn, not n * m.

mod dot;
mod layout;
mod mermaid;
mod reduce;
mod svg;

use std::collections::BTreeMap;

use crate::model::plan::Plan;
use crate::model::resource::Dependency;
use crate::model::site::Site;
use crate::model::step::Action;

pub use dot::dot;
pub use mermaid::mermaid;
pub use svg::escaped;
pub use svg::svg;

/// One thing in the picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewNode {
    /// The host; nodes of one lane stand together.
    pub lane: String,
    /// Short text.
    pub label: String,
    /// Whole text, as a hint.
    pub hint: String,
    pub action: Option<Action>,
    /// A point where lines meet; it has no text.
    pub joint: bool,
}

/// Nodes, and edges from what comes first to what waits for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GraphView {
    pub title: String,
    pub nodes: Vec<ViewNode>,
    pub edges: Vec<(usize, usize)>,
}

/// Longest label; the middle of a longer one is left out.
const LABEL: usize = 44;

impl GraphView {
    /// The steps of a plan.
    pub fn of_plan(plan: &Plan) -> Self {
        let nodes = plan.steps.iter().map(|s| ViewNode {
            lane: s.address.host.0.clone(),
            label: match s.action {
                Action::Reload | Action::Restart => shortened(&format!("{} {}", s.action.as_str(), s.address.key)),
                _ => shortened(&s.address.local()),
            },
            hint: format!("{} {}: {}", s.action.as_str(), s.address, s.reason),
            action: Some(s.action),
            joint: false,
        });
        let edges = plan.steps.iter().flat_map(|s| s.after.iter().map(|e| (*e as usize, s.id as usize)));
        Self { title: super::plan_text::title(plan), nodes: nodes.collect(), edges: edges.collect() }.tidy()
    }

    /// The roles of a site and what they wait for.
    pub fn of_site(site: &Site) -> Self {
        let mut groups: BTreeMap<&str, usize> = site.resources.iter().map(|r| (r.group.as_str(), 0)).collect();
        groups.values_mut().zip(0..).for_each(|(id, i)| *id = i);
        let mut size = vec![0; groups.len()];
        let mut lanes = vec![String::new(); groups.len()];
        let mut edges = Vec::new();
        for r in &site.resources {
            let id = groups[r.group.as_str()];
            size[id] += 1;
            lanes[id] = r.address.host.0.clone();
            for dependency in &r.after {
                let earlier = match dependency {
                    Dependency::Group(g) => groups.get(g.as_str()).copied(),
                    Dependency::Resource(a) => site
                        .resources
                        .binary_search_by(|r| r.address.cmp(a))
                        .ok()
                        .and_then(|i| groups.get(site.resources[i].group.as_str()).copied()),
                };
                edges.extend(earlier.filter(|e| *e != id).map(|e| (e, id)));
            }
        }
        let nodes = groups.iter().map(|(group, id)| {
            let role = group.rsplit_once('/').map_or(*group, |(_, role)| role);
            let count = super::style::counted(size[*id], "resource");
            ViewNode {
                lane: lanes[*id].clone(),
                label: shortened(role),
                hint: format!("{group}: {count}"),
                action: None,
                joint: false,
            }
        });
        let title = match &site.environment {
            Some(environment) => format!("{}, environment {environment}", site.organization),
            None => site.organization.clone(),
        };
        Self { title, nodes: nodes.collect(), edges }.tidy()
    }

    /// Edges that others imply are left out, and lines that run alike are joined.
    fn tidy(mut self) -> Self {
        self.edges.sort_unstable();
        self.edges.dedup();
        self.edges.retain(|(a, b)| a != b);
        self.edges = reduce::transitive(self.nodes.len(), &self.edges);
        self.join();
        self
    }

    /// Gives nodes that wait for the same three or more a joint.
    fn join(&mut self) {
        let mut waits: Vec<Vec<usize>> = vec![Vec::new(); self.nodes.len()];
        for (a, b) in &self.edges {
            waits[*b].push(*a);
        }
        let mut alike: BTreeMap<&[usize], Vec<usize>> = BTreeMap::new();
        for (node, for_) in waits.iter().enumerate() {
            if for_.len() >= 3 {
                alike.entry(for_).or_default().push(node);
            }
        }
        let mut nodes = Vec::new();
        let mut joined = vec![false; self.nodes.len()];
        let mut edges = Vec::new();
        for (earlier, later) in alike.iter().filter(|(_, later)| later.len() >= 2) {
            let joint = self.nodes.len() + nodes.len();
            let lane = self.nodes[later[0]].lane.clone();
            nodes.push(ViewNode { lane, label: String::new(), hint: String::new(), action: None, joint: true });
            edges.extend(earlier.iter().map(|e| (*e, joint)));
            edges.extend(later.iter().map(|l| (joint, *l)));
            later.iter().for_each(|l| joined[*l] = true);
        }
        self.edges.retain(|(_, b)| !joined[*b]);
        self.edges.extend(edges);
        self.edges.sort_unstable();
        self.nodes.extend(nodes);
    }

    /// Lanes in order, each with its nodes.
    fn lanes(&self) -> BTreeMap<&str, Vec<usize>> {
        let mut lanes: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (i, node) in self.nodes.iter().enumerate() {
            lanes.entry(&node.lane).or_default().push(i);
        }
        lanes
    }
}

fn shortened(text: &str) -> String {
    let text = super::style::one_line(text);
    let n = text.chars().count();
    if n <= LABEL {
        return text;
    }
    let (head, tail) = (LABEL / 3, LABEL - LABEL / 3 - 1);
    let start: String = text.chars().take(head).collect();
    let end: String = text.chars().skip(n - tail).collect();
    format!("{start}…{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_labels_keep_their_ends() {
        let label = shortened(&format!("file:/etc/{}/main.cf", "deep/".repeat(20)));
        assert_eq!(label.chars().count(), LABEL);
        assert!(label.starts_with("file:/etc/") && label.ends_with("/main.cf"));
    }

    #[test]
    fn many_to_many_meets_in_a_joint() {
        let node = |_| ViewNode { lane: "a".into(), label: "x".into(), hint: "x".into(), action: None, joint: false };
        let edges = (0..5).flat_map(|a| (5..11).map(move |b| (a, b))).collect();
        let view = GraphView { title: String::new(), nodes: (0..11).map(node).collect(), edges }.tidy();
        assert_eq!(view.nodes.len(), 12);
        assert_eq!(view.edges.len(), 5 + 6);
    }
}
