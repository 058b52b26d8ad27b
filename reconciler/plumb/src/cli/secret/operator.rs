use std::fs;
use std::path::{Path, PathBuf};

use plumb_agent::age::Identity;
use plumb_api::name::is_label;
use serde::Serialize;

use super::identity::{self, IdentityFile};
use crate::cli::folder::RepositoryFolder;
use crate::output::{Paint, Shell};
use crate::report::{Exit, Failure, OrFail as _};

/// Make an operator, who can read every secret
///
/// Uses your private age key, or makes one in a file that only you can read, and writes its public half to
/// trust/recipients/NAME.pub. Add the name to fleet.yaml: `secrets: {operators: [NAME]}`. Keep a second
/// operator's key offline: without any operator, lost hosts are lost secrets.
#[derive(Debug, clap::Args)]
pub(super) struct Operator {
    /// The operator's name
    name: String,

    #[command(flatten)]
    identity: IdentityFile,

    #[command(flatten)]
    folder: RepositoryFolder,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OperatorResult {
    operator: String,
    public_key: String,
    file: PathBuf,
    identity: PathBuf,
}

impl Operator {
    pub(super) fn run(self, shell: &Shell) -> Result<Exit, Failure> {
        if !is_label(&self.name) {
            return Err(Failure::new(format!("`{}` isn't a valid name", self.name))
                .hint("use 1 to 63 of a-z, 0-9 and `-`"));
        }
        let path = self.identity.path()?;
        let own = if path.exists() {
            self.identity.read()?
        } else {
            let own = Identity::generate().or_fail(|| "cannot make a key".to_owned())?;
            identity::write(&path, &own)?;
            own
        };
        let public_key = own.recipient().to_string();
        let keys = self.folder.path().join("trust/recipients");
        if let Some(other) = holder_of(&keys, &public_key).filter(|other| *other != self.name) {
            return Err(Failure::new(format!(
                "the key in {} is that of the operator {other}",
                path.display()
            ))
            .hint(format!(
                "make another key: plumb secret operator {} --identity FILE",
                self.name
            )));
        }
        let file = keys.join(format!("{}.pub", self.name));
        let what = || format!("cannot write {}", file.display());
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder).or_fail(what)?;
        }
        fs::write(&file, format!("{public_key}\n")).or_fail(what)?;
        let result = OperatorResult {
            operator: self.name.clone(),
            public_key,
            file,
            identity: path,
        };
        shell.emit(&result, |palette| {
            format!(
                "{} {}\nyour private key is in {}: back it up, offline\nadd {} to the list in fleet.yaml: secrets: {{operators: […]}}\nthen run: plumb secret rekey\n",
                palette.paint(Paint::Good, "wrote"),
                result.file.display(),
                result.identity.display(),
                result.operator
            )
        })?;
        Ok(Exit::OK)
    }
}

/// Returns the operator whose file has this public key.
fn holder_of(keys: &Path, public_key: &str) -> Option<String> {
    let files = fs::read_dir(keys).ok()?.filter_map(Result::ok);
    let mut names = files.filter_map(|file| {
        let text = fs::read_to_string(file.path()).ok()?;
        let name = file.file_name().into_string().ok()?;
        (text.trim() == public_key).then(|| name.strip_suffix(".pub").map(str::to_owned))?
    });
    names.next()
}
