//! `backup`: a copy of folders that is made, pruned and verified on a schedule.

use serde::{Deserialize, Serialize};

use super::check_path;
use super::composite::Composite;
use super::composite_name::check_file_stem;
use super::contract::Problem;
use super::credentials::Credentials;
use super::field::Manage;
use super::timer::Schedule;
use crate::address::AnyAddress;
use crate::period::Period;
use crate::size::Size;

/// A backup of folders by `restic` or `rclone`. It expands to the tool's package, the program
/// `/usr/local/lib/plumb/backup-NAME`, the timers `backup-NAME` and, with `verify`, `backup-NAME-verify`, a
/// command that starts both jobs once after each change of the spec, without waiting for them, and a file of
/// metrics for the node exporter. `restic` makes the repository if there is none. To restore a file, run
/// `backup-NAME restic restore latest --target FOLDER`: the program runs the tool with the repository and the
/// credentials.
///
/// The metrics are `backup_last_success_timestamp_seconds`, `backup_last_verified_timestamp_seconds` and their
/// limits, `backup_max_age_seconds` and `backup_verify_max_age_seconds`, each with the label `backup`. Every
/// `prometheus` resource has the alerts `BackupTooOld` and `BackupNotVerified`, which compare them.
///
/// When the resource leaves git, the repository stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BackupSpec {
    /// `restic` makes encrypted snapshots; `rclone` copies new and changed files, and deletes none.
    pub tool: BackupTool,
    /// The repository as the tool writes it: a path, or `rest:https://…`, or `REMOTE:PATH` of rclone.
    pub repository: String,
    /// The absolute paths of the folders. `rclone` copies each below its own path in the repository.
    pub paths: Vec<String>,
    /// Patterns of paths to leave out, as the tool writes them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// When the backup is made: `{onBoot, every, calendar, persistent, randomDelay}`.
    pub schedule: Schedule,
    /// The snapshots of restic that are kept: `{last, hourly, daily, weekly, monthly, yearly}`; all when left
    /// out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<BackupKeep>,
    /// When the repository is verified, and how much of its data is read: `{schedule, readData, maxAge}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<BackupVerify>,
    /// Maximum upload per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<Size>,
    /// The tool's credentials, as lines `NAME='VALUE'` of environment variables: a secret, as
    /// `secret:NAME/KEY`, or a file on the host, as `{file: PATH}`. `restic` needs `RESTIC_PASSWORD` or
    /// `RESTIC_PASSWORD_FILE`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Credentials>,
    /// The age of the last success at which `BackupTooOld` fires; 2 days when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<Period>,
    /// Resources that are applied before this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<AnyAddress>,
    /// `always` (default), or `once`: create the resource, and never change it again.
    #[serde(default, skip_serializing_if = "Manage::is_always")]
    pub manage: Manage,
}

/// The tool that makes a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum BackupTool {
    /// Encrypted, deduplicated snapshots.
    Restic,
    /// Plain copies.
    Rclone,
}

impl BackupTool {
    /// Returns the name of the package and of the program.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Restic => "restic",
            Self::Rclone => "rclone",
        }
    }
}

/// The numbers of snapshots that are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BackupKeep {
    /// The newest snapshots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<u16>,
    /// One for each of this many hours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hourly: Option<u16>,
    /// One for each of this many days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub daily: Option<u16>,
    /// One for each of this many weeks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weekly: Option<u16>,
    /// One for each of this many months.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monthly: Option<u16>,
    /// One for each of this many years.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub yearly: Option<u16>,
}

impl BackupKeep {
    /// Returns the numbers that are given, with their names in restic.
    pub fn given(self) -> impl Iterator<Item = (&'static str, u16)> {
        let all = [
            ("last", self.last),
            ("hourly", self.hourly),
            ("daily", self.daily),
            ("weekly", self.weekly),
            ("monthly", self.monthly),
            ("yearly", self.yearly),
        ];
        all.into_iter()
            .filter_map(|(name, number)| Some((name, number?)))
    }
}

/// The verification of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BackupVerify {
    /// When it runs: `{onBoot, every, calendar, persistent, randomDelay}`.
    pub schedule: Schedule,
    /// The part of the data that restic reads, such as `5%`. When left out, restic checks only the structure,
    /// and rclone only sizes and hashes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_data: Option<String>,
    /// The age of the last verification at which `BackupNotVerified` fires; 9 days when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<Period>,
}

/// True if a text is a percentage from 1% to 100%.
fn is_percentage(text: &str) -> bool {
    let number = text
        .strip_suffix('%')
        .and_then(|text| text.parse::<u8>().ok());
    number.is_some_and(|number| (1..=100).contains(&number))
}

impl Composite for BackupSpec {
    const EXAMPLE: &'static str = r"backup:
  photos:
    tool: restic
    repository: /mnt/backup/photos
    paths: [/srv/photos]
    schedule: {calendar: daily, randomDelay: 1h}
    keep: {daily: 7, weekly: 4}
    verify: {schedule: {calendar: weekly}, readData: 5%}
    credentials: {file: /etc/backup/photos.env}
";

    const SETS: &'static [&'static str] = &["after", "exclude", "paths"];

    const UNSUPPORTED: &'static [&'static str] = &["snapshot"];

    fn check_name(name: &str) -> Result<(), String> {
        check_file_stem(name)
    }

    fn check(&self, _name: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut wrong = |field: &'static str, message: &str, hint: &str| {
            problems.push(Problem {
                field,
                message: message.to_owned(),
                hint: hint.to_owned(),
            });
        };
        let word = |text: &String| {
            !text.is_empty() && !text.starts_with('-') && !text.contains(char::is_control)
        };
        if !word(&self.repository) {
            wrong(
                "repository",
                "`repository` must be one line that doesn't begin with `-`",
                "write repository: /mnt/backup/photos",
            );
        }
        if self.paths.is_empty() || self.paths.iter().any(|path| check_path(path).is_err()) {
            wrong(
                "paths",
                "`paths` must be absolute paths",
                "write paths: [/srv/photos]",
            );
        }
        if !self.exclude.iter().all(word) {
            wrong(
                "exclude",
                "a pattern must be one line that doesn't begin with `-`",
                "write exclude: [\"*.tmp\"]",
            );
        }
        for (field, schedule) in [
            ("schedule", Some(&self.schedule)),
            (
                "verify",
                self.verify.as_ref().map(|verify| &verify.schedule),
            ),
        ] {
            if let Some((message, hint)) = schedule.and_then(Schedule::problem) {
                wrong(field, message, hint);
            }
        }
        if self.keep.is_some() && self.tool == BackupTool::Rclone {
            wrong(
                "keep",
                "`rclone` has no snapshots to keep",
                "remove `keep`, or write tool: restic",
            );
        }
        if self
            .keep
            .is_some_and(|keep| keep.given().all(|(_, number)| number == 0))
        {
            wrong(
                "keep",
                "it would keep no snapshot",
                "write keep: {daily: 7}",
            );
        }
        let read = self
            .verify
            .as_ref()
            .and_then(|verify| verify.read_data.as_ref());
        if read.is_some_and(|read| !is_percentage(read)) {
            wrong(
                "verify",
                "`readData` must be 1% to 100%",
                "write verify: {schedule: {calendar: weekly}, readData: 5%}",
            );
        }
        if self.credentials.is_none() && self.tool == BackupTool::Restic {
            wrong(
                "credentials",
                "`restic` needs a password",
                "write credentials: secret:restic/env, with RESTIC_PASSWORD='…' in that secret",
            );
        }
        let credentials = self.credentials.as_ref();
        problems.extend(credentials.and_then(|one| one.problem("credentials")));
        problems
    }

    fn after(&self) -> &[AnyAddress] {
        &self.after
    }

    fn manage(&self) -> Manage {
        self.manage
    }
}
