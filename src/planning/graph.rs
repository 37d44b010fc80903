//! What waits for what: nodes with strong and weak edges, put into one stable order. The only file that names petgraph.
//!
//! A strong edge is a rule; a cycle of strong edges is the user's mistake and is reported with its whole path. A weak edge is a
//! good habit that nobody wrote down (a file after its folder); weak edges that close a cycle are dropped.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use petgraph::Direction;
use petgraph::algo::tarjan_scc;
use petgraph::graph::{DiGraph, NodeIndex};

/// Index of a node.
pub type Node = u32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Edge {
    Strong,
    Weak,
}

#[derive(Debug, Default)]
pub struct Graph {
    inner: DiGraph<(), Edge>,
    weak: usize,
}

fn index(node: Node) -> NodeIndex {
    NodeIndex::new(node as usize)
}

impl Graph {
    pub fn with_capacity(nodes: usize, edges: usize) -> Self {
        Self { inner: DiGraph::with_capacity(nodes, edges), weak: 0 }
    }

    pub fn len(&self) -> usize {
        self.inner.node_count()
    }

    pub fn add(&mut self) -> Node {
        self.inner.add_node(()).index() as Node
    }

    /// `later` waits for `earlier`.
    pub fn require(&mut self, earlier: Node, later: Node) {
        self.inner.add_edge(index(earlier), index(later), Edge::Strong);
    }

    /// `later` waits for `earlier` unless that closes a cycle.
    pub fn prefer(&mut self, earlier: Node, later: Node) {
        self.inner.add_edge(index(earlier), index(later), Edge::Weak);
        self.weak += 1;
    }

    /// What `node` waits for, directly.
    pub fn before(&self, node: Node) -> impl Iterator<Item = Node> {
        self.inner.neighbors_directed(index(node), Direction::Incoming).map(|n| n.index() as Node)
    }

    /// What waits for `node`, directly.
    pub fn behind(&self, node: Node) -> impl Iterator<Item = Node> {
        self.inner.neighbors_directed(index(node), Direction::Outgoing).map(|n| n.index() as Node)
    }

    /// Turns every edge round: the order of taking away.
    pub fn reverse(&mut self) {
        self.inner.reverse();
    }

    /// All nodes so that each stands behind what it waits for. Among nodes that are ready the one of the smallest rank comes
    /// first, then the one of the smallest index. `Err`: the cycles, each as a path whose last node waits for its first.
    pub fn order(&mut self, rank: &[u64]) -> Result<Vec<Node>, Vec<Vec<Node>>> {
        let first = self.kahn(rank);
        if first.len() == self.len() {
            return Ok(first);
        }
        self.drop_weak_edges_in_cycles();
        let second = self.kahn(rank);
        if second.len() == self.len() {
            return Ok(second);
        }
        Err(self.cycles())
    }

    fn kahn(&self, rank: &[u64]) -> Vec<Node> {
        let mut waits: Vec<u32> = vec![0; self.len()];
        for edge in self.inner.raw_edges() {
            waits[edge.target().index()] += 1;
        }
        let key = |n: Node| Reverse((rank.get(n as usize).copied().unwrap_or(0), n));
        let mut ready: BinaryHeap<_> = (0..self.len() as Node).filter(|n| waits[*n as usize] == 0).map(key).collect();
        let mut out = Vec::with_capacity(self.len());
        while let Some(Reverse((_, node))) = ready.pop() {
            out.push(node);
            for next in self.behind(node) {
                waits[next as usize] -= 1;
                if waits[next as usize] == 0 {
                    ready.push(key(next));
                }
            }
        }
        out
    }

    fn drop_weak_edges_in_cycles(&mut self) {
        if self.weak == 0 {
            return;
        }
        let mut component = vec![0u32; self.len()];
        for (i, nodes) in tarjan_scc(&self.inner).iter().enumerate() {
            for n in nodes {
                component[n.index()] = i as u32;
            }
        }
        self.inner.retain_edges(|g, e| {
            let inside = g.edge_endpoints(e).is_some_and(|(a, b)| component[a.index()] == component[b.index()]);
            !(inside && g[e] == Edge::Weak)
        });
    }

    fn cycles(&self) -> Vec<Vec<Node>> {
        let mut found: Vec<Vec<Node>> = tarjan_scc(&self.inner)
            .into_iter()
            .filter(|c| c.len() > 1 || c.first().is_some_and(|n| self.inner.contains_edge(*n, *n)))
            .map(|c| self.shortest_cycle(&c.iter().map(|n| n.index() as Node).collect::<Vec<_>>()))
            .collect();
        found.sort();
        found
    }

    /// The shortest cycle through the smallest node of a strongly connected component, in the order of doing.
    fn shortest_cycle(&self, component: &[Node]) -> Vec<Node> {
        let mut inside = vec![false; self.len()];
        for n in component {
            inside[*n as usize] = true;
        }
        let Some(start) = component.iter().copied().min() else { return Vec::new() };
        let mut from: Vec<Option<Node>> = vec![None; self.len()];
        let mut queue = VecDeque::from([start]);
        while let Some(node) = queue.pop_front() {
            let mut next: Vec<Node> = self.behind(node).filter(|n| inside[*n as usize]).collect();
            next.sort_unstable();
            for n in next {
                if n == start {
                    let mut path = vec![node];
                    while let Some(before) = path.last().and_then(|n| from[*n as usize]) {
                        path.push(before);
                    }
                    path.reverse();
                    return path;
                }
                if from[n as usize].is_none() {
                    from[n as usize] = Some(node);
                    queue.push_back(n);
                }
            }
        }
        component.to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(nodes: u32, strong: &[(u32, u32)], weak: &[(u32, u32)]) -> Graph {
        let mut g = Graph::default();
        for _ in 0..nodes {
            g.add();
        }
        strong.iter().for_each(|(a, b)| g.require(*a, *b));
        weak.iter().for_each(|(a, b)| g.prefer(*a, *b));
        g
    }

    #[test]
    fn ready_nodes_come_by_rank() {
        let mut g = graph(4, &[(3, 0)], &[]);
        assert_eq!(g.order(&[0, 2, 1, 9]), Ok(vec![2, 1, 3, 0]));
    }

    #[test]
    fn weak_edges_bend_where_strong_ones_do_not() {
        assert_eq!(graph(2, &[], &[(1, 0)]).order(&[0, 1]), Ok(vec![1, 0]));
        assert_eq!(graph(2, &[(0, 1)], &[(1, 0)]).order(&[0, 1]), Ok(vec![0, 1]));
    }

    #[test]
    fn a_cycle_is_given_whole() {
        let mut g = graph(6, &[(0, 1), (1, 2), (2, 3), (3, 1), (4, 4)], &[]);
        assert_eq!(g.order(&[0; 6]), Err(vec![vec![1, 2, 3], vec![4]]));
    }
}
