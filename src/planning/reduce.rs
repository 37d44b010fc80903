//! From the graph of everything to `Step::after`: edges between steps only, through barriers and unchanged resources.
//!
//! Each node has a *front*: the steps that whoever waits for the node has to wait for. A step's front is itself; another node
//! passes on those of what it waits for. Between m changed files and n changed services that makes m * n edges, so a front
//! above [`LIMIT`] is narrowed: of the steps of one group the last in order becomes the gate, which waits for the others and
//! stands for them. That is m + n edges, and it blocks what the plain form would: when one of the m fails, the n are skipped
//! either way; only the gate itself is then skipped too, and it is done when the apply is resumed. Steps of different groups
//! never become each other's gate, so one host's failure stays its own.
//!
//! Edges in all: at most `LIMIT` times the groups that a front spans for each edge of the graph.

use std::rc::Rc;

use crate::model::step::StepId;

use super::graph::{Graph, Node};

/// Steps of one class may stand for each other.
pub type Class = u32;

/// Up to here every edge is kept as it is.
pub const LIMIT: usize = 16;

/// For each step, in `order`: what it waits for, sorted. `class` is `None` for a node without a step.
pub fn reduce(graph: &Graph, order: &[Node], class: impl Fn(Node) -> Option<Class>) -> Vec<Vec<StepId>> {
    let empty: Rc<[StepId]> = Rc::from([]);
    let mut fronts: Vec<Rc<[StepId]>> = vec![empty; graph.len()];
    let mut after: Vec<Vec<StepId>> = Vec::new();
    let mut classes: Vec<Class> = Vec::new();
    let mut parts: Vec<Rc<[StepId]>> = Vec::new();
    let awaited = awaited(graph, order, &class);
    for node in order {
        let step = class(*node);
        // A gate for whom nobody waits would hold its step up for nothing.
        if step.is_none() && !awaited[*node as usize] {
            continue;
        }
        parts.clear();
        for earlier in graph.before(*node) {
            let front = &fronts[earlier as usize];
            // A barrier's front is shared by all behind it.
            if !front.is_empty() && parts.last().is_none_or(|p| !Rc::ptr_eq(p, front)) {
                parts.push(front.clone());
            }
        }
        parts.sort_by_key(|p| Rc::as_ptr(p).addr());
        parts.dedup_by(|a, b| Rc::ptr_eq(a, b));
        if let Some(class) = step {
            let id = after.len() as StepId;
            after.push(union(&parts));
            classes.push(class);
            fronts[*node as usize] = Rc::from([id]);
        } else if let [one] = parts.as_slice() {
            fronts[*node as usize] = one.clone();
        } else if !parts.is_empty() {
            let front = narrow(union(&parts), &classes, &mut after);
            fronts[*node as usize] = Rc::from(front);
        }
    }
    for list in &mut after {
        list.sort_unstable();
        list.dedup();
    }
    after
}

/// Nodes that some step waits for, directly or not.
fn awaited(graph: &Graph, order: &[Node], class: impl Fn(Node) -> Option<Class>) -> Vec<bool> {
    let mut awaited = vec![false; graph.len()];
    for node in order.iter().rev() {
        awaited[*node as usize] = graph.behind(*node).any(|n| awaited[n as usize] || class(n).is_some());
    }
    awaited
}

fn union(parts: &[Rc<[StepId]>]) -> Vec<StepId> {
    let mut all: Vec<StepId> = parts.iter().flat_map(|p| p.iter().copied()).collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn narrow(front: Vec<StepId>, classes: &[Class], after: &mut [Vec<StepId>]) -> Vec<StepId> {
    if front.len() <= LIMIT {
        return front;
    }
    let mut by_class: Vec<(Class, StepId)> = front.iter().map(|s| (classes[*s as usize], *s)).collect();
    by_class.sort_unstable();
    let mut out = Vec::new();
    for members in by_class.chunk_by(|a, b| a.0 == b.0) {
        let Some(((_, gate), others)) = members.split_last() else { continue };
        // The ids of steps follow the order, so the gate comes last and its new edges all point back.
        after[*gate as usize].extend(others.iter().map(|(_, s)| *s));
        out.push(*gate);
    }
    out.sort_unstable();
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// m steps, a barrier, n steps.
    fn two_layers(m: u32, n: u32) -> (Vec<Vec<StepId>>, usize) {
        let mut g = Graph::default();
        let first: Vec<Node> = (0..m).map(|_| g.add()).collect();
        let barrier = g.add();
        let second: Vec<Node> = (0..n).map(|_| g.add()).collect();
        first.iter().for_each(|f| g.require(*f, barrier));
        second.iter().for_each(|s| g.require(barrier, *s));
        let order: Vec<Node> = (0..g.len() as Node).collect();
        let after = reduce(&g, &order, |node| (node != barrier).then_some(0));
        let edges = after.iter().map(Vec::len).sum();
        (after, edges)
    }

    #[test]
    fn few_steps_keep_every_edge() {
        let (after, edges) = two_layers(3, 4);
        assert_eq!(edges, 12);
        assert_eq!(after[5], [0, 1, 2]);
    }

    #[test]
    fn many_wait_through_a_gate() {
        let (after, edges) = two_layers(5_000, 5_000);
        assert_eq!(edges, 4_999 + 5_000);
        assert_eq!(after[4_999].len(), 4_999);
        assert_eq!(after[9_999], [4_999]);
    }

    #[test]
    fn nobody_waits_for_a_gate_without_need() {
        let (after, edges) = two_layers(100, 0);
        assert_eq!((after.len(), edges), (100, 0));
    }

    #[test]
    fn order_passes_through_nodes_without_steps() {
        let mut g = Graph::default();
        let nodes: Vec<Node> = (0..4).map(|_| g.add()).collect();
        nodes.windows(2).for_each(|w| g.require(w[0], w[1]));
        let after = reduce(&g, &nodes, |node| (node == 0 || node == 3).then_some(0));
        assert_eq!(after, [vec![], vec![0]]);
    }
}
