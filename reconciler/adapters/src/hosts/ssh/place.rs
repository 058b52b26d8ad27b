//! Starts the agent on a host, and installs it there if it is missing.
//!
//! The agent is `/var/lib/plumb/agents/SHA256/plumb-agent`, named by its digest, in folders that only root
//! may enter. An attempt to start it shows whether the host has exactly this agent.

use std::fmt::Write as _;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::channel::{self, NoChannel};
use super::connection::Connection;
use crate::hosts::agents::{AgentBinary, is_arch};
use crate::hosts::line::{Exit, ExitInfo};

/// The folder of Plumb's state on a host.
pub(super) const STATE: &str = "/var/lib/plumb";
/// Prefix of the start script's output if the agent is missing; the host's architecture follows.
const MISSING: &str = "plumb-missing ";
/// The number of bytes sent at once.
const PIECE: usize = 256 << 10;
/// Maximum time of an upload without progress.
const STILL: Duration = Duration::from_secs(30);

/// The kind of login on a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Login {
    /// The login is root.
    Root,
    /// The login becomes root through sudo.
    Sudo,
}

impl Login {
    /// Returns the kind of login for a user name.
    pub(super) fn of(user: &str) -> Self {
        if user == "root" {
            Self::Root
        } else {
            Self::Sudo
        }
    }

    /// Returns the command that runs `script` as root, whatever the login shell is. The script must not
    /// contain single quotes.
    fn command(self, script: &str) -> String {
        match self {
            Self::Root => format!("exec /bin/sh -c '{script}'"),
            // Refusals by sudo are recognized by their English text.
            Self::Sudo => format!("exec env LC_ALL=C sudo -n -- /bin/sh -c '{script}'"),
        }
    }
}

/// Returns the command that starts an agent: the only one in `agents`, or else the one for the host's
/// architecture.
pub(super) fn start(login: Login, state: &str, agents: &[Arc<AgentBinary>]) -> String {
    let path = |agent: &AgentBinary| format!("{state}/agents/{}/plumb-agent", agent.digest());
    let mut script = String::new();
    if let [agent] = agents {
        let _ = write!(script, "p={}; ", path(agent));
    } else {
        script.push_str("p=; case $(uname -m) in ");
        for agent in agents {
            let _ = write!(script, "{}) p={};; ", agent.arch(), path(agent));
        }
        script.push_str("esac; ");
    }
    let _ = write!(
        script,
        r#"[ -x "$p" ] && exec "$p"; echo "{MISSING}$(uname -m)" >&2; exit 127"#
    );
    login.command(&script)
}

/// Returns the host's architecture, if the program ended because the agent is missing.
pub(super) fn missing(end: &ExitInfo) -> Option<String> {
    if end.exit != Some(Exit::Status(127)) {
        return None;
    }
    end.stderr.line_after(MISSING).filter(|arch| is_arch(arch))
}

/// Returns the command that installs an agent from its standard input. It removes incomplete uploads, and
/// older agents except for the newest of them: processes which that agent started may still need it.
fn placing(login: Login, state: &str, agent: &AgentBinary) -> String {
    let digest = agent.digest();
    let script = [
        "set -eu; umask 077;",
        &format!("s={state}; n={digest}; a=$s/agents; d=$a/$n; t=$d/new.$$;"),
        r#"for f in "$s" "$a" "$d"; do if [ ! -L "$f" ]; then mkdir "$f" 2>/dev/null || true; fi;"#,
        r#"if [ -L "$f" ] || [ ! -d "$f" ] || [ ! -O "$f" ]; then"#,
        r#"echo "$f is not a folder of root" >&2; exit 1; fi; chmod 0700 "$f"; done;"#,
        r#"trap "rm -f $t" EXIT; cat >"$t"; h=$(sha256sum <"$t");"#,
        r#"if [ "${h%% *}" != "$n" ]; then echo "the agent arrived damaged" >&2; exit 1; fi;"#,
        r#"chmod 0700 "$t"; sync "$t" 2>/dev/null || sync; mv -f "$t" "$d/plumb-agent"; trap - EXIT;"#,
        r#"ls -1t "$a" | tail -n +3 | while read -r o; do"#,
        r#"if [ "$o" != "$n" ]; then rm -rf "$a/$o"; fi; done"#,
    ];
    login.command(&script.join(" "))
}

/// The reason why an agent couldn't be installed.
pub(super) enum PlaceError {
    /// The server opens no session.
    NoSession,
    /// The upload or the script failed.
    Failed(ExitInfo),
}

/// Installs an agent on a host, over an open connection.
pub(super) async fn place(
    connection: &Connection,
    state: &str,
    agent: &AgentBinary,
) -> Result<(), PlaceError> {
    let failed = |why: String| {
        PlaceError::Failed(ExitInfo {
            cause: Some(why),
            ..ExitInfo::default()
        })
    };
    let command = placing(Login::of(&connection.user), state, agent);
    let mut line = match channel::run(connection, &command).await {
        Ok(line) => line,
        Err(NoChannel::Refused) => return Err(PlaceError::NoSession),
        Err(NoChannel::Broken(why)) => return Err(failed(why)),
    };
    let mut ignored = Vec::new();
    // The empty piece ends the script's standard input.
    let pieces = agent.bytes().chunks(PIECE).map(<[u8]>::to_vec);
    'sending: for piece in pieces.chain(std::iter::once(Vec::new())) {
        let mut send = pin!(timeout(STILL, line.to.send(piece)));
        loop {
            tokio::select! {
                done = &mut send => match done {
                    Ok(Ok(())) => break,
                    Ok(Err(_)) => break 'sending,
                    Err(_) => return Err(failed(format!("the upload stood still for {} s", STILL.as_secs()))),
                },
                // A failing script ends early and stops reading: without this, the upload would block.
                count = line.from.receive(&mut ignored) => match count {
                    Ok(1..) => ignored.clear(),
                    Ok(0) | Err(_) => break 'sending,
                },
            }
        }
    }
    while let Ok(Ok(1..)) = timeout(STILL, line.from.receive(&mut ignored)).await {
        ignored.clear();
    }
    let exit_info = line.from.exit_info().await;
    if exit_info.exit == Some(Exit::Status(0)) {
        Ok(())
    } else {
        Err(PlaceError::Failed(exit_info))
    }
}

#[cfg(test)]
#[path = "place/tests.rs"]
mod tests;
