mod conditions;
mod page;
mod text;

use std::fmt::Write as _;

use jiff::Timestamp;
use plumb_adapters::git::{Repository, RepositoryError};
use plumb_core::explain::{NoExplanation, explain};
use plumb_document::Code;
use plumb_trust::object::{Commit, limits};
use plumb_trust::{ObjectKind, Objects as _, Oid, Outcome, ReasonCode, Verdict};
use serde::Serialize;

use crate::cli::folder::RepositoryFolder;
use crate::last_change::History;
use crate::output::{Paint, Shell};
use crate::report::{Exit, Failure, OrFail as _};
use crate::repository::repository_of;
use crate::verdict::floor::{PrecedingCommits, before};
use crate::verdict::history::server_head;
use crate::verdict::{self, FloorSource, Range, Verbosity};
use crate::workspace::Workspace;

/// Explain a value on a host, a code, or a commit
///
/// For a host and an address, shows every field of that resource: each place that sets it, with the commit
/// that last touched the line, the places that it overrides, and the files and parameters that it was
/// rendered with. For profile:KEY, shows the parameters in the same way.
/// For a code of `check` or `verify`, or the reason of a condition or an event, says what it means and
/// what to do, with an example for a code of `check`. For a commit, shows what it needs, what it has, who could give the rest, and a hint. A
/// commit that the server has is judged as of its own time.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  plumb explain linda file:/etc/motd\n  plumb explain linda file:/etc/motd#content\n  plumb explain linda profile:base\n  plumb explain unknown-field\n  plumb explain DriftHeld\n  plumb explain 4f1d5e0b"
)]
pub(super) struct Explain {
    /// A host, a code, or a commit
    #[arg(value_name = "HOST|CODE|COMMIT")]
    what: String,

    /// With a host: an address, such as file:/etc/motd or service:nginx#enabled
    address: Option<String>,

    #[command(flatten)]
    folder: RepositoryFolder,
}

#[derive(Serialize)]
struct CodeMeaning<'a> {
    code: &'a str,
    explanation: &'a str,
    /// An example and what to do, as Markdown.
    #[serde(skip_serializing_if = "Option::is_none")]
    page: Option<&'static str>,
}

impl Explain {
    pub(super) fn run(self, shell: &Shell) -> Result<Exit, Failure> {
        if let Some(address) = &self.address {
            return self.value(address, shell);
        }
        if let Some(meaning) = meaning(&self.what) {
            shell.emit(&meaning, |palette| {
                let text = match meaning.page {
                    Some(page) => page::render(page, palette),
                    None => format!("{}\n", meaning.explanation),
                };
                format!("{}\n{text}", palette.paint(Paint::Bold, meaning.code))
            })?;
            return Ok(Exit::OK);
        }
        let repository = match repository_of(self.folder.path()) {
            Ok(repository) => repository,
            // `HEAD` can only mean a commit, so report why the repository can't be opened.
            Err(error) if self.what.starts_with("HEAD") => return Err(error.into()),
            Err(_) => return Err(self.unknown()),
        };
        match repository.resolve(&self.what) {
            Ok(commit) => Self::commit(&repository, commit, shell),
            Err(error @ RepositoryError::Ambiguous { .. }) => Err(error.into()),
            Err(_) => Err(self.unknown()),
        }
    }

    fn value(&self, address: &str, shell: &Shell) -> Result<Exit, Failure> {
        let workspace = Workspace::of_folder(self.folder.path())?;
        let mut explained = explain(&workspace.fleet, &self.what, address).map_err(|error| {
            let failure = Failure::new(error.to_string());
            match error {
                NoExplanation::Held { diagnostics, .. } => {
                    failure.diagnostics(diagnostics, workspace.sources.clone())
                }
                NoExplanation::NoHost { .. } | NoExplanation::NoAddress(_) => failure,
                NoExplanation::NotThere { host, .. } => {
                    failure.hint(format!("run `plumb render {host}` to list its resources"))
                }
            }
        })?;
        if let Some(mut history) = History::of_folder(self.folder.path()) {
            explained.fill_last_changes(&mut |what| history.last_change(what, &workspace.sources));
        }
        shell.emit(&explained, |palette| text::describe(&explained, palette))?;
        Ok(Exit::OK)
    }

    /// Verifies a commit by its parent's policy. Later commits are verified too, because an approval of a
    /// later commit may cover this one.
    fn commit(repository: &Repository, commit: Oid, shell: &Shell) -> Result<Exit, Failure> {
        let parent = parent_of(repository, commit)?;
        let tags = repository.tags()?;
        let judge = |floor, source, head| {
            let range = Range {
                floor,
                source,
                head,
                tags: &tags,
                now: Timestamp::now(),
            };
            verdict::judge(repository, &range)
        };
        let leads = |outcome: &Outcome| {
            outcome
                .steps
                .first()
                .is_some_and(|step| step.commit == commit)
        };
        // Find the commits on top of it: here, or on the server's branch if HEAD is behind.
        let above = [
            repository.resolve("HEAD").ok(),
            server_head(repository, &parent),
        ];
        let above = above.into_iter().flatten().find_map(|head| {
            let outcome = judge(parent, FloorSource::Accepted, head);
            leads(&outcome).then_some((head, outcome))
        });
        let on_branch = above.is_some();
        let (newest, mut outcome) =
            above.unwrap_or_else(|| (commit, judge(parent, FloorSource::Accepted, commit)));
        outcome.steps.truncate(1);
        // A commit that isn't accepted blocks every later one, however good that is.
        let before = before(repository, &tags, commit, newest);
        // A commit that was accepted in its time stays accepted, even if it would be rejected as a new
        // commit.
        let mut today = None;
        if let Some(head) = known_head(repository, &parent, &before, newest)
            && let Some(live) = outcome.steps.first()
            && !live.verdict.is_accept()
        {
            let past = judge(parent, FloorSource::Introduction, head);
            if leads(&past) && past.steps.iter().take(1).all(|s| s.verdict.is_accept()) {
                today = live.reasons.first().cloned();
                outcome = past;
                outcome.steps.truncate(1);
            }
        }
        if let Some(step) = outcome.steps.first_mut() {
            if let PrecedingCommits::Held(earlier) = before {
                step.verdict = step.verdict.max(Verdict::Pending);
                step.reasons.insert(0, earlier.reason());
            }
            outcome.verdict = step.verdict;
            outcome.accepted = match before {
                PrecedingCommits::Held(earlier) => earlier.accepted,
                _ if step.verdict.is_accept() => commit,
                _ => parent,
            };
        }
        shell.emit(&outcome, |palette| {
            let mut text = verdict::describe_with(
                &outcome,
                repository,
                FloorSource::Accepted,
                Verbosity::Full,
                newest,
                palette,
            );
            let mut note = |what: &str| {
                let _ = writeln!(text, "{} {what}", palette.paint(Paint::Warn, "note:"));
            };
            match before {
                PrecedingCommits::Accepted => {}
                PrecedingCommits::Held(earlier) => note(&earlier.describe()),
                PrecedingCommits::Unknown => {
                    let said = repository.config("plumb.introduction");
                    let said = said.map_or_else(String::new, |said| {
                        format!("git's plumb.introduction, {said}, isn't one of the earlier commits, so ")
                    });
                    note(&format!(
                        "{said}earlier commits are assumed to be accepted; to judge them too, run: git config plumb.introduction COMMIT"
                    ));
                }
            }
            if let Some(reason) = &today {
                note(&format!(
                    "judged as of its own time; a new commit like it wouldn't be accepted: {} [{}]",
                    reason.message, reason.code
                ));
            }
            if !on_branch {
                note(
                    "this commit is neither on the branch at HEAD nor on the server's: it is judged as the next commit after its parent",
                );
            }
            text
        })?;
        Ok(Exit::OK)
    }

    fn unknown(&self) -> Failure {
        let known = codes().map(|(code, _)| code);
        let failure = Failure::new(format!(
            "`{}` isn't a code, a reason or a commit",
            self.what
        ));
        match plumb_document::closest(&self.what, known) {
            Some(near) => failure.hint(format!("did you mean {near}?")),
            None => failure.hint(
                "to explain a value on a host, also name the resource: plumb explain HOST file:/etc/motd",
            ),
        }
    }
}

/// Returns the commit whose policy judges this one: its first parent.
///
/// # Errors
/// Fails if the commit has no parent, or the parent isn't in this clone.
fn parent_of(repository: &Repository, commit: Oid) -> Result<Oid, Failure> {
    let unread = || format!("cannot read {}", commit.short());
    let raw = repository
        .objects()
        .read(&commit, ObjectKind::Commit, limits::COMMIT)
        .or_fail(unread)?;
    let parsed = Commit::parse(&raw, commit.format()).or_fail(unread)?;
    if let Some(parent) = parsed.parents.first() {
        if repository.objects().has(parent) {
            return Ok(*parent);
        }
        return Err(Failure::new(format!(
            "cannot judge {}: its parent {} isn't in this clone",
            commit.short(),
            parent.short()
        ))
        .hint("fetch the whole history: git fetch --unshallow"));
    }
    let first = format!(
        "{} is the first commit, so no policy judges it",
        commit.short()
    );
    let introduction = repository.config("plumb.introduction");
    let named = introduction
        .as_ref()
        .and_then(|text| repository.resolve(text).ok());
    Err(match (introduction, named) {
        (Some(_), Some(named)) if named == commit => Failure::new(first)
            .hint("it is the introduction that git's plumb.introduction names, so it is trusted"),
        (Some(text), _) => Failure::new(first).hint(format!(
            "it isn't the introduction, {text}, either: it starts a separate branch, and no commit on it can be accepted"
        )),
        (None, _) => Failure::new(first).hint(
            "if the controller's configuration names it as `introduction`, it is trusted; if not, no commit after it can be accepted",
        ),
    })
}

/// Returns the newest commit that has already arrived: the tip of the server's branch as of the last fetch.
/// If nothing was fetched, as on the server itself, returns `newest`. Returns `None` if an earlier commit
/// blocks it, or if nothing is known about earlier commits and nothing was fetched.
fn known_head(
    repository: &Repository,
    parent: &Oid,
    before: &PrecedingCommits,
    newest: Oid,
) -> Option<Oid> {
    let fetched = server_head(repository, parent);
    match (before, fetched) {
        (PrecedingCommits::Held(_), _) | (PrecedingCommits::Unknown, None) => None,
        (_, Some(head)) => Some(head),
        (PrecedingCommits::Accepted, None) => Some(newest),
    }
}

/// Lists every code with its explanation.
fn codes() -> impl Iterator<Item = (&'static str, &'static str)> {
    let diagnostics = [
        plumb_document::CODES,
        plumb_core::manifest::code::ALL,
        plumb_trust::policy::codes::ALL,
    ];
    let diagnostics = diagnostics
        .into_iter()
        .flatten()
        .map(|code: &Code| (code.as_str(), code.explanation()));
    let commits = ReasonCode::ALL
        .iter()
        .map(|code| (code.as_str(), code.explanation()));
    diagnostics.chain(commits).chain(conditions::all())
}

fn meaning(text: &str) -> Option<CodeMeaning<'_>> {
    let (code, explanation) = codes().find(|(code, _)| *code == text)?;
    Some(CodeMeaning {
        code,
        explanation,
        page: page::of(code),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_in_the_docs() {
        let docs = include_str!("../../../../docs/codes.md");
        for (code, explanation) in codes() {
            assert!(
                docs.contains(&format!("`{code}`")),
                "{code} isn't in docs/codes.md: {explanation}"
            );
        }
        let diagnostics = [
            plumb_document::CODES,
            plumb_core::manifest::code::ALL,
            plumb_trust::policy::codes::ALL,
        ];
        for code in diagnostics.into_iter().flatten() {
            let page = page::of(code.as_str());
            assert!(page.is_some(), "{code} has no page in docs/codes.md");
        }
        let commits = ReasonCode::ALL
            .iter()
            .map(|code| (code.as_str(), code.explanation()));
        for (code, explanation) in commits.chain(conditions::all()) {
            assert!(
                docs.contains(&explanation.replace('\n', " ")),
                "of {code}, docs/codes.md says something else than: {explanation}"
            );
        }
    }

    #[test]
    fn diagnostics_and_reasons_are_explained() {
        assert!(meaning("unknown-field").is_some());
        assert!(meaning("uncovered").is_some());
        assert!(meaning("DriftHeld").is_some());
        assert!(meaning("drifthold").is_none());
        assert!(meaning("no-such-code").is_none());
    }
}
