use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use jiff::Timestamp;
use plumb_adapters::git::Repository;
use plumb_api::HostName;
use plumb_api::plan::Op;
use plumb_core::desired::HostResult;
use plumb_core::plan::unified;
use plumb_core::resolve::rendered;
use plumb_trust::{Oid, ReasonCode};
use serde::Serialize;
use serde_json::Value;
use similar::TextDiff;

use super::render;
use crate::cli::folder::RepositoryFolder;
use crate::cli::selection::{Selection, select_names};
use crate::output::count;
use crate::output::{Paint, Palette, Shell, short};
use crate::report::{Exit, Failure, OrFail as _, render_diagnostics};
use crate::verdict::{self, FloorSource, Range};
use crate::workspace::Workspace;

/// Compare the accepted revision with the folder, offline
///
/// Shows for each host which resources the folder's manifests would add, change or remove. Both sides
/// are composed and rendered, so a changed profile shows on every host that it reaches. Contacts no
/// host; `plumb plan` compares with the real hosts. A host whose file is deleted leaves the fleet:
/// nothing is removed from it.
///
/// The accepted revision is the last commit of the upstream branch that the trust policy accepts,
/// judged from git's `plumb.introduction`. Without that setting it is HEAD.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 nothing differs, 1 something differs, 2 the comparison failed.\nExamples:\n  plumb diff\n  plumb diff linda\n  plumb diff --from origin/main~3 -l role=cloud -o json"
)]
pub(super) struct Diff {
    /// Hosts by name; by default all hosts
    #[arg(value_name = "HOST")]
    words: Vec<String>,

    #[command(flatten)]
    folder: RepositoryFolder,

    /// Hosts by label, as in kubectl: role=cloud,site!=home
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    selector: Option<String>,

    /// Compare from this commit instead of the accepted one
    #[arg(long, value_name = "COMMIT")]
    from: Option<String>,

    /// Compare to this commit instead of the folder
    #[arg(long, value_name = "COMMIT")]
    to: Option<String>,
}

#[derive(Serialize)]
struct Differences {
    from: String,
    to: Option<String>,
    hosts: BTreeMap<HostName, HostDifference>,
}

#[derive(Serialize)]
struct HostDifference {
    /// The change of the host itself, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<HostChange>,
    changes: Vec<Difference>,
}

/// A change of a host itself, not of its resources.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
enum HostChange {
    /// The host's manifest was removed. Plumb leaves the host as it is and no longer drives it.
    Leaves,
    /// The host had this name before.
    RenamedFrom(HostName),
}

#[derive(Serialize)]
struct Difference {
    resource: String,
    op: Op,
    patch: Vec<Value>,
    #[serde(skip)]
    text: String,
}

impl Diff {
    pub(super) fn run(self, shell: &Shell) -> Result<Exit, Failure> {
        // A script must be able to tell "differs" from "failed".
        self.compare(shell)
            .map_err(|failure| failure.exit(Exit::TROUBLE))
    }

    fn compare(self, shell: &Shell) -> Result<Exit, Failure> {
        let (folder, hosts) = self.folder.and_hosts(self.words);
        let repository = Repository::open(&folder)?;
        let from = match &self.from {
            Some(from) => repository.resolve(from)?,
            None => accepted(&repository, shell)?,
        };
        let old = Workspace::of_commit(&repository, &from)?;
        let new = match &self.to {
            Some(to) => Workspace::of_commit(&repository, &repository.resolve(to)?)?,
            None => Workspace::of_folder(&folder)?,
        };
        let selection = Selection {
            hosts,
            selector: self.selector,
        };
        let mut chosen: BTreeSet<HostName> = match select_names(&selection, &new.fleet) {
            Ok(names) => names.into_iter().collect(),
            // A host that was removed is only in the old fleet.
            Err(failure) if selection.hosts.is_empty() => return Err(failure),
            Err(_) => BTreeSet::new(),
        };
        chosen.extend(select_names(&selection, &old.fleet).unwrap_or_default());
        if chosen.is_empty() {
            select_names(&selection, &new.fleet)?;
        }
        let mut differences = Differences {
            from: from.to_string(),
            to: new.fleet.revision().commit(),
            hosts: BTreeMap::new(),
        };
        let (before, after) = (rendered(&old.resolved), rendered(&new.resolved));
        let renamed = renamed(&old.resolved.hosts, &new.resolved.hosts);
        let mut held = 0;
        for name in &chosen {
            if let Some(HostResult::Held(diagnostics)) = new.resolved.hosts.get(name) {
                shell.say(render_diagnostics(diagnostics, &new.sources, shell.err));
                held += 1;
                continue;
            }
            let of = |fleet: &Value, name: &HostName| specs(&fleet["hosts"][name.as_str()]);
            let gone = !new.resolved.hosts.contains_key(name);
            if gone && renamed.values().any(|old| *old == name) {
                continue;
            }
            let former = renamed.get(name).copied();
            let (host, changes) = if gone {
                (Some(HostChange::Leaves), Vec::new())
            } else {
                let was = of(&before, former.unwrap_or(name));
                let fate = former.map(|old| HostChange::RenamedFrom(old.clone()));
                (fate, changes(&was, &of(&after, name)))
            };
            if host.is_some() || !changes.is_empty() {
                differences
                    .hosts
                    .insert(name.clone(), HostDifference { host, changes });
            }
        }
        if held > 0 {
            return Err(Failure::new(format!(
                "cannot compare {}: their manifests have errors",
                count(held, "host")
            )));
        }
        shell.emit(&differences, |palette| text(&differences, palette))?;
        Ok(if differences.hosts.is_empty() {
            Exit::OK
        } else {
            Exit::DIFFERS
        })
    }
}

/// Maps the new name of each renamed host to its old name, which `formerly` gives, as in the controller.
fn renamed<'a>(
    old: &'a BTreeMap<HostName, HostResult>,
    new: &'a BTreeMap<HostName, HostResult>,
) -> BTreeMap<&'a HostName, &'a HostName> {
    let mut renamed = BTreeMap::new();
    for (name, result) in new {
        let (HostResult::Ready(intent), None) = (result, old.get(name)) else {
            continue;
        };
        let former = intent
            .formerly
            .iter()
            .filter(|former| !new.contains_key(*former))
            .find_map(|former| old.get_key_value(former));
        if let Some((former, _)) = former {
            renamed.insert(name, former);
        }
    }
    renamed
}

/// Returns the resources of a rendered host, by address.
fn specs(host: &Value) -> BTreeMap<String, Value> {
    let types = host["resources"].as_object().into_iter().flatten();
    types
        .flat_map(|(kind, all)| {
            let all = all.as_object().into_iter().flatten();
            all.map(move |(name, spec)| (format!("{kind}:{name}"), spec.clone()))
        })
        .collect()
}

/// Returns the newest accepted commit, as far as this clone knows. Without `plumb.introduction` it is the
/// upstream branch or HEAD.
fn accepted(repository: &Repository, shell: &Shell) -> Result<Oid, Failure> {
    let head = repository
        .resolve("@{upstream}")
        .or_else(|_| repository.resolve("HEAD"))?;
    let introduction = repository.config("plumb.introduction");
    let Some(introduction) = introduction else {
        shell.warn(format_args!(
            "git's plumb.introduction isn't set, so signatures aren't judged; comparing with {}",
            head.short()
        ));
        return Ok(head);
    };
    let floor = introduction.parse::<Oid>().or_fail(|| {
        format!("git's plumb.introduction is `{introduction}`, which isn't a full commit id")
    })?;
    let tags = repository.tags()?;
    let range = Range {
        floor,
        source: FloorSource::Introduction,
        head,
        tags: &tags,
        now: Timestamp::now(),
    };
    let outcome = verdict::judge(repository, &range);
    let elsewhere = outcome.revision().is_none()
        || outcome
            .reasons
            .iter()
            .any(|reason| matches!(reason.code, ReasonCode::NotDescendant | ReasonCode::Rewound));
    if elsewhere {
        return Err(Failure::new(format!(
            "git's plumb.introduction, {}, isn't a commit of {}, so no commit is known to be accepted",
            floor.short(),
            head.short()
        ))
        .hint("set it to the first trusted commit of this repository: git config plumb.introduction COMMIT; or compare with a commit of your choice: --from COMMIT"));
    }
    Ok(outcome.accepted)
}

fn changes(before: &BTreeMap<String, Value>, after: &BTreeMap<String, Value>) -> Vec<Difference> {
    let addresses: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let nothing = Value::Object(serde_json::Map::new());
    let mut changes = Vec::new();
    for address in addresses {
        let (was, will) = (before.get(address), after.get(address));
        if was == will {
            continue;
        }
        let op = match (was, will) {
            (Some(_), Some(_)) => Op::Update,
            (None, _) => Op::Create,
            (_, None) => Op::Delete,
        };
        let (was, will) = (was.unwrap_or(&nothing), will.unwrap_or(&nothing));
        changes.push(Difference {
            resource: address.clone(),
            op,
            patch: patch(was, will),
            text: fields(was, will),
        });
    }
    changes
}

/// Returns the JSON Patch (RFC 6902) from one spec to the other.
fn patch(was: &Value, will: &Value) -> Vec<Value> {
    let empty = serde_json::Map::new();
    let (was, will) = (
        was.as_object().unwrap_or(&empty),
        will.as_object().unwrap_or(&empty),
    );
    let path = |field: &str| format!("/{}", field.replace('~', "~0").replace('/', "~1"));
    let mut operations = Vec::new();
    for (field, value) in will {
        match was.get(field) {
            Some(old) if old == value => {}
            Some(_) => operations
                .push(serde_json::json!({"op": "replace", "path": path(field), "value": value})),
            None => operations
                .push(serde_json::json!({"op": "add", "path": path(field), "value": value})),
        }
    }
    for field in was.keys().filter(|field| !will.contains_key(*field)) {
        operations.push(serde_json::json!({"op": "remove", "path": path(field)}));
    }
    operations
}

/// Renders the difference of two specs as a line diff of their fields, with secrets masked.
fn fields(was: &Value, will: &Value) -> String {
    let texts = |spec: &Value| {
        spec.get("content")
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    if let (Some(before), Some(after)) = (texts(was), texts(will)) {
        return with_content(was, will, &before, &after);
    }
    lines_of(was, will)
}

/// Renders a change of content as a unified difference of the text, after the other fields.
fn with_content(was: &Value, will: &Value, before: &str, after: &str) -> String {
    let others = |spec: &Value| {
        let mut spec = spec.clone();
        if let Some(spec) = spec.as_object_mut() {
            spec.remove("content");
        }
        spec
    };
    let mut text = lines_of(&others(was), &others(will));
    if before != after {
        text.push_str(" content:\n");
        text.push_str(&unified(before, after).unwrap_or_else(|| {
            let size = |sign, text: &str| {
                let digest = plumb_api::Digest::of_bytes(text.as_bytes()).to_string();
                format!("{sign}{} bytes, sha256 {}…\n", text.len(), &digest[..12])
            };
            format!("{}{}", size('-', before), size('+', after))
        }));
    }
    text
}

fn lines_of(was: &Value, will: &Value) -> String {
    let (was, will) = (render::fields(was), render::fields(will));
    let diff = TextDiff::from_lines(&was, &will);
    let mut text = String::new();
    for hunk in diff.unified_diff().context_radius(1).iter_hunks() {
        for change in hunk.iter_changes() {
            let _ = write!(text, "{}{}", change.tag(), change.value());
        }
    }
    text
}

fn text(differences: &Differences, palette: Palette) -> String {
    let mut out = String::new();
    // Hosts with the same changes are listed together.
    let mut groups: Vec<(Vec<&HostName>, &HostDifference)> = Vec::new();
    for (name, host) in &differences.hosts {
        let alike = |other: &HostDifference| {
            other.host == host.host
                && other.changes.len() == host.changes.len()
                && other
                    .changes
                    .iter()
                    .zip(&host.changes)
                    .all(|(a, b)| a.resource == b.resource && a.op == b.op && a.text == b.text)
        };
        match groups.iter_mut().find(|(_, other)| alike(other)) {
            Some((names, _)) => names.push(name),
            None => groups.push((vec![name], host)),
        }
    }
    for (names, host) in groups {
        let listed: Vec<_> = names.iter().map(ToString::to_string).collect();
        let listed = palette.paint(Paint::Bold, listed.join(", "));
        let _ = match &host.host {
            None => writeln!(out, "{listed}"),
            Some(HostChange::RenamedFrom(old)) => writeln!(out, "{listed} was {old}"),
            Some(HostChange::Leaves) => {
                let (leaves, is) = match names.len() {
                    1 => ("leaves", "it is left as it is"),
                    _ => ("leave", "they are left as they are"),
                };
                writeln!(
                    out,
                    "{listed} {leaves} the fleet: {is} and no longer driven (to remove what Plumb made, push `state: retired` first)"
                )
            }
        };
        for change in &host.changes {
            let (paint, word) = match change.op {
                Op::Create => (Paint::Good, "+ create"),
                Op::Delete => (Paint::Error, "- delete"),
                Op::Update | Op::Replace | Op::Run => (Paint::Warn, "~ update"),
            };
            let _ = writeln!(out, "  {} {}", palette.paint(paint, word), change.resource);
            super::plan::lines(&mut out, &change.text, palette);
        }
        out.push('\n');
    }
    let of = short(&differences.from);
    let to = differences.to.as_deref().map_or("the folder", short);
    let _ = match differences.hosts.len() {
        0 => writeln!(out, "nothing differs between {of} and {to}"),
        hosts => writeln!(
            out,
            "{} {} between {of} and {to}",
            count(hosts, "host"),
            if hosts == 1 { "differs" } else { "differ" }
        ),
    };
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_patch_names_what_differs() {
        let was = json!({"mode": "0644", "owner": "root", "a/b": 1});
        let will = json!({"mode": "0600", "owner": "root", "group": "adm"});
        assert_eq!(
            serde_json::to_value(patch(&was, &will)).unwrap(),
            json!([
                {"op": "add", "path": "/group", "value": "adm"},
                {"op": "replace", "path": "/mode", "value": "0600"},
                {"op": "remove", "path": "/a~1b"},
            ])
        );
    }

    #[test]
    fn texts_are_compared_by_line() {
        let text = fields(&json!({"content": "a\nb\n"}), &json!({"content": "a\nc\n"}));
        assert!(text.contains("-b\n+c\n"), "{text}");
    }
}
