//! Secrets that composites hand to programs: files that root alone can read.

use std::fmt::Write as _;

use plumb_api::resource::Credentials;
use plumb_api::secret::placeholder;
use plumb_api::{Address, Kind};
use serde_json::json;

use super::Part;

/// The folder of the files.
const FOLDER: &str = "/etc/plumb/credentials";

/// Returns the path of a file with secrets.
pub(super) fn path(name: &str) -> String {
    format!("{FOLDER}/{name}")
}

/// Returns the file in which a program finds its credentials.
pub(super) fn credentials_file(name: &str, credentials: &Credentials) -> String {
    match credentials {
        Credentials::File(path) => path.clone(),
        Credentials::Secret(_) => path(name),
    }
}

/// Returns the file that the host fills with the credentials; `None` if the host has the file already.
pub(super) fn credentials_part(name: &str, credentials: Option<&Credentials>) -> Option<Part> {
    match credentials? {
        Credentials::File(_) => None,
        Credentials::Secret(secret) => Some(secret_file(name, secret)),
    }
}

/// Creates the file with the value of one secret.
pub(super) fn secret_file(name: &str, secret: &Address) -> Part {
    let content = json!({"secret": secret.name()});
    Part::root_file(path(name))
        .field("mode", "0600")
        .field("content", content)
}

/// Creates the file with environment variables whose values are secrets, as lines `NAME=VALUE`.
pub(super) fn variables<'a>(
    name: &str,
    secrets: impl IntoIterator<Item = (&'a String, &'a Address)>,
) -> Part {
    let mut text = String::new();
    for (variable, secret) in secrets {
        let _ = writeln!(text, "{variable}={}", placeholder(secret.name()));
    }
    Part::root_file(path(name))
        .field("mode", "0600")
        .field("content", text)
}

/// Returns the address of a file with secrets, for `after` and `restartOn`.
pub(super) fn address(name: &str) -> String {
    format!("{}:{}", Kind::File.as_str(), path(name))
}
