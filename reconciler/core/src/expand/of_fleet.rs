//! Values that expanders compute from all hosts of a revision. They are the same for every host that has the
//! composite, so they are computed once.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use plumb_api::resource::Problem;

use super::ExpandContext;
use super::context::FleetHost;
use super::prometheus::Jobs;
use crate::manifest::ObjectIdSet;
use crate::render::BrokenReads;

/// The values of one revision.
#[derive(Debug, Default)]
pub(crate) struct OfFleet {
    /// The lines of `knownHosts`.
    pub(super) known_hosts: Once<Arc<str>>,
    /// The lines of `hosts`, for each list of networks.
    pub(super) hosts: Keyed<Arc<str>>,
    /// The scrape jobs of `prometheus`, for each set of networks of the server.
    pub(super) jobs: Keyed<Result<Arc<Jobs>, Problem>>,
    #[cfg(test)]
    pub(crate) computed: std::sync::atomic::AtomicUsize,
}

/// Values that are computed at their first use, by the names that they depend on.
#[derive(Debug)]
pub(super) struct Keyed<T>(RwLock<HashMap<Vec<String>, Arc<Once<T>>>>);

impl<T> Default for Keyed<T> {
    fn default() -> Self {
        Self(RwLock::default())
    }
}

/// A value that is computed at its first use, with the broken objects that it would have needed.
#[derive(Debug)]
pub(super) struct Once<T>(OnceLock<(T, ObjectIdSet)>);

impl<T> Default for Once<T> {
    fn default() -> Self {
        Self(OnceLock::new())
    }
}

impl<'a> ExpandContext<'a> {
    /// Returns a value of the whole fleet, computed by `make` at the first call. Hosts with errors are recorded
    /// in `reads` at each call.
    pub(super) fn once<'o, T>(
        &self,
        once: &'o Once<T>,
        make: impl FnOnce(&[FleetHost<'a>]) -> T,
    ) -> &'o T {
        let (value, broken) = once.0.get_or_init(|| {
            #[cfg(test)]
            self.manifests
                .of_fleet
                .computed
                .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let reads = BrokenReads::default();
            let value = make(&self.fleet(&reads));
            (value, reads.take())
        });
        self.reads.hold(broken.iter().cloned());
        value
    }

    /// Returns the value for a key, computed by `make` at the first call; see [`Self::once`].
    pub(super) fn once_for<T: Clone>(
        &self,
        keyed: &Keyed<T>,
        key: Vec<String>,
        make: impl FnOnce(&[FleetHost<'a>]) -> T,
    ) -> T {
        let cache = &keyed.0;
        let known = cache
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&key)
            .cloned();
        let once = known.unwrap_or_else(|| {
            let mut all = cache.write().unwrap_or_else(PoisonError::into_inner);
            all.entry(key).or_default().clone()
        });
        self.once(&once, make).clone()
    }
}
