//! Secret objects: expand into a resource per value, and a drop-in per unit that gets a value.

use plumb_api::canonical::NotCanonical;
use plumb_api::kind::{SecretDelivery, SecretObjectSpec};
use plumb_api::resource::{SecretFile, SecretSpec, ServiceSpec};
use plumb_api::secret::SecretBinding;
use plumb_api::{Digest, Kind};
use serde_json::{Value as Json, json};

use super::Part;

/// The folder of the values that systemd passes to units. Only root gets at the files in it.
const CREDENTIALS: &str = "/run/plumb/credentials";

/// The unit that delivers secrets at boot, before the services that read them.
const BOOT: &str = "plumb-secrets";
const BOOT_UNIT: &str = "# Written by plumb.
[Unit]
Description=Secrets of this host
DefaultDependencies=no
After=local-fs.target systemd-tmpfiles-setup.service
Before=sysinit.target shutdown.target
Conflicts=shutdown.target
ConditionPathExists=/var/lib/plumb/boot-agent

[Service]
Type=oneshot
ExecStart=/var/lib/plumb/boot-agent secrets

[Install]
WantedBy=sysinit.target
";

/// Returns the digest of a Secret's `hosts`.
pub(crate) fn hosts_digest(spec: &SecretObjectSpec) -> Result<Digest, NotCanonical> {
    Digest::of("secret-hosts", &spec.hosts)
}

/// Returns the files that a host gets a value in.
pub(crate) fn files(name: &str, spec: &SecretObjectSpec, key: &str) -> Vec<SecretFile> {
    let uses = spec.deliver.iter().filter(|one| one.key == key);
    uses.filter_map(|one| match (&one.path, &one.unit) {
        (Some(path), _) => Some(SecretFile {
            path: path.clone(),
            owner: one.owner.clone(),
            group: one.group.clone(),
            mode: one.mode,
        }),
        (None, Some(unit)) => Some(SecretFile {
            path: credential(name, key, unit),
            owner: None,
            group: None,
            mode: None,
        }),
        (None, None) => None,
    })
    .collect()
}

/// Returns the path of a value that systemd passes to a unit.
fn credential(name: &str, key: &str, unit: &str) -> String {
    format!("{CREDENTIALS}/{}/{name}.{key}", ServiceSpec::unit(unit))
}

/// Returns the binding of a value.
pub(crate) fn binding(
    repository: &str,
    name: &str,
    spec: &SecretObjectSpec,
    key: &str,
    version: u64,
) -> Result<SecretBinding, NotCanonical> {
    Ok(SecretBinding {
        repository: repository.to_owned(),
        name: name.to_owned(),
        key: key.to_owned(),
        version,
        hosts: hosts_digest(spec)?,
        deliver: SecretSpec::digest_of_delivery(&files(name, spec, key))?,
    })
}

/// Returns the version of a value: that of the Secret when it was set.
pub(crate) fn version(spec: &SecretObjectSpec, key: &str) -> u64 {
    spec.recipients
        .get(key)
        .map_or(spec.version, |readers| readers.version)
}

/// Returns the resources of a Secret. A key without a value has none.
pub(crate) fn parts(
    repository: &str,
    name: &str,
    spec: &SecretObjectSpec,
) -> Result<Vec<Part>, NotCanonical> {
    let hosts = hosts_digest(spec)?;
    let mut parts = Vec::new();
    for (key, ciphertext) in &spec.values {
        let files = files(name, spec, key);
        let files: Vec<Json> = files.iter().map(|file| json!(file)).collect();
        let version = version(spec, key);
        let mut part = Part::new(Kind::Secret, format!("{name}/{key}"))
            .field("repository", repository)
            .field("version", version)
            .field("hosts", hosts.to_string())
            .field("ciphertext", ciphertext.as_str());
        if !files.is_empty() {
            part = part.field("deliver", files);
            // All secrets of a host have these in common.
            parts
                .push(Part::new(Kind::Unit, format!("{BOOT}.service")).field("content", BOOT_UNIT));
            parts.push(Part::new(Kind::Service, BOOT).field("enabled", true));
        }
        parts.push(part);
        let uses = spec.deliver.iter().filter(|one| one.key == *key);
        parts.extend(uses.filter_map(|one| drop_in(name, one, version)));
    }
    Ok(parts)
}

/// Returns the drop-in that passes a value to a unit. It has the value's version, because a unit reads its
/// credentials only when it starts: a changed drop-in restarts a service that the host manages.
fn drop_in(name: &str, one: &SecretDelivery, version: u64) -> Option<Part> {
    let (unit, key) = (one.unit.as_deref()?, &one.key);
    let path = credential(name, key, unit);
    let text = format!(
        "# Written by plumb, for version {version} of {name}/{key}.\n[Service]\nLoadCredential={key}:{path}\n"
    );
    let unit = ServiceSpec::unit(unit);
    Some(
        Part::new(Kind::Unit, format!("{unit}.d/plumb-{name}-{key}.conf"))
            .field("content", text)
            .field("after", vec![format!("secret:{name}/{key}")]),
    )
}
