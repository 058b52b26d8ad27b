use std::path::PathBuf;

use jiff::Timestamp;
use plumb_adapters::git::Repository;
use plumb_trust::Oid;

use crate::judgement::{self, Range};
use crate::output::Shell;
use crate::report::{Exit, Failure};

/// Say which commits are accepted, and what the others lack
///
/// Judges every commit from a floor, which is trusted as given, to a head, each by the trust policy of
/// its parent, exactly as the controller does. The verdict never comes from git or gpg. For a commit
/// that waits it says which rule lacks what, and who could give it.
///
/// Without a range, the floor is the commit of git's `plumb.introduction`, or the upstream branch, and
/// the head is HEAD.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 accepted, 3 something is missing, 4 can never be accepted, 1 it couldn't be judged.\nExamples:\n  plumb verify\n  plumb verify origin/main..HEAD\n  plumb verify --git-dir fleet.git --floor 4f1d… --head refs/heads/main -o json"
)]
pub(super) struct Verify {
    /// FLOOR..HEAD
    #[arg(conflicts_with_all = ["floor", "head"])]
    range: Option<String>,

    /// The repository: its folder, or its git folder
    #[arg(long, value_name = "DIR", default_value = ".")]
    git_dir: PathBuf,

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
        let repository = Repository::open(&self.git_dir)?;
        let (floor, head) = self.ends(&repository)?;
        let tags = repository.tags()?;
        let outcome = judgement::judge(
            &repository,
            &Range {
                floor,
                head,
                tags: &tags,
                now: self.now.unwrap_or_else(Timestamp::now),
            },
        );
        shell.emit(&outcome, |palette| {
            judgement::describe(&outcome, &repository, palette)
        })?;
        Ok(judgement::exit(outcome.verdict))
    }

    fn ends(&self, repository: &Repository) -> Result<(Oid, Oid), Failure> {
        let (floor, head) = match &self.range {
            Some(range) => {
                let (floor, head) = range.split_once("..").ok_or_else(|| {
                    Failure::new(format!("`{range}` is no range"))
                        .hint("write FLOOR..HEAD, such as origin/main..HEAD")
                })?;
                (Some(floor), Some(head.trim_start_matches('.')))
            }
            None => (self.floor.as_deref(), self.head.as_deref()),
        };
        let head = repository.resolve(head.filter(|head| !head.is_empty()).unwrap_or("HEAD"))?;
        let floor = match floor.filter(|floor| !floor.is_empty()) {
            Some(floor) => repository.resolve(floor)?,
            None => default_floor(repository)?,
        };
        Ok((floor, head))
    }
}

fn default_floor(repository: &Repository) -> Result<Oid, Failure> {
    if let Some(introduction) = repository.config("plumb.introduction") {
        return Ok(repository.resolve(&introduction)?);
    }
    repository.resolve("@{upstream}").map_err(|_| {
        Failure::new("it isn't known from where to judge")
            .hint("say a range: plumb verify FLOOR..HEAD")
            .hint("or the root of trust, once: git config plumb.introduction COMMIT")
    })
}
