use std::os::unix::fs::symlink;

use plumb_trust::object::ObjectKind;
use plumb_trust::source::{Files, SourceFile, TooLarge};
use plumb_trust::{ObjectFormat, Oid};

use super::super::files::{FILE, FilesError, tree, work_tree};
use super::super::write::{Mode, Writer};
use super::super::{Repository, RevisionBounds};
use super::Place;

/// The bytes of a file, which must have been read.
fn bytes<'a>(files: &'a Files, path: &str) -> &'a [u8] {
    files[path].bytes().unwrap()
}

#[test]
fn only_the_places_of_a_fleet_are_read() {
    let place = Place::new();
    let writer =
        Writer::create(&place.path("x.git"), ObjectFormat::Sha1, "refs/heads/main").unwrap();
    let entries: [(&str, Mode, &[u8]); 12] = [
        ("fleet.yaml", Mode::File, b"kind: Fleet\n"),
        ("hosts/site/a.yaml", Mode::File, b"a"),
        ("hosts/link.yaml", Mode::Link, b"../files/evil"),
        ("profiles/p.yaml", Mode::File, b"p"),
        ("networks/n.yaml", Mode::File, b"n"),
        ("files/script", Mode::Executable, &[0, 159, 255]),
        ("files/link", Mode::Link, b"/etc/shadow"),
        ("trust/policy.yaml", Mode::File, b"t"),
        ("README.md", Mode::File, b"readme"),
        ("docs/hosts/a.yaml", Mode::File, b"no"),
        ("hosts.yaml", Mode::File, b"no"),
        ("fleet.yaml.bak", Mode::File, b"no"),
    ];
    let root = writer.tree(entries).unwrap();
    let repository = Repository::open(writer.path()).unwrap();
    let files = tree(repository.objects(), &root).unwrap();
    let expected = [
        "files/script",
        "fleet.yaml",
        "hosts/link.yaml",
        "hosts/site/a.yaml",
        "networks/n.yaml",
        "profiles/p.yaml",
        "trust/policy.yaml",
    ];
    assert_eq!(files.keys().collect::<Vec<_>>(), expected);
    assert_eq!(bytes(&files, "files/script"), [0, 159, 255]);
    // A link stands for its own text, never for what it points at.
    assert_eq!(bytes(&files, "hosts/link.yaml"), b"../files/evil");

    // The same from a folder.
    let folder = place.path("work");
    for (path, mode, bytes) in entries {
        let at = folder.join(path);
        std::fs::create_dir_all(at.parent().unwrap()).unwrap();
        match mode {
            Mode::Link => symlink(std::str::from_utf8(bytes).unwrap(), &at).unwrap(),
            _ => std::fs::write(&at, bytes).unwrap(),
        }
    }
    std::fs::create_dir(folder.join(".git")).unwrap();
    assert_eq!(work_tree(&folder).unwrap(), files);
}

#[test]
fn links_out_of_a_folder_are_never_followed() {
    let place = Place::new();
    let outside = place.path("outside");
    std::fs::create_dir_all(outside.join("inner")).unwrap();
    std::fs::write(outside.join("secret.yaml"), "secret").unwrap();
    let folder = place.path("work");
    std::fs::create_dir_all(folder.join("profiles")).unwrap();
    symlink(&outside, folder.join("hosts")).unwrap();
    symlink(&outside, folder.join("profiles/inner")).unwrap();
    symlink(outside.join("secret.yaml"), folder.join("fleet.yaml")).unwrap();
    let files = work_tree(&folder).unwrap();
    assert!(
        files
            .values()
            .all(|file| **file.bytes().unwrap() != *b"secret"),
        "{files:?}"
    );
    assert!(!files.contains_key("hosts/secret.yaml"));
}

#[test]
fn file_that_is_too_large_is_kept_by_name_alone() {
    let large = SourceFile::TooLarge(TooLarge {
        size: FILE + 1,
        limit: FILE,
    });
    let place = Place::new();
    let folder = place.path("work");
    std::fs::create_dir_all(folder.join("files")).unwrap();
    std::fs::write(folder.join("files/small"), "small").unwrap();
    let file = std::fs::File::create(folder.join("files/large")).unwrap();
    file.set_len(FILE + 1).unwrap();
    let files = work_tree(&folder).unwrap();
    assert_eq!(files["files/large"], large);
    assert_eq!(bytes(&files, "files/small"), b"small");

    let writer =
        Writer::create(&place.path("x.git"), ObjectFormat::Sha1, "refs/heads/main").unwrap();
    let content = vec![0; usize::try_from(FILE).unwrap() + 1];
    let root = writer
        .tree([
            ("files/large", Mode::File, content.as_slice()),
            ("files/most", Mode::File, &content[1..]),
        ])
        .unwrap();
    let repository = Repository::open(writer.path()).unwrap();
    let files = tree(repository.objects(), &root).unwrap();
    assert_eq!(files["files/large"], large);
    assert_eq!(bytes(&files, "files/most").len() as u64, FILE);
}

#[test]
fn revision_is_judged_by_what_is_read_of_it() {
    let place = Place::new();
    let writer =
        Writer::create(&place.path("x.git"), ObjectFormat::Sha1, "refs/heads/main").unwrap();
    let content = vec![0; usize::try_from(FILE).unwrap() + 1];
    let large = writer.raw(ObjectKind::Blob, &content).unwrap();
    let most = writer.raw(ObjectKind::Blob, &content[1..]).unwrap();
    let one = writer.raw(ObjectKind::Blob, b"1").unwrap();
    let entry = |raw: &mut Vec<u8>, head: &str, id: &Oid| {
        raw.extend_from_slice(head.as_bytes());
        raw.push(0);
        raw.extend_from_slice(id.as_bytes());
    };
    let check = |files: &[&Oid], fleet: &Oid| {
        let mut raw = Vec::new();
        for (at, id) in files.iter().enumerate() {
            entry(&mut raw, &format!("100644 {at:03}"), id);
        }
        let files = writer.raw(ObjectKind::Tree, &raw).unwrap();
        let mut docs = Vec::new();
        entry(&mut docs, "100644 not-read", &most);
        let docs = writer.raw(ObjectKind::Tree, &docs).unwrap();
        let mut raw = Vec::new();
        entry(&mut raw, "40000 docs", &docs);
        entry(&mut raw, "40000 files", &files);
        entry(&mut raw, "100644 fleet.yaml", fleet);
        let root = writer.raw(ObjectKind::Tree, &raw).unwrap();
        let repository = Repository::open(writer.path()).unwrap();
        let judged = RevisionBounds::new(repository.objects()).check(&root);
        judged.map_err(|error| error.to_string())
    };
    // All that is read may have 32 times the size of a file; of a larger file only the name counts.
    let mut files = vec![&most; 31];
    files.extend([&large, &large]);
    assert_eq!(check(&files, &one), Ok(()));
    files.push(&most);
    assert_eq!(
        check(&files, &one),
        Err("the files have more than 536870912 bytes together".to_owned())
    );
    assert_eq!(
        check(&[], &large),
        Err("fleet.yaml has 16777217 bytes; the limit is 16777216".to_owned())
    );
}

#[test]
fn names_that_arent_text_are_refused() {
    use std::os::unix::ffi::OsStrExt;
    let place = Place::new();
    let folder = place.path("work");
    std::fs::create_dir_all(folder.join("hosts")).unwrap();
    std::fs::write(
        folder
            .join("hosts")
            .join(std::ffi::OsStr::from_bytes(b"\xff.yaml")),
        "x",
    )
    .unwrap();
    assert!(matches!(work_tree(&folder), Err(FilesError::Name { .. })));

    let writer =
        Writer::create(&place.path("x.git"), ObjectFormat::Sha1, "refs/heads/main").unwrap();
    let blob = writer.raw(ObjectKind::Blob, b"x").unwrap();
    let mut raw = b"100644 \xff.yaml\0".to_vec();
    raw.extend_from_slice(blob.as_bytes());
    let hosts = writer.raw(ObjectKind::Tree, &raw).unwrap();
    let mut raw = b"40000 hosts\0".to_vec();
    raw.extend_from_slice(hosts.as_bytes());
    let root = writer.raw(ObjectKind::Tree, &raw).unwrap();
    let repository = Repository::open(writer.path()).unwrap();
    assert!(matches!(
        tree(repository.objects(), &root),
        Err(FilesError::Tree(_))
    ));
}

const POINTER: &str = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n";

/// A repository with a committed file, in a folder of its own.
fn committed(place: &Place, attributes: &str, path: &str, bytes: &[u8]) -> std::path::PathBuf {
    let folder = place.path("fleet");
    std::fs::create_dir_all(folder.join("files")).unwrap();
    place.git(&folder, &["init", "--quiet"]);
    std::fs::write(folder.join(path), bytes).unwrap();
    place.git(&folder, &["add", "."]);
    // The attributes come later, so that git runs no filter.
    std::fs::write(folder.join(".gitattributes"), attributes).unwrap();
    place.git(&folder, &["add", ".gitattributes"]);
    place.git(&folder, &["commit", "--quiet", "-m", "one"]);
    folder
}

#[test]
fn folder_is_read_as_git_stores_it() {
    let real = vec![7; 12345];
    let place = Place::new();
    let attributes = "*.bin filter=lfs diff=lfs merge=lfs -text\n";
    let folder = committed(&place, attributes, "files/fw.bin", POINTER.as_bytes());
    std::fs::write(folder.join("files/fw.bin"), &real).unwrap();
    let changed = work_tree(&folder).unwrap();
    let text = String::from_utf8_lossy(bytes(&changed, "files/fw.bin")).into_owned();
    assert!(text.starts_with("version https://git-lfs"), "{text}");
    assert!(text.ends_with("size 12345\n"), "what a commit would store");
    // What git is told to take for unchanged is what it has.
    place.git(
        &folder,
        &["update-index", "--assume-unchanged", "files/fw.bin"],
    );
    let files = work_tree(&folder).unwrap();
    assert_eq!(bytes(&files, "files/fw.bin"), POINTER.as_bytes());
    // A file that was never added becomes a pointer too.
    std::fs::write(folder.join("files/new.bin"), "real").unwrap();
    let files = work_tree(&folder).unwrap();
    assert!(bytes(&files, "files/new.bin").starts_with(b"version https://git-lfs"));
}

#[test]
fn unlocked_git_crypt_file_is_read_as_encrypted() {
    let place = Place::new();
    let folder = committed(
        &place,
        "files/secret/** filter=git-crypt\n",
        "files/plain",
        b"plain",
    );
    std::fs::create_dir(folder.join("files/secret")).unwrap();
    std::fs::write(folder.join("files/secret/key"), "in clear").unwrap();
    let files = work_tree(&folder).unwrap();
    assert!(bytes(&files, "files/secret/key").starts_with(b"\0GITCRYPT\0"));
    assert_eq!(bytes(&files, "files/plain"), b"plain");
}

#[test]
fn line_ends_of_a_folder_are_those_of_git() {
    let place = Place::new();
    let folder = committed(
        &place,
        "*.txt text eol=crlf\n",
        "files/a.txt",
        b"one\ntwo\n",
    );
    std::fs::write(folder.join("files/a.txt"), "one\r\nthree\r\n").unwrap();
    std::fs::write(folder.join("files/b.dat"), "one\r\n").unwrap();
    let files = work_tree(&folder).unwrap();
    assert_eq!(bytes(&files, "files/a.txt"), b"one\nthree\n");
    assert_eq!(bytes(&files, "files/b.dat"), b"one\r\n", "no attribute");
}

#[test]
fn bytes_that_replace_a_pointer_are_judged_as_they_are() {
    let place = Place::new();
    let folder = committed(&place, "", "files/fw.bin", POINTER.as_bytes());
    std::fs::write(folder.join("files/fw.bin"), "real").unwrap();
    let files = work_tree(&folder).unwrap();
    assert_eq!(bytes(&files, "files/fw.bin"), b"real");
}
