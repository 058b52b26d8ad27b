//! Reads the four forms of `content`: text, template, file and template file.

use std::collections::BTreeSet;
use std::sync::Arc;

use plumb_api::secret::{TextPiece, has_placeholder, pieces, placeholder};
use plumb_api::{Address, Digest, Kind};
use plumb_document::{Diagnostic, Entry, Key, Map, Node, SourceFile, Span, Style, Value, closest};

use crate::manifest::{Manifests, code, too_large};
use crate::render::Context;

const FORMS: &str = "write \"text\", {template: \"…\"}, {file: files/x}, {templateFile: files/x.j2} or {secret: NAME/KEY}";

/// Returns the bytes of a `content`.
pub(super) fn bytes(
    manifests: &Manifests,
    node: &Node,
    context: &Context,
) -> Result<Arc<[u8]>, Vec<Diagnostic>> {
    let wrong = |span: &Span, message: String| {
        vec![Diagnostic::error(code::CONTENT, span, message).hint(FORMS)]
    };
    let map = match &node.value {
        // A literal text is never rendered: its braces may belong to another template language.
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
        "secret" => secret_address(value).map(|_| placeholder(text).into_bytes().into()),
        other => {
            let diagnostic = Diagnostic::error(
                code::CONTENT,
                &key.span,
                format!("unknown form `{other}` of `content`"),
            );
            let near = closest(other, ["template", "file", "templateFile", "secret"]);
            Err(vec![diagnostic.hint(near.map_or_else(
                || FORMS.to_owned(),
                |near| format!("did you mean `{near}`?"),
            ))])
        }
    }
}

/// Returns the secrets whose placeholders a content has.
pub(super) fn secrets(bytes: &[u8], span: &Span) -> Result<BTreeSet<Address>, Box<Diagnostic>> {
    let wrong = |message: &str| {
        Box::new(Diagnostic::error(code::CONTENT, span, message).hint(
            "a secret can only be put between other texts: no filter and no condition sees its value",
        ))
    };
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Ok(BTreeSet::new());
    };
    let pieces = pieces(text).map_err(|_| wrong("the template changes a secret's placeholder"))?;
    let names = pieces.into_iter().filter_map(|piece| match piece {
        TextPiece::Secret(name) => Some(format!("secret:{name}")),
        TextPiece::PrivateKey(path) => Some(format!("keypair:{path}")),
        TextPiece::Text(_) => None,
    });
    names
        .map(|name| {
            name.parse()
                .map_err(|_| wrong("the template changes a secret's placeholder"))
        })
        .collect()
}

/// True if a value has a placeholder of a secret.
pub(super) fn has_secret(node: &Node) -> bool {
    match &node.value {
        Value::String(text) => has_placeholder(text),
        Value::Seq(items) => items.iter().any(has_secret),
        Value::Map(map) => map.iter().any(|entry| has_secret(&entry.value)),
        _ => false,
    }
}

/// Returns the bytes of the file of the repository that a field names.
pub(super) fn file(
    manifests: &Manifests,
    node: &Node,
    context: &Context,
) -> Result<Arc<[u8]>, Vec<Diagnostic>> {
    if node.as_str().is_none() {
        let message = format!("expected the path of a file, not {}", node.describe());
        let diagnostic = Diagnostic::error(code::CONTENT, &node.span, message);
        return Err(vec![diagnostic.hint("write files/NAME")]);
    }
    find(manifests, node, context).map(|(_, bytes)| bytes)
}

/// A confidential field.
pub(super) struct Confidential {
    /// The field's value in the spec.
    pub(super) spec: Node,
    /// The text and its digest; `None` if only the host knows the text.
    pub(super) content: Option<(Digest, Arc<[u8]>)>,
}

/// Returns a confidential field, in whose spec the digest of the text stands for the text. No
/// diagnostic quotes the text.
pub(super) fn confidential(
    manifests: &Manifests,
    kind: Kind,
    name: &str,
    node: &Node,
    context: &Context,
) -> Result<Confidential, Vec<Diagnostic>> {
    // No excerpt is shown for this code: the text may be a password in clear.
    let wrong = |span: &Span, message: String, hint: &str| {
        let diagnostic = Diagnostic::error(code::CLEAR_TEXT_SECRET, span, message);
        Err(vec![diagnostic.hint(hint)])
    };
    let forms = format!("write `{name}: {{hash: \"…\"}}` or `{name}: {{secret: NAME/KEY}}`");
    let entries = node.as_map().map(|map| map.iter().collect::<Vec<_>>());
    let Some([Entry { key, value }]) = entries.as_deref() else {
        return wrong(
            &node.span,
            format!("`{name}` takes a hash, not a text"),
            &format!("{forms}; `mkpasswd` makes a hash"),
        );
    };
    match &*key.text {
        "hash" => {}
        "secret" => {
            let secret = secret_address(value)?;
            return Ok(Confidential {
                spec: single(
                    key,
                    Node::string(secret.to_string(), value.span.clone()),
                    node,
                ),
                content: None,
            });
        }
        other => {
            let message = format!("unknown form `{other}` of `{name}`");
            return wrong(&key.span, message, &forms);
        }
    }
    let rendered = manifests.engine.render(value, context)?;
    let Some(text) = rendered.as_str() else {
        let message = format!("`{}` must be text, not {}", key.text, value.describe());
        return wrong(&value.span, message, &forms);
    };
    if let Err(problem) = kind.check_confidential(name, text) {
        return wrong(
            &value.span,
            format!("`{name}`: {}", problem.message),
            problem.hint,
        );
    }
    let bytes: Arc<[u8]> = Arc::from(text.as_bytes());
    let (digested, digest) = spec(&bytes, &value.span);
    Ok(Confidential {
        spec: single(key, digested, node),
        content: Some((digest, bytes)),
    })
}

/// Creates a mapping with one entry in the place of `node`.
fn single(key: &Key, value: Node, node: &Node) -> Node {
    let mut map = Map::default();
    map.insert(key.clone(), value);
    Node {
        value: Value::Map(Arc::new(map)),
        span: node.span.clone(),
        style: Style::Made,
    }
}

/// Reads the `NAME/KEY` of `{secret: NAME/KEY}`.
fn secret_address(node: &Node) -> Result<Address, Vec<Diagnostic>> {
    let wrong = |code, message: String| {
        vec![Diagnostic::error(code, &node.span, message).hint("write {secret: NAME/KEY}")]
    };
    let Some(text) = node.as_str() else {
        let message = format!("`secret` must be text, not {}", node.describe());
        return Err(wrong(code::CONTENT, message));
    };
    format!("secret:{text}")
        .parse()
        .map_err(|error: plumb_api::name::InvalidName| wrong(code::INVALID_NAME, error.to_string()))
}

/// The path and bytes of a file of the repository.
type File = (Arc<str>, Arc<[u8]>);

/// Returns a file of the repository. Its path may be an expression.
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
    if let Some((file, found)) = manifests.files.get_key_value(path) {
        let bytes = match found {
            SourceFile::Bytes(bytes) => bytes,
            SourceFile::TooLarge(large) => return Err(vec![too_large(path, *large, &node.span)]),
        };
        match StandIn::of(bytes) {
            Some(stand_in) => Err(vec![stand_in.diagnostic(path, &node.span)]),
            None => Ok((file.clone(), bytes.clone())),
        }
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

/// A placeholder in git, which a git filter replaces by the real bytes in a working tree. Hosts must not get
/// it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StandIn {
    /// A pointer of Git LFS to bytes on another server.
    LfsPointer,
    /// A file that git-crypt encrypted.
    GitCrypt,
}

impl StandIn {
    /// Maximum size in bytes of a pointer that Git LFS reads.
    const LONGEST_POINTER: usize = 1024;

    /// Returns the kind of placeholder if the bytes are one.
    fn of(bytes: &[u8]) -> Option<Self> {
        let pointer = [
            &b"version https://git-lfs.github.com/spec/"[..],
            b"version https://hawser.github.com/spec/",
        ];
        if bytes.starts_with(b"\0GITCRYPT\0") {
            Some(Self::GitCrypt)
        } else if bytes.len() <= Self::LONGEST_POINTER
            && pointer.iter().any(|start| bytes.starts_with(start))
            && bytes.windows(5).any(|line| line == b"\noid ")
        {
            Some(Self::LfsPointer)
        } else {
            None
        }
    }

    fn diagnostic(self, path: &str, span: &Span) -> Diagnostic {
        let (message, hint) = match self {
            Self::LfsPointer => (
                format!("{path} is a Git LFS pointer; its bytes aren't in the repository"),
                "commit the bytes themselves: run `git lfs untrack PATH`, then `git add --renormalize PATH`",
            ),
            Self::GitCrypt => (
                format!(
                    "{path} is encrypted by git-crypt; its bytes aren't in the repository in clear"
                ),
                "commit it without the filter, or keep what is secret on the host",
            ),
        };
        Diagnostic::error(code::STAND_IN, span, message).hint(hint)
    }
}

/// Returns the hash and size of a content as the node that specs contain, and the hash.
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
