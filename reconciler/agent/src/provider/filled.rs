//! Files with secrets in them: the content has placeholders, which only the host fills.
//!
//! The agent keeps the content with its placeholders, to compare the file with. Neither the filled content nor
//! a digest of it leaves this module.

use std::io::Read as _;

use plumb_api::report::{AgentError, ErrorCode};
use plumb_api::resource::{Content, FileObserved, FileSpec, FileType};
use plumb_api::secret::{TextPiece, pieces};
use plumb_api::{Address, Kind, Spec};
use zeroize::Zeroizing;

use super::at_path::{self, Bytes, Put, Wish};
use super::{ApplyContext, ItemChange, ObserveContext, secret};
use crate::book::{Desired, Durable, Home, write_whole};
use crate::error::{At, Result, fail};
use crate::sys::Sys;

/// Subfolder of the agent's folder for contents with placeholders, by digest.
const FOLDER: &str = "templates";

/// Maximum size of a file with secrets, in bytes.
const MAX_SIZE: u64 = 4 << 20;

/// Maximum size of a file with a private key, in bytes.
const MAX_KEY: u64 = 16 << 10;

/// Returns a private key that the host made, without the newline at its end.
fn private_key(sys: &Sys, desired: &Desired, path: &str) -> Result<Option<Zeroizing<Vec<u8>>>> {
    let address = Address::new(Kind::Keypair, path).ok();
    if address.is_none_or(|address| desired.get(&address).is_none()) {
        return fail(
            ErrorCode::Protocol,
            format!("{path} isn't a private key of this host"),
        );
    }
    let bytes = sys.root().read(path, MAX_KEY)?.map(Zeroizing::new);
    Ok(bytes.map(|bytes| Zeroizing::new(bytes.trim_ascii_end().to_vec())))
}

/// Puts the secrets and private keys in place of their placeholders.
fn fill(sys: &Sys, text: &[u8], desired: &Desired, path: &str) -> Result<Zeroizing<Vec<u8>>> {
    let broken = || format!("the content for {path} has a broken placeholder");
    let Ok(Ok(all)) = std::str::from_utf8(text).map(pieces) else {
        return fail(ErrorCode::Protocol, broken());
    };
    let mut filled = Zeroizing::new(Vec::new());
    for piece in all {
        match piece {
            TextPiece::Text(text) => filled.extend_from_slice(text.as_bytes()),
            TextPiece::PrivateKey(key) => match private_key(sys, desired, key)? {
                Some(bytes) => filled.extend_from_slice(&bytes),
                None => {
                    return fail(
                        ErrorCode::NotFound,
                        format!("the private key for {path} isn't at {key}"),
                    );
                }
            },
            TextPiece::Secret(name) => {
                let address = format!("secret:{name}").parse::<Address>();
                let leaf = address
                    .as_ref()
                    .ok()
                    .and_then(|address| desired.get(address));
                match (address, leaf.map(|leaf| &leaf.spec)) {
                    (Ok(address), Some(Spec::Secret(spec))) => {
                        filled.extend_from_slice(&secret::open(sys, &address, spec, None)?);
                    }
                    _ => return fail(ErrorCode::Protocol, broken()),
                }
            }
        }
    }
    Ok(filled)
}

/// Returns the content with its placeholders, if the agent keeps it.
fn kept(sys: &Sys, content: &Content) -> Result<Option<Vec<u8>>> {
    let Some(home) = Home::open(sys)? else {
        return Ok(None);
    };
    let folder = home.folder(FOLDER)?;
    let Some(mut file) = folder.open(&content.sha256.to_string())? else {
        return Ok(None);
    };
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).at("read", FOLDER)?;
    Ok((Content::of(&bytes) == *content).then_some(bytes))
}

/// Observes a file with secrets. Its content is the desired one, or unknown.
pub(super) fn observe(
    cx: &ObserveContext<'_>,
    path: &str,
    spec: &FileSpec,
    wish: Wish<'_>,
) -> Result<FileObserved> {
    let mut found = at_path::observe(
        cx,
        path,
        Wish {
            content: false,
            ..wish
        },
    )?;
    let (Some(content), FileType::File) = (&spec.content, found.file_type) else {
        return Ok(found);
    };
    if let Some(text) = kept(cx.sys, content)? {
        let filled = match fill(cx.sys, &text, cx.inputs.desired, path) {
            Ok(filled) => filled,
            // A run makes the key before it writes the file.
            Err(error) if error.code == ErrorCode::NotFound => return Ok(found),
            Err(error) => return Err(error),
        };
        let has = cx.sys.root().read(path, MAX_SIZE).ok().flatten();
        if has.map(Zeroizing::new).is_some_and(|has| *has == *filled) {
            found.content = Some(*content);
        }
    }
    Ok(found)
}

/// Writes a file with secrets.
pub(super) fn apply(
    cx: &mut ApplyContext<'_>,
    path: &str,
    spec: &FileSpec,
    work: &ItemChange<'_>,
) -> Result<()> {
    let mut put = Put {
        bytes: Bytes::Stay,
        owner: spec.owner.as_ref(),
        group: spec.group.as_ref(),
        mode: spec.mode,
        // A checker that reads files in place has seen it with the others of its batch.
        validate: if spec.validates_in_place() {
            &[]
        } else {
            &spec.validate
        },
        attributes: work
            .original
            .and_then(|original| original.attributes.as_ref()),
    };
    let Some(content) = &spec.content else {
        return at_path::put(cx, path, &put);
    };
    let text = if let Some(text) = kept(cx.sys, content)? {
        text
    } else {
        let mut text = Vec::new();
        let reader = cx.content(content, path)?;
        reader
            .take(MAX_SIZE)
            .read_to_end(&mut text)
            .at("read the content for", path)?;
        let folder = cx.home.folder(FOLDER)?;
        write_whole(&folder, &content.sha256.to_string(), &text, Durable::No)?;
        text
    };
    let filled = fill(cx.sys, &text, cx.desired, path)?;
    put.bytes = Bytes::New(Content::of(&filled));
    at_path::put_bytes(cx, path, &put, &filled).map_err(|error| {
        if error.code != ErrorCode::ValidateFailed {
            return error;
        }
        // What the program prints may quote a line with a secret.
        AgentError::new(
            ErrorCode::ValidateFailed,
            format!(
                "`{}` doesn't accept the new {path}, so it isn't put in place; its output isn't shown, because the file has secrets",
                spec.validate.join(" ")
            ),
        )
        .hint("correct the content in the repository")
    })
}
