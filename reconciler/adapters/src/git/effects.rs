//! Compares what two trees of a repository make of hosts, for rules by `hosts`.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;

use plumb_core::effects::{self, FleetSummary};
use plumb_core::manifest::{Sources, load};
use plumb_core::resolve::resolve;
use plumb_trust::{Affected, AffectedHost, Effects, Oid};

use super::files;
use super::objects::ObjectStore;

/// The maximum number of cached summaries. The tree before a step is the tree after the previous one.
const CACHED: usize = 2;

/// The summaries of the trees that were compared last.
#[derive(Debug, Default)]
pub struct Summaries(RefCell<VecDeque<(Oid, Arc<FleetSummary>)>>);

/// The effects of changes of the trees in an object store.
pub struct TreeEffects<'a> {
    objects: &'a ObjectStore,
    summaries: &'a Summaries,
}

impl<'a> TreeEffects<'a> {
    /// Creates the comparison of the trees in a store.
    pub fn new(objects: &'a ObjectStore, summaries: &'a Summaries) -> Self {
        Self { objects, summaries }
    }

    fn summary(&self, tree: &Oid) -> Arc<FleetSummary> {
        let mut cached = self.summaries.0.borrow_mut();
        if let Some((_, summary)) = cached.iter().find(|(other, _)| other == tree) {
            return summary.clone();
        }
        let summary = Arc::new(summarize(self.objects, tree));
        cached.push_front((*tree, summary.clone()));
        cached.truncate(CACHED);
        summary
    }
}

impl Effects for TreeEffects<'_> {
    fn between(&self, before: &Oid, after: &Oid) -> Affected {
        let (before, after) = (self.summary(before), self.summary(after));
        affected(&before, &after)
    }
}

/// Loads and resolves a tree as the controller does for its hosts.
fn summarize(objects: &ObjectStore, tree: &Oid) -> FleetSummary {
    let Ok(files) = files::tree(objects, tree) else {
        return FleetSummary::unresolved();
    };
    let files = files
        .into_iter()
        .map(|(path, file)| (Arc::from(path), file));
    let loaded = load(Sources {
        revision: *tree,
        files: files.collect(),
    });
    FleetSummary::new(&loaded.fleet, &resolve(&loaded.fleet))
}

/// Compares two summaries, in the terms of a verdict.
fn affected(before: &FleetSummary, after: &FleetSummary) -> Affected {
    match before.affected(after) {
        effects::Affected::Every => Affected::Every,
        effects::Affected::Hosts(hosts) => {
            let host = |host: effects::AffectedHost<'_>| AffectedHost {
                name: host.name.to_string(),
                labels: host.labels.into_iter().map(Option::<&_>::cloned).collect(),
            };
            Affected::Hosts(hosts.into_iter().map(host).collect())
        }
    }
}
