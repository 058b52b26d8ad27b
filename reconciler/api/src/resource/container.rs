//! `container`: a container that systemd runs by podman.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::command::is_variable;
use super::composite::Composite;
use super::contract::Problem;
use super::credentials::secret_problem;
use super::field::Manage;
use super::setting::Setting;
use super::unit::is_unit_name;
use crate::address::AnyAddress;
use crate::name::Address;

/// A container that systemd runs with podman. It expands to the package `podman`, the quadlet
/// `/etc/containers/systemd/NAME.container`, a command that makes systemd read the quadlet, and the service
/// `NAME`, which starts at boot and restarts when the quadlet or a secret changes. It requires podman 4.4 or newer, which
/// Debian has since release 13.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ContainerSpec {
    /// The image with its digest: `registry.example/app@sha256:…`.
    pub image: String,
    /// The ports that are published, in podman's notation: `127.0.0.1:8080:80/tcp`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<String>,
    /// The folders and volumes that are mounted: `/srv/app:/data:ro`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<String>,
    /// Environment variables of the program.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, Setting>,
    /// Secrets that the program reads as environment variables, each of one line:
    /// `{DB_PASSWORD: secret:immich/db}`. A new value restarts the container.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, Address>,
    /// The network: `host`, `none`, or the name of a podman network; podman's default when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// The program and its arguments, in place of the image's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub run: Vec<String>,
    /// Resources that are applied before this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<AnyAddress>,
    /// `always` (default), or `once`: create the resource, and never change it again.
    #[serde(default, skip_serializing_if = "Manage::is_always")]
    pub manage: Manage,
}

fn is_image(text: &str) -> bool {
    let Some((name, digest)) = text.split_once("@sha256:") else {
        return false;
    };
    let good = |b: u8| b.is_ascii_alphanumeric() || b"._-/:".contains(&b);
    !name.is_empty()
        && name.bytes().all(good)
        && digest.len() == 64
        && digest
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

impl Composite for ContainerSpec {
    const EXAMPLE: &'static str = r#"container:
  web:
    image: "registry.example/web@sha256:c2ce5e7c9d3b5b1d5d1b2c8a0a4a3ad7f2a5d7e0c2b4a6f8091a2b3c4d5e6f70"
    ports: ["127.0.0.1:8080:80"]
    volumes: ["/srv/web:/data:ro"]
    environment: {MODE: production}
"#;

    const SETS: &'static [&'static str] = &["after", "ports", "volumes"];

    fn check_name(name: &str) -> Result<(), String> {
        if is_unit_name(&format!("{name}.service")) && !name.contains('@') {
            Ok(())
        } else {
            Err("name a container like its service, without `.service`: immich".to_owned())
        }
    }

    fn check(&self, _name: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut wrong = |field: &'static str, message: String, hint: &str| {
            problems.push(Problem {
                field,
                message,
                hint: hint.to_owned(),
            });
        };
        if !is_image(&self.image) {
            wrong(
                "image",
                "`image` must be a name with a digest: a tag can be moved".to_owned(),
                "write image: registry.example/app@sha256:…; `skopeo inspect` shows the digest of a tag",
            );
        }
        let word = |text: &String| {
            !text.is_empty() && !text.contains(|c: char| c.is_control() || c.is_whitespace())
        };
        if !self.ports.iter().all(word) {
            wrong(
                "ports",
                "a port is one word".to_owned(),
                "write ports: [\"127.0.0.1:8080:80\"]",
            );
        }
        if !self
            .volumes
            .iter()
            .all(|volume| word(volume) && volume.contains(':'))
        {
            wrong(
                "volumes",
                "a volume is a source and a target".to_owned(),
                "write volumes: [\"/srv/app:/data\"]",
            );
        }
        if self.network.as_ref().is_some_and(|network| !word(network)) {
            wrong(
                "network",
                "`network` is one word".to_owned(),
                "write network: host",
            );
        }
        if let Some((name, _)) = self
            .environment
            .iter()
            .find(|(name, value)| !is_variable(name) || !value.is_line())
        {
            wrong(
                "environment",
                format!(
                    "`{}` isn't a variable with a value of one line",
                    name.escape_debug()
                ),
                "use letters, digits and `_`, with no digit at the start",
            );
        }
        if let Some(name) = self.secrets.keys().find(|name| !is_variable(name)) {
            wrong(
                "secrets",
                format!("`{}` isn't a valid variable", name.escape_debug()),
                "use letters, digits and `_`, with no digit at the start",
            );
        }
        if self.run.iter().any(|word| word.contains(char::is_control)) {
            wrong(
                "run",
                "`run` has a control character".to_owned(),
                "write one word in each text",
            );
        }
        let secrets = self.secrets.values();
        problems.extend(secrets.filter_map(|secret| secret_problem("secrets", secret)));
        problems
    }

    fn after(&self) -> &[AnyAddress] {
        &self.after
    }

    fn manage(&self) -> Manage {
        self.manage
    }
}
