mod composing;
mod composites;
mod facts;
mod firewall;
mod holding;
mod keeping;
mod monitoring;
mod networks;
mod password;
mod rendering;
mod secrets;
mod sources;
mod sudoers;
mod system;
mod template;
mod timer;
mod wireguard;

use serde_json::Value;

use super::*;
use crate::manifest::{Sources, load};

const FLEET: (&str, &str) = (
    "fleet.yaml",
    "kind: Fleet\nmetadata: {name: home}\nspec: {domain: fleet.example}\n",
);

/// The files of a revision, with a plain fleet.yaml unless there is one.
pub(crate) fn sources(files: &[(&str, &str)]) -> Sources<()> {
    let fleet = [FLEET];
    let all = fleet.iter().chain(files);
    let files = all
        .map(|(path, text)| (Arc::from(*path), text.as_bytes().into()))
        .collect();
    Sources {
        revision: (),
        files,
    }
}

fn resolved(files: &[(&str, &str)]) -> Resolved {
    resolve(&load(sources(files)).fleet)
}

/// All that is told about some files, hosts behind each in brackets.
fn told(files: &[(&str, &str)]) -> String {
    let all = resolved(files).diagnostics;
    let lines = all.iter().map(|one| match one.hosts.len() {
        0 => one.to_string(),
        _ => format!("{one}\n  [{}]", one.hosts.join(" ")),
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The rendered resources of a host; panics with what is wrong.
fn host(name: &str, files: &[(&str, &str)]) -> Value {
    let resolved = resolved(files);
    let errors: Vec<_> = resolved
        .diagnostics
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(errors, Vec::<String>::new());
    rendered(&resolved)["hosts"][name]["resources"].clone()
}

fn object(kind: &str, name: &str, spec: &str) -> String {
    let spec = spec.trim_end().replace('\n', "\n  ");
    format!("kind: {kind}\nmetadata: {{name: {name}, labels: {{role: server}}}}\nspec:\n  {spec}\n")
}

/// Files that hold one host `a`, and profiles by name.
fn with(host: &str, profiles: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut files = vec![("hosts/a.yaml".to_owned(), object("Host", "a", host))];
    files.extend(profiles.iter().map(|(name, spec)| {
        (
            format!("profiles/{name}.yaml"),
            object("Profile", name, spec),
        )
    }));
    files
}

fn borrowed(files: &[(String, String)]) -> Vec<(&str, &str)> {
    files
        .iter()
        .map(|(path, text)| (path.as_str(), text.as_str()))
        .collect()
}

/// What is told about one host `a` with these profiles.
fn told_of(host: &str, profiles: &[(&str, &str)]) -> String {
    told(&borrowed(&with(host, profiles)))
}

/// The resources of one host `a` with these profiles.
fn of(text: &str, profiles: &[(&str, &str)]) -> Value {
    host("a", &borrowed(&with(text, profiles)))
}
