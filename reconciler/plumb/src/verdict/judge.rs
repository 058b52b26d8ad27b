//! Verifies ranges of commits.

use std::collections::{BTreeMap, HashSet};

use jiff::Timestamp;
use plumb_adapters::git::{Repository, spare_threads};
use plumb_trust::{Detail, Inputs, Oid, Outcome, Progress, verify};

use super::history::{first_parents, server_head};
use super::range::{FloorSource, Range};
use crate::report::Failure;

/// Verifies a range with every detail.
pub(crate) fn judge(repository: &Repository, range: &Range<'_>) -> Outcome {
    judge_with(repository, range, Detail::Explain, &|_| {})
}

/// Verifies a range with the given detail and reports progress.
pub(crate) fn judge_with(
    repository: &Repository,
    range: &Range<'_>,
    detail: Detail,
    progress: &dyn Fn(Progress),
) -> Outcome {
    let mut inputs = Inputs::new(range.floor, range.head, range.now)
        .effects(repository)
        .tags(range.tags)
        .progress(progress)
        .detail(detail)
        .threads(spare_threads());
    let arriving = match range.source {
        FloorSource::Accepted => None,
        _ => arriving(repository, range),
    };
    inputs = match (range.source, &arriving) {
        (_, Some(arriving)) => inputs.first_seen(arriving),
        (FloorSource::Introduction, None) => inputs,
        (_, None) => inputs.floor(range.floor),
    };
    verify(repository.objects(), &inputs)
}

/// Verifies a single commit that is assumed to be accepted, to find the effect of the repository's tags.
pub(crate) fn judge_accepted(
    repository: &Repository,
    commit: Oid,
    now: Timestamp,
) -> Result<Outcome, Failure> {
    let tags = repository.tags()?;
    let range = Range {
        floor: commit,
        source: FloorSource::Accepted,
        head: commit,
        tags: &tags,
        now,
    };
    Ok(judge(repository, &range))
}

/// Returns the commits of a range that the server's branch doesn't have, each with the time of the verdict as
/// its time of arrival. Returns `None` if the server's branch isn't known.
fn arriving(repository: &Repository, range: &Range<'_>) -> Option<BTreeMap<Oid, Timestamp>> {
    let server = server_head(repository, &range.floor)?;
    if server == range.head {
        return Some(BTreeMap::new());
    }
    let objects = repository.objects();
    let way: Vec<Oid> = first_parents(objects, range.head)
        .take_while(|id| *id != range.floor)
        .collect();
    let on_way: HashSet<&Oid> = way.iter().collect();
    let fork = first_parents(objects, server)
        .take_while(|id| *id != range.floor)
        .find(|id| on_way.contains(id));
    let new = way.iter().take_while(|id| Some(**id) != fork);
    Some(new.map(|id| (*id, range.now)).collect())
}
