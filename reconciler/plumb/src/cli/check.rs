mod github;
mod sarif;

use plumb_adapters::git::Repository;
use plumb_core::manifest::code::FILE_TOO_LARGE;
use plumb_document::Diagnostic;
use plumb_trust::Oid;
use plumb_trust::policy::codes::IDENTITY_LOCKED_OUT;
use serde::Serialize;

use crate::cli::folder::RepositoryFolderOrWord;
use crate::output::{Format, Paint, Shell, count};
use crate::report::{Exit, Failure, render_diagnostics};
use crate::workspace::Workspace;

/// Check a fleet's manifests and report every error
///
/// Reads the folder as it is, composes and renders every host, and reads the trust policy and its keys.
/// Reports each error with its place, the line, and a hint. Starts no process and contacts no host.
/// `plumb explain CODE` says more about a code. `-o json` lists the diagnostics for programs, `-o sarif`
/// writes them for code scanning, and `-o github` annotates the lines of a pull request.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 no errors (there may be warnings), 1 errors, or the folder cannot be read."
)]
pub(super) struct Check {
    #[command(flatten)]
    folder: RepositoryFolderOrWord,
}

#[derive(Serialize)]
struct CheckResult<'a> {
    diagnostics: &'a [Diagnostic],
}

impl Check {
    pub(super) fn run(self, shell: &Shell) -> Result<Exit, Failure> {
        let workspace = Workspace::of_folder(self.folder.path())?;
        let all = &workspace.diagnostics;
        match shell.format {
            Format::Sarif => shell.emit_json(&sarif::Log::of(all))?,
            Format::Github => shell.print(&github::render(all))?,
            Format::Table | Format::Wide | Format::Json | Format::Yaml | Format::Dir => {
                Self::report(&workspace, shell)?;
            }
        }
        Ok(if workspace.errors() == 0 {
            Exit::OK
        } else {
            Exit::FAILED
        })
    }

    fn report(workspace: &Workspace, shell: &Shell) -> Result<(), Failure> {
        let found = CheckResult {
            diagnostics: &workspace.diagnostics,
        };
        shell.emit(&found, |palette| {
            let mut text = render_diagnostics(&workspace.diagnostics, &workspace.sources, palette);
            let errors = workspace.errors();
            let warnings = workspace.diagnostics.len() - errors;
            let (paint, word) = match (errors, warnings) {
                (0, 0) => (Paint::Good, "no errors".to_owned()),
                (0, _) => (
                    Paint::Warn,
                    format!("no errors, {}", count(warnings, "warning")),
                ),
                (_, 0) => (Paint::Error, count(errors, "error")),
                _ => (
                    Paint::Error,
                    format!("{}, {}", count(errors, "error"), count(warnings, "warning")),
                ),
            };
            let hosts = count(workspace.resolved.hosts.len(), "host");
            text.push_str(&format!("{hosts}: {}\n", palette.paint(paint, word)));
            if let Some(first) = workspace.diagnostics.first() {
                text.push_str(&format!(
                    "`plumb explain CODE` has an example and what to do, such as `plumb explain {}`\n",
                    first.code
                ));
            }
            text
        })
    }
}

/// Checks the manifests and the policy of a commit, for the pre-push hook. Ignores identities that have no
/// key that can sign, because the server would accept the push.
pub(super) fn commit(repository: &Repository, commit: &Oid, shell: &Shell) -> Result<(), Failure> {
    let workspace = Workspace::of_commit(repository, commit)?;
    let counts = |found: &&Diagnostic| found.is_error() && found.code != IDENTITY_LOCKED_OUT;
    let errors = workspace.diagnostics.iter().filter(counts).count();
    if errors == 0 {
        warn_of_large_files(&workspace, shell);
        return Ok(());
    }
    shell.say(render_diagnostics(
        &workspace.diagnostics,
        &workspace.sources,
        shell.err,
    ));
    Err(
        Failure::new(format!("{} has {}", commit.short(), count(errors, "error"))).hint(
            "fix the errors, or push anyway with `git push --no-verify`: the hosts that the errors concern then stay at their last good state",
        ),
    )
}

/// Warns of files that are too large to be read. No host uses them yet, but after a push nobody can remove
/// them from the history.
fn warn_of_large_files(workspace: &Workspace, shell: &Shell) {
    let all = workspace.diagnostics.iter();
    let large: Vec<_> = all
        .filter(|found| found.code == FILE_TOO_LARGE)
        .cloned()
        .collect();
    if !large.is_empty() {
        shell.say(render_diagnostics(&large, &workspace.sources, shell.err));
    }
}
