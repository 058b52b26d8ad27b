//! `backup`: expands into a program that makes and verifies a backup, its timers, and its metrics.

use std::fmt::Write as _;
use std::time::Duration;

use plumb_api::Kind;
use plumb_api::period::Period;
use plumb_api::resource::{BackupSpec, BackupTool, BackupVerify};

use super::credentials::{credentials_file, credentials_part};
use super::{ExpandContext, Outcome, Part, TypedResource, credentials, each, shell, timer};

/// The folder in which Debian's node exporter looks for files of metrics.
const METRICS: &str = "/var/lib/prometheus/node-exporter";

const DAY: u64 = 86_400;

/// The metric of the last success, and its limit.
const MADE: [&str; 2] = [
    "backup_last_success_timestamp_seconds",
    "backup_max_age_seconds",
];

/// The metric of the last verification, and its limit.
const VERIFIED: [&str; 2] = [
    "backup_last_verified_timestamp_seconds",
    "backup_verify_max_age_seconds",
];

/// The alerts of every Prometheus about backups. A new backup has an hour for its first success.
pub(super) const ALERTS: &str = r#"# Written by plumb.
groups:
  - name: backup
    rules:
      - alert: BackupTooOld
        expr: time() - backup_last_success_timestamp_seconds > backup_max_age_seconds
        for: 1h
        labels: {severity: warning}
        annotations: {summary: "The backup {{ $labels.backup }} wasn't made for {{ $value | humanizeDuration }}"}
      - alert: BackupNotVerified
        expr: time() - backup_last_verified_timestamp_seconds > backup_verify_max_age_seconds
        for: 1h
        labels: {severity: warning}
        annotations: {summary: "The backup {{ $labels.backup }} wasn't verified for {{ $value | humanizeDuration }}"}
"#;

/// Expands each resource into parts of its own.
pub(super) fn expand(all: &[TypedResource<'_, BackupSpec>], _: &ExpandContext<'_>) -> Vec<Outcome> {
    each(all, |one| parts(one.name, one.spec))
}

fn parts(name: &str, spec: &BackupSpec) -> Vec<Part> {
    let tool = spec.tool.as_str();
    let unit = format!("backup-{name}");
    let verify = format!("{unit}-verify");
    let program = shell::path(&unit);
    let metrics = metrics(name);
    let mut jobs = vec![format!("{unit}.service")];
    let mut parts = vec![
        Part::new(Kind::Package, tool),
        shell::program(&unit, script(name, spec)),
        // The program writes it from then on; when the resource leaves git, so does the file.
        Part::root_file(&metrics)
            .field("content", never(name, spec))
            .field("manage", "once"),
    ];
    let job = |step: &str| vec![program.clone(), step.to_owned()];
    parts.extend(timer::parts(
        &unit,
        &timer::job(job("make"), &spec.schedule),
    ));
    if let Some(wanted) = &spec.verify {
        parts.extend(timer::parts(
            &verify,
            &timer::job(job("verify"), &wanted.schedule),
        ));
        parts.push(
            Part::new(Kind::Unit, format!("{verify}.service.d/10-order.conf")).field(
                "content",
                format!("# Written by plumb.\n[Unit]\nAfter={unit}.service\n"),
            ),
        );
        jobs.push(format!("{verify}.service"));
    }
    let start = ["/usr/bin/systemctl", "start", "--no-block"].map(str::to_owned);
    let secrets = credentials_part(&unit, spec.credentials.as_ref());
    let after: Vec<String> = jobs
        .iter()
        .map(|job| format!("unit:{job}"))
        .chain([format!("package:{tool}"), format!("file:{metrics}")])
        .chain(secrets.iter().map(|_| credentials::address(&unit)))
        .collect();
    parts.extend(secrets);
    parts.push(
        Part::new(Kind::Command, unit)
            .field("run", start.into_iter().chain(jobs).collect::<Vec<_>>())
            .field("refreshOn", vec![format!("file:{program}")])
            .field("after", after),
    );
    parts
}

fn metrics(name: &str) -> String {
    format!("{METRICS}/backup-{name}.prom")
}

/// Returns the limits of the ages as lines of metrics.
fn limits(name: &str, spec: &BackupSpec) -> String {
    let seconds = |age: Option<Period>, days: u64| {
        age.map_or(Duration::from_secs(days * DAY), Period::duration)
            .as_secs()
    };
    let mut text = format!(
        "{}{{backup=\"{name}\"}} {}\n",
        MADE[1],
        seconds(spec.max_age, 2)
    );
    if let Some(BackupVerify { max_age, .. }) = &spec.verify {
        let _ = writeln!(
            text,
            "{}{{backup=\"{name}\"}} {}",
            VERIFIED[1],
            seconds(*max_age, 9)
        );
    }
    text
}

/// Returns the metrics of a backup that was never made.
fn never(name: &str, spec: &BackupSpec) -> String {
    let mut text = limits(name, spec);
    let _ = writeln!(text, "{}{{backup=\"{name}\"}} 0", MADE[0]);
    if spec.verify.is_some() {
        let _ = writeln!(text, "{}{{backup=\"{name}\"}} 0", VERIFIED[0]);
    }
    text
}

/// Returns the program that makes the backup, verifies it, and runs the tool for people.
fn script(name: &str, spec: &BackupSpec) -> String {
    let tool = spec.tool.as_str();
    let mut text = String::from(
        "#!/bin/sh\n# Written by plumb. Usage: make | verify | TOOL ARGUMENTS\nset -eu\n",
    );
    let _ = writeln!(text, "export HOME=/root XDG_CACHE_HOME=/var/cache");
    if spec.tool == BackupTool::Restic {
        let repository = shell::quoted(&spec.repository);
        let _ = writeln!(text, "export RESTIC_REPOSITORY={repository}");
    }
    if let Some(credentials) = &spec.credentials {
        let _ = writeln!(
            text,
            "set -a\n. {}\nset +a",
            shell::quoted(&credentials_file(&format!("backup-{name}"), credentials))
        );
    }
    let [made, verified] = [MADE[0], VERIFIED[0]];
    let (copying, checking) = match spec.tool {
        BackupTool::Restic => restic(spec),
        BackupTool::Rclone => rclone(spec),
    };
    let _ = write!(
        text,
        r#"metrics={metrics}
limits={limits}
# Writes the time of a success, and keeps the other one.
succeeded() {{
    other=$(grep _timestamp_ "$metrics" | grep -v "^$1{{" || :)
    printf '%s%s{{backup="%s"}} %s\n%s\n' "$limits" "$1" {name} "$(date +%s)" "$other" | grep . >"$metrics.new"
    chmod 0644 "$metrics.new"
    mv "$metrics.new" "$metrics"
}}
# One job at a time.
locked() {{
    exec 9>/run/backup-{name}.lock
    flock 9
}}
case "${{1:-}}" in
make)
    locked
{copying}    succeeded {made}
    ;;
verify)
    locked
{checking}    succeeded {verified}
    ;;
{tool})
    shift
    exec /usr/bin/{tool} "$@"
    ;;
*)
    echo "usage: $0 make | verify | {tool} ARGUMENTS" >&2
    exit 2
    ;;
esac
"#,
        metrics = metrics(name),
        limits = shell::quoted(&limits(name, spec)),
    );
    text
}

/// Returns the steps of restic.
fn restic(spec: &BackupSpec) -> (String, String) {
    let mut make = String::from(
        "    # `init` never changes a repository that is there.\n    restic cat config >/dev/null 2>&1 || restic init\n",
    );
    let limit = spec.bandwidth.map(|bandwidth| {
        let kibibytes = (bandwidth.bytes() / 1024).max(1);
        format!("--limit-upload={kibibytes}")
    });
    let exclude = spec.exclude.iter().map(|one| format!("--exclude={one}"));
    let options = shell::words(limit.into_iter().chain(exclude));
    let _ = writeln!(
        make,
        "    restic backup {options} -- {}",
        shell::words(&spec.paths)
    );
    if let Some(keep) = spec.keep {
        let keep = keep
            .given()
            .map(|(name, number)| format!("--keep-{name}={number}"));
        let _ = writeln!(make, "    restic forget --prune {}", shell::words(keep));
    }
    let read = spec
        .verify
        .as_ref()
        .and_then(|verify| verify.read_data.as_ref());
    let read = read.map(|read| format!("--read-data-subset={read}"));
    (make, format!("    restic check {}\n", shell::words(read)))
}

/// Returns the steps of rclone.
fn rclone(spec: &BackupSpec) -> (String, String) {
    let limit = spec
        .bandwidth
        .map(|bandwidth| format!("--bwlimit={}B", bandwidth.bytes()));
    let exclude = spec.exclude.iter().map(|one| format!("--exclude={one}"));
    let options: Vec<String> = limit.into_iter().chain(exclude).collect();
    let download = spec
        .verify
        .as_ref()
        .and_then(|verify| verify.read_data.as_ref());
    let download = download.map(|_| "--download".to_owned());
    let step = |command: &str, more: Option<String>| {
        let options = shell::words(options.iter().cloned().chain(more));
        let mut text = String::new();
        for path in &spec.paths {
            let to = format!("{}{path}", spec.repository.trim_end_matches('/'));
            let _ = writeln!(
                text,
                "    rclone {command} {options} {}",
                shell::words([path, &to])
            );
        }
        text
    };
    (step("copy", None), step("check --one-way", download))
}
