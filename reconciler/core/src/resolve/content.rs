//! The four forms of `content`.

use std::sync::Arc;

use plumb_api::Digest;
use plumb_document::{Diagnostic, Entry, Key, Map, Node, Span, Style, Value, closest};

use crate::manifest::{Manifests, code, unsupported_diagnostic};
use crate::render::Context;

const FORMS: &str =
    "write \"text\", {template: \"…\"}, {file: files/x} or {templateFile: files/x.j2}";

/// Returns the bytes of a content.
pub(super) fn bytes(
    manifests: &Manifests,
    node: &Node,
    context: &Context,
) -> Result<Arc<[u8]>, Vec<Diagnostic>> {
    let wrong = |span: &Span, message: String| {
        vec![Diagnostic::error(code::CONTENT, span, message).hint(FORMS)]
    };
    let map = match &node.value {
        // Never rendered: text with braces of another template language stays as it is.
        Value::String(text) => return Ok(Arc::from(text.as_bytes())),
        Value::Map(map) => map,
        _ => {
            return Err(wrong(
                &node.span,
                format!("`content` can't be {}", node.describe()),
            ));
        }
    };
    let mut entries = map.iter();
    let (Some(Entry { key, value }), None) = (entries.next(), entries.next()) else {
        return Err(wrong(
            &node.span,
            "`content` must have exactly one form".to_owned(),
        ));
    };
    let Some(text) = value.as_str() else {
        return Err(wrong(
            &value.span,
            format!("`{}` must be text, not {}", key.text, value.describe()),
        ));
    };
    match &*key.text {
        "template" => {
            let rendered = manifests
                .engine
                .text(value, text, context)
                .map_err(|diagnostic| vec![*diagnostic])?;
            Ok(rendered.into_bytes().into())
        }
        "file" => find(manifests, value, context).map(|(_, bytes)| bytes),
        "templateFile" => {
            let (file, bytes) = find(manifests, value, context)?;
            let Ok(template) = std::str::from_utf8(&bytes) else {
                return Err(wrong(
                    &value.span,
                    format!("{file} isn't UTF-8 text, so it can't be a template"),
                ));
            };
            let rendered = manifests
                .engine
                .file(&file, template, value, context)
                .map_err(|diagnostic| vec![*diagnostic])?;
            Ok(rendered.into_bytes().into())
        }
        "secret" => Err(vec![unsupported_diagnostic(
            &key.span,
            "content from a secret",
        )]),
        other => {
            let diagnostic = Diagnostic::error(
                code::CONTENT,
                &key.span,
                format!("unknown form `{other}` of `content`"),
            );
            let near = closest(other, ["template", "file", "templateFile"]);
            Err(vec![diagnostic.hint(near.map_or_else(
                || FORMS.to_owned(),
                |near| format!("did you mean `{near}`?"),
            ))])
        }
    }
}

/// A file of the repository and its bytes.
type File = (Arc<str>, Arc<[u8]>);

/// Returns a file of the repository, by a path that may be an expression.
fn find(manifests: &Manifests, node: &Node, context: &Context) -> Result<File, Vec<Diagnostic>> {
    let rendered = manifests.engine.render(node, context)?;
    let path = rendered.as_str().unwrap_or_default();
    if !path.starts_with("files/") {
        return Err(vec![
            Diagnostic::error(
                code::CONTENT,
                &node.span,
                format!("`{path}` isn't under files/"),
            )
            .hint("move it under files/, so that rules by path can tell contents from manifests"),
        ]);
    }
    if let Some((file, bytes)) = manifests.files.get_key_value(path) {
        Ok((file.clone(), bytes.clone()))
    } else {
        let all = manifests
            .files
            .keys()
            .filter(|file| file.starts_with("files/"))
            .map(|file| &**file);
        let diagnostic = Diagnostic::error(
            code::UNKNOWN_REFERENCE,
            &node.span,
            format!("the repository has no file `{path}`"),
        );
        Err(vec![match closest(path, all) {
            Some(near) => diagnostic.hint(format!("did you mean `{near}`?")),
            None => diagnostic.hint(
                "add it to the repository as a regular file: symbolic links under files/ aren't read",
            ),
        }])
    }
}

/// Returns the hash and size of a content, in the form of a spec.
pub(super) fn spec(bytes: &[u8], span: &Span) -> (Node, Digest) {
    let digest = Digest::of_bytes(bytes);
    let key = |text: &str| Key {
        text: text.into(),
        span: span.clone(),
    };
    let mut map = Map::default();
    map.insert(
        key("sha256"),
        Node::string(digest.to_string(), span.clone()),
    );
    map.insert(
        key("size"),
        Node::int(i64::try_from(bytes.len()).unwrap_or(i64::MAX), span.clone()),
    );
    let node = Node {
        value: Value::Map(Arc::new(map)),
        span: span.clone(),
        style: Style::Made,
    };
    (node, digest)
}
