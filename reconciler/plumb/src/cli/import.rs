use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::cli::folder::RepositoryFolder;
use crate::import::{Imported, ansible, ssh_config};
use crate::output::{Paint, Shell, count};
use crate::report::{Exit, Failure, OrFail as _};
use crate::schema;

/// Write Host manifests for the machines of another tool
///
/// Prints the manifests that it would write, and reports what has no equivalent. --write writes them to
/// `hosts/`, but for those that are there already. `plumb enroll NAME` then pins each machine's host keys.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  plumb import ansible-inventory inventory.ini\n  plumb import ansible-inventory hosts.yml --write\n  plumb import ssh-config ~/.ssh/config --write"
)]
pub(super) struct Import {
    #[command(subcommand)]
    format: ImportFormat,
}

#[derive(Debug, Subcommand)]
enum ImportFormat {
    /// Ansible's inventory, in its INI or YAML form
    ///
    /// Groups become labels. Of the variables, `ansible_host`, `ansible_port` and `ansible_user` are carried
    /// over, each from the innermost group that has it.
    AnsibleInventory(Input),
    /// ssh's configuration
    ///
    /// Each `Host` without a pattern becomes a host. `HostName`, `Port` and `User` are carried over.
    SshConfig(Input),
}

#[derive(Debug, Args)]
struct Input {
    /// The file
    file: PathBuf,

    /// Write the manifests to hosts/
    #[arg(long)]
    write: bool,

    #[command(flatten)]
    folder: RepositoryFolder,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ImportResult {
    hosts: Vec<HostManifest>,
    /// What has no equivalent.
    left_out: Vec<String>,
    /// The files that were written.
    files: Vec<String>,
}

#[derive(Serialize)]
struct HostManifest {
    path: String,
    manifest: String,
}

impl Import {
    pub(super) fn run(self, shell: &Shell) -> Result<Exit, Failure> {
        let (ImportFormat::AnsibleInventory(input) | ImportFormat::SshConfig(input)) = &self.format;
        let what = || format!("cannot read {}", input.file.display());
        let bytes = fs::read(&input.file).or_fail(what)?;
        let text = String::from_utf8(bytes).or_fail(what)?;
        let read = match &self.format {
            ImportFormat::AnsibleInventory(_) => ansible::read(&input.file, &text),
            ImportFormat::SshConfig(_) => ssh_config::read(&text),
        };
        let imported = read.map_err(|why| Failure::new(format!("{}: {why}", what())))?;
        if imported.hosts.is_empty() {
            return Err(Failure::new(format!(
                "{} has no hosts",
                input.file.display()
            )));
        }
        input.finish(imported, shell)
    }
}

impl Input {
    fn finish(&self, imported: Imported, shell: &Shell) -> Result<Exit, Failure> {
        let folder = self.folder.path();
        let mut result = ImportResult {
            hosts: Vec::new(),
            left_out: imported.left_out,
            files: Vec::new(),
        };
        if self.write && !folder.join("fleet.yaml").exists() {
            return Err(Failure::new(format!(
                "{} isn't a fleet repository: it has no fleet.yaml",
                folder.display()
            ))
            .hint("name the repository's folder with -C, or create one with `plumb init`"));
        }
        let mut there = Vec::new();
        for host in &imported.hosts {
            let path = host.path();
            let manifest = schema::line_in(folder, &path) + &host.manifest();
            if self.write {
                if folder.join(&path).exists() {
                    there.push(path.clone());
                } else {
                    write(&folder.join(&path), &manifest)?;
                    result.files.push(path.clone());
                }
            }
            result.hosts.push(HostManifest { path, manifest });
        }
        for what in &result.left_out {
            shell.warn(format_args!("not carried over: {what}"));
        }
        for path in &there {
            shell.warn(format_args!("{path} exists and stays as it is"));
        }
        let write = self.write;
        shell.emit(&result, |palette| {
            let mut text = String::new();
            if write {
                let files = count(result.files.len(), "file");
                text.push_str(&format!(
                    "{} {files}\n",
                    palette.paint(Paint::Good, "written:")
                ));
                for file in &result.files {
                    text.push_str(&format!("  {file}\n"));
                }
                return text;
            }
            for host in &result.hosts {
                let path = palette.paint(Paint::Bold, &host.path);
                text.push_str(&format!("# {path}\n{}\n", host.manifest));
            }
            let hosts = count(result.hosts.len(), "host");
            text.push_str(&format!("{hosts}; --write writes them\n"));
            text
        })?;
        Ok(Exit::OK)
    }
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).or_fail(|| format!("cannot create {}", folder.display()))?;
    }
    fs::write(path, text).or_fail(|| format!("cannot write {}", path.display()))
}
