use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use plumb_api::frame::{Adopt as AdoptRequest, AdoptOutcome, AdoptScope, Adopted, Fence, TakeOver};
use plumb_api::{Address, Epoch, HostName};
use plumb_core::desired::{HostIntent, HostResult, Resolved};
use plumb_core::ports::{HostError, Hosts};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::cli::folder::RepositoryFolder;
use crate::config::Config;
use crate::connect::{self, Routes};
use crate::output::{Paint, Palette, Shell, count, to_yaml};
use crate::report::{Exit, Failure, OrFail as _, render_diagnostics};
use crate::runtime::block_on;
use crate::workspace::Workspace;
use crate::yaml_edit::{PathStep, Yaml};

/// Write the manifest for what a live host has
///
/// Looks at resources on the host as they are now and writes them as the profile `adopted-HOST`, which
/// the host's manifest then uses. Changes nothing on the host. After the commit, the plan of the host is
/// empty, and Plumb keeps these resources as they are.
///
/// With --all: what deviates from the distribution's defaults, which is packages that somebody installed,
/// unit files and drop-ins, enabled, disabled and masked units, people and their groups, changed
/// configuration files, and files in folders such as /etc/sudoers.d that belong to no package. Read the
/// result and remove what isn't to be kept.
///
/// A content that not everybody on the host may read isn't written, nor one that is longer than 64 KiB or
/// no text; of such a file Plumb then keeps only owner, group and mode.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 everything was described, 1 something wasn't.\nExamples:\n  plumb adopt linda file:/etc/motd service:nginx package:nginx\n  plumb adopt linda --all --print\n  plumb adopt linda --all --config /etc/plumb/controller.yaml"
)]
pub(super) struct Adopt {
    /// The host
    host: HostName,

    /// Resources, such as file:/etc/motd
    #[arg(value_name = "ADDRESS", required_unless_present = "all")]
    addresses: Vec<Address>,

    /// Everything that deviates from the distribution's defaults
    #[arg(long, conflicts_with = "addresses")]
    all: bool,

    /// Show the profile and write no file
    #[arg(long)]
    print: bool,

    #[command(flatten)]
    folder: RepositoryFolder,

    /// Use the SSH key of this controller configuration, and its local and sandbox hosts
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// The result for programs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AdoptResult {
    host: HostName,
    /// The written file; `None` with `--print`.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<PathBuf>,
    profile: Value,
    /// The resources whose content isn't in the profile.
    without_content: Vec<Address>,
    /// The resources that aren't in the profile, with the reason.
    left_out: BTreeMap<String, String>,
}

impl Adopt {
    pub(super) fn run(self, shell: &Shell) -> Result<Exit, Failure> {
        let folder = self.folder.path();
        let workspace = Workspace::of_folder(folder)?;
        let intent = match workspace.resolved.hosts.get(&self.host) {
            Some(HostResult::Ready(intent)) => intent,
            Some(HostResult::Held(diagnostics)) => {
                shell.say(render_diagnostics(
                    diagnostics,
                    &workspace.sources,
                    shell.err,
                ));
                return Err(Failure::new(format!(
                    "{}'s manifests have errors",
                    self.host
                )));
            }
            None => {
                return Err(
                    Failure::new(format!("the fleet has no host {}", self.host)).hint(format!(
                        "enroll it first: plumb enroll {} --address ADDRESS",
                        self.host
                    )),
                );
            }
        };
        let name = format!("adopted-{}", self.host);
        let file = folder.join("profiles").join(format!("{name}.yaml"));
        if !self.print && file.exists() {
            return Err(Failure::new(format!("{} exists", file.display())).hint(
                "rename that profile and its file to keep it, or use --print and merge by hand",
            ));
        }
        let found = self.look(intent, &workspace.resolved)?;
        let mut result = self.result(&name, found);
        let is_empty = result.profile["spec"]["resources"] == json!({});
        if !self.print && !is_empty {
            write(&file, &result.profile)?;
            use_profile(
                &folder.join("hosts").join(format!("{}.yaml", self.host)),
                &name,
                shell,
            );
            result.file = Some(file);
        }
        for (address, reason) in &result.left_out {
            shell.warn(format_args!("left out {address}: {reason}"));
        }
        for address in &result.without_content {
            shell.warn(format_args!(
                "the content of {address} isn't written: it may hold a secret, is too long, or is no text"
            ));
        }
        shell.emit(&result, |palette| text(&result, palette))?;
        Ok(if result.left_out.is_empty() {
            Exit::OK
        } else {
            Exit::FAILED
        })
    }

    /// Asks the host's agent.
    fn look(&self, intent: &HostIntent, resolved: &Resolved) -> Result<Vec<Adopted>, Failure> {
        let (roads, ssh) = match &self.config {
            Some(path) => {
                let config = Config::read(path)?;
                (Routes::of(&config), config.ssh)
            }
            None => (Routes::ssh_only(), connect::personal()),
        };
        let connector = connect::connector(&ssh)?;
        let request = AdoptRequest {
            fence: Fence {
                protocol: plumb_api::frame::PROTOCOL,
                fleet: resolved.fleet.clone(),
                host: intent.name.clone(),
                formerly: intent.formerly.clone(),
                controller: super::plan::controller_id(),
                epoch: Epoch(0),
                take_over: TakeOver::No,
            },
            scope: if self.all {
                AdoptScope::Deviations
            } else {
                AdoptScope::Named(self.addresses.clone())
            },
        };
        let asked = async {
            let hosts: &dyn Hosts = &connector;
            hosts.connect(&roads.to(intent)).await?.adopt(request).await
        };
        block_on(async { Ok(asked.await) })?.map_err(|error: HostError| {
            let hint = error.hint();
            let failure = Failure::new(error.to_string());
            match hint {
                Some(hint) => failure.hint(hint),
                None => failure,
            }
        })
    }

    fn result(&self, profile: &str, found: Vec<Adopted>) -> AdoptResult {
        let mut resources: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
        let (mut without_content, mut left_out) = (Vec::new(), BTreeMap::new());
        for Adopted { address, outcome } in found {
            let reason = match outcome {
                AdoptOutcome::Found { spec, text } => match spec.to_json() {
                    Ok(mut value) => {
                        if let Some(fields) = value.as_object_mut() {
                            fields.values_mut().for_each(literal);
                            if fields.remove("content").is_some() {
                                match text {
                                    Some(text) => {
                                        fields.insert("content".to_owned(), Value::from(text));
                                    }
                                    None => without_content.push(address.clone()),
                                }
                            }
                        }
                        let kind = address.kind().as_str().to_owned();
                        let all = resources.entry(kind).or_default();
                        all.insert(raw(address.name()), value);
                        continue;
                    }
                    Err(error) => error.to_string(),
                },
                AdoptOutcome::Missing => "the host doesn't have it".to_owned(),
                AdoptOutcome::Failed(error) => error.message,
            };
            left_out.insert(address.to_string(), reason);
        }
        AdoptResult {
            host: self.host.clone(),
            file: None,
            profile: json!({
                "kind": "Profile",
                "metadata": { "name": profile },
                "spec": { "resources": resources },
            }),
            without_content,
            left_out,
        }
    }
}

/// Protects a text that would otherwise be an expression.
fn raw(text: &str) -> String {
    if ["{{", "{%", "{#"].iter().any(|brace| text.contains(brace)) {
        format!("{{% raw %}}{text}{{% endraw %}}")
    } else {
        text.to_owned()
    }
}

/// Protects all texts in a value that would otherwise be expressions.
fn literal(value: &mut Value) {
    match value {
        Value::String(text) => *text = raw(text),
        Value::Array(items) => items.iter_mut().for_each(literal),
        Value::Object(fields) => fields.values_mut().for_each(literal),
        _ => {}
    }
}

fn write(file: &Path, profile: &Value) -> Result<(), Failure> {
    let text = to_yaml(profile)?;
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder).or_fail(|| format!("cannot create {}", folder.display()))?;
    }
    fs::write(file, text).or_fail(|| format!("cannot write {}", file.display()))
}

/// Adds the profile to the host's manifest. If the manifest's layout doesn't allow that, says what to add.
fn use_profile(manifest: &Path, profile: &str, shell: &Shell) {
    let edited = fs::read_to_string(manifest).ok().and_then(|text| {
        let mut yaml = Yaml::new(text);
        let spec = [PathStep::Key("spec")];
        let profiles = [PathStep::Key("spec"), PathStep::Key("profiles")];
        yaml.insert(&profiles, profile, "{}")
            .or_else(|_| yaml.insert(&spec, "profiles", &format!("{{{profile}: {{}}}}")))
            .ok()?;
        fs::write(manifest, yaml.text()).ok()
    });
    if edited.is_none() {
        shell.warn(format_args!(
            "{} can't be edited; add to its spec: profiles: {{{profile}: {{}}}}",
            manifest.display()
        ));
    }
}

fn text(result: &AdoptResult, palette: Palette) -> String {
    let resources = result.profile["spec"]["resources"].as_object();
    let total: usize = resources
        .into_iter()
        .flatten()
        .filter_map(|(_, all)| Some(all.as_object()?.len()))
        .sum();
    match &result.file {
        Some(file) => format!(
            "{} {} with {}\nread it, then: {}\n",
            palette.paint(Paint::Good, "wrote"),
            file.display(),
            count(total, "resource"),
            palette.paint(
                Paint::Bold,
                format_args!("plumb check && plumb plan {}", result.host)
            ),
        ),
        None if total == 0 => "nothing to adopt\n".to_owned(),
        None => to_yaml(&result.profile).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_are_no_expressions() {
        let mut value = json!({"comment": "{{ x }}", "groups": ["{% if %}", "wheel"]});
        literal(&mut value);
        assert_eq!(
            value,
            json!({
                "comment": "{% raw %}{{ x }}{% endraw %}",
                "groups": ["{% raw %}{% if %}{% endraw %}", "wheel"],
            })
        );
    }
}
