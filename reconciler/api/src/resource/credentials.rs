//! The credentials of a composite's program.

use serde::{Deserialize, Serialize};

use super::check_path;
use super::contract::Problem;

/// A file on the host with a program's credentials, as lines `NAME='VALUE'` in the shell's syntax. Only root
/// should be able to read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Credentials {
    /// The file's absolute path on the host.
    pub file: String,
}

impl Credentials {
    /// Returns the problem of the path, if any.
    pub(super) fn problem(&self, field: &'static str) -> Option<Problem> {
        let message = check_path(&self.file).err()?;
        Some(Problem {
            field,
            message,
            hint: "write credentials: {file: /etc/backup/photos.env}".to_owned(),
        })
    }
}
