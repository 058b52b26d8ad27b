//! Runs apt and dpkg in transient systemd units, so that they run to completion even if the connection or the
//! agent ends.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::time::{Duration, Instant};

use plumb_api::report::{AgentError, ErrorCode};

use super::apt_install;
use super::policy_rc::{MARK, POLICY, StartPermission, remove_policy, with_policy};
use crate::book::{Home, PATH};
use crate::error::{At, Result};
use crate::sys::{Output, Program, Sys, create_new};

/// Prefix of the names of these transient units.
const UNIT: &str = "plumb-apt-";

/// The folder in which systemd keeps transient units while they are loaded.
const TRANSIENT: &str = "/run/systemd/transient";

/// Time limit of a package transaction. Downloads over a slow connection may take long.
const LIMIT: Duration = Duration::from_secs(2 * 60 * 60);

/// Returns the unit names of the package transactions that an interrupted run started and that are still
/// running.
pub(crate) fn transactions(sys: &Sys) -> Vec<String> {
    if sys.is_sandbox() {
        return Vec::new();
    }
    let names = sys.root().list(TRANSIENT).unwrap_or_default();
    names
        .into_iter()
        .filter(|name| name.starts_with(UNIT) && name.strip_suffix(".service").is_some())
        .collect()
}

/// Waits until no package transaction of an earlier run is running, and fails if one still is after
/// `patience`. Then removes the logs and the `policy-rc.d` hook that interrupted runs left behind.
pub(crate) fn wait_for_others(sys: &Sys, home: &Home, patience: Duration) -> Result<()> {
    let deadline = Instant::now() + patience;
    while let Some(unit) = transactions(sys).into_iter().next() {
        if Instant::now() >= deadline {
            return Err(AgentError::new(
                ErrorCode::PackageLock,
                format!("the package transaction {unit} of an earlier run is still at work"),
            )
            .hint(format!(
                "`systemctl status {unit}` on the host shows what it does"
            )));
        }
        std::thread::sleep(Duration::from_millis(250));
    }
    for log in home.dir().list()? {
        if log.starts_with("apt-") && log.strip_suffix(".log").is_some() {
            home.dir().unlink(&log)?;
        }
    }
    remove_policy(sys)
}

/// Runs a program to its end in its own transient unit. Its output goes to a file instead of a pipe, so that
/// it doesn't fail if the agent ends.
pub(super) fn in_unit(sys: &Sys, home: &Home, words: &[&str]) -> Result<Output> {
    let stamp = format!("{}-{}", std::process::id(), crate::sys::monotonic_micros());
    let log = format!("apt-{stamp}.log");
    let file = create_new(home.dir(), &log)?;
    let mut reader = file.try_clone().at("open", PATH)?;
    let output = if sys.has_systemd() {
        let unit = format!("{UNIT}{stamp}");
        let stream = format!("append:{PATH}/{log}");
        let args = [
            "--quiet".to_owned(),
            "--wait".to_owned(),
            "--collect".to_owned(),
            "--service-type=exec".to_owned(),
            format!("--unit={unit}"),
            "--description=Plumb: a package transaction".to_owned(),
            format!("--property=StandardOutput={stream}"),
            format!("--property=StandardError={stream}"),
            // The unit removes the `policy-rc.d` hook itself, in case the agent has ended.
            format!(
                "--property=ExecStopPost=-/bin/sh -c 'grep -qs \"^{MARK}\" {POLICY} && rm -f {POLICY}'"
            ),
            "--setenv=DEBIAN_FRONTEND=noninteractive".to_owned(),
            "--setenv=NEEDRESTART_MODE=l".to_owned(),
            "--setenv=APT_LISTCHANGES_FRONTEND=none".to_owned(),
            "--setenv=LC_ALL=C.UTF-8".to_owned(),
            "--setenv=PATH=/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
            "--".to_owned(),
        ];
        let all = args
            .into_iter()
            .chain(words.iter().map(|word| (*word).to_owned()));
        Program::new("systemd-run", all).limit(LIMIT).run(sys)
    } else {
        Program::new(words[0], words[1..].iter().copied())
            .env("DEBIAN_FRONTEND", "noninteractive")
            .env("NEEDRESTART_MODE", "l")
            .env("APT_LISTCHANGES_FRONTEND", "none")
            .limit(LIMIT)
            .log(file)
            .run(sys)
    };
    let mut said = String::new();
    let mut bytes = Vec::new();
    if reader
        .by_ref()
        .take(8 << 20)
        .read_to_end(&mut bytes)
        .is_ok()
    {
        said = String::from_utf8_lossy(&bytes).into_owned();
    }
    home.dir().unlink(&log)?;
    let mut output = output?;
    output.stdout = said;
    Ok(output)
}

/// Returns the error for a failed run of apt or dpkg. The error code depends on the program's output.
pub(super) fn failure(what: &str, output: &Output) -> AgentError {
    let said = &output.stdout;
    let complaint = explain(output);
    if said.contains("Could not get lock")
        || said.contains("is another process using it")
        || said.contains("Unable to acquire the dpkg frontend lock")
        || said.contains("lock was locked by another process")
    {
        return AgentError::new(
            ErrorCode::PackageLock,
            format!("another program holds the package manager: {complaint}"),
        );
    }
    if said.contains("You don't have enough free space") || said.contains("No space left on device")
    {
        return AgentError::new(ErrorCode::NoSpace, format!("{what}: {complaint}"));
    }
    if apt_install::is_unknown(said) {
        return AgentError::new(ErrorCode::NotFound, format!("{what}: {complaint}"))
            .hint("`apt-cache policy NAME` on the host shows what its sources have");
    }
    if said.contains("Packages need to be removed but remove is disabled") {
        return AgentError::new(
            ErrorCode::Refused,
            format!("{what}: apt would have to remove other packages: {complaint}"),
        )
        .hint("say `state: absent` for those that are to go");
    }
    let error = AgentError::new(ErrorCode::CommandFailed, format!("{what}: {complaint}"));
    if said.contains("without --allow-downgrades") {
        return error.hint("the version is older than the installed one: say `allowDowngrade: true` if that is meant");
    }
    error
}

/// Headings of the lists in which apt explains why it can't carry out a request.
const REASONS: [&str; 2] = [
    "The following packages have unmet dependencies:",
    "The following packages will be REMOVED:",
];

/// Returns apt's error lines, its lists of reasons, and the lines around dpkg's errors. If there are none,
/// returns the last lines of the output.
fn explain(output: &Output) -> String {
    let lines: Vec<&str> = output.stdout.lines().collect();
    let mut told: BTreeSet<usize> = BTreeSet::new();
    let mut is_reason = false;
    for (at, line) in lines.iter().enumerate() {
        // apt indents the lists below these headings, and doesn't repeat them in its error line.
        is_reason = REASONS.contains(line) || is_reason && line.starts_with(' ');
        if is_reason && line.starts_with(' ') {
            told.insert(at);
        }
        if line.starts_with("dpkg: error processing") {
            // The line before shows the last output of the maintainer script, and the line after shows its
            // exit status.
            told.extend(at.saturating_sub(1)..=at + 1);
        } else if line.starts_with("E: ") || line.starts_with("dpkg: error") {
            told.insert(at);
        }
    }
    let said: Vec<&str> = told
        .iter()
        .take(12)
        .filter_map(|at| lines.get(*at))
        .map(|line| line.trim())
        .collect();
    if said.is_empty() {
        return crate::sys::last_lines(&output.stdout, 12);
    }
    said.join("\n")
}

pub(super) fn add_options(words: &mut Vec<&str>) {
    words.extend([
        "-y",
        "-q",
        "-o",
        "DPkg::Lock::Timeout=60",
        "-o",
        "Dpkg::Options::=--force-confdef",
        "-o",
        "Dpkg::Options::=--force-confold",
        "-o",
        "Dpkg::Use-Pty=0",
        "-o",
        "APT::Get::AutomaticRemove=false",
    ]);
}

/// Returns the packages outside `wanted` that apt would remove together with `names`.
fn taken_along(
    sys: &Sys,
    names: &BTreeSet<String>,
    wanted: &BTreeSet<String>,
) -> Result<BTreeSet<String>> {
    let mut words = vec!["-s"];
    add_options(&mut words);
    words.extend(["remove", "--"]);
    let names = names.iter().map(String::as_str);
    let output = Program::new("apt-get", words.into_iter().chain(names))
        .limit(Duration::from_secs(120))
        .run(sys)?;
    if output.status != 0 {
        return Err(failure("apt-get can't remove what it should", &output));
    }
    let bare = |name: &str| name.split(':').next().unwrap_or(name).to_owned();
    let wanted: BTreeSet<String> = wanted.iter().map(|name| bare(name)).collect();
    Ok(output
        .stdout
        .lines()
        .filter_map(|line| line.strip_prefix("Remv ")?.split_whitespace().next())
        .map(bare)
        .filter(|name| !wanted.contains(name))
        .collect())
}

/// Returns the packages of `names` that apt can't simply remove. Each has the packages outside `names` that
/// apt would remove with it, or the error if apt can't remove it at all.
pub(crate) fn needed_by(
    sys: &Sys,
    names: &BTreeSet<String>,
) -> BTreeMap<String, Result<BTreeSet<String>>> {
    let mut needed = BTreeMap::new();
    if names.is_empty() || taken_along(sys, names, names).is_ok_and(|others| others.is_empty()) {
        return needed;
    }
    for name in names {
        match taken_along(sys, &BTreeSet::from([name.clone()]), names) {
            Ok(others) if others.is_empty() => {}
            others => {
                needed.insert(name.clone(), others);
            }
        }
    }
    needed
}

/// Completes an interrupted run of dpkg.
pub(crate) fn repair(sys: &Sys, home: &Home) -> Result<()> {
    with_policy(sys, StartPermission::Denied, || {
        let configure = in_unit(
            sys,
            home,
            &[
                "dpkg",
                "--force-confdef",
                "--force-confold",
                "--configure",
                "-a",
            ],
        )?;
        if configure.status == 0 {
            return Ok(());
        }
        let mut words = vec!["apt-get"];
        add_options(&mut words);
        words.extend(["--no-remove", "--fix-broken", "install"]);
        let fix = in_unit(sys, home, &words)?;
        if fix.status == 0 {
            return Ok(());
        }
        Err(failure(
            "dpkg can't finish what was interrupted",
            &configure,
        ))
    })
}

/// Calls `run` once with all names. If that fails, calls it for each name alone and returns the failures by
/// name.
fn on_each(
    names: &[String],
    run: impl Fn(&[String]) -> Result<()>,
) -> BTreeMap<String, AgentError> {
    if names.is_empty() || run(names).is_ok() {
        return BTreeMap::new();
    }
    names
        .iter()
        .filter_map(|name| {
            let error = run(std::slice::from_ref(name)).err()?;
            Some((name.clone(), error))
        })
        .collect()
}

/// Runs `apt-mark VERB` on packages: `hold`, `unhold`, `auto`. Returns the failures by package.
pub(crate) fn mark(sys: &Sys, verb: &str, names: &[String]) -> BTreeMap<String, AgentError> {
    on_each(names, |names| {
        let args = std::iter::once(verb.to_owned()).chain(names.iter().cloned());
        Program::new("apt-mark", args).check(sys).map(|_| ())
    })
}

/// Purges the configuration of removed packages. Returns the failures by package.
pub(crate) fn purge(sys: &Sys, home: &Home, names: &[String]) -> BTreeMap<String, AgentError> {
    on_each(names, |names| {
        let mut words = vec!["dpkg", "--purge", "--"];
        words.extend(names.iter().map(String::as_str));
        let output = in_unit(sys, home, &words)?;
        if output.status == 0 {
            return Ok(());
        }
        Err(failure("dpkg can't purge", &output))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_tells_what_the_maintainer_script_said() {
        let output = Output {
            status: 100,
            stdout: "Setting up x (1.0) ...\nno such disk\ndpkg: error processing package x (--configure):\n installed x package post-installation script subprocess returned error exit status 1\nE: Sub-process /usr/bin/dpkg returned an error code (1)\n".to_owned(),
            stderr: String::new(),
        };
        let error = failure("apt-get can't do the transaction", &output);
        assert!(error.message.contains("no such disk") && error.message.contains("exit status 1"));
        let locked = Output {
            stdout:
                "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 7 (apt)\n"
                    .to_owned(),
            ..output
        };
        assert_eq!(failure("x", &locked).code, ErrorCode::PackageLock);
    }

    #[test]
    fn a_failure_tells_the_dependency_and_not_the_banner_above_it() {
        let output = Output {
            status: 100,
            stdout: "Reading package lists...\nSome packages could not be installed. This may mean that you have\nrequested an impossible situation\n\nThe following packages have unmet dependencies:\n x : Depends: nosuch but it is not installable\nE: Unable to correct problems, you have held broken packages.\n".to_owned(),
            stderr: String::new(),
        };
        assert_eq!(
            explain(&output),
            "x : Depends: nosuch but it is not installable\nE: Unable to correct problems, you have held broken packages."
        );
    }

    #[test]
    fn one_name_that_fails_keeps_no_other_from_its_turn() {
        use std::cell::RefCell;

        let done = RefCell::new(Vec::new());
        let names = ["good", "bad", "fine"].map(str::to_owned);
        let failed = on_each(&names, |names| {
            if names.iter().any(|name| name == "bad") {
                return Err(AgentError::new(ErrorCode::NotFound, "no such package"));
            }
            done.borrow_mut().extend(names.iter().cloned());
            Ok(())
        });
        assert_eq!(failed.into_keys().collect::<Vec<_>>(), ["bad"]);
        assert_eq!(done.into_inner(), ["good", "fine"]);
        assert!(
            on_each(&[], |_| Err(AgentError::new(
                ErrorCode::Internal,
                "never run"
            )))
            .is_empty()
        );
    }
}
