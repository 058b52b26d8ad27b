//! The bytes that git stores for the files of a working folder.
//!
//! A controller sees only what is in git. Filters (Git LFS, git-crypt) and `eol` change the bytes in a
//! working folder, so commands that read a folder would check bytes that are never pushed. This module runs
//! no filter program. For an unchanged file, it takes the bytes from the index. For a changed one, it
//! computes the output of the two known filters from the file's bytes.

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

/// Replaces the bytes of files by those that git stores for them. Does nothing if the folder isn't a
/// repository.
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

/// Updates a conversion by a git attribute. A filter takes precedence over line ends.
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

/// Returns the bytes that git would store for a changed file, if they differ from the file's.
fn converted(bytes: &[u8], conversion: Conversion) -> Option<Vec<u8>> {
    match conversion {
        // The output of another program can't be known without running it.
        Conversion::None | Conversion::Filter => None,
        Conversion::LineEnds => {
            (bytes.contains(&b'\r') && !bytes.contains(&0)).then(|| bytes.replace(b"\r\n", b"\n"))
        }
        // The filter doesn't change a file that is a pointer already.
        Conversion::LfsPointer if bytes.starts_with(b"version https://git-lfs.github.com/") => None,
        Conversion::LfsPointer => lfs_pointer(bytes).ok(),
        // Only the header matters: nobody here has the key.
        Conversion::GitCrypt => Some(b"\0GITCRYPT\0".to_vec()),
    }
}

/// Returns the Git LFS pointer for a file that is too large to be kept in memory.
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
