//! sq-git: the whole way from the introduction to the head, by its own rules.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::case::World;
use crate::repository::Repository;

/// The program.
pub struct SqGit {
    program: PathBuf,
    home: tempfile::TempDir,
}

impl SqGit {
    /// The one that `PLUMB_SQ_GIT` names, or the one of the search path, if there is one.
    ///
    /// # Panics
    ///
    /// If `PLUMB_SQ_GIT` names none.
    pub fn find() -> Option<Self> {
        let named = std::env::var_os("PLUMB_SQ_GIT").map(PathBuf::from);
        let program = named.clone().unwrap_or_else(|| "sq-git".into());
        let mut asked = Command::new(&program);
        let there = asked
            .arg("version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok();
        assert!(
            there || named.is_none(),
            "{} can't be run",
            program.display()
        );
        there.then(|| Self {
            program,
            home: tempfile::tempdir().expect("a folder"),
        })
    }

    /// What it says its version is.
    ///
    /// # Panics
    ///
    /// If it can't be run.
    pub fn version(&self) -> String {
        let done = Command::new(&self.program)
            .arg("version")
            .output()
            .expect("sq-git");
        // It says so on its standard error.
        let text = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
        text.lines().next().unwrap_or_default().to_owned()
    }
}

/// Its word on a world's head: every OpenPGP key of the policy may sign commits.
///
/// # Panics
///
/// If it can't be run.
pub fn judge(sq_git: &SqGit, repository: &Repository, world: &World) -> &'static str {
    let keys: Vec<(&String, &String)> = world
        .told
        .keys
        .iter()
        .filter(|(_, key)| key.starts_with("-----BEGIN PGP"))
        .collect();
    // The introduction isn't signed; it is believed as Plumb believes it.
    let mut policy = format!(
        "version = 0\ncommit_goodlist = [\"{}\"]\n",
        world.told.introduction
    );
    for (name, key) in keys {
        let _ = write!(
            policy,
            "\n[authorization.\"{name}\"]\nsign_commit = true\nkeyring = \"\"\"\n{key}\"\"\"\n"
        );
    }
    let path = sq_git.home.path().join("policy.toml");
    std::fs::write(&path, policy).expect("a policy");
    // It keeps what it has verified once; each of these is to be verified.
    let cache = tempfile::tempdir().expect("a folder");
    let done = Command::new(&sq_git.program)
        .arg("log")
        .arg("--policy-file")
        .arg(&path)
        .args(["--trust-root", &world.told.introduction, &world.told.head])
        .current_dir(repository.path())
        .env("HOME", sq_git.home.path())
        .env("XDG_CACHE_HOME", cache.path())
        .env("GIT_DIR", repository.path())
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .stdin(Stdio::null())
        .output()
        .expect("sq-git");
    if done.status.success() {
        "accepts"
    } else {
        "refuses"
    }
}
