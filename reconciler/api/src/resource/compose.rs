//! `compose`: a Compose project that the host's own compose program runs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::command::is_variable;
use super::credentials::secret_problem;
use super::field::{Content, Manage, Presence};
use super::{Dependency, Kind, Problem, Resource, Strength, differs};
use crate::digest::Digest;
use crate::name::Address;
use crate::plan::{Consequence, FieldChange};

/// A Compose project: the containers of a Compose file. The name is the project's name.
///
/// The host's own compose program brings the project up: Docker's `docker-compose` 2 with Docker or with
/// podman's socket, or `podman-compose` with podman. Debian 12 has `podman-compose`; Debian 13 has both. The
/// file is checked before anything changes, and lies under `/var/lib/plumb`, where only root reads it. It must
/// be complete: a path relative to it leads nowhere, and images aren't built.
///
/// A change of the file or of `environment` recreates the containers that it concerns; with `podman-compose`,
/// which can't tell, all of the project's. Plumb remembers the configuration and the image of each container.
/// One that is missing, stopped, paused or replaced by hand is drift. One that ended by itself with status 0
/// has done its work, unless its restart policy is `always` or `unless-stopped`. Plumb waits up to 5 minutes
/// for health checks that are starting.
///
/// Volumes are never removed. When the resource leaves git, containers and networks of the project are
/// removed, and its volumes stay. A project that was there before Plumb stays as it is.
///
/// `podman-compose` passes the variables of a container as arguments, which all users of the host can read
/// while the container is created; Docker's program doesn't. With podman, containers return after a boot only
/// with `service: {podman-restart: {enabled: true}}`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ComposeSpec {
    /// `present` (default) or `absent`.
    #[serde(default, skip_serializing_if = "Presence::is_present")]
    pub state: Presence,
    /// The Compose file, a file of the repository: `files/immich/compose.yaml`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(title = "path under files/"))]
    pub file: Option<Content>,
    /// The variables that the file may use, as `${NAME}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// Secrets that the file may use as variables, as `${NAME}`: `{DB_PASSWORD: secret:immich/db}`. A new value
    /// recreates the containers. Requires Docker's program, because `podman-compose` shows values to others.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, Address>,
    /// The form of the images' names: with a `digest` (default), or a `tag` is enough. A tag can be moved.
    #[serde(default, skip_serializing_if = "ImagePolicy::is_digest")]
    pub images: ImagePolicy,
    /// Resources that are applied before this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<Address>,
    /// `always` (default), or `once`: create the resource, and never change it again.
    #[serde(default, skip_serializing_if = "Manage::is_always")]
    pub manage: Manage,
}

/// The form of image names that a project may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum ImagePolicy {
    /// Each image has a digest.
    #[default]
    Digest,
    /// An image may have a tag only.
    Tag,
}

impl ImagePolicy {
    /// True if this is the default, which the canonical form omits.
    pub fn is_digest(&self) -> bool {
        *self == Self::Digest
    }
}

/// The observed state of a Compose project.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ComposeObserved {
    /// True if the project has containers, or Plumb brought it up.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub exists: bool,
    /// The Compose file with which Plumb brought the project up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<Digest>,
    /// The variables with which Plumb brought the project up.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// The variables whose secrets have the value with which Plumb brought the project up.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, Address>,
    /// The image policy with which Plumb checked the file.
    #[serde(default, skip_serializing_if = "ImagePolicy::is_digest")]
    pub images: ImagePolicy,
    /// The containers that aren't as Plumb left them, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub faults: BTreeMap<String, ContainerFault>,
    /// The project's volumes. Observed only if the project is to be absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<String>,
}

/// The difference of a container from the one that Plumb brought up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ContainerFault {
    /// The container isn't there.
    Missing,
    /// The container was stopped, or never started.
    Stopped,
    /// The container's processes are frozen.
    Paused,
    /// A container with another configuration or image has the name.
    Replaced,
    /// A container of the project that Plumb didn't bring up.
    Foreign,
    /// The container's program ended with a failure.
    Failed,
    /// The container's health check fails.
    Unhealthy,
}

impl ContainerFault {
    /// True if the container itself caused the fault, and nobody changed it.
    pub fn by_itself(self) -> bool {
        matches!(self, Self::Failed | Self::Unhealthy)
    }

    /// Returns the phrase for people.
    pub fn phrase(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Stopped => "stopped",
            Self::Paused => "paused",
            Self::Replaced => "replaced",
            Self::Foreign => "not in the project",
            Self::Failed => "failed",
            Self::Unhealthy => "unhealthy",
        }
    }
}

impl Resource for ComposeSpec {
    type Observed = ComposeObserved;

    const EXAMPLE: &'static str = r"compose:
  immich:
    file: files/immich/compose.yaml
    environment: {UPLOAD: /srv/immich}
package: {podman, podman-compose}
";

    const FILES: &'static [&'static str] = &["file"];

    const RANK: u8 = 92;

    const MADE_WHOLE: bool = true;

    fn check_name(name: &str) -> Result<(), String> {
        let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b);
        if name.len() <= 100
            && name.bytes().all(good)
            && !name.starts_with(['_', '-'])
            && !name.is_empty()
        {
            Ok(())
        } else {
            Err(
                "a project's name is lower-case letters, digits, `_` and `-`, 100 at most, and begins with a letter or digit"
                    .to_owned(),
            )
        }
    }

    fn check(&self, _name: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut problem = |field, message: String, hint: &str| {
            problems.push(Problem {
                field,
                message,
                hint: hint.to_owned(),
            });
        };
        match (self.state, self.file) {
            (Presence::Present, None) => problem(
                "file",
                "a project needs its Compose file".to_owned(),
                "write file: files/NAME/compose.yaml",
            ),
            (Presence::Absent, Some(_)) => problem(
                "state",
                "an absent project has no Compose file".to_owned(),
                "remove `file`, or remove `state: absent`",
            ),
            _ => {}
        }
        if let Some(name) = self
            .secrets
            .keys()
            .find(|name| !is_variable(name) || self.environment.contains_key(*name))
        {
            problem(
                "secrets",
                format!(
                    "`{}` isn't a valid variable, or `environment` has it too",
                    name.escape_debug()
                ),
                "use letters, digits and `_`, with no digit at the start, and each name once",
            );
        }
        let bad = |(name, value): &(&String, &String)| !is_variable(name) || value.contains('\0');
        if let Some((name, _)) = self.environment.iter().find(bad) {
            problem(
                "environment",
                format!("`{}` isn't a valid variable", name.escape_debug()),
                "use letters, digits and `_`, with no digit at the start",
            );
        }
        let secrets = self.secrets.values();
        problems.extend(secrets.filter_map(|secret| secret_problem("secrets", secret)));
        problems
    }

    fn compare(&self, observed: &ComposeObserved) -> Vec<FieldChange> {
        let state = |from, to| FieldChange::of("state", Some(&from), Some(&to));
        if self.wants_absent() {
            let mut changes = Vec::new();
            if observed.exists {
                changes.push(state(Presence::Present, Presence::Absent));
                if !observed.volumes.is_empty() {
                    let volumes = observed.volumes.join(", ");
                    changes.push(FieldChange::new("volumes", &volumes, "kept"));
                }
            }
            return changes;
        }
        // Without a file, as in the spec of an original, the project stays as it is.
        let Some(file) = self.file else {
            return Vec::new();
        };
        if !observed.exists {
            return vec![state(Presence::Absent, Presence::Present)];
        }
        let mut changes = Vec::new();
        differs(
            &mut changes,
            "file",
            Some(&file.sha256),
            observed.file.as_ref(),
        );
        if self.environment != observed.environment {
            changes.push(FieldChange::of(
                "environment",
                Some(&observed.environment),
                Some(&self.environment),
            ));
        }
        differs(
            &mut changes,
            "secrets",
            Some(&self.secrets),
            Some(&observed.secrets),
        );
        differs(
            &mut changes,
            "images",
            Some(&self.images),
            Some(&observed.images),
        );
        if !observed.faults.is_empty() {
            let faults: Vec<String> = observed
                .faults
                .iter()
                .map(|(name, fault)| format!("{name} {}", fault.phrase()))
                .collect();
            changes.push(FieldChange::new(
                "containers",
                &faults.join(", "),
                "running",
            ));
        }
        changes
    }

    fn by_itself(&self, observed: &ComposeObserved, field: &str) -> bool {
        field == "containers" && observed.faults.values().all(|fault| fault.by_itself())
    }

    /// Returns the packages and sockets of the programs that bring a project up, if they are managed.
    fn requires(&self, _name: &str) -> Vec<Dependency> {
        let packages = [
            "containerd.io",
            "crun",
            "docker-ce",
            "docker-compose",
            "docker-compose-plugin",
            "docker.io",
            "iptables",
            "netavark",
            "podman",
            "podman-compose",
        ];
        let packages = packages.map(|name| (Kind::Package, name));
        let services = ["docker", "docker.socket", "podman.socket"];
        let services = services.map(|name| (Kind::Service, name));
        packages
            .into_iter()
            .chain(services)
            .filter_map(|(kind, name)| Address::new(kind, name).ok())
            .map(|address| (address, Strength::Implicit))
            .chain(
                self.secrets
                    .values()
                    .map(|secret| (secret.clone(), Strength::Explicit)),
            )
            .map(|(address, strength)| Dependency { address, strength })
            .collect()
    }

    fn consequences(&self, name: &str, fields: &[FieldChange]) -> Vec<Consequence> {
        let changed = |field: &str| fields.iter().any(|change| change.field == field);
        let containers = format!("containers of {name}");
        if changed("state") {
            if self.wants_absent() {
                return vec![Consequence::Stops(containers)];
            }
            return Vec::new();
        }
        vec![Consequence::Restarts(containers)]
    }

    fn exists(observed: &ComposeObserved) -> bool {
        observed.exists
    }

    fn wants_absent(&self) -> bool {
        self.state == Presence::Absent
    }

    fn after(&self) -> &[Address] {
        &self.after
    }

    fn manage(&self) -> Manage {
        self.manage
    }

    fn contents(&self) -> Vec<Content> {
        self.file.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn problems(spec: serde_json::Value) -> Vec<&'static str> {
        let spec: ComposeSpec = serde_json::from_value(spec).unwrap();
        let problems = spec.check("immich");
        problems.into_iter().map(|problem| problem.field).collect()
    }

    #[test]
    fn project_has_a_file_and_valid_variables() {
        let file = json!({"sha256": Digest::of_bytes(b"x"), "size": 1});
        assert!(problems(json!({"file": file, "environment": {"UPLOAD": "/srv"}})).is_empty());
        assert!(problems(json!({"state": "absent"})).is_empty());
        assert_eq!(problems(json!({})), ["file"]);
        assert_eq!(
            problems(json!({"state": "absent", "file": file})),
            ["state"]
        );
        let bad = json!({"file": file, "environment": {"1": ""}});
        assert_eq!(problems(bad), ["environment"]);
    }

    #[test]
    fn project_is_named_as_compose_allows() {
        for good in ["immich", "9-a_b"] {
            assert_eq!(ComposeSpec::check_name(good), Ok(()), "{good}");
        }
        for bad in ["", "Immich", "-a", "_a", "a.b", "a/b"] {
            assert!(ComposeSpec::check_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn project_differs_in_file_variables_and_containers() {
        let content = Content::of(b"new");
        let spec = ComposeSpec {
            file: Some(content),
            environment: [("A".to_owned(), "1".to_owned())].into(),
            ..ComposeSpec::default()
        };
        let fields = |observed: &ComposeObserved| -> Vec<String> {
            let changes = spec.compare(observed);
            changes.into_iter().map(|change| change.field).collect()
        };
        let mut observed = ComposeObserved::default();
        assert_eq!(fields(&observed), ["state"]);
        observed.exists = true;
        observed
            .faults
            .insert("web".to_owned(), ContainerFault::Stopped);
        assert_eq!(fields(&observed), ["file", "environment", "containers"]);
        observed.file = Some(content.sha256);
        observed.environment.clone_from(&spec.environment);
        assert!(!spec.by_itself(&observed, "containers"));
        observed
            .faults
            .insert("web".to_owned(), ContainerFault::Failed);
        assert!(spec.by_itself(&observed, "containers"));
        observed.faults.clear();
        assert!(fields(&observed).is_empty());
    }

    #[test]
    fn removal_names_the_volumes_that_stay() {
        let spec = ComposeSpec {
            state: Presence::Absent,
            ..ComposeSpec::default()
        };
        let observed = ComposeObserved {
            exists: true,
            volumes: vec!["immich_db".to_owned()],
            ..ComposeObserved::default()
        };
        let changes = spec.compare(&observed);
        assert_eq!(changes[1], FieldChange::new("volumes", "immich_db", "kept"));
        assert_eq!(
            spec.consequences("immich", &changes),
            [Consequence::Stops("containers of immich".to_owned())]
        );
        assert!(spec.compare(&ComposeObserved::default()).is_empty());
    }
}
