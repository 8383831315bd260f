//! The chains of a route as a tree, so that what they begin with in common is done once.
//!
//! Two chains share a branch as long as their transforms do the same. What happens on failure may differ
//! from chain to chain: the transform is applied once all the same, and behind it each goes its own way.

use super::stage::{OnFailure, Stage};

/// Where chains end and where they go on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tree {
    /// The destinations whose chains end here, by their places.
    pub destinations: Vec<usize>,
    /// The transforms that are next for the others.
    pub branches: Vec<Branch>,
}

/// One transform and what comes behind it.
#[derive(Clone, Debug, PartialEq)]
pub struct Branch {
    /// The transform. What happens on failure stands with what is behind it.
    pub stage: Stage,
    /// What comes behind it, by what happens when it fails.
    pub behind: Vec<(OnFailure, Tree)>,
}

impl Tree {
    /// The tree of some destinations, each with its place and its chain.
    pub fn new<'c>(chains: impl IntoIterator<Item = (usize, &'c [Stage])>) -> Self {
        let mut tree = Self::default();
        for (place, chain) in chains {
            tree.insert(place, chain);
        }
        tree
    }

    fn insert(&mut self, place: usize, chain: &[Stage]) {
        let Some((stage, rest)) = chain.split_first() else {
            self.destinations.push(place);
            return;
        };
        if let Some(branch) = self.branches.iter_mut().find(|branch| branch.stage.does_the_same(stage)) {
            branch.insert(place, stage.on_failure(), rest);
            return;
        }
        let mut branch = Branch { stage: stage.clone(), behind: Vec::new() };
        branch.insert(place, stage.on_failure(), rest);
        self.branches.push(branch);
    }

    /// All destinations here and behind.
    #[must_use]
    pub fn places(&self) -> Vec<usize> {
        let behind = self.branches.iter().flat_map(Branch::places);
        self.destinations.iter().copied().chain(behind).collect()
    }

    /// How many transforms are applied to one event.
    #[must_use]
    pub fn transforms(&self) -> usize {
        let of = |branch: &Branch| 1 + branch.behind.iter().map(|(_, tree)| tree.transforms()).sum::<usize>();
        self.branches.iter().map(of).sum()
    }
}

impl Branch {
    fn insert(&mut self, place: usize, on_failure: OnFailure, rest: &[Stage]) {
        match self.behind.iter_mut().find(|(known, _)| *known == on_failure) {
            Some((_, tree)) => tree.insert(place, rest),
            None => self.behind.push((on_failure, Tree::new([(place, rest)]))),
        }
    }

    /// All destinations behind it.
    #[must_use]
    pub fn places(&self) -> Vec<usize> {
        self.behind.iter().flat_map(|(_, tree)| tree.places()).collect()
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
    fn what_chains_begin_with_in_common_is_there_once() {
        let tree = tree(&["['trim', 'uppercase']", "['trim', 'lowercase']", "['trim']", "[]"]);
        assert_eq!(tree.destinations, [3]);
        let [trim] = &tree.branches[..] else { panic!("{tree:?}") };
        assert_eq!(trim.stage.name(), "trim");
        let [(OnFailure::Fail, behind)] = &trim.behind[..] else { panic!("{trim:?}") };
        assert_eq!(behind.destinations, [2]);
        let names: Vec<_> = behind.branches.iter().map(|branch| branch.stage.name()).collect();
        assert_eq!(names, ["uppercase", "lowercase"]);
        assert_eq!((tree.transforms(), tree.places().len()), (3, 4));
    }

    #[test]
    fn the_same_chain_is_there_once_for_all_its_destinations() {
        let tree = tree(&["['trim', 'uppercase']", "['trim', 'uppercase']"]);
        assert_eq!(tree.transforms(), 2);
        assert_eq!(tree.branches[0].behind[0].1.branches[0].behind[0].1.destinations, [0, 1]);
    }

    #[test]
    fn what_is_only_later_the_same_is_done_for_each() {
        assert_eq!(tree(&["['trim', 'uppercase']", "['lowercase', 'uppercase']"]).transforms(), 4);
    }

    #[test]
    fn what_happens_on_failure_does_not_make_it_done_twice() {
        let tree = tree(&["['trim']", "[{ trim = { on_failure = 'drop' } }]"]);
        assert_eq!(tree.transforms(), 1);
        let behind: Vec<_> = tree.branches[0].behind.iter().map(|(on_failure, _)| *on_failure).collect();
        assert_eq!(behind, [OnFailure::Fail, OnFailure::Drop]);
    }
}
