//! The bytes that git stores for the files of a working folder.
//!
//! A controller sees only what is in git. Filters (Git LFS, git-crypt) and `eol` put other bytes into a working
//! folder, so commands that read a folder would judge bytes that are never pushed. No filter's program is run:
//! what an unchanged file becomes is in the index, and what the two known filters make of a changed one follows
//! from its bytes.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use gix::attrs::StateRef;
use gix::bstr::ByteSlice;
use gix::index::entry::stat::Options;
use gix::index::entry::{Flags, Stat};
use gix::worktree::stack::state::attributes::Source;
use plumb_api::Digest;
use plumb_trust::source::{Files, SourceFile, TooLarge};

use sha2::{Digest as _, Sha256};

use super::files::FILE;

/// The conversion of a file from the working folder to git.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Conversion {
    /// The same bytes.
    None,
    /// Lines end with a line feed in git.
    LineEnds,
    /// A pointer of Git LFS.
    LfsPointer,
    /// An encrypted file of git-crypt.
    GitCrypt,
    /// The output of another program.
    Filter,
}

/// Replaces the bytes of files by those that git stores for them. A folder that is no repository stays as it is.
pub(super) fn convert(folder: &Path, files: &mut Files) {
    let Ok(gix) = gix::open_opts(folder, gix::open::Options::isolated()) else {
        return;
    };
    let Ok(index) = gix.index_or_empty() else {
        return;
    };
    let Ok(mut stack) = gix.attributes_only(&index, Source::WorktreeThenIdMapping) else {
        return;
    };
    let mut found = stack.selected_attribute_matches(["filter", "text", "eol"]);
    for (path, file) in files.iter_mut() {
        found.reset();
        let conversion = match stack.at_entry(path.as_bytes().as_bstr(), None) {
            Ok(platform) if platform.matching_attributes(&mut found) => {
                let mut conversion = Conversion::None;
                for one in found.iter_selected() {
                    let name = one.assignment.name.as_str();
                    conversion = one_more(conversion, name, one.assignment.state);
                }
                conversion
            }
            _ => Conversion::None,
        };
        let entry = index.entry_by_path(path.as_bytes().as_bstr());
        let stored = entry.filter(|entry| {
            let assumed = entry.flags.contains(Flags::ASSUME_VALID);
            let options = Options::default();
            assumed
                || conversion != Conversion::None
                    && !entry.stat.is_racy(index.timestamp(), options)
                    && stat(&folder.join(path)).is_some_and(|now| entry.stat.matches(&now, options))
        });
        let stored = stored.and_then(|entry| {
            let size = gix.find_header(entry.id).ok()?.size();
            if size > FILE {
                return Some(SourceFile::TooLarge(TooLarge { size, limit: FILE }));
            }
            Some(gix.find_blob(entry.id).ok()?.data.as_slice().into())
        });
        if let Some(stored) = stored {
            *file = stored;
            continue;
        }
        let made = match file {
            SourceFile::Bytes(bytes) => converted(bytes, conversion),
            SourceFile::TooLarge(_) if conversion == Conversion::LfsPointer => {
                pointer(&folder.join(path)).ok()
            }
            SourceFile::TooLarge(_) => None,
        };
        if let Some(made) = made {
            *file = made.as_slice().into();
        }
    }
}

fn stat(path: &Path) -> Option<Stat> {
    let found = gix::index::fs::Metadata::from_path_no_follow(path).ok()?;
    Stat::from_fs(&found).ok()
}

/// Adds an attribute to a conversion; a filter is more than line ends.
fn one_more(before: Conversion, name: &str, state: StateRef<'_>) -> Conversion {
    let value = match state {
        StateRef::Value(value) => value.as_bstr(),
        StateRef::Set => b"".as_bstr(),
        StateRef::Unset | StateRef::Unspecified => return before,
    };
    match (name, value.as_bytes()) {
        ("filter", b"lfs") => Conversion::LfsPointer,
        ("filter", b"git-crypt") => Conversion::GitCrypt,
        ("filter", value) if !value.is_empty() => Conversion::Filter,
        ("text" | "eol", _) if before == Conversion::None => Conversion::LineEnds,
        _ => before,
    }
}

/// Returns the bytes that git would store for a changed file, if they are others.
fn converted(bytes: &[u8], conversion: Conversion) -> Option<Vec<u8>> {
    match conversion {
        // What another program would make of it can't be known without it.
        Conversion::None | Conversion::Filter => None,
        Conversion::LineEnds => {
            (bytes.contains(&b'\r') && !bytes.contains(&0)).then(|| bytes.replace(b"\r\n", b"\n"))
        }
        // The filter leaves a pointer as it is.
        Conversion::LfsPointer if bytes.starts_with(b"version https://git-lfs.github.com/") => None,
        Conversion::LfsPointer => lfs_pointer(bytes).ok(),
        // Only the mark counts: nobody here has the key.
        Conversion::GitCrypt => Some(b"\0GITCRYPT\0".to_vec()),
    }
}

/// Returns the pointer of a file that is too large to be held.
fn pointer(path: &Path) -> io::Result<Vec<u8>> {
    lfs_pointer(File::open(path)?)
}

/// Returns the pointer that Git LFS stores for these bytes.
fn lfs_pointer(mut bytes: impl Read) -> io::Result<Vec<u8>> {
    let mut hash = Sha256::new();
    let size = io::copy(&mut bytes, &mut hash)?;
    let digest = Digest::from_bytes(hash.finalize().into());
    let text =
        format!("version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {size}\n");
    Ok(text.into_bytes())
}
