//! Edges that are no more than a longer path.

/// Above this many nodes nobody looks at single lines, and the sets would take too much memory.
const LIMIT: usize = 6_000;

/// The edges without those that a longer path implies. `edges` is sorted and without repetition; with a cycle in it, all stay.
pub fn transitive(nodes: usize, edges: &[(usize, usize)]) -> Vec<(usize, usize)> {
    let Some(order) = topological(nodes, edges).filter(|_| nodes <= LIMIT) else { return edges.to_vec() };
    let mut behind: Vec<Vec<usize>> = vec![Vec::new(); nodes];
    for (a, b) in edges {
        behind[*a].push(*b);
    }
    let mut place = vec![0; nodes];
    order.iter().enumerate().for_each(|(i, n)| place[*n] = i);
    let words = nodes.div_ceil(64);
    let mut reach = vec![0u64; nodes * words];
    let mut kept = Vec::new();
    let mut mine = vec![0u64; words];
    for node in order.iter().rev() {
        mine.fill(0);
        // The nearest first: what it reaches needs no line of its own.
        behind[*node].sort_by_key(|b| place[*b]);
        for b in &behind[*node] {
            let (word, bit) = (b / 64, 1u64 << (b % 64));
            if mine[word] & bit == 0 {
                kept.push((*node, *b));
                mine[word] |= bit;
                let theirs = &reach[b * words..(b + 1) * words];
                mine.iter_mut().zip(theirs).for_each(|(m, t)| *m |= t);
            }
        }
        reach[node * words..(node + 1) * words].copy_from_slice(&mine);
    }
    kept.sort_unstable();
    kept
}

/// Nodes so that each stands behind what it waits for; `None` with a cycle.
pub fn topological(nodes: usize, edges: &[(usize, usize)]) -> Option<Vec<usize>> {
    let mut waits = vec![0; nodes];
    let mut behind: Vec<Vec<usize>> = vec![Vec::new(); nodes];
    for (a, b) in edges {
        waits[*b] += 1;
        behind[*a].push(*b);
    }
    let mut order: Vec<usize> = (0..nodes).filter(|n| waits[*n] == 0).collect();
    let mut next = 0;
    while let Some(node) = order.get(next).copied() {
        next += 1;
        for b in &behind[node] {
            waits[*b] -= 1;
            if waits[*b] == 0 {
                order.push(*b);
            }
        }
    }
    (order.len() == nodes).then_some(order)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_path_implies_is_left_out() {
        assert_eq!(transitive(4, &[(0, 1), (0, 2), (0, 3), (1, 2), (2, 3)]), [(0, 1), (1, 2), (2, 3)]);
        assert_eq!(transitive(3, &[(0, 1), (1, 2), (2, 0)]).len(), 3);
    }
}
