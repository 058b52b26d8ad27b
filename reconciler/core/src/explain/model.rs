//! The data of an explanation.

use std::fmt;
use std::sync::Arc;

use plumb_api::HostName;
use plumb_document::{Diagnostic, Span};
use serde::Serialize;
use serde_json::Value as Json;

/// The origins of the values of one resource or profile on a host.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// The host.
    pub host: HostName,
    /// The requested address.
    pub address: String,
    /// The composite that the resource was expanded from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part_of: Option<String>,
    /// The resources that a composite expands into; empty for other resources.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<String>,
    /// The fields of a resource, or the parameters of a profile.
    pub fields: Vec<FieldOrigin>,
    /// The places in manifests that define the resource or include the profile, each with the includes that
    /// lead there.
    pub because: Vec<Reason>,
    /// True if a profile's `when` condition holds, so that the host gets its resources; `None` for a resource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active: Option<bool>,
    /// Resources that are applied before this one.
    pub after: Vec<String>,
    /// Resources that are applied after this one, or that react to its changes with a restart or reload.
    pub before: Vec<String>,
}

/// The origin of one field's value.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FieldOrigin {
    /// The field.
    pub field: String,
    /// The value as the host receives it; a content is shown as its full text.
    pub value: Json,
    /// The places that set the value: more than one if they agree, or if the field is a set.
    pub from: Vec<Origin>,
    /// The places whose values were overridden.
    pub overrode: Vec<Origin>,
    /// The parameters of a profile that the value was rendered with.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub params: Vec<FieldOrigin>,
}

/// One place that sets a value.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Origin {
    /// The place in the file.
    pub place: Span,
    /// The manifest or profile that sets the value: `profile metrics`, `host linda`, `fleet.yaml`.
    pub by: String,
    /// The priority; `None` for patches and parameters of profiles, which have no priority.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<&'static str>,
    /// The value as written.
    pub written: Json,
    /// The file of the repository that the value was read or rendered from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<FileOrigin>,
    /// The last change of the line; `None` if it isn't known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_change: Option<LastChange>,
}

/// A file that a value was read or rendered from.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FileOrigin {
    /// The path in the repository.
    pub path: Arc<str>,
    /// The last change of the file; `None` if it isn't known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_change: Option<LastChange>,
}

/// The last change of a line or of a file.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum LastChange {
    /// The working folder has it, and no commit yet.
    NotCommitted,
    /// This commit made it.
    Commit(CommitHeader),
}

/// What people recognize a commit by.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CommitHeader {
    /// The full object name.
    pub id: String,
    /// The first line of the message.
    pub subject: String,
    /// The author's name, as the commit claims.
    pub author: String,
    /// The author's date, as the commit claims.
    pub date: jiff::Timestamp,
}

/// Something whose last change can be found.
#[derive(Debug, Clone, Copy)]
pub enum Changed<'a> {
    /// The line at the beginning of a span.
    Line(&'a Span),
    /// A file by its path.
    File(&'a str),
}

/// A place that defines a resource or includes a profile.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Reason {
    /// The place in the file.
    pub place: Span,
    /// The manifest or profile of this place: `profile metrics`, `host linda`, `fleet.yaml`.
    pub by: String,
    /// The includes that lead to this place, outermost first: `profile base at fleet.yaml:10:17`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub through: Vec<String>,
    /// The last change of the line; `None` if it isn't known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_change: Option<LastChange>,
}

impl Explanation {
    /// Fills in the last change of each line and file.
    pub fn fill_last_changes(&mut self, find: &mut dyn FnMut(Changed<'_>) -> Option<LastChange>) {
        for field in &mut self.fields {
            field.fill_last_changes(find);
        }
        for reason in &mut self.because {
            reason.last_change = find(Changed::Line(&reason.place));
        }
    }
}

impl FieldOrigin {
    fn fill_last_changes(&mut self, find: &mut dyn FnMut(Changed<'_>) -> Option<LastChange>) {
        for origin in self.from.iter_mut().chain(&mut self.overrode) {
            origin.last_change = find(Changed::Line(&origin.place));
            if let Some(file) = &mut origin.file {
                file.last_change = find(Changed::File(&file.path));
            }
        }
        for param in &mut self.params {
            param.fill_last_changes(find);
        }
    }
}

/// The error of [`explain`](super::explain).
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum NoExplanation {
    /// No host has this name.
    #[error("unknown host `{name}`{}", meant(.near.as_deref()))]
    NoHost {
        /// The requested name.
        name: String,
        /// A host with a similar name.
        near: Option<String>,
    },
    /// The address can't be parsed.
    #[error("{0}")]
    NoAddress(String),
    /// The host has nothing at this address.
    #[error("{host} has no `{address}`{}", meant(.near.as_deref()))]
    NotThere {
        /// The host.
        host: HostName,
        /// The requested address.
        address: String,
        /// An address with a similar name.
        near: Option<String>,
    },
    /// The host's desired state can't be computed, because its manifests have errors.
    #[error("{host} is held: manifests that it reads have errors")]
    Held {
        /// The host.
        host: HostName,
        /// The errors of its manifests.
        diagnostics: Vec<Diagnostic>,
    },
}

fn meant(near: Option<&str>) -> String {
    near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"))
}

/// Formats each value on a line, followed by lines for the places that set it.
impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} on {}", self.address, self.host)?;
        if let Some(composite) = &self.part_of {
            writeln!(f, "  part of {composite}")?;
        }
        for part in &self.parts {
            writeln!(f, "  expands to {part}")?;
        }
        for reason in &self.because {
            write!(f, "  defined at {} by {}", reason.place, reason.by)?;
            if !reason.through.is_empty() {
                write!(f, " ({})", reason.through.join(", "))?;
            }
            writeln!(f)?;
        }
        if self.active == Some(false) {
            writeln!(f, "  its `when` is false, so its resources are left out")?;
        }
        for field in &self.fields {
            writeln!(f, "  {}: {}", field.field, field.value)?;
            for origin in &field.from {
                write!(f, "    from {} by {}", origin.place, origin.by)?;
                if let Some(priority) = origin.priority {
                    write!(f, " at `{priority}`")?;
                }
                if origin.written != field.value
                    && (origin
                        .written
                        .as_str()
                        .is_some_and(|text| text.contains("{{")))
                {
                    write!(f, ", written as {}", origin.written)?;
                }
                writeln!(f)?;
            }
            for origin in &field.overrode {
                writeln!(
                    f,
                    "    overrides {} of {} by {} at `{}`",
                    origin.written,
                    origin.place,
                    origin.by,
                    origin.priority.unwrap_or("defaults"),
                )?;
            }
        }
        for address in &self.after {
            writeln!(f, "  after {address}")?;
        }
        for address in &self.before {
            writeln!(f, "  before {address}")?;
        }
        Ok(())
    }
}
