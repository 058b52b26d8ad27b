//! Changes that aren't complete when the provider returns: for example, a unit may fail a moment after its
//! start.

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
    /// The resource's state before the change.
    pub observed: &'a Observed,
    /// The time at which the change was made.
    pub since: Instant,
}

/// The progress of a changed resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Poll {
    /// The resource is as desired and is expected to stay so.
    Settled,
    /// The resource may still become as desired. The run gives up when `patience` has passed since the
    /// change, and polls again after `pause`.
    Waits { patience: Duration, pause: Duration },
    /// The resource won't become as desired.
    Failed,
}

/// Polls the changed resources of one type until they have settled. The run waits for the changes of all
/// types together.
pub(crate) trait Settling {
    /// True if a change of these fields has to settle.
    fn has_to_settle(&self, fields: &[FieldChange]) -> bool;

    /// Observes all items. Returns one result per item, in the order of the items.
    ///
    /// # Errors
    /// If the items can't be observed.
    fn poll(&self, sys: &Sys, items: &[SettlingItem<'_>]) -> Result<Vec<Poll>>;

    /// Returns the error for an item that failed or reached its time limit.
    fn error(&self, sys: &Sys, item: &SettlingItem<'_>) -> AgentError;
}
