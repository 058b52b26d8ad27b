use std::cell::Cell;
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::Timestamp;
use plumb_adapters::git::Repository;
use plumb_trust::{Detail, Oid, Progress, Reason};
use serde::Serialize;

use crate::git::Git;
use crate::judgement::departure::{How, Lost, Upstream};
use crate::judgement::floor::{ahead, default_floor, repository_of, something_to_judge};
use crate::judgement::place::Reader;
use crate::judgement::{self, FloorOf, Range, Showing, Telling};
use crate::output::{Format, Shell};
use crate::report::{Exit, Failure};

/// Say which commits are accepted, and what the others lack
///
/// Judges every commit from a floor, which is trusted as given, to a head, each by the trust policy of
/// its parent, exactly as the controller does. The verdict never comes from git or gpg. For a commit
/// that waits it says which rule lacks what, who could give it, and the commands that do.
///
/// What the server's branch has, as far as it was fetched, came in its time; what it hasn't is judged as
/// what comes now: an emergency that is over is none any more, and a signature may be too old.
///
/// Without a range, the floor is the commit of git's `plumb.introduction`, or the upstream branch, and
/// the head is HEAD. Where the upstream branch is the head too, or the head doesn't come after the floor,
/// nothing can be judged, and that fails. What isn't built on what the server's branch has and is accepted,
/// as after a `git pull` that merged, is judged from there, as the server does. `--floor` is for programs: it names what was accepted last, so a
/// head that doesn't come after it is a branch that was set back or rewritten, and can never be accepted.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 accepted, 3 something is missing, 4 can never be accepted, 1 it couldn't be judged.\nExamples:\n  plumb verify\n  plumb verify origin/main..HEAD --explain\n  plumb verify --git-dir fleet.git --floor 4f1d… --head refs/heads/main -o json"
)]
pub(super) struct Verify {
    /// FLOOR..HEAD
    #[arg(conflicts_with_all = ["floor", "head"])]
    range: Option<String>,

    /// Tell of every commit what it needed, and what it has from whom
    #[arg(long)]
    explain: bool,

    /// The repository: its folder, or its git folder; the one that holds this folder when left out
    #[arg(long, value_name = "DIR")]
    git_dir: Option<PathBuf>,

    /// The last accepted commit
    #[arg(long, value_name = "COMMIT")]
    floor: Option<String>,

    /// The commit to judge
    #[arg(long, value_name = "COMMIT")]
    head: Option<String>,

    /// Judge as if it were this time (RFC 3339)
    #[arg(long, value_name = "TIME")]
    now: Option<Timestamp>,
}

impl Verify {
    pub(super) fn run(self, shell: &Shell) -> Result<Exit, Failure> {
        let repository = match &self.git_dir {
            Some(folder) => Repository::open(folder)?,
            None => repository_of(Path::new("."))?,
        };
        let (floor, head, of) = self.ends(&repository)?;
        something_to_judge(floor, of, head)?;
        let tags = repository.tags()?;
        let now = self.now.unwrap_or_else(Timestamp::now);
        let upstream = (of == FloorOf::Introduction)
            .then(|| Upstream::of(&repository, floor, &tags, now))
            .flatten();
        let lost = upstream.and_then(|upstream| upstream.lost());
        // Where the server's branch was put elsewhere, what keeps to the old place has left nothing.
        let departure = upstream
            .filter(|_| {
                let kept = |lost: &Lost| lost.is_kept_by(&repository, head);
                !lost.as_ref().is_some_and(kept)
            })
            .and_then(|upstream| upstream.departure(head));
        let (floor, of) = match departure {
            Some(departure) if departure.how == How::AsTheBranch => {
                (departure.accepted, FloorOf::Accepted)
            }
            _ => (floor, of),
        };
        let range = Range {
            floor,
            floor_of: of,
            head,
            tags: &tags,
            now,
        };
        let telling = if self.explain {
            Telling::Full
        } else {
            Telling::Short
        };
        let detail = match shell.format {
            Format::Table => telling.detail(),
            Format::Json | Format::Yaml => Detail::Explain,
        };
        let bar = Bar::new(shell);
        let outcome = judgement::judge_telling(&repository, &range, detail, &|progress| {
            bar.tell(progress);
        });
        bar.end();
        let showing = Showing {
            floor: of,
            telling,
            tip: head,
            reader: Reader::User,
        };
        let describe = |palette| judgement::describe_as(&outcome, &repository, showing, palette);
        let unjudged = judgement::unjudged(&outcome, of);
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
        if let Some(lost) = &lost {
            shell.warn(lost.told());
        }
        if let Some(departure) = departure.filter(|departure| departure.how == How::Beside) {
            let (head, accepted) = (head.short(), departure.accepted.short());
            shell.warn(format_args!(
                "{head} isn't built on {accepted}, which the server's branch has and which is accepted: it can only come there by a merge on top of that, or rebased: git rebase --gpg-sign {}",
                departure.accepted
            ));
        }
        if self.range.is_none() && self.head.is_none() && departure.is_none() {
            let git = Git::at(repository.git_dir());
            let upstream = git.try_ask(&["rev-parse", "--abbrev-ref", "@{upstream}"]);
            let more = upstream.and_then(|name| Some((ahead(&git, "HEAD", &name)?, name)));
            if let Some((more, name)) = more {
                let commits = if more == 1 { "commit" } else { "commits" };
                shell.warn(format_args!(
                    "{name} has {more} more {commits} than HEAD, not judged here: plumb verify --head {}",
                    crate::output::quoted(&name)
                ));
            }
        }
        if unjudged.is_some() {
            return Ok(Exit::FAILED);
        }
        Ok(judgement::exit(outcome.verdict))
    }

    fn ends(&self, repository: &Repository) -> Result<(Oid, Oid, FloorOf), Failure> {
        let (floor, head, of) = match &self.range {
            Some(range) => {
                let (floor, head) = range.split_once("..").ok_or_else(|| {
                    Failure::new(format!("`{range}` has no floor and head"))
                        .hint(format!(
                            "a commit that is to be judged is the head: plumb verify --head {range}"
                        ))
                        .hint("a range is FLOOR..HEAD, such as origin/main..HEAD")
                        .exit(Exit::TROUBLE)
                })?;
                let head = head.trim_start_matches('.');
                (Some(floor), Some(head), FloorOf::Given)
            }
            None => (
                self.floor.as_deref(),
                self.head.as_deref(),
                FloorOf::Accepted,
            ),
        };
        let head = repository.resolve(head.filter(|head| !head.is_empty()).unwrap_or("HEAD"))?;
        let (floor, of) = match floor.filter(|floor| !floor.is_empty()) {
            Some(floor) => (repository.resolve(floor)?, of),
            None => default_floor(repository)?,
        };
        Ok((floor, head, of))
    }
}

/// That nothing was judged, because the floor isn't one of the head's branch.
#[derive(Serialize)]
struct Unjudged<'o> {
    verdict: &'static str,
    floor: Oid,
    head: Oid,
    steps: [(); 0],
    reasons: [&'o Reason; 1],
}

/// A bar for ranges that take long; nobody watches one in a log.
struct Bar {
    bar: ProgressBar,
    begun: Cell<bool>,
}

/// Fewer commits are judged before a bar could be read.
const LONG: usize = 2_000;

impl Bar {
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
            begun: Cell::new(false),
        }
    }

    fn tell(&self, progress: Progress) {
        let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        if progress.total < LONG {
            return;
        }
        if !self.begun.replace(true) {
            self.bar.set_length(number(progress.total));
        }
        self.bar.set_position(number(progress.done));
    }

    fn end(&self) {
        self.bar.finish_and_clear();
    }
}
