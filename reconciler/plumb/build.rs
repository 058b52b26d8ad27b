//! Puts the files of `fleet-repo-template/` and `fleet-repo-minimal/` into the binary, for `plumb init`, and the agents that
//! `PLUMB_EMBED_AGENTS` lists (`x86_64=PATH,aarch64=PATH`), for packages.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    fs::write(out.join("template.rs"), template("fleet-repo-template")?)?;
    fs::write(out.join("minimal.rs"), template("fleet-repo-minimal")?)?;
    fs::write(out.join("agents.rs"), agents()?)
}

/// Generates the list of a template's files.
fn template(name: &str) -> io::Result<String> {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default()).join("../..");
    let folder = root.join(name);
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut files = Vec::new();
    if folder.is_dir() {
        collect(&folder, &mut files)?;
    }
    files.sort();
    let mut code = String::from("&[\n");
    for file in files {
        println!("cargo::rerun-if-changed={}", file.display());
        let name = file
            .strip_prefix(&folder)
            .unwrap_or(&file)
            .display()
            .to_string();
        let path = fs::canonicalize(&file)?.display().to_string();
        let _ = writeln!(code, "    ({name:?}, include_bytes!({path:?}) as &[u8]),");
    }
    code.push_str("]\n");
    Ok(code)
}

/// Generates the list of embedded agents. A listed agent that is missing fails the build, because a package
/// without it would fail on every host.
fn agents() -> io::Result<String> {
    println!("cargo::rerun-if-env-changed=PLUMB_EMBED_AGENTS");
    let list = env::var("PLUMB_EMBED_AGENTS").unwrap_or_default();
    let mut code = String::from("&[\n");
    for entry in list.split(',').filter(|entry| !entry.is_empty()) {
        let wrong = |why: String| io::Error::other(format!("PLUMB_EMBED_AGENTS: `{entry}`: {why}"));
        let (arch, path) = entry
            .split_once('=')
            .ok_or_else(|| wrong("write ARCH=PATH".to_owned()))?;
        let path = fs::canonicalize(path).map_err(|error| wrong(error.to_string()))?;
        println!("cargo::rerun-if-changed={}", path.display());
        let path = path.display().to_string();
        let _ = writeln!(code, "    ({arch:?}, include_bytes!({path:?}) as &[u8]),");
    }
    code.push_str("]\n");
    Ok(code)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}
