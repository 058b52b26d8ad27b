//! Secrets that a project's file uses as variables.

use std::collections::BTreeMap;

use plumb_api::report::{AgentError, ErrorCode};
use plumb_api::resource::ComposeSpec;
use plumb_api::{Address, Spec};
use zeroize::Zeroizing;

use super::project::Project;
use super::tool::Tool;
use crate::book::Desired;
use crate::error::{Result, fail};
use crate::provider::{ApplyContext, secret};

/// The values by variable.
pub(super) type SecretValues = BTreeMap<String, Zeroizing<String>>;

/// The secrets and their versions by variable.
type SecretVersions = BTreeMap<String, (Address, u64)>;

/// Returns the variables whose secrets have the version with which the project was brought up.
pub(super) fn current(desired: &Desired, project: &Project) -> BTreeMap<String, Address> {
    let is_current = |(_, (address, version)): &(&String, &(Address, u64))| {
        matches!(
            desired.get(address).map(|leaf| &leaf.spec),
            Some(Spec::Secret(spec)) if spec.version == *version
        )
    };
    let all = project.secrets.iter().filter(is_current);
    all.map(|(variable, (address, _))| (variable.clone(), address.clone()))
        .collect()
}

/// Decrypts the secrets of a project.
pub(super) fn open_all(
    cx: &ApplyContext<'_>,
    spec: &ComposeSpec,
    tool: Tool,
) -> Result<(SecretVersions, SecretValues)> {
    let mut versions = SecretVersions::new();
    let mut values = SecretValues::new();
    if !spec.secrets.is_empty() && tool == Tool::PodmanCompose {
        return Err(AgentError::new(
            ErrorCode::Unsupported,
            "podman-compose shows a container's variables to all users of the host, so it gets no secrets",
        )
        .hint("install Docker's program: `package: {docker-compose: {}}`, with Docker or podman's socket"));
    }
    for (variable, address) in &spec.secrets {
        let Some(Spec::Secret(wanted)) = cx.desired.get(address).map(|leaf| &leaf.spec) else {
            return fail(
                ErrorCode::Protocol,
                format!("{address} didn't come with its user"),
            );
        };
        let value = secret::open(cx.sys, address, wanted, None)?;
        let Ok(text) = std::str::from_utf8(&value) else {
            return fail(
                ErrorCode::Refused,
                format!("{address} isn't text, so it can't be the variable {variable}"),
            );
        };
        versions.insert(variable.clone(), (address.clone(), wanted.version));
        values.insert(variable.clone(), Zeroizing::new(text.to_owned()));
    }
    Ok((versions, values))
}
