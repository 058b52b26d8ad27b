//! apt transactions in transient units of systemd, so that nothing of ours can kill one halfway:
//! not the end of the connection, not the agent's own death.

use std::fmt::Write as _;
use std::io::Read;
use std::time::{Duration, Instant};

use plumb_api::report::{AgentError, ErrorCode};

use crate::book::{Home, PATH};
use crate::error::{At, Result, fail};
use crate::sys::{Output, Program, Sys, create_new};

/// The prefix of our units.
const UNIT: &str = "plumb-apt-";

/// Where systemd keeps transient units while they are loaded.
const TRANSIENT: &str = "/run/systemd/transient";

/// The hook of Debian's maintainer scripts that is asked before a service is started.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// By this a hook of ours is known, should a power loss leave one behind.
const MARK: &str = "# plumb: for the time of one package transaction";

/// A transaction may rightly take long on a slow line.
const LIMIT: Duration = Duration::from_secs(2 * 60 * 60);

/// What one run of apt is to do.
#[derive(Debug, Default)]
pub(crate) struct Transaction {
    /// Names, or `name=version`.
    pub install: Vec<String>,
    pub remove: Vec<String>,
    pub downgrade: bool,
    /// Some of them are held by the manifest itself, and held again afterwards.
    pub held: bool,
}

/// Our package transactions that are at work, from an earlier run that was cut off.
pub(crate) fn transactions(sys: &Sys) -> Vec<String> {
    if sys.is_sandbox() {
        return Vec::new();
    }
    let names = sys.root().list(TRANSIENT).unwrap_or_default();
    names
        .into_iter()
        .filter(|name| name.starts_with(UNIT) && name.ends_with(".service"))
        .collect()
}

/// Waits until no transaction of ours is at work.
pub(crate) fn wait_for_others(sys: &Sys, patience: Duration) -> Result<()> {
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
    remove_policy(sys)
}

/// Takes away a hook that a power loss left behind.
fn remove_policy(sys: &Sys) -> Result<()> {
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
    crate::sys::replace(
        &dir,
        leaf,
        ".plumb-policy",
        &mut text.as_bytes(),
        None,
        meta,
        &mut |_| Ok(()),
    )
}

/// Whether the transaction's packages may start their services themselves.
fn with_policy<T>(sys: &Sys, start: bool, work: impl FnOnce() -> Result<T>) -> Result<T> {
    if start {
        return work();
    }
    place_policy(sys)?;
    let outcome = work();
    remove_policy(sys)?;
    outcome
}

/// Runs a program to its end in a unit of its own. What it says goes to a file, not to a pipe of ours.
fn in_unit(sys: &Sys, home: &Home, words: &[&str]) -> Result<Output> {
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
            // The hook goes with the transaction, even if nobody of ours is left to remove it.
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

/// The failure of apt or dpkg, its kind read from what it said.
fn failure(what: &str, output: &Output) -> AgentError {
    let said = &output.stdout;
    let complaint = explain(output);
    if said.contains("Could not get lock")
        || said.contains("is another process using it")
        || said.contains("Unable to acquire the dpkg frontend lock")
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
    if is_unknown(said) {
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
    AgentError::new(ErrorCode::CommandFailed, format!("{what}: {complaint}"))
}

/// apt's own lines of error, else its last ones.
fn explain(output: &Output) -> String {
    let errors: Vec<&str> = output
        .stdout
        .lines()
        .filter(|line| line.starts_with("E: ") || line.starts_with("dpkg: error"))
        .take(12)
        .collect();
    if errors.is_empty() {
        return crate::sys::last_lines(&output.stdout, 12);
    }
    errors.join("\n")
}

fn is_unknown(said: &str) -> bool {
    said.contains("Unable to locate package")
        || said.contains("has no installation candidate")
        || said.contains("was not found")
        || said.contains("Couldn't find any package")
}

/// Stale lists: what they name isn't there any more.
fn is_outdated(said: &str) -> bool {
    said.contains("404  Not Found")
        || said.contains("Failed to fetch")
        || said.contains("Hash Sum mismatch")
}

fn options(words: &mut Vec<&str>) {
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

fn has_lists(sys: &Sys) -> bool {
    sys.root()
        .list("/var/lib/apt/lists")
        .unwrap_or_default()
        .iter()
        .any(|name| name.contains("_Packages"))
}

fn update(sys: &Sys, home: &Home) -> Result<()> {
    let output = in_unit(
        sys,
        home,
        &["apt-get", "update", "-q", "-o", "DPkg::Lock::Timeout=60"],
    )?;
    if output.status == 0 {
        return Ok(());
    }
    Err(failure("apt-get can't update its lists", &output))
}

/// Refuses a removal that takes other packages along.
fn check_removals(sys: &Sys, transaction: &Transaction) -> Result<()> {
    let mut words = vec!["-s"];
    options(&mut words);
    words.push("remove");
    let names = transaction.remove.iter().map(String::as_str);
    let output = Program::new("apt-get", words.into_iter().chain(names))
        .limit(Duration::from_secs(120))
        .run(sys)?;
    if output.status != 0 {
        return Err(failure("apt-get can't remove what it should", &output));
    }
    let bare = |name: &str| name.split(':').next().unwrap_or(name).to_owned();
    let wanted: Vec<String> = transaction.remove.iter().map(|name| bare(name)).collect();
    let others: Vec<String> = output
        .stdout
        .lines()
        .filter_map(|line| line.strip_prefix("Remv ")?.split_whitespace().next())
        .map(bare)
        .filter(|name| !wanted.contains(name))
        .collect();
    if others.is_empty() {
        return Ok(());
    }
    Err(AgentError::new(
        ErrorCode::Refused,
        format!(
            "removing {} would also remove {}, which need it",
            transaction.remove.join(", "),
            others.join(", ")
        ),
    )
    .hint("say `state: absent` for those too, or keep it"))
}

/// Runs a transaction; refreshes apt's lists only when they lack something.
pub(crate) fn run(
    sys: &Sys,
    home: &Home,
    transaction: &Transaction,
    start: bool,
    recommends: Option<bool>,
) -> Result<()> {
    if transaction.install.is_empty() && transaction.remove.is_empty() {
        return Ok(());
    }
    if !transaction.remove.is_empty() {
        check_removals(sys, transaction)?;
    }
    let mut words = vec!["apt-get"];
    options(&mut words);
    match recommends {
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
    let removals: Vec<String> = transaction
        .remove
        .iter()
        .map(|name| format!("{name}-"))
        .collect();
    words.extend(
        transaction
            .install
            .iter()
            .chain(&removals)
            .map(String::as_str),
    );
    let mut updated = !transaction.install.is_empty() && !has_lists(sys);
    if updated {
        update(sys, home)?;
    }
    loop {
        let output = with_policy(sys, start, || in_unit(sys, home, &words))?;
        if output.status == 0 {
            return Ok(());
        }
        let said = &output.stdout;
        if !updated && (is_unknown(said) || is_outdated(said)) {
            updated = true;
            update(sys, home)?;
        } else if said.contains("dpkg --configure -a") {
            repair(sys, home)?;
            return fail(
                ErrorCode::CommandFailed,
                "dpkg had been interrupted and was repaired; the transaction runs with the next attempt",
            );
        } else {
            return Err(failure("apt-get can't do the transaction", &output));
        }
    }
}

/// Finishes what an interrupted dpkg left half done.
pub(crate) fn repair(sys: &Sys, home: &Home) -> Result<()> {
    with_policy(sys, false, || {
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
        options(&mut words);
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

/// `apt-mark hold` and `unhold`.
pub(crate) fn mark(sys: &Sys, verb: &str, names: &[String]) -> Result<()> {
    let args = std::iter::once(verb.to_owned()).chain(names.iter().cloned());
    Program::new("apt-mark", args).check(sys).map(|_| ())
}

/// Takes the configuration of removed packages away.
pub(crate) fn purge(sys: &Sys, home: &Home, names: &[String]) -> Result<()> {
    let mut words = vec!["dpkg", "--purge", "--"];
    words.extend(names.iter().map(String::as_str));
    let output = in_unit(sys, home, &words)?;
    if output.status == 0 {
        return Ok(());
    }
    Err(failure("dpkg can't purge", &output))
}
