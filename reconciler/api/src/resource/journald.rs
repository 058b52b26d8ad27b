//! `journald`: the configuration of the system's journal.

use serde::{Deserialize, Serialize};

use super::composite::Composite;
use super::composite_name::check_file_stem;
use super::field::Manage;
use crate::address::AnyAddress;
use crate::period::Period;
use crate::size::Size;

/// The configuration of the system's journal. It expands to the drop-in
/// `/etc/systemd/journald.conf.d/90-NAME.conf` and to the service `systemd-journald`, which restarts when the
/// drop-in changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JournaldSpec {
    /// Where the journal is stored; the distribution's default when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<JournalStorage>,
    /// Maximum size of the journal on disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_use: Option<Size>,
    /// Space on disk that the journal leaves free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_free: Option<Size>,
    /// Maximum age of entries; older ones are deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<Period>,
    /// `on` (systemd's default) drops messages of a service that logs too many in a short time. `off` keeps
    /// all messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<Switch>,
    /// True if messages are forwarded to a syslog daemon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forward_to_syslog: Option<bool>,
    /// Resources that are applied before this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<AnyAddress>,
    /// `always` (default), or `once`: create the resource, and never change it again.
    #[serde(default, skip_serializing_if = "Manage::is_always")]
    pub manage: Manage,
}

/// Where the journal is stored.
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
