//! Waits until the containers of a project run and their health checks have decided.

use std::time::Duration;

use plumb_api::plan::FieldChange;
use plumb_api::report::{AgentError, ErrorCode};
use plumb_api::resource::ContainerFault;

use super::Projects;
use super::containers::{self, Container};
use super::project::Project;
use crate::book::Home;
use crate::error::Result;
use crate::provider::settling::{Poll, Settling, SettlingItem};
use crate::sys::{Sys, last_lines};

/// Time for which containers must run until they count as started.
const SETTLE: Duration = Duration::from_secs(2);

/// Maximum time that health checks may take to decide.
const PATIENCE: Duration = Duration::from_secs(5 * 60);

/// Delay between two polls.
const PAUSE: Duration = Duration::from_millis(250);

/// Number of lines that an error shows of a container's log.
const LOG_LINES: usize = 12;

impl Settling for Projects {
    fn has_to_settle(&self, fields: &[FieldChange]) -> bool {
        !fields.is_empty()
    }

    fn poll(&self, sys: &Sys, items: &[SettlingItem<'_>]) -> Result<Vec<Poll>> {
        let one = |item: &SettlingItem<'_>| {
            if item.spec.wants_absent() {
                return Ok(Poll::Settled);
            }
            Ok(judge(&found(sys, item)?, item.since.elapsed()))
        };
        items.iter().map(one).collect()
    }

    fn error(&self, sys: &Sys, item: &SettlingItem<'_>) -> AgentError {
        match found(sys, item) {
            Ok(found) => explain(sys, item, &found),
            Err(error) => error,
        }
    }
}

fn record(sys: &Sys, item: &SettlingItem<'_>) -> Result<Option<Project>> {
    match Home::open(sys)? {
        Some(home) => Project::load(&home, item.address.name()),
        None => Ok(None),
    }
}

fn found(sys: &Sys, item: &SettlingItem<'_>) -> Result<Vec<Container>> {
    match record(sys, item)? {
        Some(project) => containers::of_project(sys, project.tool.engine(), item.address.name()),
        None => Ok(Vec::new()),
    }
}

/// Returns whether a project has settled, may still settle or has failed. podman shows a container that is
/// starting as not started for a moment, so only failures of its own count at once.
fn judge(found: &[Container], elapsed: Duration) -> Poll {
    let faults = || found.iter().filter_map(Container::fault);
    if faults().any(ContainerFault::by_itself) {
        return Poll::Failed;
    }
    if found.iter().any(Container::is_starting) || elapsed < SETTLE {
        return Poll::Waits {
            patience: PATIENCE,
            pause: PAUSE,
        };
    }
    if found.is_empty() || faults().next().is_some() {
        return Poll::Failed;
    }
    Poll::Settled
}

/// Returns the error for a project with a container that failed, or is still starting at the time limit.
fn explain(sys: &Sys, item: &SettlingItem<'_>, found: &[Container]) -> AgentError {
    let name = item.address.name();
    let engine = record(sys, item)
        .ok()
        .flatten()
        .map(|project| project.tool.engine());
    let wrong = found
        .iter()
        .find_map(|one| Some((one, one.fault()?.phrase())))
        .or_else(|| {
            let starting = found.iter().find(|one| one.is_starting())?;
            Some((starting, "still starting"))
        });
    let (Some((container, what)), Some(engine)) = (wrong, engine) else {
        return AgentError::new(
            ErrorCode::CommandFailed,
            format!("the containers of the project {name} didn't keep running"),
        );
    };
    let log = engine
        .command(&["logs", "--tail", "12", &container.id])
        .run(sys)
        .map(|output| last_lines(&format!("{}{}", output.stdout, output.stderr), LOG_LINES))
        .unwrap_or_default();
    AgentError::new(
        ErrorCode::CommandFailed,
        format!(
            "the container {} is {what} after its start:\n{log}",
            container.name
        ),
    )
    .hint(format!(
        "run `{} logs {}` on the host",
        engine.program(),
        container.name
    ))
}

#[cfg(test)]
mod tests {
    use super::super::containers::tests::container;
    use super::*;

    #[test]
    fn project_settles_when_its_containers_keep_running() {
        let up = [
            container("p-db-1", "running"),
            container("p-web-1", "running"),
        ];
        assert!(matches!(judge(&up, Duration::ZERO), Poll::Waits { .. }));
        assert_eq!(judge(&up, SETTLE), Poll::Settled);
        let down = [
            container("p-db-1", "running"),
            container("p-web-1", "created"),
        ];
        assert!(matches!(judge(&down, Duration::ZERO), Poll::Waits { .. }));
        assert_eq!(judge(&down, SETTLE), Poll::Failed);
        let crashing = [container("p-web-1", "restarting")];
        assert_eq!(judge(&crashing, Duration::ZERO), Poll::Failed);
        assert_eq!(judge(&[], SETTLE), Poll::Failed);
    }
}
