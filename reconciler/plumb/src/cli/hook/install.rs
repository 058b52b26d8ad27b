//! Installs the client's hooks that add `Deploy-Ref:`.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::git::Git;

const HOOKS: [(&str, &str); 2] = [
    (
        "commit-msg",
        include_str!("../../../../../hooks/commit-msg"),
    ),
    (
        "prepare-commit-msg",
        include_str!("../../../../../hooks/prepare-commit-msg"),
    ),
];

/// Installs the hooks into a clone, and keeps existing hooks. Returns the steps that the user must do by
/// hand, with the exact commands. Callers only warn of them, because the policy that they have just written
/// is valid without hooks.
pub(in crate::cli) fn write_commit_hooks(folder: &Path, git: &Git) -> Vec<String> {
    let mut left = Vec::new();
    for (name, text) in HOOKS {
        let Some(path) = git.try_ask(&["rev-parse", "--git-path", &format!("hooks/{name}")]) else {
            left.push(format!(
                "this folder has no git repository for the hook {name} yet; once it has one, run: {}",
                by_hand(name, &PathBuf::from(format!(".git/hooks/{name}")))
            ));
            continue;
        };
        let path = folder.join(path);
        if path.exists() {
            let ours = fs::read_to_string(&path).is_ok_and(|text| calls(&text, name));
            if !ours {
                left.push(format!(
                    "{} is your own hook and isn't replaced: let it run `plumb hook {name} \"$@\"`, which adds the line `Deploy-Ref:` that the policy requires",
                    path.display()
                ));
            }
        } else if let Err(error) = write(&path, text) {
            left.push(format!(
                "cannot write {} ({error}), the hook that adds the line `Deploy-Ref:`, which the policy requires: {}",
                path.display(),
                by_hand(name, &path)
            ));
        }
    }
    left
}

fn calls(text: &str, name: &str) -> bool {
    text.lines()
        .any(|line| !line.trim_start().starts_with('#') && line.contains(&format!("hook {name}")))
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, text)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}

fn by_hand(name: &str, path: &Path) -> String {
    let path = path.display();
    format!("printf '#!/bin/sh\\nexec plumb hook {name} \"$@\"\\n' > '{path}' && chmod +x '{path}'")
}
