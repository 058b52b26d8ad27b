//! The record of a project, in the agent's folder beside the project's Compose file.

use std::collections::BTreeMap;

use plumb_api::Address;
use plumb_api::Digest;
use plumb_api::report::{AgentError, ErrorCode};
use plumb_api::resource::{ContainerFault, ImagePolicy};
use serde::{Deserialize, Serialize};

use super::containers::Container;
use super::tool::Tool;
use crate::book::{Durable, Home, Sealed, seal, unseal, write_whole};
use crate::error::Result;
use crate::sys::{Dir, remove_tree};

/// Subfolder of the agent's folder with one folder for each project.
const FOLDER: &str = "compose";

/// Name of the record in a project's folder.
const RECORD: &str = "record";

/// Name of the Compose file in a project's folder.
pub(super) const FILE: &str = "compose.yaml";

/// Name of the record's format.
const FORMAT: &str = "compose";

/// A project as Plumb brought it up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Project {
    pub tool: Tool,
    /// Digest of the Compose file.
    pub file: Digest,
    pub environment: BTreeMap<String, String>,
    /// The secret and its version of each variable that has one.
    #[serde(default)]
    pub secrets: BTreeMap<String, (Address, u64)>,
    pub images: ImagePolicy,
    /// The containers, by name.
    pub containers: BTreeMap<String, Known>,
}

/// A container as Plumb brought it up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Known {
    /// Hash of the configuration, or the container's id if the compose program gives none.
    pub config: String,
    /// Id of the image.
    pub image: String,
}

impl Known {
    pub(super) fn of(container: &Container) -> Self {
        Self {
            config: container.config.clone(),
            image: container.image.clone(),
        }
    }
}

impl Project {
    /// Reads the record of a project. Returns `None` if there is none, or if it is damaged.
    pub(super) fn load(home: &Home, name: &str) -> Result<Option<Self>> {
        let Some(bytes) = home.read(&format!("{FOLDER}/{name}/{RECORD}"))? else {
            return Ok(None);
        };
        match unseal(FORMAT, &bytes)? {
            Sealed::Sound(payload) => Ok(serde_json::from_slice(payload).ok()),
            Sealed::Corrupt => Ok(None),
        }
    }

    /// Opens the folder of a project, and creates it if it doesn't exist.
    pub(super) fn folder(home: &Home, name: &str) -> Result<Dir> {
        let all = home.folder(FOLDER)?;
        all.make_directory(name, 0o700)?;
        all.sub(name)
    }

    /// Writes the record durably.
    pub(super) fn write(&self, home: &Home, name: &str) -> Result<()> {
        let payload = serde_json::to_vec(self)
            .map_err(|error| AgentError::new(ErrorCode::Internal, error.to_string()))?;
        let folder = Self::folder(home, name)?;
        write_whole(&folder, RECORD, &seal(FORMAT, &payload), Durable::Yes)
    }

    /// Removes the folder of a project.
    pub(super) fn remove(home: &Home, name: &str) -> Result<()> {
        let all = home.folder(FOLDER)?;
        remove_tree(&all, name)?;
        all.sync()
    }

    /// True if the other project has the same containers: it was brought up by the same program from the same
    /// file and variables.
    pub(super) fn is_brought_up_as(&self, other: &Self) -> bool {
        self.tool == other.tool
            && self.file == other.file
            && self.environment == other.environment
            && self.secrets == other.secrets
    }

    /// Returns the containers that aren't as Plumb brought them up, by name.
    pub(super) fn faults(&self, found: &[Container]) -> BTreeMap<String, ContainerFault> {
        let mut faults: BTreeMap<String, ContainerFault> = self
            .containers
            .keys()
            .map(|name| (name.clone(), ContainerFault::Missing))
            .collect();
        for container in found {
            let fault = match self.containers.get(&container.name) {
                None => Some(ContainerFault::Foreign),
                Some(known) if !self.is_same(known, container) => Some(ContainerFault::Replaced),
                Some(_) => container.fault(),
            };
            match fault {
                Some(fault) => faults.insert(container.name.clone(), fault),
                None => faults.remove(&container.name),
            };
        }
        faults
    }

    /// True if the container is the known one. An image that has only a tag may be a newer one, which somebody
    /// pulled.
    fn is_same(&self, known: &Known, container: &Container) -> bool {
        known.config == container.config
            && (self.images == ImagePolicy::Tag || known.image == container.image)
    }
}

#[cfg(test)]
mod tests {
    use super::super::containers::tests::container;
    use super::*;

    fn project(images: ImagePolicy) -> Project {
        let names = ["p-db-1", "p-web-1"];
        let known = |name: &&str| ((*name).to_owned(), Known::of(&container(name, "running")));
        Project {
            tool: Tool::PodmanCompose,
            file: Digest::of_bytes(b"x"),
            environment: BTreeMap::new(),
            secrets: BTreeMap::new(),
            images,
            containers: names.iter().map(known).collect(),
        }
    }

    fn faults(images: ImagePolicy, found: &[Container]) -> Vec<(String, ContainerFault)> {
        project(images).faults(found).into_iter().collect()
    }

    #[test]
    fn containers_that_were_changed_by_hand_are_faults() {
        use ContainerFault::{Foreign, Missing, Replaced};
        let db = container("p-db-1", "running");
        let web = container("p-web-1", "running");
        let all = [db.clone(), web.clone()];
        assert!(faults(ImagePolicy::Digest, &all).is_empty());
        let missing = faults(ImagePolicy::Digest, &all[..1]);
        assert_eq!(missing, [("p-web-1".to_owned(), Missing)]);
        let other = Container {
            config: "other".to_owned(),
            ..web.clone()
        };
        let replaced = faults(ImagePolicy::Digest, &[db.clone(), other]);
        assert_eq!(replaced, [("p-web-1".to_owned(), Replaced)]);
        let stray = container("p-cache-1", "running");
        let foreign = faults(ImagePolicy::Digest, &[db, web, stray]);
        assert_eq!(foreign, [("p-cache-1".to_owned(), Foreign)]);
    }

    #[test]
    fn a_newer_image_is_a_fault_only_if_a_digest_is_required() {
        let db = container("p-db-1", "running");
        let newer = Container {
            image: "newer".to_owned(),
            ..container("p-web-1", "running")
        };
        let all = [db, newer];
        assert!(faults(ImagePolicy::Tag, &all).is_empty());
        assert_eq!(
            faults(ImagePolicy::Digest, &all),
            [("p-web-1".to_owned(), ContainerFault::Replaced)]
        );
    }
}
