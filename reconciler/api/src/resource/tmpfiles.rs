//! `tmpfiles`: files and directories that systemd-tmpfiles makes and cleans.

use serde::{Deserialize, Serialize};

use super::composite::Composite;
use super::composite_name::check_file_stem;
use super::contract::Problem;
use super::field::Manage;
use crate::address::AnyAddress;

/// Files and directories that systemd-tmpfiles creates, at once and at each boot, and cleans up. It expands
/// to the `file` `/etc/tmpfiles.d/NAME.conf` and to the command `tmpfiles-NAME`, which creates the listed
/// files.
///
/// When the resource leaves git, Plumb removes `/etc/tmpfiles.d/NAME.conf`. The files and directories that
/// systemd-tmpfiles created stay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TmpfilesSpec {
    /// Lines of tmpfiles.d(5): `d /run/app 0755 app app -`.
    pub lines: Vec<String>,
    /// Resources that are applied before this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<AnyAddress>,
    /// `always` (default), or `once`: create the resource, and never change it again.
    #[serde(default, skip_serializing_if = "Manage::is_always")]
    pub manage: Manage,
}

impl Composite for TmpfilesSpec {
    const EXAMPLE: &'static str = r#"tmpfiles:
  deploy: {lines: ["d /run/deploy 0700 root root -"]}
"#;

    fn check_name(name: &str) -> Result<(), String> {
        check_file_stem(name)
    }

    fn check(&self, _name: &str) -> Vec<Problem> {
        let good = |line: &String| {
            let mut words = line.split_whitespace();
            let kind = words.next().unwrap_or_default();
            let path = words.next().unwrap_or_default();
            kind.starts_with(|c: char| c.is_ascii_alphabetic())
                && path.trim_start_matches('"').starts_with(['/', '%'])
                && !line.contains(char::is_control)
        };
        let mut problems = Vec::new();
        if self.lines.is_empty() || !self.lines.iter().all(good) {
            problems.push(Problem {
                field: "lines",
                message: "a line must be a type and an absolute path, as in tmpfiles.d(5)"
                    .to_owned(),
                hint: "write lines: [\"d /run/app 0755 app app -\"]".to_owned(),
            });
        }
        problems
    }

    fn after(&self) -> &[AnyAddress] {
        &self.after
    }

    fn manage(&self) -> Manage {
        self.manage
    }
}
