//! `plumb render -o dir`: a folder per host, with its resources and files.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::{fs, io};

use plumb_api::HostName;
use plumb_core::desired::{DesiredState, HostResult, Resolved};
use plumb_core::shown;
use serde_json::{Value, json};

use crate::output::to_yaml;
use crate::report::{Failure, OrFail as _};

/// The file that has the resources of a host.
const RESOURCES: &str = "resources.yaml";
/// The folder that has the files of a host, by their paths there.
const FILES: &str = "files";

/// Writes the chosen hosts into a folder, which must be new or empty. Leaves out held hosts.
pub(super) fn write(
    target: &Path,
    chosen: &[HostName],
    resolved: &Resolved,
) -> Result<(), Failure> {
    let unread = || format!("cannot read {}", target.display());
    match fs::read_dir(target) {
        Ok(mut entries) => {
            if entries.next().transpose().or_fail(unread)?.is_some() {
                return Err(Failure::new(format!("{} isn't empty", target.display()))
                    .hint("name a new folder with --to"));
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(Failure::new(unread()).because(&error)),
    }
    for name in chosen {
        if let Some(HostResult::Ready(intent)) = resolved.hosts.get(name) {
            write_host(&target.join(name.as_str()), &intent.desired, resolved)?;
        }
    }
    Ok(())
}

fn write_host(folder: &Path, desired: &DesiredState, resolved: &Resolved) -> Result<(), Failure> {
    let mut types: BTreeMap<&str, BTreeMap<&str, Value>> = BTreeMap::new();
    for (address, resource) in desired.resources() {
        let spec = resource.spec();
        let mut value = shown::spec(spec);
        let bytes = spec.contents().into_iter().find_map(|content| {
            let is_content = value.get("content") == Some(&json!(content));
            is_content.then(|| resolved.contents.get(&content.sha256))?
        });
        let path = address.kind().path(address.name());
        let path = path.as_deref().and_then(relative);
        if let (Some(bytes), Some(path)) = (bytes, path) {
            let path = Path::new(FILES).join(path);
            let text = std::str::from_utf8(&bytes).map(shown::text);
            let shown = text.as_ref().map_or(&*bytes, |text| text.as_bytes());
            write_file(&folder.join(&path), shown)?;
            if let Some(content) = value.get_mut("content") {
                *content = json!({ "file": path.to_string_lossy() });
            }
        }
        types
            .entry(address.kind().as_str())
            .or_default()
            .insert(address.name(), value);
    }
    let rendered = to_yaml(&json!({ "digest": desired.digest(), "resources": types }))?;
    write_file(&folder.join(RESOURCES), rendered.as_bytes())
}

/// Returns an absolute path without its root; `None` if it isn't a plain path.
fn relative(path: &str) -> Option<PathBuf> {
    let path = Path::new(path).strip_prefix("/").ok()?;
    let is_plain = path
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    is_plain.then(|| path.to_owned())
}

fn write_file(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let unwritten = || format!("cannot write {}", path.display());
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).or_fail(unwritten)?;
    }
    fs::write(path, bytes).or_fail(unwritten)
}
