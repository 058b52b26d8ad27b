//! Reads one file into an object: the typed header and the spec as an untyped tree.

use std::collections::BTreeMap;
use std::sync::Arc;

use plumb_api::kind::{API_VERSION, ObjectKind};
use plumb_document::{Diagnostic, Node, SourceFile, Span, closest, decode, parse};

use super::{code, too_large, unsupported};

/// An object's header and its untyped spec.
#[derive(Debug, Clone)]
pub(crate) struct Object {
    /// The path of the file.
    pub(crate) file: Arc<str>,
    /// `metadata.name`.
    pub(crate) name: String,
    /// `metadata.labels`.
    pub(crate) labels: BTreeMap<String, String>,
    /// The position of `metadata.name`.
    pub(crate) span: Span,
    /// The object's spec without the fields that this version doesn't support.
    pub(crate) spec: Node,
}

/// An object that can't be used because of errors.
#[derive(Debug, Clone)]
pub(crate) struct Broken {
    /// The object's labels, if they could be read.
    pub(crate) labels: Option<BTreeMap<String, String>>,
    /// The errors.
    pub(crate) diagnostics: Vec<Diagnostic>,
}

/// Reads a file that must contain an object of this kind and, if given, of this name.
pub(crate) fn read(
    file: &Arc<str>,
    content: &SourceFile,
    kind: ObjectKind,
    name: Option<&str>,
) -> Result<Object, Broken> {
    let parsed = match content {
        SourceFile::Bytes(bytes) => parse(file, bytes),
        SourceFile::TooLarge(large) => {
            Err(vec![too_large(file, *large, &Span::of_file(file.clone()))])
        }
    };
    let node = parsed.map_err(|diagnostics| Broken {
        labels: None,
        diagnostics,
    })?;
    let mut diagnostics = Vec::new();
    let whole = Span::of_file(file.clone());
    if node.as_map().is_none() {
        let message = format!(
            "the file must hold a {}, not {}",
            kind.as_str(),
            node.describe()
        );
        return Err(Broken {
            labels: None,
            diagnostics: vec![
                Diagnostic::error(code::WRONG_OBJECT, &whole, message)
                    .hint(format!("begin with `kind: {}`", kind.as_str())),
            ],
        });
    }
    header(&node, kind, &whole, &mut diagnostics);
    let NameAndLabels { name, labels, span } = metadata(&node, name, &whole, &mut diagnostics);
    let empty = Node::new(plumb_document::Value::Null, node.span.clone());
    let (spec, more) = unsupported::take_out(kind, node.get("spec").unwrap_or(&empty));
    diagnostics.extend(more);
    if diagnostics.iter().any(Diagnostic::is_error) {
        return Err(Broken {
            labels,
            diagnostics,
        });
    }
    Ok(Object {
        file: file.clone(),
        name,
        labels: labels.unwrap_or_default(),
        span,
        spec,
    })
}

fn header(node: &Node, kind: ObjectKind, whole: &Span, diagnostics: &mut Vec<Diagnostic>) {
    const FIELDS: [&str; 4] = ["apiVersion", "kind", "metadata", "spec"];
    for entry in node.as_map().into_iter().flatten() {
        if !FIELDS.contains(&&*entry.key.text) {
            let diagnostic = Diagnostic::error(
                plumb_document::codes::UNKNOWN_FIELD,
                &entry.key.span,
                format!("unknown field `{}`", entry.key.text),
            );
            diagnostics.push(match closest(&entry.key.text, FIELDS) {
                Some(near) => diagnostic.hint(format!("did you mean `{near}`?")),
                None => diagnostic.hint("use `apiVersion`, `kind`, `metadata` and `spec`; settings are fields of `spec`"),
            });
        }
    }
    match node.get("kind") {
        Some(written) if written.as_str() == Some(kind.as_str()) => {}
        Some(written) => diagnostics.push(
            Diagnostic::error(
                code::WRONG_OBJECT,
                &written.span,
                format!(
                    "`kind` must be `{}` here, not {}",
                    kind.as_str(),
                    written.describe()
                ),
            )
            .hint(format!("write `kind: {}`, or move the file", kind.as_str())),
        ),
        None => diagnostics.push(
            Diagnostic::error(code::WRONG_OBJECT, whole, "`kind` is missing")
                .hint(format!("write `kind: {}`", kind.as_str())),
        ),
    }
    if let Some(version) = node.get("apiVersion")
        && version.as_str() != Some(API_VERSION)
    {
        diagnostics.push(
            Diagnostic::error(
                code::WRONG_OBJECT,
                &version.span,
                format!(
                    "`apiVersion` must be {API_VERSION}, not {}",
                    version.describe()
                ),
            )
            .hint(format!(
                "write `apiVersion: {API_VERSION}`, or leave it out"
            )),
        );
    }
}

/// The name and labels in `metadata`, and the position of the name.
struct NameAndLabels {
    name: String,
    labels: Option<BTreeMap<String, String>>,
    span: Span,
}

fn metadata(
    node: &Node,
    name: Option<&str>,
    whole: &Span,
    diagnostics: &mut Vec<Diagnostic>,
) -> NameAndLabels {
    let Some(metadata) = node.get("metadata") else {
        let hint = format!("write `metadata: {{name: {}}}`", name.unwrap_or("NAME"));
        diagnostics
            .push(Diagnostic::error(code::WRONG_OBJECT, whole, "`metadata` is missing").hint(hint));
        return NameAndLabels {
            name: String::new(),
            labels: None,
            span: whole.clone(),
        };
    };
    match decode::<plumb_api::kind::Metadata>(metadata) {
        Err(more) => {
            diagnostics.extend(more);
            let labels = metadata
                .get("labels")
                .and_then(|labels| decode(labels).ok());
            NameAndLabels {
                name: String::new(),
                labels,
                span: metadata.span.clone(),
            }
        }
        Ok(read) => {
            let span = metadata
                .get("name")
                .map_or_else(|| metadata.span.clone(), |node| node.span.clone());
            match name {
                Some(name) if name != read.name => diagnostics.push(
                    Diagnostic::error(
                        code::WRONG_OBJECT,
                        &span,
                        format!(
                            "the object is named `{}`, but its file is `{name}.yaml`",
                            read.name
                        ),
                    )
                    .hint("rename the file or the object"),
                ),
                None if !plumb_api::name::is_label(&read.name) => diagnostics.push(
                    Diagnostic::error(
                        code::INVALID_NAME,
                        &span,
                        format!("`{}` isn't a valid name", read.name),
                    )
                    .hint("use 1 to 63 of a-z, 0-9 and `-`, without `-` at either end"),
                ),
                _ => {}
            }
            NameAndLabels {
                name: read.name,
                labels: Some(read.labels),
                span,
            }
        }
    }
}
