//! Reads and writes the Secret objects of a repository.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use plumb_api::kind::SecretObjectSpec;
use plumb_api::name::is_label;
use plumb_api::resource::SecretSpec;
use plumb_core::secret::{FleetSecret, repository, secrets};
use plumb_document::{decode, parse};
use serde_json::Value;

use crate::report::{Failure, OrFail as _};
use crate::schema;
use crate::workspace::Workspace;
use crate::yaml_edit::scalar;

/// A fleet repository whose secrets are read and written.
pub(super) struct SecretFolder {
    folder: PathBuf,
    pub(super) workspace: Workspace,
    /// The repository's identity, which each value is bound to.
    pub(super) repository: String,
}

impl SecretFolder {
    pub(super) fn open(folder: &Path) -> Result<Self, Failure> {
        let workspace = Workspace::of_folder(folder)?;
        let repository = repository(&workspace.fleet)
            .ok_or_else(|| {
                Failure::new("the repository has no identity, which secrets are bound to")
                    .hint("run `plumb trust init`, which writes trust/policy.yaml")
            })?
            .to_owned();
        Ok(Self {
            folder: folder.to_owned(),
            workspace,
            repository,
        })
    }

    /// Returns a Secret; `None` if there is none of this name.
    pub(super) fn find(&self, name: &str) -> Result<Option<FleetSecret>, Failure> {
        match secrets(&self.workspace.fleet).remove(name) {
            Some(Ok(secret)) => Ok(Some(secret)),
            Some(Err(diagnostics)) => Err(self.broken(name, diagnostics)),
            None => Ok(None),
        }
    }

    /// Returns a Secret. Fails if there is none of this name.
    pub(super) fn must_find(&self, name: &str) -> Result<FleetSecret, Failure> {
        self.find(name)?.ok_or_else(|| {
            Failure::new(format!("the repository has no Secret `{name}`")).hint(format!(
                "make it with `plumb secret set {name}/KEY --hosts SELECTOR`"
            ))
        })
    }

    /// Returns the Secrets of these names, or all of them.
    pub(super) fn select(&self, names: &[String]) -> Result<Vec<FleetSecret>, Failure> {
        if !names.is_empty() {
            return names.iter().map(|name| self.must_find(name)).collect();
        }
        let all = secrets(&self.workspace.fleet).into_iter();
        all.map(|(name, secret)| secret.map_err(|diagnostics| self.broken(&name, diagnostics)))
            .collect()
    }

    fn broken(&self, name: &str, diagnostics: Vec<plumb_document::Diagnostic>) -> Failure {
        Failure::new(format!("the Secret `{name}` has errors"))
            .diagnostics(diagnostics, self.workspace.sources.clone())
    }

    /// Writes a Secret. The file's text above `spec:` stays; `spec` is written anew.
    pub(super) fn write(&self, secret: &FleetSecret) -> Result<PathBuf, Failure> {
        let path = self.folder.join(&*secret.file);
        let what = || format!("cannot write {}", path.display());
        let old = match fs::read_to_string(&path) {
            Ok(old) => old,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(Failure::new(what()).because(&error)),
        };
        let head = head(&old, &secret.name)
            .ok_or_else(|| Failure::new(what()).hint("write `spec:` on a line of its own"))?;
        let line = if old.is_empty() {
            schema::line_in(&self.folder, &secret.file)
        } else {
            String::new()
        };
        let text = format!("{line}{head}{}", spec_text(&secret.spec)?);
        let read = parse(&Arc::from(&*secret.file), text.as_bytes())
            .ok()
            .and_then(|node| decode::<SecretObjectSpec>(node.get("spec")?).ok());
        if read.as_ref() != Some(&secret.spec) {
            return Err(Failure::new(format!(
                "{}: the new text isn't read back as it was meant",
                what()
            )));
        }
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).or_fail(what)?;
        }
        fs::write(&path, text).or_fail(what)?;
        Ok(path)
    }
}

/// The names of a Secret and of one of its keys, as `NAME/KEY` on a command line.
#[derive(Debug, Clone)]
pub(super) struct ValueName {
    pub(super) name: String,
    pub(super) key: String,
}

impl std::str::FromStr for ValueName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match SecretSpec::split_name(text) {
            Some((name, key)) => Ok(Self {
                name: name.to_owned(),
                key: key.to_owned(),
            }),
            None => Err("write NAME/KEY, each with 1 to 63 of a-z, 0-9 and `-`".to_owned()),
        }
    }
}

impl std::fmt::Display for ValueName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.name, self.key)
    }
}

/// Returns the text above the spec, and `spec:`. Returns `None` if the spec isn't on lines of its own.
fn head(old: &str, name: &str) -> Option<String> {
    if old.is_empty() {
        debug_assert!(is_label(name));
        return Some(format!("kind: Secret\nmetadata: {{name: {name}}}\nspec:\n"));
    }
    let mut head = String::new();
    for line in old.split_inclusive('\n') {
        if line.trim_end() == "spec:" {
            head.push_str("spec:\n");
            return Some(head);
        }
        head.push_str(line);
    }
    None
}

fn spec_text(spec: &SecretObjectSpec) -> Result<String, Failure> {
    let mut text = format!("  version: {}\n", spec.version);
    let _ = writeln!(text, "  hosts: {}", hosts_text(&spec.hosts));
    if !spec.deliver.is_empty() {
        text.push_str("  deliver:\n");
        for one in &spec.deliver {
            let json = serde_json::to_value(one).or_fail(|| "cannot write `deliver`".to_owned())?;
            let entries = json.as_object().into_iter().flatten();
            let entries: Vec<String> = entries
                .map(|(name, value)| format!("{name}: {}", flow(value)))
                .collect();
            let _ = writeln!(text, "    - {{{}}}", entries.join(", "));
        }
    }
    if !spec.recipients.is_empty() {
        text.push_str("  recipients:\n");
    }
    for (key, readers) in &spec.recipients {
        let _ = writeln!(text, "    {key}:\n      version: {}", readers.version);
        if let Some(usage) = readers.usage {
            let _ = writeln!(text, "      usage: \"{usage}\"");
        }
        for (what, names) in [("hosts", &readers.hosts), ("operators", &readers.operators)] {
            if !names.is_empty() {
                let _ = writeln!(text, "      {what}:");
            }
            for (name, key) in names {
                let _ = writeln!(text, "        {}: {}", scalar(name), scalar(key));
            }
        }
    }
    if !spec.values.is_empty() {
        text.push_str("  values:\n");
    }
    for (key, ciphertext) in &spec.values {
        let _ = writeln!(text, "    {key}: |");
        for line in ciphertext.lines() {
            let _ = writeln!(text, "      {line}");
        }
    }
    Ok(text)
}

fn hosts_text(hosts: &Value) -> String {
    match hosts {
        Value::Array(names) => {
            let names: Vec<String> = names.iter().map(flow).collect();
            format!("[{}]", names.join(", "))
        }
        other => flow(other),
    }
}

/// Writes a value on one line. Text that looks like another type is quoted.
fn flow(value: &Value) -> String {
    match value {
        Value::String(text) => scalar(text),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_above_the_spec_stays() {
        let old = "# ours\nkind: Secret\nmetadata: {name: a, labels: {x: y}} # and this\nspec:\n  hosts: \"*\"\n";
        assert_eq!(
            head(old, "a").unwrap(),
            "# ours\nkind: Secret\nmetadata: {name: a, labels: {x: y}} # and this\nspec:\n"
        );
        assert_eq!(head("kind: Secret\nspec: {hosts: a}\n", "a"), None);
    }

    #[test]
    fn a_written_spec_is_read_back() {
        let json = serde_json::json!({
            "version": 3, "hosts": ["web1", "web2"],
            "deliver": [{"key": "a", "path": "/run/plumb/secrets/a", "owner": "app", "mode": "0440"}, {"key": "b", "unit": "app"}],
            "recipients": {"a": {"version": 2, "hosts": {"web1": "age1x"}, "operators": {"on": "age1y"}}},
            "values": {"a": "-----BEGIN\nabc\n"},
        });
        let spec: SecretObjectSpec = serde_json::from_value(json).unwrap();
        let text = format!("spec:\n{}", spec_text(&spec).unwrap());
        let node = parse(&Arc::from("x.yaml"), text.as_bytes()).unwrap();
        let read: SecretObjectSpec = decode(node.get("spec").unwrap()).unwrap();
        assert_eq!(read, spec, "{text}");
    }
}
