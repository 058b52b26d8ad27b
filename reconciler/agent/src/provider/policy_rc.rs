//! A `policy-rc.d` hook that is in place during a package transaction, so that installing a package doesn't
//! start its services.

use std::fmt::Write as _;

use crate::error::Result;
use crate::sys::{Program, Sys};

/// The permission for packages to start their services when they are installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum StartPermission {
    /// Denied. A service starts later through its `service` resource, when its configuration is in place.
    #[default]
    Denied,
    Allowed,
}

/// Path of the hook that Debian's maintainer scripts run before they start a service.
pub(super) const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Line that identifies Plumb's own hook, in case a power loss leaves it in place.
pub(super) const MARK: &str = "# plumb: for the time of one package transaction";

/// Removes Plumb's own hook, if it is in place: after a transaction, or after a power loss during one.
pub(super) fn remove_policy(sys: &Sys) -> Result<()> {
    let ours = sys.text(POLICY).is_some_and(|text| text.contains(MARK));
    if ours {
        if let Some((dir, leaf)) = sys.root().parent(POLICY)? {
            dir.unlink(leaf)?;
        }
    }
    Ok(())
}

/// Returns the hook's text. The hook allows services that already run to be started again, as upgrades do. It
/// denies all other starts: those services start through their `service` resources, when their configuration
/// is in place.
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
        // Quote the name, so that the shell doesn't treat it as a pattern.
        let _ = writeln!(text, "'{unit}') exit 0 ;;");
    }
    text.push_str("esac\nexit 101\n");
    text
}

fn place_policy(sys: &Sys) -> Result<()> {
    if sys.exists(POLICY) {
        // The administrator has installed a hook. It stays in force, as for every other installation on this
        // host.
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

/// Runs `work` while the hook is in place, or without the hook if packages may start their services.
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
