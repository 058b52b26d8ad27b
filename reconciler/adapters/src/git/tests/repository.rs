use plumb_trust::object::{ObjectError, ObjectKind, Objects, limits};

use super::super::{Quarantine, Repository, RepositoryError};
use super::{Place, commit, tag};

#[test]
fn replace_refs_and_grafts_dont_show_through() {
    let place = Place::new();
    let (writer, first) = place.fleet();
    let evil = commit(&writer, &[], "evil", &[("fleet.yaml", "evil: true\n")]);
    writer.set_ref("refs/heads/main", &first).unwrap();
    place.git(
        writer.path(),
        &["replace", &first.to_string(), &evil.to_string()],
    );
    let shown = place.git(writer.path(), &["cat-file", "commit", &first.to_string()]);
    assert!(shown.ends_with("evil"), "git itself replaces it: {shown}");

    let repository = Repository::open(writer.path()).unwrap();
    let raw = repository
        .objects()
        .read(&first, ObjectKind::Commit, limits::COMMIT)
        .unwrap();
    assert!(raw.ends_with(b"first\n"));
    assert_eq!(repository.resolve("main").unwrap(), first);
    assert_eq!(repository.resolve("HEAD").unwrap(), first);
}

#[test]
fn loose_and_packed_objects_read_alike_and_limits_hold_before_inflating() {
    let place = Place::new();
    let (writer, first) = place.fleet();
    let large = writer.raw(ObjectKind::Blob, &vec![0; 1 << 20]).unwrap();
    let tree = writer
        .tree([(
            "files/large",
            super::Mode::File,
            vec![0; 1 << 20].as_slice(),
        )])
        .unwrap();
    let new = super::NewCommit {
        tree,
        parents: vec![first],
        author: super::person(),
        message: "large".to_owned(),
    };
    let second = writer.commit(&new, None).unwrap();
    writer.set_ref("refs/heads/main", &second).unwrap();
    let check = |repository: &Repository| {
        let objects = repository.objects();
        let raw = objects
            .read(&second, ObjectKind::Commit, limits::COMMIT)
            .unwrap();
        assert!(raw.starts_with(b"tree "));
        assert_eq!(
            objects.read(&second, ObjectKind::Blob, 1 << 30),
            Err(ObjectError::WrongKind)
        );
        assert_eq!(
            objects.read(&second, ObjectKind::Tree, 1 << 30),
            Err(ObjectError::WrongKind)
        );
        assert_eq!(
            objects.read(&second, ObjectKind::Commit, 10),
            Err(ObjectError::TooLarge)
        );
        assert_eq!(
            objects.read(&large, ObjectKind::Blob, (1 << 20) - 1),
            Err(ObjectError::TooLarge)
        );
        assert_eq!(
            objects
                .read(&large, ObjectKind::Blob, 1 << 20)
                .unwrap()
                .len(),
            1 << 20
        );
        assert_eq!(
            objects.read(&tree, ObjectKind::Tree, 3),
            Err(ObjectError::TooLarge)
        );
        let unknown = "6f1c0c9e6f1c0c9e6f1c0c9e6f1c0c9e6f1c0c9e".parse().unwrap();
        assert_eq!(
            objects.read(&unknown, ObjectKind::Commit, 10),
            Err(ObjectError::Missing)
        );
    };
    check(&Repository::open(writer.path()).unwrap());
    // An open store sees what is packed while it is open.
    let open = Repository::open(writer.path()).unwrap();
    place.git(writer.path(), &["repack", "-q", "-a", "-d"]);
    check(&open);
    check(&Repository::open(writer.path()).unwrap());
}

#[test]
fn a_garbled_object_is_an_error_and_not_another_object() {
    let place = Place::new();
    let (writer, first) = place.fleet();
    let hex = first.to_string();
    let file = writer
        .path()
        .join("objects")
        .join(&hex[..2])
        .join(&hex[2..]);
    std::fs::remove_file(&file).unwrap();
    std::fs::write(&file, b"not zlib at all").unwrap();
    let repository = Repository::open(writer.path()).unwrap();
    let error = repository
        .objects()
        .read(&first, ObjectKind::Commit, limits::COMMIT)
        .unwrap_err();
    assert!(matches!(error, ObjectError::Corrupt(_)), "{error:?}");
}

#[test]
fn tags_and_names_are_found_loose_and_packed() {
    let place = Place::new();
    let (writer, first) = place.fleet();
    let second = commit(&writer, &[first], "second", &[("fleet.yaml", "b\n")]);
    let approval = tag(&writer, "approve/main/1", second);
    tag(&writer, "v1", first);
    let revoke = "refs/tags/revoke/ABCD";
    writer.set_ref(revoke, &first).unwrap();
    for pack in [false, true] {
        if pack {
            place.git(writer.path(), &["pack-refs", "--all"]);
        }
        let repository = Repository::open(writer.path()).unwrap();
        let tags = repository.tags().unwrap();
        let tags: Vec<_> = tags
            .iter()
            .map(|tag| (tag.name.as_str(), tag.target))
            .collect();
        assert_eq!(
            tags,
            [("refs/tags/approve/main/1", approval), (revoke, first)]
        );
        assert_eq!(
            repository.reference("refs/heads/main").unwrap(),
            Some(second)
        );
        assert_eq!(repository.reference("HEAD").unwrap(), Some(second));
        assert_eq!(
            repository.reference("refs/tags/approve/main/1").unwrap(),
            Some(approval)
        );
        assert_eq!(repository.reference("refs/heads/none").unwrap(), None);
        assert_eq!(repository.resolve("approve/main/1").unwrap(), second);
        assert_eq!(repository.resolve("main~1").unwrap(), first);
        assert_eq!(
            repository.resolve(&second.to_string()[..10]).unwrap(),
            second
        );
        assert!(matches!(
            repository.resolve("nothing"),
            Err(RepositoryError::Unknown(_))
        ));
        assert!(matches!(
            repository.resolve("main:fleet.yaml"),
            Err(RepositoryError::NoCommit(_))
        ));
        let tag = repository.reference("refs/tags/approve/main/1").unwrap();
        let tag = tag.unwrap().to_string();
        assert_eq!(repository.resolve(&tag).unwrap(), second);
    }
}

#[test]
fn the_repositorys_own_configuration_is_read_and_nobody_elses() {
    let place = Place::new();
    let (writer, first) = place.fleet();
    place.git(
        writer.path(),
        &["config", "plumb.introduction", &first.to_string()],
    );
    let repository = Repository::open(writer.path()).unwrap();
    assert_eq!(
        repository.config("plumb.introduction"),
        Some(first.to_string())
    );
    assert_eq!(repository.config("plumb.none"), None);
    assert_eq!(repository.config("user.name"), None);
    assert!(matches!(
        Repository::open(&place.path("home")),
        Err(RepositoryError::Missing { .. })
    ));
}

#[test]
fn a_hook_sees_what_is_being_pushed_in_its_quarantine() {
    let place = Place::new();
    let (writer, first) = place.fleet();
    // A hook that keeps what git told it, and a copy of the quarantine, which git takes away again.
    let hook = writer.path().join("hooks/pre-receive");
    let out = place.path("seen");
    std::fs::write(
        &hook,
        format!(
            "#!/bin/sh\ncat >{out}.refs\nprintf '%s' \"$GIT_QUARANTINE_PATH\" >{out}.quarantine\nprintf '%s' \"$GIT_OBJECT_DIRECTORY\" >{out}.objects\nprintf '%s' \"$GIT_ALTERNATE_OBJECT_DIRECTORIES\" >{out}.alternates\ncp -r \"$GIT_QUARANTINE_PATH\" {out}.copy\nexit 1\n",
            out = out.display()
        ),
    )
    .unwrap();
    std::fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let clone = place.path("clone");
    place.git(
        &place.path("home"),
        &[
            "clone",
            "-q",
            writer.path().to_str().unwrap(),
            clone.to_str().unwrap(),
        ],
    );
    place.git(&clone, &["commit", "-q", "--allow-empty", "-m", "pushed"]);
    let pushed: plumb_trust::Oid = place.git(&clone, &["rev-parse", "HEAD"]).parse().unwrap();
    let refused = place
        .command(&clone)
        .args(["push", "-q", "origin", "HEAD:main"])
        .status()
        .unwrap();
    assert!(!refused.success());

    let seen = |what: &str| std::fs::read_to_string(out.with_extension(what)).unwrap();
    assert!(seen("refs").starts_with(&format!("{first} {pushed} ")));
    assert_eq!(seen("quarantine"), seen("objects"));
    let quarantine = Quarantine {
        objects: Some(out.with_extension("copy")),
        alternates: Quarantine::from_values(None, Some(&seen("alternates"))).alternates,
    };
    assert_eq!(quarantine.alternates.len(), 1);
    let plain = Repository::open(writer.path()).unwrap();
    assert_eq!(
        plain.objects().read(&pushed, ObjectKind::Commit, 1000),
        Err(ObjectError::Missing)
    );
    let hooked = Repository::open_with(writer.path(), &quarantine).unwrap();
    assert!(
        hooked
            .objects()
            .read(&pushed, ObjectKind::Commit, 1000)
            .unwrap()
            .ends_with(b"pushed\n")
    );
    assert!(hooked.objects().has(&first));
    assert_eq!(hooked.resolve(&pushed.to_string()).unwrap(), pushed);
}

/// Whoever may push tags chooses what they are called; a plain fetch brings them.
#[test]
fn a_name_with_two_meanings_is_taken_for_neither() {
    let place = Place::new();
    let (writer, first) = place.fleet();
    let second = commit(&writer, &[first], "second", &[("fleet.yaml", "b\n")]);
    writer.set_ref("refs/remotes/origin/main", &second).unwrap();
    let short = second.to_string()[..12].to_owned();
    let repository = Repository::open(writer.path()).unwrap();
    for name in ["main", "origin/main", &short] {
        assert_eq!(repository.resolve(name).unwrap(), second, "{name}");
    }
    for name in ["main", "origin/main", &short, "0123456789ab"] {
        tag(&writer, name, first);
    }
    // Found loose and packed, by the name and by what is built on it.
    for pack in [false, true] {
        if pack {
            place.git(writer.path(), &["pack-refs", "--all"]);
        }
        let repository = Repository::open(writer.path()).unwrap();
        for name in [
            "main",
            "origin/main",
            &short,
            "0123456789ab",
            "main~1",
            &format!("{short}^"),
        ] {
            let error = repository.resolve(name).unwrap_err();
            assert!(
                matches!(error, RepositoryError::Ambiguous { .. }),
                "{name}: {error}"
            );
            assert!(error.to_string().contains("refs/tags/"), "{name}: {error}");
        }
        for name in [
            "refs/heads/main",
            "refs/remotes/origin/main",
            &second.to_string(),
        ] {
            assert_eq!(repository.resolve(name).unwrap(), second, "{name}");
        }
    }
}

#[test]
fn what_stands_on_top_is_listed_with_whose_it_says_it_is() {
    let place = Place::new();
    let (writer, first) = place.fleet();
    let second = commit(&writer, &[first], "second", &[("fleet.yaml", "b\n")]);
    let side = commit(&writer, &[first], "side", &[("fleet.yaml", "c\n")]);
    let merge = commit(&writer, &[second, side], "merge", &[("fleet.yaml", "d\n")]);
    let repository = Repository::open(writer.path()).unwrap();
    let listed = |older, newer| {
        let newer = repository.newer(older, newer)?;
        assert!(newer.iter().all(|one| one.committer.contains('@')));
        Some(newer.into_iter().map(|one| one.commit).collect::<Vec<_>>())
    };
    assert_eq!(listed(first, first), Some(Vec::new()));
    assert_eq!(listed(first, second), Some(vec![second]));
    assert_eq!(listed(second, merge), Some(vec![side, merge]));
    assert_eq!(listed(first, merge).unwrap().len(), 3);
    assert_eq!(listed(side, merge), None, "not on the way");
}
