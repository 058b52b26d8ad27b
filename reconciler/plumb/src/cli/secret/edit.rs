use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use tokio::signal::unix::{SignalKind, signal};
use zeroize::Zeroizing;

use super::identity::IdentityFile;
use super::object::{SecretFolder, ValueName};
use super::set::store;
use super::value;
use crate::cli::folder::RepositoryFolder;
use crate::output::Shell;
use crate::report::{Exit, Failure, OrFail as _};
use crate::runtime::block_on;

/// Edit a value in your editor
///
/// Decrypts the value with your operator's key into a file in memory that only you can read, and starts
/// $VISUAL or $EDITOR. If the value has changed, stores it as a new version, as `plumb secret set` does. The
/// file is overwritten and removed; your editor may keep copies of its own.
#[derive(Debug, clap::Args)]
pub(super) struct Edit {
    /// The Secret and the key of the value
    #[arg(value_name = "NAME/KEY")]
    value: ValueName,

    #[command(flatten)]
    identity: IdentityFile,

    #[command(flatten)]
    folder: RepositoryFolder,
}

impl Edit {
    pub(super) fn run(self, shell: &Shell) -> Result<Exit, Failure> {
        let folder = SecretFolder::open(self.folder.path())?;
        let secret = folder.must_find(&self.value.name)?;
        let identity = self.identity.read()?;
        let old = value::open(&secret, &folder.repository, &self.value.key, &identity)?;
        let new = edited(&old)?;
        if new == old {
            shell.say("the value hasn't changed; nothing was written");
            return Ok(Exit::OK);
        }
        store(&folder, secret, &self.value, &new, shell)
    }
}

/// Returns a folder in memory.
fn memory() -> Result<PathBuf, Failure> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let candidates = runtime.into_iter().chain([PathBuf::from("/dev/shm")]);
    let mut usable = candidates.filter(|folder| folder.is_dir());
    usable.next().ok_or_else(|| {
        Failure::new("there is no folder in memory for the value in clear")
            .hint("set XDG_RUNTIME_DIR, or use `plumb secret set`")
    })
}

/// Lets the user's editor change a value, and returns what it became.
fn edited(old: &[u8]) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let editor = ["VISUAL", "EDITOR"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
        .ok_or_else(|| {
            Failure::new("neither VISUAL nor EDITOR is set")
                .hint("set one of them, or use `plumb secret set`")
        })?;
    let folder = tempfile::Builder::new()
        .prefix("plumb-")
        .permissions(fs::Permissions::from_mode(0o700))
        .tempdir_in(memory()?)
        .or_fail(|| "cannot make a folder in memory".to_owned())?;
    let path = folder.path().join("value");
    block_on(async {
        // A signal ends the editor at most; then the value is wiped. From here on, this program ignores them.
        let kinds = [
            SignalKind::interrupt(),
            SignalKind::terminate(),
            SignalKind::hangup(),
        ];
        let _held = kinds.map(signal);
        let outcome = edit_file(&editor, &path, old);
        wipe(&path);
        outcome
    })
}

fn edit_file(editor: &str, path: &Path, old: &[u8]) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let what = || "cannot write the value for the editor".to_owned();
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let mut file = options.open(path).or_fail(what)?;
    file.write_all(old).or_fail(what)?;
    drop(file);
    // As git does: the variable may have arguments.
    let mut words = editor.split_whitespace();
    let program = words.next().unwrap_or(editor);
    let status = Command::new(program)
        .args(words)
        .arg(path)
        .status()
        .or_fail(|| format!("cannot start the editor `{editor}`"))?;
    if !status.success() {
        return Err(Failure::new(format!(
            "the editor `{editor}` failed, so nothing was written"
        )));
    }
    let mut new = fs::read(path)
        .map(Zeroizing::new)
        .or_fail(|| "cannot read the value back".to_owned())?;
    // Editors end the last line, also where the value doesn't.
    if new.last() == Some(&b'\n') && old.last() != Some(&b'\n') {
        new.pop();
    }
    Ok(new)
}

/// Overwrites a file. The folder is removed after that.
fn wipe(path: &Path) {
    let length = fs::metadata(path).map_or(0, |found| found.len());
    if let Ok(mut file) = fs::OpenOptions::new().write(true).open(path) {
        let zeros = vec![0; usize::try_from(length).unwrap_or(0)];
        let _ = file.write_all(&zeros);
    }
}
