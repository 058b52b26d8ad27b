//! Confirms changes that could have cut the controller off, over a new connection. Without the confirmation, the
//! host puts them back.

use std::time::Duration;

use plumb_api::frame::{Confirm, DeadMan, Nonce};
use plumb_api::plan::Plan;
use plumb_api::report::Retry;
use plumb_api::resource::Logins;
use plumb_core::desired::Lifecycle;
use plumb_core::fleet::{Contact, FailedIn, RunFailure};
use plumb_core::message::Message;
use plumb_core::ports::{HostError, Hosts, Route};
use plumb_core::reason::ConditionReason;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use crate::run::{Job, with_deadline};

/// Delay after the first failed attempt to connect. It doubles with each further attempt: some SSH servers block
/// an address that fails too often.
const FIRST_DELAY: Duration = Duration::from_secs(1);

/// Maximum delay between two attempts to connect.
const LONGEST_DELAY: Duration = Duration::from_secs(8);

/// Time that the host gets to put the changes back.
const REVERT_TIME: Duration = Duration::from_secs(3);

/// Number of attempts to learn from the host whether it has put the changes back.
const INQUIRIES: u32 = 3;

/// Returns the dead-man timer to request for a run. `None` if no change can cut the controller off: it drives the
/// host without a login, or the host leaves the fleet.
pub(crate) fn dead_man(job: &Job) -> Option<DeadMan> {
    let Route::Ssh { endpoints, .. } = &job.host.route else {
        return None;
    };
    if job.spec.intent.lifecycle == Lifecycle::Retired {
        return None;
    }
    let seconds = job.spec.confirm_within.as_secs_f64().ceil();
    let mut users: Vec<String> = endpoints.iter().map(|one| one.user.clone()).collect();
    users.sort_unstable();
    users.dedup();
    Some(DeadMan {
        nonce: Nonce::of(&job.spec.fence, job.spec.id.0),
        confirm: u32::try_from(Duration::from_secs_f64(seconds).as_secs()).unwrap_or(u32::MAX),
        users,
    })
}

/// True if a change of the plan could cut the controller off, as far as it can tell without the host's accounts.
pub(crate) fn could_cut_off(plan: &Plan, dead_man: &DeadMan) -> bool {
    let logins = Logins {
        users: dead_man.users.iter().cloned().collect(),
        ..Logins::default()
    };
    let mut addresses = plan.changes.iter().map(|change| &change.address);
    addresses.any(|address| address.kind().cuts_off(address.name(), &logins))
}

/// Confirms the changes of a run over a new connection. Returns the failure of the run if that isn't possible.
pub(crate) async fn confirm(
    job: &Job,
    hosts: &dyn Hosts,
    dead_man: &DeadMan,
) -> Result<(), RunFailure> {
    let deadline = Instant::now() + Duration::from_secs(dead_man.confirm.into());
    let error = match attempts(job, hosts, dead_man, deadline).await {
        Ok(()) => return Ok(()),
        Err(error) => error,
    };
    if error.reason() == ConditionReason::Reverted {
        return Err(RunFailure::of_host(&error, FailedIn::Change));
    }
    tracing::warn!(%error, "the new connection failed, so the host puts the changes back");
    sleep_until(deadline + REVERT_TIME).await;
    for _ in 0..INQUIRIES {
        match attempt(job, hosts, dead_man).await {
            Ok(()) => return Ok(()),
            Err(answer) if answer.reason() == ConditionReason::Reverted => {
                let mut failure = RunFailure::of_host(&answer, FailedIn::Change);
                failure.message = failure.message.with_detail(cause(&error));
                return Err(failure);
            }
            Err(_) => sleep(LONGEST_DELAY).await,
        }
    }
    Err(unconfirmed(&error))
}

/// Tries to confirm until the deadline. Stops at an error that only a person can mend, such as a rejected login.
async fn attempts(
    job: &Job,
    hosts: &dyn Hosts,
    dead_man: &DeadMan,
    deadline: Instant,
) -> Result<(), HostError> {
    let mut delay = FIRST_DELAY;
    let mut last = HostError::Silent {
        host: job.host.name.clone(),
        seconds: u64::from(dead_man.confirm),
    };
    loop {
        match timeout_at(deadline, attempt(job, hosts, dead_man)).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) if error.reason().retry() == Some(Retry::Stalled) => return Err(error),
            Ok(Err(error)) => last = error,
            Err(_) => return Err(last),
        }
        let next = Instant::now() + delay;
        if next >= deadline {
            return Err(last);
        }
        sleep_until(next).await;
        delay = LONGEST_DELAY.min(delay * 2);
    }
}

async fn attempt(job: &Job, hosts: &dyn Hosts, dead_man: &DeadMan) -> Result<(), HostError> {
    let mut session = with_deadline(job, hosts.connect_anew(&job.host)).await?;
    let request = Confirm {
        fence: job.spec.fence.clone(),
        nonce: dead_man.nonce.clone(),
    };
    with_deadline(job, session.confirm(request)).await
}

fn cause(error: &HostError) -> String {
    format!("the new connection failed: {error}")
}

/// Returns the failure of a run if nothing is known of the host after its changes.
fn unconfirmed(error: &HostError) -> RunFailure {
    RunFailure {
        reason: ConditionReason::Unconfirmed,
        message: Message::new("the changes couldn't be confirmed, so the host puts them back")
            .with_detail(cause(error)),
        retry: Retry::Waiting,
        failed_in: FailedIn::Change,
        contact: Contact::Made,
    }
}
