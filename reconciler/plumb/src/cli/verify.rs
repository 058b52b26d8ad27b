use std::cell::Cell;
use std::path::PathBuf;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::Timestamp;
use plumb_adapters::git::Repository;
use plumb_trust::{Detail, Oid, Progress, Reason, Verdict};
use serde::Serialize;

use crate::cli::folder::RepositoryFolder;
use crate::git::{Git, more_commits};
use crate::output::{Format, Shell, quoted};
use crate::report::{Exit, Failure};
use crate::repository::repository_of;
use crate::verdict::divergence::{Divergence, DivergenceKind, divergence};
use crate::verdict::floor::default_floor;
use crate::verdict::{self, FloorSource, Range, Verbosity};

/// Show which commits are accepted, and what the others lack
///
/// Judges every commit from a floor, which is trusted, to a head, each by the trust policy of its
/// parent, as the controller does. Never asks git or gpg for a verdict. For a commit that waits it
/// shows which rule lacks what, who could give it, and one hint.
///
/// Commits that the fetched server branch has are judged as of their own time. Commits that it doesn't
/// have yet are judged as new: an emergency may have expired, and a signature may be too old.
///
/// Without a range, the floor is git's `plumb.introduction`, or else the upstream branch, and the head
/// is HEAD. The command fails if the head equals the upstream branch or doesn't descend from the floor,
/// because then nothing can be judged. A head that isn't built on the last accepted commit of the
/// server's branch, as after a `git pull` that merged, is judged from that commit, as the server does.
/// `--floor` is for programs: it names the last accepted commit, and a head that doesn't descend from
/// it is rejected.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 accepted, 3 something is missing, 4 can never be accepted, 1 not judged.\nExamples:\n  plumb verify\n  plumb verify origin/main..HEAD --explain\n  plumb verify --git-dir fleet.git --floor 4f1d… --head refs/heads/main -o json"
)]
pub(super) struct Verify {
    /// FLOOR..HEAD
    #[arg(conflicts_with_all = ["floor", "head"])]
    range: Option<String>,

    /// Show what every commit needed, and who gave it
    #[arg(long)]
    explain: bool,

    #[command(flatten)]
    folder: RepositoryFolder,

    /// A repository of others, such as a bare one, which is judged from outside: its settings change nothing
    #[arg(long, value_name = "DIR", conflicts_with = "named")]
    git_dir: Option<PathBuf>,

    /// The last accepted commit
    #[arg(long, value_name = "COMMIT")]
    floor: Option<String>,

    /// The commit to judge
    #[arg(long, value_name = "COMMIT")]
    head: Option<String>,

    /// Judge as of this time (RFC 3339)
    #[arg(long, value_name = "TIME")]
    now: Option<Timestamp>,
}

impl Verify {
    pub(super) fn run(self, shell: &Shell) -> Result<Exit, Failure> {
        let repository = match &self.git_dir {
            Some(folder) => Repository::open(folder)?,
            None => repository_of(self.folder.path())?,
        };
        let (floor, head, source) = self.range_ends(&repository)?;
        require_commits_to_judge(floor, source, head)?;
        let tags = repository.tags()?;
        let now = self.now.unwrap_or_else(Timestamp::now);
        let left = (source == FloorSource::Introduction)
            .then(|| divergence(&repository, floor, &tags, now, head))
            .flatten();
        let (floor, source) = match left {
            Some(left) if left.kind == DivergenceKind::Branch => {
                (left.accepted, FloorSource::Accepted)
            }
            _ => (floor, source),
        };
        let range = Range {
            floor,
            source,
            head,
            tags: &tags,
            now,
        };
        let verbosity = if self.explain {
            Verbosity::Full
        } else {
            Verbosity::Brief
        };
        let detail = match shell.format {
            Format::Table | Format::Wide => verbosity.detail(),
            Format::Json | Format::Yaml | Format::Dir | Format::Sarif | Format::Github => {
                Detail::Explain
            }
        };
        let bar = VerifyProgress::new(shell);
        let outcome = verdict::judge_with(&repository, &range, detail, &|progress| {
            bar.update(progress);
        });
        bar.end();
        let describe = |palette| {
            verdict::describe_with(&outcome, &repository, source, verbosity, head, palette)
        };
        let unjudged = verdict::unjudged(&outcome, source);
        match unjudged {
            None => shell.emit(&outcome, describe)?,
            Some(reason) => {
                let unjudged = Unjudged {
                    verdict: "notJudged",
                    floor,
                    head,
                    steps: [],
                    reasons: [reason],
                };
                shell.emit(&unjudged, describe)?;
            }
        }
        self.warn(&repository, head, left, shell);
        if unjudged.is_some() {
            return Ok(Exit::FAILED);
        }
        Ok(match outcome.verdict {
            Verdict::Accept => Exit::OK,
            Verdict::Pending | Verdict::PendingAlarm => Exit::PENDING,
            Verdict::Reject => Exit::REJECTED,
        })
    }

    /// Warns that the server's branch has commits that weren't verified here.
    fn warn(&self, repository: &Repository, head: Oid, left: Option<Divergence>, shell: &Shell) {
        if let Some(left) = left {
            if left.kind == DivergenceKind::Beside {
                shell.warn(format_args!(
                    "{} isn't built on {}, the last accepted commit of the server's branch: rebase it onto that commit, or merge it on top",
                    head.short(),
                    left.accepted.short()
                ));
            }
            return;
        }
        if self.range.is_some() || self.head.is_some() {
            return;
        }
        let git = Git::at(repository.git_dir());
        let upstream = git.try_ask(&["rev-parse", "--abbrev-ref", "@{upstream}"]);
        if let Some((more, name)) =
            upstream.and_then(|name| Some((git.ahead("HEAD", &name)?, name)))
        {
            shell.warn(format_args!(
                "{name} has {} than HEAD, not judged here: plumb verify --head {}",
                more_commits(more),
                quoted(&name)
            ));
        }
    }

    /// Returns the floor, the head, and the source of the floor.
    fn range_ends(&self, repository: &Repository) -> Result<(Oid, Oid, FloorSource), Failure> {
        let (floor, head, source) = match &self.range {
            Some(range) => {
                let (floor, head) = range.split_once("..").ok_or_else(|| {
                    Failure::new(format!("`{range}` isn't a range"))
                        .hint(format!(
                            "to judge one commit, run: plumb verify --head {range}"
                        ))
                        .hint("write a range as FLOOR..HEAD, such as origin/main..HEAD")
                        .exit(Exit::TROUBLE)
                })?;
                let head = head.trim_start_matches('.');
                (Some(floor), Some(head), FloorSource::Given)
            }
            None => (
                self.floor.as_deref(),
                self.head.as_deref(),
                FloorSource::Accepted,
            ),
        };
        let head = repository.resolve(head.filter(|head| !head.is_empty()).unwrap_or("HEAD"))?;
        let (floor, source) = match floor.filter(|floor| !floor.is_empty()) {
            Some(floor) => (repository.resolve(floor)?, source),
            None => default_floor(repository)?,
        };
        Ok((floor, head, source))
    }
}

/// Fails if the floor is the upstream branch and equals the head: the head would be reported as accepted
/// although nothing was verified.
fn require_commits_to_judge(floor: Oid, source: FloorSource, head: Oid) -> Result<(), Failure> {
    if source != FloorSource::Upstream || floor != head {
        return Ok(());
    }
    Err(Failure::new(format!(
        "nothing was judged: {} is the head of the upstream branch, which is the floor",
        head.short()
    ))
    .hint("set the root of trust once: git config plumb.introduction COMMIT; a colleague or the controller's configuration has it")
    .hint("or name a floor: plumb verify FLOOR..HEAD"))
}

/// The JSON form of a range that can't be verified because its floor isn't on the head's branch.
#[derive(Serialize)]
struct Unjudged<'o> {
    verdict: &'static str,
    floor: Oid,
    head: Oid,
    steps: [(); 0],
    reasons: [&'o Reason; 1],
}

/// A progress bar for long ranges, shown on a terminal only.
struct VerifyProgress {
    bar: ProgressBar,
    shown: Cell<bool>,
}

/// Minimum number of commits for a progress bar. A shorter range is done before anybody could read the bar.
const LONG: usize = 2_000;

impl VerifyProgress {
    fn new(shell: &Shell) -> Self {
        let target = if shell.can_ask() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(None, target);
        if let Ok(style) =
            ProgressStyle::with_template("judging commits {bar:30} {pos}/{len} {per_sec} {eta}")
        {
            bar.set_style(style);
        }
        Self {
            bar,
            shown: Cell::new(false),
        }
    }

    fn update(&self, progress: Progress) {
        let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        if progress.total < LONG {
            return;
        }
        if !self.shown.replace(true) {
            self.bar.set_length(number(progress.total));
        }
        self.bar.set_position(number(progress.done));
    }

    fn end(&self) {
        self.bar.finish_and_clear();
    }
}
