//! The heartbeat that a policy asks for, in words, and what is odd about how it is called.

use plumb_trust::Policy;
use plumb_trust::policy::{Freshness, OnStale};

use crate::cli::hook::{HeartbeatTag, heartbeat_tag};

/// What the policy asks for, and what happens where it is missing.
pub(super) fn told(policy: &Policy) -> String {
    let Some(freshness) = &policy.freshness else {
        return "none: that commits are withheld shows nowhere".to_owned();
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

/// Why heartbeats that are called as the policy says wouldn't be taken, or wouldn't be seen.
pub(super) fn odd(policy: &Policy) -> Option<String> {
    let Freshness { tag, .. } = policy.freshness.as_ref()?;
    let form = format!("write alive/{}/*", policy.branch());
    if !tag.as_str().contains('*') {
        return Some(format!(
            "the heartbeat is called {tag}, one name for all: what is pushed stays, so each needs a name of its own: {form}"
        ));
    }
    // As short as it may be.
    let name = tag.as_str().replace("**", "1").replace('*', "1");
    match heartbeat_tag(&name, policy.branch()) {
        HeartbeatTag::Taken => None,
        HeartbeatTag::Refused => Some(format!(
            "heartbeats that are called {tag} may be refused by the server's hooks, such as {name}: {form}"
        )),
        HeartbeatTag::Unseen => Some(format!(
            "heartbeats that are called {tag} are seen by no controller, which fetches tags of this kind from alive/ alone: {form}"
        )),
    }
}
