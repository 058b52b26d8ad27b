use std::time::Duration;

use futures::executor::block_on;
use plumb_api::LoginUrl;
use plumb_core::ports::SourceError;
use plumb_trust::ObjectFormat;
use plumb_trust::source::{Source, VerifyRequest};

use super::super::write::Writer;
use super::super::{GitOptions, GitSource, GitSourceError};
use super::{Place, commit, fetch, tag};

#[test]
fn the_branch_and_the_tags_of_trust_are_fetched_and_nothing_else() {
    let place = Place::new();
    let (writer, first) = place.fleet();
    let second = commit(&writer, &[first], "second", &[("fleet.yaml", "a: 1\n")]);
    let approval = tag(&writer, "approve/main/1-bob", second);
    let alive = tag(&writer, "alive/main/1", second);
    tag(&writer, "v1.0", first);
    let other = commit(&writer, &[first], "elsewhere", &[("fleet.yaml", "b: 1\n")]);
    writer.set_ref("refs/heads/other", &other).unwrap();
    writer.set_ref("refs/heads/main", &second).unwrap();

    let source = place.source(writer.path().to_str().unwrap());
    let fetched = fetch(&source).unwrap();
    assert_eq!(fetched.head, second);
    let names: Vec<_> = fetched
        .tags
        .iter()
        .map(|tag| (tag.name.as_str(), tag.target))
        .collect();
    assert_eq!(
        names,
        [
            ("refs/tags/alive/main/1", alive),
            ("refs/tags/approve/main/1-bob", approval)
        ]
    );
    let mirror = place.path("state/mirror.git");
    assert!(place.git(&mirror, &["cat-file", "-t", &approval.to_string()]) == "tag");
    let absent = place
        .command(&mirror)
        .args(["cat-file", "-e", &other.to_string()])
        .status()
        .unwrap();
    assert!(!absent.success(), "a branch that isn't watched was fetched");
    // The mirror is a repository like any other.
    place.git(&mirror, &["fsck", "--strict", "--full"]);
}

#[test]
fn what_is_new_comes_with_the_next_fetch_and_what_is_gone_goes() {
    let place = Place::new();
    let (writer, first) = place.fleet();
    tag(&writer, "approve/main/1", first);
    let source = place.source(&format!("file://{}", writer.path().display()));
    assert_eq!(fetch(&source).unwrap().tags.len(), 1);
    // Nothing new: the same answer.
    assert_eq!(fetch(&source).unwrap().head, first);

    let mut head = first;
    for n in 0..30 {
        head = commit(
            &writer,
            &[head],
            "more",
            &[("fleet.yaml", &format!("n: {n}\n"))],
        );
    }
    std::fs::remove_file(writer.path().join("refs/tags/approve/main/1")).unwrap();
    let fetched = fetch(&source).unwrap();
    assert_eq!(fetched.head, head);
    assert_eq!(fetched.tags, []);

    // After a restart too.
    drop(source);
    let newest = commit(&writer, &[head], "newest", &[("fleet.yaml", "n: last\n")]);
    let source = place.source(writer.path().to_str().unwrap());
    assert_eq!(fetch(&source).unwrap().head, newest);
    assert!(block_on(source.descends(first, newest)).unwrap());
    // The thirty came as a difference, not as a whole again: three packs in all.
    let packs = std::fs::read_dir(place.path("state/mirror.git/objects/pack"))
        .unwrap()
        .filter(|file| {
            file.as_ref()
                .unwrap()
                .path()
                .extension()
                .is_some_and(|e| e == "pack")
        })
        .count();
    assert_eq!(packs, 3);
}

#[test]
fn packs_dont_pile_up_and_nothing_is_lost_when_they_are_put_together() {
    let place = Place::new();
    let (writer, first) = place.fleet();
    let source = place.source(writer.path().to_str().unwrap());
    let gone = commit(&writer, &[first], "rewound", &[("fleet.yaml", "gone\n")]);
    fetch(&source).unwrap();
    let mut head = first;
    for n in 0..55 {
        head = commit(
            &writer,
            &[head],
            "more",
            &[("fleet.yaml", &format!("n: {n}\n"))],
        );
        assert_eq!(fetch(&source).unwrap().head, head);
    }
    // The packs are put together after an answer: the next one waits for it.
    fetch(&source).unwrap();
    let packs = std::fs::read_dir(place.path("state/mirror.git/objects/pack"))
        .unwrap()
        .filter(|file| {
            file.as_ref()
                .unwrap()
                .path()
                .extension()
                .is_some_and(|e| e == "pack")
        })
        .count();
    assert!(packs < 10, "{packs}");
    assert!(block_on(source.descends(first, head)).unwrap());
    assert!(block_on(source.descends(first, gone)).unwrap());
}

#[test]
fn a_rewound_branch_is_told_as_it_is_and_takes_nothing_away() {
    let place = Place::new();
    let (writer, first) = place.fleet();
    let second = commit(&writer, &[first], "second", &[("fleet.yaml", "a: 1\n")]);
    let source = place.source(writer.path().to_str().unwrap());
    assert_eq!(fetch(&source).unwrap().head, second);

    let other = commit(
        &writer,
        &[first],
        "another second",
        &[("fleet.yaml", "a: 2\n")],
    );
    assert_eq!(fetch(&source).unwrap().head, other);
    writer.set_ref("refs/heads/main", &first).unwrap();
    assert_eq!(fetch(&source).unwrap().head, first);

    assert!(block_on(source.descends(first, second)).unwrap());
    assert!(block_on(source.descends(first, first)).unwrap());
    assert!(!block_on(source.descends(second, other)).unwrap());
    assert!(!block_on(source.descends(second, first)).unwrap());
}

#[test]
fn a_commit_that_isnt_there_is_named() {
    let place = Place::new();
    let (writer, first) = place.fleet();
    let source = place.source(writer.path().to_str().unwrap());
    let unknown = "6f1c0c9e6f1c0c9e6f1c0c9e6f1c0c9e6f1c0c9e".parse().unwrap();
    assert_eq!(
        block_on(source.descends(first, unknown)),
        Err(SourceError::Missing(unknown.to_string()))
    );
    fetch(&source).unwrap();
    assert_eq!(
        block_on(source.descends(first, unknown)),
        Err(SourceError::Missing(unknown.to_string()))
    );
}

#[test]
fn a_lost_or_damaged_mirror_heals() {
    let place = Place::new();
    let (writer, first) = place.fleet();
    let second = commit(&writer, &[first], "second", &[("fleet.yaml", "a: 1\n")]);
    let url = writer.path().to_str().unwrap();
    let source = place.source(url);
    fetch(&source).unwrap();
    drop(source);
    // The folder is lost.
    std::fs::remove_dir_all(place.path("state")).unwrap();
    let source = place.source(url);
    fetch(&source).unwrap();
    assert!(block_on(source.descends(first, second)).unwrap());
    drop(source);
    // Its packs alone are lost, and it says that it has all.
    for file in std::fs::read_dir(place.path("state/mirror.git/objects/pack")).unwrap() {
        std::fs::remove_file(file.unwrap().path()).unwrap();
    }
    let source = place.source(url);
    fetch(&source).unwrap();
    assert!(block_on(source.descends(first, second)).is_err());
    fetch(&source).unwrap();
    assert!(block_on(source.descends(first, second)).unwrap());
}

#[test]
fn alternates_grafts_and_shallow_marks_of_the_mirror_are_taken_away() {
    let place = Place::new();
    let (writer, first) = place.fleet();
    let url = writer.path().to_str().unwrap();
    let source = place.source(url);
    fetch(&source).unwrap();
    drop(source);
    let elsewhere = Writer::create(
        &place.path("elsewhere.git"),
        ObjectFormat::Sha1,
        "refs/heads/main",
    )
    .unwrap();
    let hidden = commit(
        &elsewhere,
        &[first],
        "hidden",
        &[("fleet.yaml", "evil: true\n")],
    );
    let mirror = place.path("state/mirror.git");
    let alternates = elsewhere.path().join("objects");
    std::fs::write(
        mirror.join("objects/info/alternates"),
        format!("{}\n", alternates.display()),
    )
    .unwrap();
    std::fs::write(mirror.join("info/grafts"), format!("{first} {hidden}\n")).unwrap();
    std::fs::write(mirror.join("shallow"), format!("{first}\n")).unwrap();
    place.git(&mirror, &["cat-file", "-e", &hidden.to_string()]);

    let source = place.source(url);
    assert_eq!(
        block_on(source.descends(first, hidden)),
        Err(SourceError::Missing(hidden.to_string()))
    );
    assert!(!mirror.join("objects/info/alternates").exists());
    assert!(!mirror.join("info/grafts").exists());
    assert!(!mirror.join("shallow").exists());
}

#[test]
fn repositories_named_by_sha256_work_too() {
    let place = Place::new();
    let writer = Writer::create(
        &place.path("new.git"),
        ObjectFormat::Sha256,
        "refs/heads/main",
    )
    .unwrap();
    let first = commit(&writer, &[], "first", &[("fleet.yaml", "kind: Fleet\n")]);
    let second = commit(&writer, &[first], "second", &[("fleet.yaml", "a: 1\n")]);
    let url = writer.path().to_str().unwrap();
    let source = place.source(url);
    assert_eq!(fetch(&source).unwrap().head, second);
    assert!(block_on(source.descends(first, second)).unwrap());
    drop(source);

    // Another repository at the same address, named by another hash.
    let (old, _) = place.fleet();
    let error = fetch(&place.source(old.path().to_str().unwrap())).unwrap_err();
    assert!(matches!(error, SourceError::Format { .. }), "{error}");
}

#[test]
fn what_isnt_there_is_said_as_it_is() {
    let place = Place::new();
    let nowhere = place.path("nowhere.git");
    let error = fetch(&place.source(nowhere.to_str().unwrap())).unwrap_err();
    assert!(
        matches!(error, SourceError::NoRepository { .. }),
        "{error:?}"
    );
    assert_eq!(error.reason().as_str(), "NoRepository");

    let empty = Writer::create(
        &place.path("empty.git"),
        ObjectFormat::Sha1,
        "refs/heads/main",
    )
    .unwrap();
    let source = place.source(empty.path().to_str().unwrap());
    let error = fetch(&source).unwrap_err();
    assert!(matches!(error, SourceError::Empty { .. }), "{error:?}");
    let first = commit(&empty, &[], "first", &[("fleet.yaml", "x\n")]);
    assert_eq!(fetch(&source).unwrap().head, first);

    let mut options = place.options(empty.path().to_str().unwrap());
    options.reference = "refs/heads/production".to_owned();
    // Nothing that was asked for is there: it is no empty repository for that.
    let error = fetch(&GitSource::open(options.clone()).unwrap()).unwrap_err();
    assert!(matches!(error, SourceError::NoBranch { .. }), "{error:?}");
    tag(&empty, "approve/production/1", first);
    let error = fetch(&GitSource::open(options).unwrap()).unwrap_err();
    assert!(matches!(error, SourceError::NoBranch { .. }), "{error:?}");
    assert!(
        error
            .to_string()
            .ends_with("has no branch production; it has main"),
        "{error}"
    );
}

#[test]
fn branches_are_named_in_full() {
    let place = Place::new();
    for wrong in [
        "main",
        "refs/heads/",
        "refs/tags/v1",
        "refs/heads/a..b",
        "HEAD",
    ] {
        let options = GitOptions::new(
            LoginUrl::new("/srv/x.git"),
            wrong,
            place.path("state/m.git"),
        );
        assert!(
            matches!(GitSource::open(options), Err(GitSourceError::Branch(_))),
            "{wrong}"
        );
    }
}

#[test]
fn a_revisions_files_come_out_once_it_is_verified() {
    let place = Place::new();
    let (writer, first) = place.fleet();
    let second = commit(
        &writer,
        &[first],
        "second",
        &[
            ("fleet.yaml", "kind: Fleet\n"),
            ("hosts/a.yaml", "kind: Host\n"),
            ("README.md", "no\n"),
        ],
    );
    let source = place.source(writer.path().to_str().unwrap());
    fetch(&source).unwrap();
    let request = VerifyRequest::new(first, first, "2026-01-01T00:00:00Z".parse().unwrap());
    let outcome = block_on(source.verify(request)).unwrap();
    assert_eq!(outcome.accepted, first);
    let revision = outcome.revision().expect("the introduction is believed");
    let files = block_on(source.files(revision)).unwrap();
    assert_eq!(files.keys().collect::<Vec<_>>(), ["fleet.yaml"]);
    // Unsigned, and without a policy: whatever trust says of it, the source only asks it.
    let request = VerifyRequest::new(first, second, "2026-01-01T00:00:00Z".parse().unwrap());
    let outcome = block_on(source.verify(request)).unwrap();
    assert_eq!(outcome.accepted, first);
}

#[test]
fn a_source_that_is_dropped_ends_its_conversation() {
    let place = Place::new();
    let (writer, _) = place.fleet();
    let mut options = place.options("ssh://nobody@host.invalid/fleet.git");
    let pid = place.path("pid");
    options.ssh.command = Some(format!(
        "sh -c 'echo $$ >{}; exec sleep 1000' ssh",
        pid.display()
    ));
    let source = GitSource::open(options).unwrap();
    let waiting = source.fetch();
    let began = std::time::Instant::now();
    let pid: i32 = loop {
        if let Ok(text) = std::fs::read_to_string(&pid)
            && let Ok(pid) = text.trim().parse()
        {
            break pid;
        }
        assert!(began.elapsed() < Duration::from_secs(10), "it never began");
        std::thread::sleep(Duration::from_millis(10));
    };
    drop(waiting);
    drop(source);
    let gone = std::path::PathBuf::from(format!("/proc/{pid}"));
    while gone.exists() {
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "the program outlives its source"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(writer);
}
