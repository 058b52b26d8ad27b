//! Describes the heartbeat that a policy asks for, and warns of a name that doesn't work.

use plumb_trust::Policy;
use plumb_trust::policy::{Freshness, OnStale};

use crate::cli::hook::{HeartbeatTag, heartbeat_tag};

/// Describes the heartbeat, and what happens if it is missing.
pub(super) fn describe(policy: &Policy) -> String {
    let Some(freshness) = &policy.freshness else {
        return "none: nothing shows that commits are withheld".to_owned();
    };
    let stale = match freshness.on_stale {
        OnStale::Hold => "nothing new is accepted without it, and there is an alarm",
        OnStale::Alarm => "there is an alarm without it",
    };
    format!(
        "a signed tag {} of {}, at most {} old; {stale}",
        freshness.tag,
        policy.name(freshness.from),
        freshness.max_age
    )
}

/// Warns if heartbeats with the policy's name would be refused by the hooks, or never fetched.
pub(super) fn warning(policy: &Policy) -> Option<String> {
    let Freshness { tag, .. } = policy.freshness.as_ref()?;
    let form = format!("write alive/{}/*", policy.branch());
    if !tag.as_str().contains('*') {
        return Some(format!(
            "the heartbeat is named {tag} without a `*`: pushed tags stay, so each needs a name of its own: {form}"
        ));
    }
    // The shortest name that matches.
    let name = tag.as_str().replace("**", "1").replace('*', "1");
    match heartbeat_tag(&name, policy.branch()) {
        HeartbeatTag::Taken => None,
        HeartbeatTag::Refused => Some(format!(
            "the server's hooks refuse some heartbeats that are named {tag}, such as {name}: {form}"
        )),
        HeartbeatTag::Unseen => Some(format!(
            "no controller sees heartbeats that are named {tag}, because it fetches such tags from alive/ alone: {form}"
        )),
    }
}
