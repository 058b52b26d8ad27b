//! The reasons why the machine needs a reboot.

use crate::book::{Desired, Ledger};
use crate::provider::{self, Inputs, Item, ObserveContext};
use crate::sys::Sys;

/// Debian's packages create this file if they need a reboot.
const REQUIRED: &str = "/run/reboot-required";

/// Names of the packages that need the reboot, one per line.
const PACKAGES: &str = "/run/reboot-required.pkgs";

/// Maximum number of packages that are named.
const NAMED: usize = 5;

/// Observes the desired resources that may take effect only at a reboot, and returns each reason as a phrase.
pub(crate) fn reasons(sys: &Sys, desired: &Desired, ledger: &Ledger) -> Vec<String> {
    let items: Vec<Item<'_>> = desired
        .iter()
        .filter(|(address, _)| provider::of(address.kind()).at_next_boot().is_some())
        .map(|(address, leaf)| Item {
            address,
            spec: &leaf.spec,
        })
        .collect();
    let mut reasons = Vec::new();
    if !items.is_empty() {
        let inputs = Inputs { desired, ledger };
        let context = ObserveContext::new(sys, &ledger.owners, inputs, &items);
        let observed = context.observe(&items);
        for (item, observed) in items.iter().zip(observed) {
            let at_next_boot = provider::of(item.address.kind()).at_next_boot();
            if let (Some(at_next_boot), Ok(observed)) = (at_next_boot, observed) {
                reasons.extend(at_next_boot.pending(item.address, item.spec, &observed));
            }
        }
    }
    reasons.extend(of_packages(sys));
    reasons
}

/// Returns the reason that packages of the distribution give, if there is one.
pub(crate) fn of_packages(sys: &Sys) -> Option<String> {
    sys.exists(REQUIRED)
        .then(|| packages(&sys.text(PACKAGES).unwrap_or_default()))
}

/// Names the packages in Debian's list of those that need a reboot.
fn packages(list: &str) -> String {
    let mut names: Vec<&str> = list.lines().map(str::trim).collect();
    names.sort_unstable();
    names.dedup();
    names.retain(|name| !name.is_empty());
    let rest = names.len().saturating_sub(NAMED);
    names.truncate(NAMED);
    match (names.as_slice(), rest) {
        ([], _) => format!("{REQUIRED} exists"),
        (names, 0) => format!("updated packages: {}", names.join(", ")),
        (names, rest) => format!("updated packages: {} and {rest} more", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_that_need_a_reboot_are_named_once() {
        assert_eq!(packages(""), "/run/reboot-required exists");
        assert_eq!(
            packages("linux-image-amd64\nlibc6\nlibc6\n"),
            "updated packages: libc6, linux-image-amd64"
        );
        assert_eq!(
            packages("a\nb\nc\nd\ne\nf\n"),
            "updated packages: a, b, c, d, e and 1 more"
        );
    }
}
