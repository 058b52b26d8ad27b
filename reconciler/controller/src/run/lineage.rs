//! How what a host is to be driven to relates to what it ran last. A host is never led back but by a
//! signed rollback, nor over a commit that isn't on the verified chain.

use plumb_api::frame::{LedgerSummary, Lineage};
use plumb_trust::Oid;
use plumb_trust::source::{Source, SourceError};

use super::{Ended, Failed, Job};

/// What the agent is shown of it; or why nothing is done on the host.
pub(super) async fn of(
    job: &Job,
    source: &dyn Source,
    ledger: &LedgerSummary,
) -> Result<Result<Lineage, Ended>, Failed> {
    let Some(mark) = &ledger.revision else {
        return Ok(Ok(Lineage::First));
    };
    if mark.0 == job.goal.revision {
        return Ok(Ok(Lineage::DescendsFrom(mark.clone())));
    }
    let (Ok(ran), Ok(goal)) = (mark.0.parse::<Oid>(), job.goal.revision.parse::<Oid>()) else {
        return Ok(Err(Ended::OffChain {
            ran: mark.0.clone(),
        }));
    };
    let failed = |error: SourceError| Failed::of_source(&job.target.name, &error);
    if source.descends(ran, goal).await.map_err(failed)? {
        return Ok(Ok(Lineage::DescendsFrom(mark.clone())));
    }
    if was_left(job, source, ran, goal).await {
        return Ok(Ok(Lineage::RollsBackFrom(mark.clone())));
    }
    // A commit that isn't in the repository at all is off the chain too.
    let newer = source.descends(goal, ran).await.unwrap_or(false);
    Ok(Err(if newer {
        Ended::Newer {
            ran: mark.0.clone(),
        }
    } else {
        Ended::OffChain {
            ran: mark.0.clone(),
        }
    }))
}

/// Whether signed rollbacks lead from a commit to the goal: it lies on the part of the chain that one
/// of them left, and the goal comes after that one, or after another that left it in turn.
async fn was_left(job: &Job, source: &dyn Source, ran: Oid, goal: Oid) -> bool {
    // What can't be read isn't shown to be so.
    let descends = async |above: Oid, below: Oid| {
        above == below || source.descends(above, below).await.unwrap_or(false)
    };
    let mut at = ran;
    let mut left: Vec<_> = job.rollbacks.iter().collect();
    loop {
        let mut found = None;
        for (index, rollback) in left.iter().enumerate() {
            if descends(at, rollback.from).await && descends(rollback.to, at).await {
                found = Some(index);
                break;
            }
        }
        let Some(index) = found else {
            return false;
        };
        at = left.remove(index).commit;
        if descends(at, goal).await {
            return true;
        }
    }
}
