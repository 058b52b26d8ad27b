//! Waits until the changes of a run have settled. The run first makes all changes that don't depend on them,
//! and then waits for all of them together.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use plumb_api::Kind;

use super::{Doing, Run};
use crate::error::Result;
use crate::provider::{self, Poll, Settling, SettlingItem};

/// Maximum time between two checks whether another controller has taken over the host.
const GATE: Duration = Duration::from_secs(1);

impl Run<'_> {
    /// True if a change was made and has to settle before it can be verified.
    pub(super) fn has_to_settle(&self, work: &Doing) -> bool {
        let kind = self.steps[work.step].change.address.kind();
        let settling = provider::of(kind).settling();
        !self.sys.is_sandbox()
            && matches!(work.effect, Some(Ok(_)))
            && settling.is_some_and(|settling| settling.has_to_settle(&work.fields))
    }

    /// Waits until each change has settled, failed or reached its time limit, then verifies all of them.
    pub(super) fn settle(&mut self) -> Result<()> {
        let begun = Instant::now();
        let mut doing = std::mem::take(&mut self.settling);
        let mut open: BTreeSet<usize> = (0..doing.len()).collect();
        loop {
            let pause = self.poll(&mut doing, &mut open);
            if open.is_empty() {
                break;
            }
            thread::sleep(pause.min(GATE));
            self.gate()?;
        }
        self.waited += begun.elapsed();
        self.verify(doing)
    }

    /// Polls the changes that haven't settled, and removes from `open` those that have settled or failed.
    /// Returns the delay before the next poll.
    fn poll(&self, doing: &mut [Doing], open: &mut BTreeSet<usize>) -> Duration {
        let mut pause = GATE;
        let kind_of = |doing: &Doing| self.steps[doing.step].change.address.kind();
        let kinds: BTreeSet<Kind> = open.iter().map(|at| kind_of(&doing[*at])).collect();
        for kind in kinds {
            let Some(settling) = provider::of(kind).settling() else {
                open.retain(|at| kind_of(&doing[*at]) != kind);
                continue;
            };
            let places: Vec<usize> = open
                .iter()
                .copied()
                .filter(|at| kind_of(&doing[*at]) == kind)
                .collect();
            let items: Vec<SettlingItem<'_>> =
                places.iter().map(|at| self.item(&doing[*at])).collect();
            let over = match settling.poll(self.sys, &items) {
                Ok(polls) => self.over(settling, &items, &polls, &mut pause),
                Err(error) => items.iter().map(|_| Some(Err(error.clone()))).collect(),
            };
            drop(items);
            for (at, over) in places.into_iter().zip(over) {
                match over {
                    None => continue,
                    Some(Ok(())) => {}
                    Some(Err(error)) => doing[at].effect = Some(Err(error)),
                }
                open.remove(&at);
            }
        }
        pause
    }

    /// Returns the result of each change that has settled, failed or reached its time limit, and `None` for
    /// changes that may still settle. Lowers `pause` to the shortest delay that they request.
    fn over(
        &self,
        settling: &dyn Settling,
        items: &[SettlingItem<'_>],
        polls: &[Poll],
        pause: &mut Duration,
    ) -> Vec<Option<Result<()>>> {
        let one = |(item, poll): (&SettlingItem<'_>, &Poll)| match poll {
            Poll::Settled => Some(Ok(())),
            Poll::Waits {
                patience,
                pause: next,
            } if item.since.elapsed() < *patience => {
                *pause = (*pause).min(*next);
                None
            }
            Poll::Waits { .. } | Poll::Failed => Some(Err(settling.error(self.sys, item))),
        };
        items.iter().zip(polls).map(one).collect()
    }

    fn item<'a>(&'a self, work: &'a Doing) -> SettlingItem<'a> {
        let step = &self.steps[work.step];
        SettlingItem {
            address: &step.change.address,
            spec: work.spec(step),
            observed: &work.observed,
            since: work.since,
        }
    }
}
