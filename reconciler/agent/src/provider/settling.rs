//! Changes that aren't over when they return: a started unit may end a moment later.

use std::time::{Duration, Instant};

use plumb_api::plan::FieldChange;
use plumb_api::report::AgentError;
use plumb_api::{Address, Observed, Spec};

use crate::error::Result;
use crate::sys::Sys;

/// A resource that was changed and may not have settled yet.
#[derive(Clone, Copy)]
pub(crate) struct SettlingItem<'a> {
    pub address: &'a Address,
    pub spec: &'a Spec,
    /// The state before the change.
    pub observed: &'a Observed,
    /// The time at which the change was made.
    pub since: Instant,
}

/// The state of a resource after its change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Poll {
    /// It is as it stays.
    Settled,
    /// It may still get there. The run waits until this time after the change, and looks again after `pause`.
    Waits { patience: Duration, pause: Duration },
    /// It won't get there.
    Failed,
}

/// Waits until the changes of a type have settled. The runner waits for all of a run's at once.
pub(crate) trait Settling {
    /// True if these fields have to settle.
    fn has_to_settle(&self, fields: &[FieldChange]) -> bool;

    /// Looks at all items. Returns one answer per item, in their order.
    ///
    /// # Errors
    /// If they can't be observed.
    fn poll(&self, sys: &Sys, items: &[SettlingItem<'_>]) -> Result<Vec<Poll>>;

    /// Returns the error of an item that failed or is still waited for.
    fn error(&self, sys: &Sys, item: &SettlingItem<'_>) -> AgentError;
}
