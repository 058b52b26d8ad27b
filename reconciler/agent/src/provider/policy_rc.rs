//! `policy-rc.d` during a package transaction, so that an installation doesn't start services.

use std::fmt::Write as _;

use crate::error::Result;
use crate::sys::{Program, Sys};

/// The permission for packages to start their services when they are installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum StartPermission {
    /// Denied: services start when their `service` says so, with their configuration in place.
    #[default]
    Denied,
    Allowed,
}

/// The hook that Debian's maintainer scripts ask before they start a service.
pub(super) const POLICY: &str = "/usr/sbin/policy-rc.d";

/// The line that marks Plumb's own hook, in case a power loss leaves one behind.
pub(super) const MARK: &str = "# plumb: for the time of one package transaction";

/// Removes Plumb's own hook; a power loss may have left one.
pub(super) fn remove_policy(sys: &Sys) -> Result<()> {
    let ours = sys.text(POLICY).is_some_and(|text| text.contains(MARK));
    if ours {
        if let Some((dir, leaf)) = sys.root().parent(POLICY)? {
            dir.unlink(leaf)?;
        }
    }
    Ok(())
}

/// Returns the hook's text. It lets running services be started again, as an upgrade does, and denies all
/// others: those start when their `service` says so, with their configuration in place.
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
        // Quoted, so that the shell doesn't take the name as a pattern.
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
        mode: crate::sys::Permissions::Listed(0o755),
    };
    let spot = crate::sys::Spot {
        dir: &dir,
        leaf,
        temporary: ".plumb-policy",
        before: None,
        kept: None,
    };
    crate::sys::replace(&spot, &mut text.as_bytes(), None, meta, &mut |_| Ok(()))
}

/// Runs `work` with the hook in place, unless packages may start their services.
pub(super) fn with_policy<T>(
    sys: &Sys,
    starting: StartPermission,
    work: impl FnOnce() -> Result<T>,
) -> Result<T> {
    if starting == StartPermission::Allowed {
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
