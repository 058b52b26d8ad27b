//! `container`: expands into a podman quadlet and its service.

use std::fmt::Write as _;

use plumb_api::Kind;
use plumb_api::resource::{ContainerSpec, Problem};

use super::credentials;
use super::timer::quoted;
use super::{ExpandContext, Outcome, Part, TypedResource};

/// Expands each resource into a quadlet of its own.
pub(super) fn expand(
    all: &[TypedResource<'_, ContainerSpec>],
    context: &ExpandContext<'_>,
) -> Vec<Outcome> {
    let old = context.debian().filter(|release| *release < 13);
    all.iter()
        .map(|one| match old {
            Some(release) => Err(vec![Problem {
                field: "image",
                message: format!("Debian {release} has no podman that reads quadlets"),
                hint: "use Debian 13, or `compose`".to_owned(),
            }]),
            None => Ok(parts(one.name, one.spec)),
        })
        .collect()
}

fn parts(name: &str, spec: &ContainerSpec) -> Vec<Part> {
    let path = format!("/etc/containers/systemd/{name}.container");
    let reload = format!("container-{name}-reload");
    let quadlet = Part::root_file(&path)
        .field("content", content(name, spec))
        .field("after", vec!["package:podman"]);
    // systemd generates the service of a quadlet at `daemon-reload`.
    let command = Part::new(Kind::Command, &reload)
        .field("run", vec!["/usr/bin/systemctl", "daemon-reload"])
        .field("refreshOn", vec![format!("file:{path}")]);
    let secrets = secrets_file(name);
    let mut restart_on = vec![format!("file:{path}")];
    let mut parts = vec![Part::new(Kind::Package, "podman"), quadlet, command];
    if !spec.secrets.is_empty() {
        restart_on.push(credentials::address(&secrets));
        parts.push(credentials::variables(&secrets, &spec.secrets));
    }
    let service = Part::new(Kind::Service, name)
        .field("state", "started")
        .field("restartOn", restart_on)
        .field("after", vec![format!("command:{reload}")]);
    parts.push(service);
    parts
}

/// Returns the name of the file with a container's secrets.
fn secrets_file(name: &str) -> String {
    format!("{name}.container.env")
}

fn content(name: &str, spec: &ContainerSpec) -> String {
    let mut text = format!(
        "# Written by plumb.\n[Unit]\nDescription=container {name}\n\n[Container]\nContainerName={name}\nImage={}\n",
        spec.image
    );
    for port in &spec.ports {
        let _ = writeln!(text, "PublishPort={port}");
    }
    for volume in &spec.volumes {
        let _ = writeln!(text, "Volume={volume}");
    }
    for (variable, value) in &spec.environment {
        let _ = writeln!(
            text,
            "Environment={}",
            quoted(&format!("{variable}={}", value.as_str()))
        );
    }
    if !spec.secrets.is_empty() {
        let file = credentials::path(&secrets_file(name));
        let _ = writeln!(text, "EnvironmentFile={file}");
    }
    if let Some(network) = &spec.network {
        let _ = writeln!(text, "Network={network}");
    }
    if !spec.run.is_empty() {
        let words: Vec<String> = spec.run.iter().map(|word| quoted(word)).collect();
        let _ = writeln!(text, "Exec={}", words.join(" "));
    }
    text.push_str("\n[Service]\nRestart=always\nTimeoutStartSec=900\n\n[Install]\nWantedBy=multi-user.target\n");
    text
}
