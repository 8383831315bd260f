//! The chains of a route as a tree: transforms that chains begin with in common run once.
//!
//! Two chains share a branch as long as their transforms are equivalent. Their `on_failure` may differ: the transform runs
//! once, and the chains separate after it.

use super::stage::{OnFailure, Stage};

/// The ends of chains, and the next transforms of the others.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tree {
    /// The indexes of the destinations whose chains end here.
    pub destinations: Vec<usize>,
    /// The next transforms of the other chains.
    pub branches: Vec<Branch>,
}

/// One transform, and what follows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Branch {
    /// The transform. Its own `on_failure` has no meaning here.
    pub stage: Stage,
    /// What follows it, by the `on_failure` of the chains.
    pub next: Vec<(OnFailure, Tree)>,
}

impl Tree {
    /// Returns the tree of destinations, each with its index and its chain.
    pub fn new<'c>(chains: impl IntoIterator<Item = (usize, &'c [Stage])>) -> Self {
        let mut tree = Self::default();
        for (index, chain) in chains {
            tree.insert(index, chain);
        }
        tree
    }

    fn insert(&mut self, index: usize, chain: &[Stage]) {
        let Some((stage, rest)) = chain.split_first() else {
            self.destinations.push(index);
            return;
        };
        if let Some(branch) = self.branches.iter_mut().find(|branch| branch.stage.is_equivalent(stage)) {
            branch.insert(index, stage.on_failure(), rest);
            return;
        }
        let mut branch = Branch { stage: stage.clone(), next: Vec::new() };
        branch.insert(index, stage.on_failure(), rest);
        self.branches.push(branch);
    }

    /// Returns the indexes of all destinations of the tree.
    #[must_use]
    pub fn indexes(&self) -> Vec<usize> {
        let next = self.branches.iter().flat_map(Branch::indexes);
        self.destinations.iter().copied().chain(next).collect()
    }

    /// Returns the number of transforms that run for one event.
    #[must_use]
    pub fn transforms(&self) -> usize {
        let of = |branch: &Branch| 1 + branch.next.iter().map(|(_, tree)| tree.transforms()).sum::<usize>();
        self.branches.iter().map(of).sum()
    }
}

impl Branch {
    fn insert(&mut self, index: usize, on_failure: OnFailure, rest: &[Stage]) {
        match self.next.iter_mut().find(|(known, _)| *known == on_failure) {
            Some((_, tree)) => tree.insert(index, rest),
            None => self.next.push((on_failure, Tree::new([(index, rest)]))),
        }
    }

    /// Returns the indexes of the destinations that follow it.
    #[must_use]
    pub fn indexes(&self) -> Vec<usize> {
        self.next.iter().flat_map(|(_, tree)| tree.indexes()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transform::tests::stages;

    fn tree(chains: &[&str]) -> Tree {
        let chains: Vec<_> = chains.iter().map(|list| stages(list)).collect();
        Tree::new(chains.iter().map(Vec::as_slice).enumerate())
    }

    #[test]
    fn merges_common_beginning_of_chains() {
        let tree = tree(&["['trim', 'uppercase']", "['trim', 'lowercase']", "['trim']", "[]"]);
        assert_eq!(tree.destinations, [3]);
        let [trim] = &tree.branches[..] else { panic!("{tree:?}") };
        assert_eq!(trim.stage.name(), "trim");
        let [(OnFailure::Fail, next)] = &trim.next[..] else { panic!("{trim:?}") };
        assert_eq!(next.destinations, [2]);
        let names: Vec<_> = next.branches.iter().map(|branch| branch.stage.name()).collect();
        assert_eq!(names, ["uppercase", "lowercase"]);
        assert_eq!((tree.transforms(), tree.indexes().len()), (3, 4));
    }

    #[test]
    fn merges_equal_chains() {
        let tree = tree(&["['trim', 'uppercase']", "['trim', 'uppercase']"]);
        assert_eq!(tree.transforms(), 2);
        assert_eq!(tree.branches[0].next[0].1.branches[0].next[0].1.destinations, [0, 1]);
    }

    #[test]
    fn keeps_equal_transforms_after_different_ones_apart() {
        assert_eq!(tree(&["['trim', 'uppercase']", "['lowercase', 'uppercase']"]).transforms(), 4);
    }

    #[test]
    fn merges_transforms_that_differ_in_on_failure() {
        let tree = tree(&["['trim']", "[{ trim = { on_failure = 'drop' } }]"]);
        assert_eq!(tree.transforms(), 1);
        let next: Vec<_> = tree.branches[0].next.iter().map(|(on_failure, _)| *on_failure).collect();
        assert_eq!(next, [OnFailure::Fail, OnFailure::Drop]);
    }
}
