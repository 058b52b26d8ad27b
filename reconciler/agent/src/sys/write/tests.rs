use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::sys::{FileKind, Sys};

fn found(uid: u32, gid: u32, mode: u32) -> FileStat {
    FileStat {
        kind: FileKind::File,
        uid,
        gid,
        mode,
        links: 1,
        size: 0,
        device: 1,
        inode: 1,
        modified: (0, 0),
        changed: (0, 0),
    }
}

#[test]
fn set_id_bits_stay_only_with_the_owner_and_the_group_that_they_were_set_under() {
    let mallory = found(1000, 1000, 0o7755);
    let over = |uid, gid, listed| Meta::over(&mallory, uid, gid, listed).mode.bits();
    assert_eq!(over(Some(0), Some(1000), None), 0o1755, "another owner");
    assert_eq!(over(Some(1000), Some(0), None), 0o1755, "another group");
    assert_eq!(over(Some(1000), Some(1000), None), 0o7755, "neither");
    assert_eq!(over(None, None, None), 0o7755);
    assert_eq!(over(Some(0), Some(0), Some(0o4755)), 0o4755, "listed");
    let anew = |listed| {
        let meta = Meta::anew(Some(&mallory), Some(1000), Some(1000), listed);
        meta.mode.bits()
    };
    assert_eq!(anew(None), 0o1755, "new bytes");
    assert_eq!(anew(Some(0o2755)), 0o2755);
    assert_eq!(
        Meta::anew(None, None, None, None).mode,
        Permissions::Kept(0o644)
    );
}

/// A folder with a file `f`, which goes when it is dropped.
struct Folder {
    path: PathBuf,
    sys: Sys,
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("plumb-write-{}-{next}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(path.join("f"), "old").unwrap();
        let sys = Sys::sandbox(&path).unwrap();
        Self { path, sys }
    }

    fn replace(&self, meddle: &dyn Fn(&Path)) -> Result<()> {
        let dir = self.sys.root().directory("/")?.unwrap();
        let spot = Spot {
            dir: &dir,
            leaf: "f",
            temporary: ".t",
            before: dir.look("f")?,
            kept: None,
        };
        let meta = Meta::anew(spot.before.as_ref(), None, None, None);
        replace(&spot, &mut &b"new"[..], None, meta, &mut |_| {
            meddle(&self.path);
            Ok(())
        })
    }

    fn text(&self) -> String {
        fs::read_to_string(self.path.join("f")).unwrap()
    }
}

#[test]
fn what_came_in_between_is_not_replaced() {
    let folder = Folder::new();
    folder.replace(&|_| ()).unwrap();
    assert_eq!(folder.text(), "new");
    let error = folder
        .replace(&|path| {
            fs::write(path.join("other"), "theirs").unwrap();
            fs::rename(path.join("other"), path.join("f")).unwrap();
        })
        .unwrap_err();
    assert_eq!(error.code, ErrorCode::PreconditionFailed, "{error}");
    assert_eq!(folder.text(), "theirs");
    assert!(!folder.path.join(".t").exists());
}

#[test]
fn a_candidate_that_was_swapped_is_not_put_in_place() {
    let folder = Folder::new();
    let error = folder
        .replace(&|path| {
            fs::remove_file(path.join(".t")).unwrap();
            fs::write(path.join(".t"), "theirs").unwrap();
        })
        .unwrap_err();
    assert_eq!(error.code, ErrorCode::PreconditionFailed, "{error}");
    assert_eq!(folder.text(), "old");
}

#[test]
fn what_is_written_in_place_is_the_file_that_was_looked_at() {
    let folder = Folder::new();
    let dir = folder.sys.root().directory("/").unwrap().unwrap();
    let mut spot = Spot {
        dir: &dir,
        leaf: "f",
        temporary: ".t",
        before: dir.look("f").unwrap(),
        kept: None,
    };
    let meta = Meta::anew(spot.before.as_ref(), None, None, Some(0o600));
    let mut from = create_new(&dir, ".t").unwrap();
    from.write_all(b"x").unwrap();
    overwrite(&spot, &mut from, meta).unwrap();
    assert_eq!(folder.text(), "x");
    spot.before = dir.look(".t").unwrap();
    let error = overwrite(&spot, &mut from, meta).unwrap_err();
    assert_eq!(error.code, ErrorCode::PreconditionFailed, "{error}");
}

#[test]
fn a_copy_is_the_agents_own_and_the_same_bytes() {
    let folder = Folder::new();
    let dir = folder.sys.root().directory("/").unwrap().unwrap();
    let mut file = create_new(&dir, ".t").unwrap();
    file.write_all(b"bytes").unwrap();
    let content = Content::of(b"bytes");
    let path = ".t".to_owned();
    let mut candidate = Candidate {
        file: &mut file,
        content,
        path,
    };
    let copy = candidate.copy_to(&dir, "copy").unwrap();
    let copy = folder.path.join(copy.trim_start_matches('/'));
    assert_eq!(fs::read_to_string(&copy).unwrap(), "bytes");
    let mode = fs::metadata(&copy).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    candidate.file.write_all(b"more").unwrap();
    let error = candidate.copy_to(&dir, "copy").unwrap_err();
    assert_eq!(error.code, ErrorCode::PreconditionFailed, "{error}");
}

#[test]
fn a_program_gets_a_path_only_where_root_alone_decides_what_it_is() {
    let folder = Folder::new();
    let make = |name: &str, mode| {
        let path = folder.path.join(name);
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    };
    make("etc", 0o755);
    make("etc/d", 0o755);
    make("open", 0o777);
    make("open/d", 0o755);
    make("shared", 0o775);
    std::os::unix::fs::symlink("/open/d", folder.path.join("etc/link")).unwrap();
    let alone = |path: &str| folder.sys.root().is_roots_alone(path);
    assert!(alone("/") && alone("/etc") && alone("/etc/d"));
    assert!(
        !alone("/open") && !alone("/shared"),
        "others may write there"
    );
    assert!(!alone("/open/d"), "or above it");
    assert!(!alone("/etc/link"), "or where it really is");
    assert!(!alone("/none"));
}
