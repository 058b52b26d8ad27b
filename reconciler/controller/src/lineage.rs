//! Compares a host's target with the revision that the host ran last. Only a signed rollback moves a host to
//! an older revision. A host that ran a commit outside of the verified chain isn't changed.

use plumb_api::frame::{LedgerSummary, Lineage};
use plumb_core::fleet::{RunEnd, RunFailure, StartRun};
use plumb_core::ports::SourceError;
use plumb_core::reason::ConditionReason;
use plumb_trust::Oid;

use crate::settings::SourcePort;

/// Returns the lineage to present to the agent, or the result of the run if the host must not be changed.
pub(crate) async fn lineage(
    run: &StartRun,
    source: &SourcePort,
    ledger: &LedgerSummary,
) -> Result<Result<Lineage, RunEnd>, RunFailure> {
    let Some(mark) = &ledger.revision else {
        return Ok(Ok(Lineage::First));
    };
    if mark.0 == run.target.revision {
        return Ok(Ok(Lineage::DescendsFrom(mark.clone())));
    }
    let (Ok(ran), Ok(goal)) = (mark.0.parse::<Oid>(), run.target.revision.parse::<Oid>()) else {
        return Ok(Err(RunEnd::OffChain(mark.0.clone())));
    };
    let failed = |error: SourceError| source_failed(run, &error);
    if source.descends(ran, goal).await.map_err(failed)? {
        return Ok(Ok(Lineage::DescendsFrom(mark.clone())));
    }
    if was_rolled_back(run, source, ran, goal).await {
        return Ok(Ok(Lineage::RollsBackFrom(mark.clone())));
    }
    // A commit that isn't in the repository counts as outside of the chain.
    let newer = source.descends(goal, ran).await.unwrap_or(false);
    Ok(Err(if newer {
        RunEnd::Newer(mark.0.clone())
    } else {
        RunEnd::OffChain(mark.0.clone())
    }))
}

/// True if signed rollbacks lead from the commit `ran` to `goal`. A rollback must have abandoned the part of
/// the chain that contains `ran`. `goal` must descend from that rollback, or from a rollback that abandoned
/// it in turn.
async fn was_rolled_back(run: &StartRun, source: &SourcePort, ran: Oid, goal: Oid) -> bool {
    // If the source can't compare two commits, they count as unrelated.
    let descends = async |above: Oid, below: Oid| {
        above == below || source.descends(above, below).await.unwrap_or(false)
    };
    let mut at = ran;
    let mut left: Vec<[Oid; 3]> = run
        .rollbacks
        .iter()
        .filter_map(|rollback| {
            let from = rollback.from.parse().ok()?;
            let to = rollback.to.parse().ok()?;
            Some([from, to, rollback.commit.parse().ok()?])
        })
        .collect();
    loop {
        let mut found = None;
        for (index, [from, to, _]) in left.iter().enumerate() {
            if descends(at, *from).await && descends(*to, at).await {
                found = Some(index);
                break;
            }
        }
        let Some(index) = found else {
            return false;
        };
        [_, _, at] = left.remove(index);
        if descends(at, goal).await {
            return true;
        }
    }
}

/// Creates the failure of a run in which the source couldn't compare revisions.
fn source_failed(run: &StartRun, error: &SourceError) -> RunFailure {
    let host = &run.fence.host;
    let message =
        format!("cannot compare the revision that {host} ran last with its target: {error}");
    RunFailure {
        retry: error.retry(),
        ..RunFailure::of_controller(ConditionReason::SourceFailed, message)
    }
}
