//! Against the real `git`, kept apart from the machine's and the user's configuration.

mod fetch;
mod files;
mod hostile;
mod remote;
mod repository;
mod trust;
mod write;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use plumb_api::LoginUrl;
use plumb_core::ports::SourceError;
use plumb_trust::source::{Fetched, Source};
use plumb_trust::{ObjectFormat, Oid};

use super::write::{Mode, NewCommit, NewTag, Person, Writer};
use super::{GitOptions, GitSource};

/// A folder with a home of its own.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("home")).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `git` in a repository of this place.
    fn command(&self, repository: &Path) -> Command {
        let mut command = Command::new("git");
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", self.path("home"))
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_AUTHOR_NAME", "A")
            .env("GIT_AUTHOR_EMAIL", "a@example.org")
            .env("GIT_COMMITTER_NAME", "A")
            .env("GIT_COMMITTER_EMAIL", "a@example.org")
            .arg("-C")
            .arg(repository);
        command
    }

    fn git(&self, repository: &Path, arguments: &[&str]) -> String {
        let output = self.command(repository).args(arguments).output().unwrap();
        assert!(
            output.status.success(),
            "git {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        text(&output)
    }

    /// A bare repository with one commit on main.
    fn fleet(&self) -> (Writer, Oid) {
        let writer = Writer::create(
            &self.path("fleet.git"),
            ObjectFormat::Sha1,
            "refs/heads/main",
        )
        .unwrap();
        let first = commit(&writer, &[], "first", &[("fleet.yaml", "kind: Fleet\n")]);
        (writer, first)
    }

    /// A source of the fleet's main.
    fn source(&self, url: &str) -> GitSource {
        GitSource::open(self.options(url)).unwrap()
    }

    fn options(&self, url: &str) -> GitOptions {
        GitOptions::new(
            LoginUrl::new(url),
            "refs/heads/main",
            self.path("state/mirror.git"),
        )
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn person() -> Person {
    Person {
        name: "A".to_owned(),
        email: "a@example.org".to_owned(),
        time: 1_700_000_000,
    }
}

/// A commit of these files on main.
fn commit(writer: &Writer, parents: &[Oid], message: &str, files: &[(&str, &str)]) -> Oid {
    let tree = writer
        .tree(
            files
                .iter()
                .map(|(path, text)| (*path, Mode::File, text.as_bytes())),
        )
        .unwrap();
    let new = NewCommit {
        tree,
        parents: parents.to_vec(),
        author: person(),
        message: message.to_owned(),
    };
    let id = writer.commit(&new, None).unwrap();
    writer.set_ref("refs/heads/main", &id).unwrap();
    id
}

fn tag(writer: &Writer, name: &str, target: Oid) -> Oid {
    let new = NewTag {
        name: name.to_owned(),
        target,
        tagger: person(),
        message: "approved".to_owned(),
    };
    writer.tag(&new, None).unwrap()
}

fn fetch(source: &GitSource) -> Result<Fetched, SourceError> {
    futures::executor::block_on(source.fetch())
}
