//! `policy-rc.d` for the time of a package transaction: an installation doesn't start services.

use std::fmt::Write as _;

use crate::error::Result;
use crate::sys::{Program, Sys};

/// Whether packages may start their services when they are installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum Starting {
    /// They start when their `service` says so, with their configuration in place.
    #[default]
    Denied,
    Allowed,
}

/// The hook of Debian's maintainer scripts that is asked before a service is started.
pub(super) const POLICY: &str = "/usr/sbin/policy-rc.d";

/// By this a hook of ours is known, should a power loss leave one behind.
pub(super) const MARK: &str = "# plumb: for the time of one package transaction";

/// Takes away a hook that a power loss left behind.
pub(super) fn remove_policy(sys: &Sys) -> Result<()> {
    let ours = sys.text(POLICY).is_some_and(|text| text.contains(MARK));
    if ours {
        if let Some((dir, leaf)) = sys.root().parent(POLICY)? {
            dir.unlink(leaf)?;
        }
    }
    Ok(())
}

/// Lets services that run be started again (an upgrade does that) and denies all others, which
/// start when their `service` says so, with their configuration in place.
fn policy(running: &str) -> String {
    let units: Vec<&str> = running
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|unit| {
            unit.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b":-_.\\@".contains(&b))
        })
        .collect();
    let mut text = format!(
        "#!/bin/sh\n{MARK}\nwhile :; do case \"$1\" in --*) shift ;; *) break ;; esac; done\n"
    );
    text.push_str("case \"$2\" in *start*) ;; *) exit 0 ;; esac\ncase \"$1\" in *.*) unit=$1 ;; *) unit=$1.service ;; esac\n");
    text.push_str("case \"$unit\" in\n");
    for unit in units {
        // Quoted: a name is never a pattern here.
        let _ = writeln!(text, "'{unit}') exit 0 ;;");
    }
    text.push_str("esac\nexit 101\n");
    text
}

fn place_policy(sys: &Sys) -> Result<()> {
    if sys.exists(POLICY) {
        // An administrator's own hook decides, as it does for every other installation here.
        return Ok(());
    }
    let running = Program::new(
        "systemctl",
        [
            "list-units",
            "--state=active,reloading,activating",
            "--plain",
            "--no-legend",
            "--no-pager",
        ],
    )
    .check(sys)?;
    let (dir, leaf, _) = sys.root().make_parent(POLICY)?;
    let text = policy(&running.stdout);
    let meta = crate::sys::Meta {
        uid: Some(0),
        gid: Some(0),
        mode: 0o755,
    };
    let spot = crate::sys::Spot {
        dir: &dir,
        leaf,
        temporary: ".plumb-policy",
        before: None,
    };
    crate::sys::replace(&spot, &mut text.as_bytes(), None, meta, &mut |_| Ok(()))
}

/// Whether the transaction's packages may start their services themselves.
pub(super) fn with_policy<T>(
    sys: &Sys,
    starting: Starting,
    work: impl FnOnce() -> Result<T>,
) -> Result<T> {
    if starting == Starting::Allowed {
        return work();
    }
    place_policy(sys)?;
    let outcome = work();
    remove_policy(sys)?;
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_runs_may_be_started_by_an_installation() {
        let text = policy("cron.service loaded active running Cron\nsys-$(x).device loaded\n");
        assert!(text.contains("'cron.service') exit 0 ;;") && text.ends_with("exit 101\n"));
        assert!(
            !text.contains("$(x)"),
            "a name that the shell could read isn't written"
        );
    }
}
