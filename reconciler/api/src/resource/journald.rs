//! `journald`: the configuration of the system's journal.

use serde::{Deserialize, Serialize};

use super::composite::Composite;
use super::field::Manage;
use super::tmpfiles::check_file_stem;
use crate::address::AnyAddress;
use crate::period::Period;
use crate::size::Size;

/// The configuration of the system's journal. Expands to the drop-in `/etc/systemd/journald.conf.d/90-NAME.conf` and
/// to the service `systemd-journald`, which restarts when it changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JournaldSpec {
    /// The place of the journal; the distribution's default when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<JournalStorage>,
    /// The largest size of the journal on disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_use: Option<Size>,
    /// The room on disk that the journal leaves free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_free: Option<Size>,
    /// The age at which entries are deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<Period>,
    /// `off` keeps every message of a service that writes too many; `on` is systemd's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<Switch>,
    /// True if messages are passed on to a syslog daemon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forward_to_syslog: Option<bool>,
    /// Comes after these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<AnyAddress>,
    /// `always` (default) or `once`.
    #[serde(default, skip_serializing_if = "Manage::is_always")]
    pub manage: Manage,
}

/// The place of the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum JournalStorage {
    /// On disk.
    Persistent,
    /// In memory.
    Volatile,
    /// On disk if `/var/log/journal` exists.
    Auto,
    /// Nowhere.
    None,
}

impl JournalStorage {
    /// Returns the value of `Storage=`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Persistent => "persistent",
            Self::Volatile => "volatile",
            Self::Auto => "auto",
            Self::None => "none",
        }
    }
}

/// A setting that is on or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum Switch {
    /// On.
    On,
    /// Off.
    Off,
}

impl Composite for JournaldSpec {
    const EXAMPLE: &'static str = r"journald:
  main: {storage: persistent, maxUse: 2GiB, rateLimit: off}
";

    fn check_name(name: &str) -> Result<(), String> {
        check_file_stem(name)
    }

    fn after(&self) -> &[AnyAddress] {
        &self.after
    }

    fn manage(&self) -> Manage {
        self.manage
    }
}
