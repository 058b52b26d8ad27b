use std::os::unix::fs::symlink;

use plumb_trust::ObjectFormat;
use plumb_trust::object::ObjectKind;

use super::super::Repository;
use super::super::files::{FilesError, tree, work_tree};
use super::super::write::{Mode, Writer};
use super::Place;

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
    assert_eq!(&*files["files/script"], &[0, 159, 255]);
    // A link stands for its own text, never for what it points at.
    assert_eq!(&*files["hosts/link.yaml"], b"../files/evil");

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
        files.values().all(|bytes| **bytes != *b"secret"),
        "{files:?}"
    );
    assert!(!files.contains_key("hosts/secret.yaml"));
}

#[test]
fn what_is_too_large_is_refused() {
    let place = Place::new();
    let folder = place.path("work");
    std::fs::create_dir_all(folder.join("files")).unwrap();
    let file = std::fs::File::create(folder.join("files/large")).unwrap();
    file.set_len(super::super::files::FILE + 1).unwrap();
    assert_eq!(
        work_tree(&folder),
        Err(FilesError::Large {
            path: "files/large".to_owned()
        })
    );

    let writer =
        Writer::create(&place.path("x.git"), ObjectFormat::Sha1, "refs/heads/main").unwrap();
    let bytes = vec![0; usize::try_from(super::super::files::FILE).unwrap() + 1];
    let root = writer
        .tree([("files/large", Mode::File, bytes.as_slice())])
        .unwrap();
    let repository = Repository::open(writer.path()).unwrap();
    let error = tree(repository.objects(), &root).unwrap_err().to_string();
    assert!(
        error.contains("files/large") && error.contains("larger"),
        "{error}"
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
