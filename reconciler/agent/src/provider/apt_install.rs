//! apt transactions: packages that apt installs and removes together, and what happens if one of them fails.

use std::collections::{BTreeMap, BTreeSet};

use plumb_api::report::{AgentError, ErrorCode};

use super::apt::{add_options, failure, in_unit, repair};
use super::apt_cache::{Lists, is_virtual};
use super::apt_update::{has_current_lists, update};
use super::policy_rc::{StartPermission, with_policy};
use crate::book::Home;
use crate::error::Result;
use crate::sys::{Output, Sys};

/// The packages that apt installs and removes in one run.
#[derive(Debug, Default)]
pub(crate) struct Transaction {
    /// Packages to install, each with its version if the manifest sets one.
    pub install: BTreeMap<String, Option<String>>,
    pub remove: BTreeSet<String>,
    pub downgrade: bool,
    /// True if some packages are held and the manifest wants the hold. apt may then change held packages, and
    /// the hold is set again afterwards.
    pub held: bool,
}

/// The options that all packages of a transaction share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Options {
    pub starting: StartPermission,
    pub recommends: Option<bool>,
}

impl Transaction {
    pub(crate) fn names(&self) -> impl Iterator<Item = &String> {
        self.install.keys().chain(&self.remove)
    }

    /// Removes a package from the transaction.
    fn leave_out(&mut self, name: &str) {
        self.install.remove(name);
        self.remove.remove(name);
    }

    /// Moves half of the packages to a new transaction and returns it. Returns `None` if there is only one
    /// package.
    fn split(&mut self) -> Option<Self> {
        let names: Vec<String> = self.names().cloned().collect();
        let half = names.len() / 2;
        if half == 0 {
            return None;
        }
        let mut other = Self {
            downgrade: self.downgrade,
            held: self.held,
            ..Self::default()
        };
        for name in &names[..half] {
            if let Some(version) = self.install.remove(name) {
                other.install.insert(name.clone(), version);
            }
            if self.remove.remove(name) {
                other.remove.insert(name.clone());
            }
        }
        Some(other)
    }

    /// Returns the package arguments of `apt-get install`.
    fn words(&self) -> Vec<String> {
        let installed = self.install.iter().map(|(name, version)| match version {
            Some(version) => format!("{name}={version}"),
            None => name.clone(),
        });
        installed
            .chain(self.remove.iter().map(|name| format!("{name}-")))
            .collect()
    }
}

/// The result of a transaction: failures by package, and problems of the host that failed no package.
#[derive(Debug, Default)]
pub(crate) struct Ran {
    pub failures: BTreeMap<String, AgentError>,
    pub warnings: Vec<String>,
}

/// The recovery steps that were taken already. The agent takes each step at most once per transaction,
/// including the parts into which it splits the transaction.
#[derive(Debug, Default)]
struct Tried {
    updated: bool,
    repaired: bool,
}

/// Runs a transaction. Refreshes apt's lists only if they are missing or outdated, a source has changed, or
/// apt doesn't find a package. Leaves out packages that fail by themselves, so that the others are still
/// installed and removed.
pub(crate) fn run(sys: &Sys, home: &Home, mut transaction: Transaction, options: Options) -> Ran {
    let mut ran = Ran::default();
    let mut tried = Tried::default();
    if !transaction.install.is_empty() && !has_current_lists(sys) {
        if let Err(error) = refresh(sys, home, &mut transaction, &mut tried, &mut ran) {
            let all = transaction
                .names()
                .map(|name| (name.clone(), error.clone()));
            ran.failures.extend(all);
            return ran;
        }
    }
    attempt(sys, home, transaction, options, &mut tried, &mut ran);
    ran
}

/// Refreshes apt's lists. Then fails the packages that turn out to be virtual, because apt would choose a
/// provider for them.
fn refresh(
    sys: &Sys,
    home: &Home,
    transaction: &mut Transaction,
    tried: &mut Tried,
    ran: &mut Ran,
) -> Result<()> {
    tried.updated = true;
    ran.warnings.extend(update(sys, home)?);
    let names: BTreeSet<&str> = transaction.install.keys().map(String::as_str).collect();
    let lists = Lists::read(sys, &names)?;
    let refusal = |name: &String| Some((name.clone(), is_virtual(name, lists.providers(name)?)));
    let refused: Vec<(String, AgentError)> =
        transaction.install.keys().filter_map(refusal).collect();
    for (name, error) in refused {
        transaction.leave_out(&name);
        ran.failures.insert(name, error);
    }
    Ok(())
}

/// Runs a transaction. Retries without the packages that fail by themselves.
fn attempt(
    sys: &Sys,
    home: &Home,
    mut transaction: Transaction,
    options: Options,
    tried: &mut Tried,
    ran: &mut Ran,
) {
    while transaction.names().next().is_some() {
        let outcome = with_policy(sys, options.starting, || {
            install(sys, home, &transaction, options)
        });
        let error = match outcome {
            Ok(output) if output.status == 0 => return,
            Ok(output) => match next_step(sys, home, &mut transaction, &output, tried, ran) {
                Ok(AptRetry::Again) => continue,
                Ok(AptRetry::Halves(error)) => {
                    if let Some(half) = transaction.split() {
                        attempt(sys, home, half, options, tried, ran);
                        continue;
                    }
                    error
                }
                Err(error) => error,
            },
            Err(error) => error,
        };
        for name in transaction.names() {
            ran.failures.insert(name.clone(), error.clone());
        }
        return;
    }
}

/// The way to continue after a failed transaction.
enum AptRetry {
    /// Run the remaining transaction again.
    Again,
    /// The error doesn't show which package failed: run each half of the packages separately.
    Halves(AgentError),
}

/// Takes the packages that caused a failure out of the transaction, and returns how to continue. An error
/// applies to all remaining packages.
fn next_step(
    sys: &Sys,
    home: &Home,
    transaction: &mut Transaction,
    output: &Output,
    tried: &mut Tried,
    ran: &mut Ran,
) -> Result<AptRetry> {
    let said = &output.stdout;
    let unknown = unknown_names(said, transaction);
    if !tried.updated && (!unknown.is_empty() || is_outdated(said)) {
        refresh(sys, home, transaction, tried, ran)?;
        return Ok(AptRetry::Again);
    }
    if !tried.repaired && said.contains("dpkg --configure -a") {
        tried.repaired = true;
        repair(sys, home)?;
        return Ok(AptRetry::Again);
    }
    if !unknown.is_empty() {
        for (name, line) in unknown {
            transaction.leave_out(&name);
            let error = not_found(&name, &line, &ran.warnings);
            ran.failures.insert(name, error);
        }
        return Ok(AptRetry::Again);
    }
    let error = failure("apt-get can't do the transaction", output);
    if matches!(error.code, ErrorCode::PackageLock | ErrorCode::NoSpace) {
        return Err(error);
    }
    let broken = broken_names(said, transaction);
    if broken.is_empty() {
        return Ok(AptRetry::Halves(error));
    }
    for name in broken {
        transaction.leave_out(&name);
        ran.failures.insert(name, error.clone());
    }
    Ok(AptRetry::Again)
}

/// Returns the error for a package that apt's lists don't have.
fn not_found(name: &str, line: &str, warnings: &[String]) -> AgentError {
    let error = AgentError::new(
        ErrorCode::NotFound,
        format!("apt has no such package: {line}"),
    );
    match warnings.first() {
        Some(warning) => error.hint(format!("check its name; besides, {warning}")),
        None => error.hint(format!(
            "check its name; `apt-cache policy {name}` on the host shows what its sources have"
        )),
    }
}

/// Returns the packages of a transaction that dpkg couldn't process, according to its output.
fn broken_names(said: &str, transaction: &Transaction) -> Vec<String> {
    let named = |line: &str| -> Option<String> {
        let rest = line.strip_prefix("dpkg: error processing ")?;
        let word = rest
            .trim_start_matches("package ")
            .trim_start_matches("archive ")
            .split_ascii_whitespace()
            .next()?;
        // dpkg names an archive by its path: `/var/cache/apt/archives/NAME_VERSION_ARCH.deb`.
        let file = word.rsplit('/').next().unwrap_or(word);
        let name = file.split('_').next().unwrap_or(file);
        Some(name.split(':').next().unwrap_or(name).to_owned())
    };
    let broken: BTreeSet<String> = said.lines().filter_map(named).collect();
    transaction
        .names()
        .filter(|name| broken.contains(name.split(':').next().unwrap_or(name)))
        .cloned()
        .collect()
}

fn install(sys: &Sys, home: &Home, transaction: &Transaction, options: Options) -> Result<Output> {
    let mut words = vec!["apt-get"];
    add_options(&mut words);
    match options.recommends {
        Some(true) => words.extend(["-o", "APT::Install-Recommends=true"]),
        Some(false) => words.extend(["-o", "APT::Install-Recommends=false"]),
        None => {}
    }
    if transaction.downgrade {
        words.push("--allow-downgrades");
    }
    if transaction.held {
        words.push("--allow-change-held-packages");
    }
    if transaction.remove.is_empty() {
        words.push("--no-remove");
    }
    words.extend(["install", "--"]);
    let packages = transaction.words();
    words.extend(packages.iter().map(String::as_str));
    in_unit(sys, home, &words)
}

/// Returns the packages whose wanted version apt doesn't find in its sources, each with apt's error line.
fn unknown_names(said: &str, transaction: &Transaction) -> Vec<(String, String)> {
    let names = |line: &str| -> Vec<String> {
        transaction
            .names()
            .filter(|name| {
                line.split([' ', '\'', '"', ',']).any(|word| {
                    word == name.as_str() || word.split(':').next() == Some(name.as_str())
                })
            })
            .cloned()
            .collect()
    };
    said.lines()
        .filter(|line| line.starts_with("E: ") && is_unknown(line))
        .flat_map(|line| {
            names(line)
                .into_iter()
                .map(|name| (name, line[3..].to_owned()))
        })
        .collect()
}

pub(super) fn is_unknown(said: &str) -> bool {
    said.contains("Unable to locate package")
        || said.contains("has no installation candidate")
        || said.contains("was not found")
        || said.contains("Couldn't find any package")
}

/// True if apt failed to download a file. The lists may be outdated and name files that the mirror no longer
/// has.
fn is_outdated(said: &str) -> bool {
    said.contains("404  Not Found")
        || said.contains("Failed to fetch")
        || said.contains("Hash Sum mismatch")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_packages_are_named_by_apt() {
        let mut transaction = Transaction::default();
        for name in ["nope", "btop", "old"] {
            transaction.install.insert(name.to_owned(), None);
        }
        let said = "Reading package lists...\nE: Unable to locate package nope\nE: Version '9' for 'old' was not found\n";
        let names: Vec<String> = unknown_names(said, &transaction)
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(names, ["nope", "old"]);
    }

    #[test]
    fn packages_that_dpkg_cant_process_are_named() {
        let mut transaction = Transaction::default();
        for name in ["bad", "worse:i386", "good"] {
            transaction.install.insert(name.to_owned(), None);
        }
        let said = "dpkg: error processing package bad (--configure):\n installed bad package post-installation script\ndpkg: error processing archive /var/cache/apt/archives/worse_1.0_i386.deb (--unpack):\n trying to overwrite\ndpkg: error processing package stranger (--configure):\n";
        assert_eq!(broken_names(said, &transaction), ["bad", "worse:i386"]);
    }

    #[test]
    fn a_transaction_splits_until_one_package_is_left() {
        let mut transaction = Transaction::default();
        for name in ["a", "b", "c"] {
            transaction.install.insert(name.to_owned(), None);
        }
        transaction.remove.insert("d".to_owned());
        let half = transaction.split().unwrap();
        assert_eq!((half.names().count(), transaction.names().count()), (2, 2));
        let mut one = Transaction::default();
        one.remove.insert("a".to_owned());
        assert!(one.split().is_none());
    }
}
