use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use plumb_api::report::ErrorCode;
use plumb_api::resource::SetIds;

use super::SourceType;
use super::changed::changed;
use super::inspect::{Rules, inspect};
use super::others::{self, Others, carry};
use super::record::{Member, Origin, TreeRecord};
use crate::error::Result;
use crate::sys::{Dir, Sys};

/// A folder of a test, removed at its end.
struct Folder {
    path: PathBuf,
    sys: Sys,
}

impl Folder {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("plumb-tree-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(path.join("new")).unwrap();
        fs::create_dir_all(path.join("old")).unwrap();
        let sys = Sys::sandbox(&path).unwrap();
        Self { path, sys }
    }

    /// Writes files; a name that ends with `/` is a folder.
    fn write(&self, files: &[(&str, &str)]) {
        for (name, text) in files {
            let path = self.path.join(name);
            if name.ends_with('/') {
                fs::create_dir_all(&path).unwrap();
            } else {
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
        }
    }

    fn dir(&self, name: &str) -> Dir {
        self.sys.root().directory(name).unwrap().unwrap()
    }

    fn inspect(&self, source_type: SourceType) -> Result<TreeRecord> {
        let uid = rustix::process::geteuid().as_raw();
        let gid = rustix::process::getegid().as_raw();
        let rules = Rules {
            uid,
            gid,
            source_type,
            path: "/opt/x",
        };
        Ok(TreeRecord {
            path: "/new".to_owned(),
            source: "s".to_owned(),
            strip: 0,
            uid,
            gid,
            root: Origin::Plumb,
            members: inspect(&self.dir("/new"), &rules)?,
            swap: None,
        })
    }

    /// Returns the message for an archive that is refused.
    fn refusal(&self) -> String {
        let error = self.inspect(ARCHIVE).unwrap_err();
        assert_eq!(error.code, ErrorCode::Refused);
        error.message
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

const ARCHIVE: SourceType = SourceType::Archive(SetIds::Refuse);

#[test]
fn link_that_leads_out_is_refused_in_an_archive() {
    for target in ["/etc/passwd", "../../etc", "../x", "a/../../x"] {
        let folder = Folder::new();
        folder.write(&[("new/a/f", "x")]);
        symlink(target, folder.path.join("new/link")).unwrap();
        assert!(
            folder.refusal().contains("outside of the folder"),
            "{target}"
        );
        assert!(folder.inspect(SourceType::Commit).is_ok(), "{target}");
    }
}

#[test]
fn link_that_leads_out_by_way_of_another_is_refused() {
    let folder = Folder::new();
    folder.write(&[("new/x/y/", "")]);
    symlink("../..", folder.path.join("new/x/y/top")).unwrap();
    symlink("x/y/top/../etc", folder.path.join("new/out")).unwrap();
    assert!(folder.refusal().contains("`out`"));
}

#[test]
fn links_inside_and_dangling_ones_stay() {
    let folder = Folder::new();
    folder.write(&[("new/bin/run", "x")]);
    symlink("bin/run", folder.path.join("new/run")).unwrap();
    symlink("../missing", folder.path.join("new/bin/later")).unwrap();
    let record = folder.inspect(ARCHIVE).unwrap();
    let paths: Vec<&String> = record.members.keys().collect();
    assert_eq!(paths, ["bin", "bin/later", "bin/run", "run"]);
}

#[test]
fn set_ids_need_to_be_said_and_others_never_write() {
    let folder = Folder::new();
    folder.write(&[("new/run", "x")]);
    let path = folder.path.join("new/run");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o4777)).unwrap();
    assert!(folder.refusal().contains("set-user-id"));
    let kept = folder.inspect(SourceType::Archive(SetIds::Keep)).unwrap();
    assert_eq!(kept.members["run"].mode, 0o4755);
    let commit = folder.inspect(SourceType::Commit).unwrap();
    assert_eq!(commit.members["run"].mode, 0o755);
}

#[test]
fn hard_link_to_a_file_elsewhere_is_refused() {
    let folder = Folder::new();
    folder.write(&[("old/secret", "x"), ("new/a", "y")]);
    fs::hard_link(folder.path.join("new/a"), folder.path.join("new/b")).unwrap();
    assert!(folder.inspect(ARCHIVE).is_ok(), "both names are inside");
    let outside = folder.path.join("old/secret");
    let open_to_all = fs::Permissions::from_mode(0o666);
    fs::set_permissions(&outside, open_to_all).unwrap();
    fs::hard_link(&outside, folder.path.join("new/c")).unwrap();
    assert!(folder.refusal().contains("hard link"));
    let after = fs::metadata(&outside).unwrap().permissions();
    assert_eq!(after.mode() & 0o777, 0o666, "nothing was done to that file");
}

#[test]
fn lfs_pointer_is_refused_in_a_commit() {
    let folder = Folder::new();
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n";
    folder.write(&[("new/big.bin", pointer)]);
    let error = folder.inspect(SourceType::Commit).unwrap_err();
    assert!(error.message.contains("Git LFS pointer"), "{error}");
}

#[test]
fn changed_and_missing_files_are_found_and_those_of_others_are_not() {
    let folder = Folder::new();
    folder.write(&[("new/a", "a"), ("new/d/b", "b"), ("new/d/c", "c")]);
    let record = folder.inspect(ARCHIVE).unwrap();
    let look = |elsewhere: &[&str]| {
        let elsewhere = elsewhere.iter().map(|path| (*path).to_owned()).collect();
        changed(&record, &folder.dir("/new"), &elsewhere).unwrap()
    };
    folder.write(&[("new/other", "of others")]);
    assert!(look(&[]).is_empty());
    // The kernel's clock for files has a coarse tick.
    std::thread::sleep(std::time::Duration::from_millis(20));
    folder.write(&[("new/a", "A"), ("new/d/b", "b")]);
    assert_eq!(
        look(&[]),
        ["a"],
        "the same bytes written again are no change"
    );
    fs::remove_dir_all(folder.path.join("new/d")).unwrap();
    assert_eq!(look(&["a"]), ["d", "d/b", "d/c"]);
}

fn find(
    folder: &Folder,
    before: Option<&TreeRecord>,
    next: &mut TreeRecord,
) -> Result<Vec<String>> {
    let others = Others {
        record: before,
        elsewhere: &BTreeSet::from(["conf".to_owned()]),
        tree: &folder.dir("/new"),
        path: "/opt/x",
    };
    others.find(&folder.dir("/old"), &mut next.members)
}

#[test]
fn files_of_others_move_into_the_new_folder() {
    let folder = Folder::new();
    folder.write(&[("new/a", "1"), ("new/d/b", "1")]);
    let before = folder.inspect(ARCHIVE).unwrap();
    fs::remove_dir(folder.path.join("old")).unwrap();
    fs::rename(folder.path.join("new"), folder.path.join("old")).unwrap();
    folder.write(&[
        ("old/d/mine", "m"),
        ("old/conf", "managed by a file"),
        ("new/a", "2"),
        ("new/conf", "default"),
    ]);
    let mut next = folder.inspect(ARCHIVE).unwrap();
    let carried = find(&folder, Some(&before), &mut next).unwrap();
    assert_eq!(carried, ["conf", "d/mine"]);
    assert_eq!(next.members.keys().collect::<Vec<_>>(), ["a"]);
    carry(&folder.dir("/old"), &folder.dir("/new"), &carried).unwrap();
    carry(&folder.dir("/old"), &folder.dir("/new"), &carried).unwrap();
    let read = |name: &str| fs::read_to_string(folder.path.join(name)).unwrap();
    assert_eq!(read("new/d/mine"), "m");
    assert_eq!(read("new/conf"), "managed by a file");
    assert_eq!(read("new/a"), "2");
}

#[test]
fn file_of_others_in_the_way_is_refused_unless_it_is_the_same() {
    let folder = Folder::new();
    folder.write(&[("old/a", "same"), ("new/a", "same"), ("new/b", "b")]);
    let mut next = folder.inspect(ARCHIVE).unwrap();
    assert_eq!(find(&folder, None, &mut next).unwrap(), ["a"]);
    assert_eq!(next.members.keys().collect::<Vec<_>>(), ["b"]);
    folder.write(&[("old/b", "theirs")]);
    let error = find(&folder, None, &mut next).unwrap_err();
    assert!(
        error.message.starts_with("/opt/x/b isn't Plumb's"),
        "{error}"
    );
}

#[test]
fn strip_leaves_out_leading_folders_and_refuses_two_files_of_one_name() {
    let folder = Folder::new();
    folder.write(&[("new/app-1/bin/run", "x"), ("new/README", "left out")]);
    others::strip(&folder.dir("/"), "new", "next", "/opt/x").unwrap();
    assert!(folder.path.join("next/bin/run").exists());
    assert!(!folder.path.join("next/README").exists());
    folder.write(&[("new/one/f", "1"), ("new/two/f", "2")]);
    let error = others::strip(&folder.dir("/"), "new", "again", "/opt/x").unwrap_err();
    assert!(
        error.message.contains("`f` in two of the folders"),
        "{error}"
    );
}

#[test]
fn record_survives_its_form_on_disk() {
    let folder = Folder::new();
    folder.write(&[("new/a", "a")]);
    let record = folder.inspect(ARCHIVE).unwrap();
    let text = serde_json::to_string(&record).unwrap();
    assert_eq!(serde_json::from_str::<TreeRecord>(&text).unwrap(), record);
    let member: &Member = &record.members["a"];
    assert!(member.stamp.is_some());
}
