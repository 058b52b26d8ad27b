//! Describes the heartbeat that a policy requires, and warns of a tag name that doesn't work.

use plumb_trust::Policy;
use plumb_trust::policy::{Freshness, OnStale};

use crate::cli::hook::{HeartbeatTag, heartbeat_tag};

/// Describes the required heartbeat, and what happens if it is missing.
pub(super) fn describe(policy: &Policy) -> String {
    let Some(freshness) = &policy.freshness else {
        return "none (a server that hides new commits goes unnoticed)".to_owned();
    };
    let stale = match freshness.on_stale {
        OnStale::Hold => "without it, new commits aren't accepted and an alarm is raised",
        OnStale::Alarm => "without it, an alarm is raised",
    };
    format!(
        "a signed tag {} by {}, at most {} old; {stale}",
        freshness.tag,
        policy.name(freshness.from),
        freshness.max_age
    )
}

/// Returns a warning if the hooks would refuse heartbeat tags with the policy's name, or no controller would
/// fetch them.
pub(super) fn warning(policy: &Policy) -> Option<String> {
    let Freshness { tag, .. } = policy.freshness.as_ref()?;
    let form = format!("rename it to alive/{}/*", policy.branch());
    if !tag.as_str().contains('*') {
        return Some(format!(
            "the heartbeat tag {tag} has no `*`, and a pushed tag can't be replaced, so there could be only one: {form}"
        ));
    }
    // Use the shortest name that matches.
    let name = tag.as_str().replace("**", "1").replace('*', "1");
    match heartbeat_tag(&name, policy.branch()) {
        HeartbeatTag::Taken => None,
        HeartbeatTag::Refused => Some(format!(
            "the server's hooks refuse some heartbeat tags named {tag}, such as {name}: {form}"
        )),
        HeartbeatTag::Unseen => Some(format!(
            "no controller sees heartbeat tags named {tag}, because controllers fetch them only below alive/: {form}"
        )),
    }
}
