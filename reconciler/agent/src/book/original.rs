//! What was there before Plumb: observed at the first touch, contents kept by digest, given back
//! when nothing desires the resource any more.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use plumb_api::Observed;
use plumb_api::report::ErrorCode;
use plumb_api::resource::{Content, FileType, Presence, ServiceState};
use rustix::fs::renameat;
use serde::{Deserialize, Serialize};

use super::home::Home;
use crate::error::{At, Result, fail};
use crate::sys::{Dir, copy_hashed, create_new};

const FOLDER: &str = "originals";

/// What was there before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Original {
    /// All that the type can observe.
    pub observed: Observed,
    /// Folders that were made above it, from above: removed with it while they are empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub made: Vec<String>,
}

/// The contents of originals, by digest.
pub(crate) struct Originals {
    dir: Dir,
}

impl Originals {
    pub(crate) fn open(home: &Home) -> Result<Self> {
        Ok(Self {
            dir: home.folder(FOLDER)?,
        })
    }

    /// Whether this content is kept.
    pub(crate) fn has(&self, content: &Content) -> Result<bool> {
        Ok(self.dir.look(&content.sha256.to_string())?.is_some())
    }

    /// Opens a kept content.
    pub(crate) fn open_content(&self, content: &Content) -> Result<Option<File>> {
        self.dir.open(&content.sha256.to_string())
    }

    /// Keeps a file's content durably; what it was.
    pub(crate) fn keep(&self, from: &mut dyn Read, path: &str) -> Result<Content> {
        let temporary = "original.new";
        self.dir.unlink(temporary)?;
        let mut file = create_new(&self.dir, temporary)?;
        let content = copy_hashed(from, &mut file).at("keep the original of", path)?;
        file.sync_all().at("keep the original of", path)?;
        let name = content.sha256.to_string();
        renameat(self.dir.fd(), temporary, self.dir.fd(), name.as_str())
            .at("keep the original of", path)?;
        self.dir.sync()?;
        Ok(content)
    }

    /// Removes every content that isn't named.
    pub(crate) fn retain(&self, named: &std::collections::BTreeSet<String>) -> Result<()> {
        for name in self.dir.list()? {
            if !named.contains(&name) {
                self.dir.unlink(&name)?;
            }
        }
        Ok(())
    }

    /// A kept content from its beginning, or the error that it is missing.
    pub(crate) fn must(&self, content: &Content, path: &str) -> Result<File> {
        let Some(mut file) = self.open_content(content)? else {
            return fail(
                ErrorCode::MissingContent,
                format!(
                    "what was at {path} before Plumb ({} bytes) isn't in the originals any more",
                    content.size
                ),
            );
        };
        file.seek(SeekFrom::Start(0))
            .at("read the original of", path)?;
        Ok(file)
    }
}

impl Original {
    /// The content that giving it back needs.
    pub(crate) fn content(&self) -> Option<Content> {
        match &self.observed {
            Observed::File(file) => file.content,
            Observed::Unit(unit) => unit.content,
            _ => None,
        }
    }
}

/// What was there, in a phrase for people; none where nothing was.
pub(crate) fn phrase(observed: &Observed) -> Option<String> {
    let at_path = |file_type: FileType, content: Option<&Content>| match file_type {
        FileType::Absent => None,
        FileType::File => Some(match content {
            Some(content) => format!("a file of {} bytes", content.size),
            None => "a file".to_owned(),
        }),
        FileType::Directory => Some("a directory".to_owned()),
        FileType::Link => Some("a symbolic link".to_owned()),
        FileType::Other => Some("something that is neither file, directory nor link".to_owned()),
    };
    match observed {
        Observed::File(file) => at_path(file.file_type, file.content.as_ref()),
        Observed::Unit(unit) => at_path(unit.file_type, unit.content.as_ref()),
        Observed::Directory(directory) => at_path(directory.file_type, None),
        Observed::Link(link) => match &link.target {
            Some(target) => Some(format!("a link to {target}")),
            None => at_path(link.file_type, None),
        },
        Observed::Package(package) => package
            .version
            .as_ref()
            .map(|version| format!("the installed version {version}")),
        Observed::Service(service) if service.known => {
            let runs = match service.state {
                Some(ServiceState::Started) => "running",
                _ => "stopped",
            };
            let boot = match (service.masked, service.enabled) {
                (true, _) => ", masked",
                (false, Some(true)) => ", enabled",
                (false, Some(false)) => ", disabled",
                (false, None) => "",
            };
            Some(format!("a unit that was {runs}{boot}"))
        }
        Observed::Service(_) => None,
        Observed::User(user) => (user.state == Some(Presence::Present)).then(|| match user.uid {
            Some(uid) => format!("a user with the id {uid}"),
            None => "a user".to_owned(),
        }),
        Observed::Group(group) => {
            (group.state == Some(Presence::Present)).then(|| match group.gid {
                Some(gid) => format!("a group with the id {gid}"),
                None => "a group".to_owned(),
            })
        }
        Observed::Sysctl(sysctl) => sysctl
            .running
            .as_ref()
            .map(|value| format!("the value {value}")),
    }
}
