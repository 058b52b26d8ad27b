mod findings;

use std::fmt::Write as _;

use jiff::Timestamp;
use plumb_document::Diagnostic;
use plumb_trust::policy::{Alone, Authority, Freeze, Unsatisfiable};
use serde::Serialize;

use super::exceptions::{describe_alone, describe_freeze, emergency, freezes};
use super::folder::Folder;
use super::revocations::Revocations;
use crate::cli::folder::RepositoryFolderOrWord;
use crate::output::{Paint, Palette, Shell};
use crate::report::{Exit, Failure, render_diagnostics};

use findings::{Ending, Findings};

/// Check that the policy can be met, and show who could change what alone
///
/// Reads trust/ in the folder. With an error, a commit of the policy would be rejected, or would lock
/// everybody out. A warning is a probable mistake: keys that expire soon, people in no group, rules
/// that match nothing, one person in two groups of a rule, a freeze that nobody can end. Keys that a
/// fetched `revoke/` tag has revoked don't count.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 no errors (there may be warnings), 1 errors, or the folder cannot be read.\nExamples:\n  plumb trust check\n  plumb trust check --now 2027-06-01T00:00:00Z     # judge the keys as of then"
)]
pub(super) struct TrustCheck {
    #[command(flatten)]
    folder: RepositoryFolderOrWord,

    /// Judge the keys as of this time (RFC 3339)
    #[arg(long, value_name = "TIME")]
    now: Option<Timestamp>,
}

/// The result of a check, as it is printed.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TrustCheckResult {
    at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    serial: Option<u64>,
    errors: Vec<String>,
    warnings: Vec<String>,
    unsatisfiable: Vec<Unsatisfiable>,
    alone: Vec<Alone>,
    /// A description of emergencies.
    #[serde(skip_serializing_if = "Option::is_none")]
    emergency: Option<String>,
    /// The freezes that aren't over.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    freezes: Vec<Freeze>,
    ending: Vec<Ending>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    diagnostics: Vec<Diagnostic>,
    /// The number of warnings that are shown at their place in a file.
    #[serde(skip)]
    placed: usize,
}

impl TrustCheck {
    pub(super) fn run(self, shell: &Shell) -> Result<Exit, Failure> {
        let folder = Folder::read(self.folder.path())?;
        let at = self.now.unwrap_or_else(Timestamp::now);
        let (checked, diagnostics) = match folder.authority(at) {
            Ok(authority) => {
                let warnings = authority.warnings.clone();
                (TrustCheckResult::new(&folder, &authority, at), warnings)
            }
            Err(wrong) => (TrustCheckResult::unreadable(&wrong, at), wrong),
        };
        shell.emit(&checked, |palette| {
            let snippets = render_diagnostics(&diagnostics, &folder.sources(), palette);
            checked.describe(snippets, palette)
        })?;
        Ok(if checked.errors.is_empty() {
            Exit::OK
        } else {
            Exit::FAILED
        })
    }
}

impl TrustCheckResult {
    fn new(folder: &Folder, authority: &Authority, at: Timestamp) -> Self {
        let revoked = Revocations::of(folder, Timestamp::now());
        let check = revoked.check(authority, at);
        let findings = Findings::of(folder, authority, &revoked, &check, at);
        let mut warnings: Vec<String> = authority.warnings.iter().map(located).collect();
        let placed = warnings.len();
        warnings.extend(findings.warnings);
        Self {
            at,
            serial: Some(authority.policy.serial),
            errors: findings.errors,
            warnings,
            unsatisfiable: check.unsatisfiable,
            alone: check.alone,
            emergency: emergency(
                &authority.policy,
                &authority.able_without(revoked.names(), at),
            ),
            freezes: freezes(&authority.policy, at).cloned().collect(),
            ending: findings.ending,
            diagnostics: authority.warnings.clone(),
            placed,
        }
    }

    /// Builds the result for an invalid policy, which has nothing but its diagnostics.
    fn unreadable(wrong: &[Diagnostic], at: Timestamp) -> Self {
        let (errors, warnings): (Vec<_>, Vec<_>) =
            wrong.iter().partition(|diagnostic| diagnostic.is_error());
        let all = |diagnostics: Vec<&Diagnostic>| diagnostics.into_iter().map(located).collect();
        Self {
            at,
            serial: None,
            placed: warnings.len(),
            errors: all(errors),
            warnings: all(warnings),
            unsatisfiable: Vec::new(),
            alone: Vec::new(),
            emergency: None,
            freezes: Vec::new(),
            ending: Vec::new(),
            diagnostics: wrong.to_vec(),
        }
    }

    fn describe(&self, snippets: String, palette: Palette) -> String {
        let mut out = snippets;
        // The snippets already show each finding with a place in a file: the errors of an invalid policy, and
        // the first `placed` warnings.
        if self.serial.is_some() {
            for alone in &self.alone {
                let paint = if alone.identities.is_empty() && alone.emergency.is_empty() {
                    Paint::Good
                } else {
                    Paint::Warn
                };
                let _ = writeln!(
                    out,
                    "{} can be changed by {}",
                    alone.rule,
                    palette.paint(paint, describe_alone(alone))
                );
            }
            if let Some(told) = &self.emergency {
                let _ = writeln!(out, "emergency: {told}");
            }
            for freeze in &self.freezes {
                let _ = writeln!(out, "freeze {}", describe_freeze(freeze, self.at));
            }
            for error in &self.errors {
                let _ = writeln!(out, "{} {error}", palette.paint(Paint::Error, "error:"));
            }
            for warning in self.warnings.iter().skip(self.placed) {
                let _ = writeln!(out, "{} {warning}", palette.paint(Paint::Warn, "warning:"));
            }
        }
        let count = crate::output::count;
        let (errors, warnings) = (self.errors.len(), self.warnings.len());
        let (paint, word) = match (errors, warnings) {
            (0, 0) => (Paint::Good, "ok".to_owned()),
            (0, _) => (Paint::Warn, format!("ok, {}", count(warnings, "warning"))),
            (_, 0) => (Paint::Error, count(errors, "error")),
            _ => (
                Paint::Error,
                format!("{}, {}", count(errors, "error"), count(warnings, "warning")),
            ),
        };
        let name = match self.serial {
            Some(serial) => format!("policy serial {serial}"),
            None => "policy".to_owned(),
        };
        let _ = writeln!(out, "{name}: {}", palette.paint(paint, word));
        out
    }
}

fn located(diagnostic: &Diagnostic) -> String {
    format!("{}: {}", diagnostic.span, diagnostic.message)
}
