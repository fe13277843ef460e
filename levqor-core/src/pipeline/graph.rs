//! Which step waits for which.

/// As many circles are named at most.
const MAX_CYCLES: usize = 20;

/// A set of steps, one bit each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Steps(Vec<u64>);

impl Steps {
    pub(super) fn contains(&self, i: usize) -> bool {
        self.0.get(i / 64).is_some_and(|word| word >> (i % 64) & 1 == 1)
    }

    fn insert(&mut self, i: usize) {
        if self.0.len() <= i / 64 {
            self.0.resize(i / 64 + 1, 0);
        }
        self.0[i / 64] |= 1 << (i % 64);
    }

    fn extend(&mut self, other: &Steps) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine |= theirs;
        }
    }
}

/// For each step all those that have surely ended when it starts; or, where steps wait for each other, every
/// such circle that a walk over the graph meets, first step repeated at its end.
pub(super) fn ancestors(graph: &[Vec<usize>]) -> Result<Vec<Steps>, Vec<Vec<usize>>> {
    let mut sets = vec![Steps::default(); graph.len()];
    let mut done = vec![false; graph.len()];
    let mut cycles = Vec::new();
    for start in 0..graph.len() {
        if done[start] {
            continue;
        }
        // A walk in depth without recursion: each entry is a step and how many of its dependencies were seen.
        let mut path = vec![(start, 0)];
        let mut on_path = vec![false; graph.len()];
        on_path[start] = true;
        while let Some((step, seen)) = path.last_mut() {
            let step = *step;
            if let Some(&next) = graph[step].get(*seen) {
                *seen += 1;
                if on_path[next] && cycles.len() < MAX_CYCLES {
                    let from = path.iter().position(|(s, _)| *s == next).unwrap_or(0);
                    let mut cycle: Vec<usize> = path[from..].iter().map(|(s, _)| *s).collect();
                    cycle.push(next);
                    cycles.push(cycle);
                } else if !done[next] && !on_path[next] {
                    on_path[next] = true;
                    path.push((next, 0));
                }
            } else {
                let mut set = Steps::default();
                for &dependency in &graph[step] {
                    set.insert(dependency);
                    set.extend(&sets[dependency]);
                }
                sets[step] = set;
                done[step] = true;
                on_path[step] = false;
                path.pop();
            }
        }
    }
    if cycles.is_empty() { Ok(sets) } else { Err(cycles) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn circles_are_named_with_their_way() {
        assert_eq!(ancestors(&[vec![0]]).unwrap_err(), [[0, 0]]);
        assert_eq!(ancestors(&[vec![2], vec![0], vec![1], vec![0]]).unwrap_err(), [[0, 2, 1, 0]]);
        assert_eq!(ancestors(&[vec![1], vec![0], vec![3], vec![2]]).unwrap_err().len(), 2);
    }

    proptest! {
        #[test]
        fn ancestors_are_what_can_be_reached(edges in prop::collection::vec((0..80usize, 0..80usize), 0..200)) {
            let mut graph = vec![Vec::new(); 80];
            for (a, b) in edges {
                if a != b {
                    graph[a.max(b)].push(a.min(b));
                }
            }
            let sets = ancestors(&graph).unwrap();
            for from in 0..80 {
                let mut reached = [false; 80];
                let mut open = graph[from].clone();
                while let Some(i) = open.pop() {
                    if !std::mem::replace(&mut reached[i], true) {
                        open.extend(&graph[i]);
                    }
                }
                for (i, reached) in reached.iter().enumerate() {
                    prop_assert_eq!(sets[from].contains(i), *reached);
                }
            }
        }
    }
}
