//! How bytes are read: the last form that is still taken, and the first that isn't.

use plumb_trust::object::{Commit, Malformed, Tag, Tree, limits};
use plumb_trust::policy::KeyFile;
use plumb_trust::{Armor, ObjectFormat, ReasonCode as R, Trailers};
use sequoia_openpgp::Packet;
use sequoia_openpgp::cert::CipherSuite;
use sequoia_openpgp::serialize::MarshalInto as _;
use tests::keys::{Key, armor_pgp, people};
use tests::objects::World;

fn moment(seconds: i64) -> jiff::Timestamp {
    jiff::Timestamp::from_second(seconds).unwrap()
}

fn joined(line: &dyn Fn(usize) -> String, count: usize) -> String {
    (0..count).map(line).collect::<Vec<_>>().concat()
}

fn commit(committer: &str, more: &str) -> Result<(), Malformed> {
    let tree = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";
    let raw = format!("tree {tree}\nauthor a <a> 1 +0000\ncommitter {committer}\n{more}\nx\n");
    Commit::parse(raw.as_bytes(), ObjectFormat::Sha1).map(drop)
}

#[test]
fn who_and_when() {
    for good in [
        "a <b> 1 +0000",
        "<b> 1 -1200",
        "a b <> 0 +0000",
        "a <b> 253402207200 +0000",
        "\u{e4} <b> 1 +0000",
    ] {
        assert_eq!(commit(good, ""), Ok(()), "{good}");
    }
    for wrong in [
        "a <b<c> 1 +0000",
        "a <b> <1 +0000",
        "a <b> 1 +0000>",
        "a<b> 1 +0000",
        "a <b>1 +0000",
        "a >b< 1 +0000",
        "a b 1 +0000",
        "a <b> 01 +0000",
        "a <b> -1 +0000",
        "a <b>  +0000",
        "a <b> 1 +000",
        "a <b> 1 +00000",
        "a <b> 1 00000",
        "a <b> 1 +00x0",
        "a <b> 1",
        "a <b> 253402207201 +0000",
        "a\u{7f} <b> 1 +0000",
        "a\t <b> 1 +0000",
    ] {
        assert!(commit(wrong, "").is_err(), "{wrong}");
    }
}

#[test]
fn further_headers() {
    for good in [
        "encoding latin1\n",
        "change-id abc\n",
        "gitbutler-change-id abc\n",
        "gitbutler-headers-version 2\n",
        "change-id a\n b\n",
    ] {
        assert_eq!(commit("a <b> 1 +0000", good), Ok(()), "{good}");
    }
    for wrong in [
        "encoding a\n b\n",
        "encoding a\nencoding b\n",
        "HG:extra x\n",
        "change-ids x\n",
        "change-id a\u{7f}\n",
        "change-id a\n b\rc\n",
        "author a <a> 1 +0000\n",
        "committer a <a> 1 +0000\n",
        "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n",
        "parent 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n",
    ] {
        assert!(commit("a <b> 1 +0000", wrong).is_err(), "{wrong}");
    }
}

#[test]
fn as_many_parents_and_mergetags_as_there_may_be() {
    let with = |header: &str, count: usize| {
        let parents: String = match header {
            "parent" => joined(&|n| format!("parent {:040x}\n", n + 1), count),
            _ => String::new(),
        };
        let tags: String = match header {
            "mergetag" => joined(&|n| format!("mergetag {n}\n x\n"), count),
            _ => String::new(),
        };
        let tree = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";
        let who = "a <a> 1 +0000";
        let raw = format!("tree {tree}\n{parents}author {who}\ncommitter {who}\n{tags}\nx\n");
        Commit::parse(raw.as_bytes(), ObjectFormat::Sha1).map(drop)
    };
    for header in ["parent", "mergetag"] {
        assert_eq!(with(header, limits::PARENTS), Ok(()));
        assert!(matches!(
            with(header, limits::PARENTS + 1),
            Err(Malformed::TooMany(_, limits::PARENTS))
        ));
    }
    // A signature, header and all.
    let block = |len: usize| format!("gpgsig {}\n", "x".repeat(len - 8));
    assert_eq!(commit("a <b> 1 +0000", &block(limits::SIGNATURE)), Ok(()));
    assert!(matches!(
        commit("a <b> 1 +0000", &block(limits::SIGNATURE + 1)),
        Err(Malformed::TooMany(_, limits::SIGNATURE))
    ));
    // An embedded tag may be longer than one that stands by itself; its signature may not.
    let tag = |len: usize| {
        let begin = "-----BEGIN SSH SIGNATURE-----\n";
        let block = format!("{begin}{}\n", "x".repeat(len - begin.len() - 1));
        let raw = format!(
            "object 4b825dc642cb6eb9a060e54bf8d69288fbee4904\ntype commit\ntag x\ntagger a <a> 1 +0000\n\nx\n{block}"
        );
        Tag::parse(raw.as_bytes(), ObjectFormat::Sha1).map(drop)
    };
    assert_eq!(tag(limits::SIGNATURE), Ok(()));
    assert!(matches!(
        tag(limits::SIGNATURE + 1),
        Err(Malformed::TooMany(_, limits::SIGNATURE))
    ));
}

#[test]
fn as_many_trailers_as_there_may_be() {
    let message = |count: usize| {
        let trailers = joined(&|n| format!("T{n}: x\n"), count);
        format!("subject\n\n{trailers}")
    };
    let most = Trailers::parse(message(limits::TRAILERS).as_bytes()).unwrap();
    assert_eq!(most.iter().count(), limits::TRAILERS);
    assert!(!most.is_empty());
    assert_eq!((&most).into_iter().count(), limits::TRAILERS);
    assert_eq!(most.get("t63"), Some("x"));
    let more = Trailers::parse(message(limits::TRAILERS + 1).as_bytes()).unwrap();
    assert!(more.is_empty());
}

#[test]
fn names_as_long_and_folders_as_deep_as_they_may_be() {
    let tree = |name: &[u8]| {
        let raw = [b"100644 ", name, b"\0", &[1; 20]].concat();
        Tree::parse(&raw, ObjectFormat::Sha1).map(drop)
    };
    assert_eq!(tree(&[b'x'; limits::NAME]), Ok(()));
    assert!(tree(&[b'x'; limits::NAME + 1]).is_err());
    for good in ["git~2", ".gitx", "\u{e4}", "GIT", "a b", "~"] {
        assert_eq!(tree(good.as_bytes()), Ok(()), "{good}");
    }
    for wrong in [
        "",
        ".",
        "..",
        ".git",
        ".GIT ",
        ".git.",
        ".git:x",
        ".git\\x",
        "git~1",
        "GIT~1.",
        "a/b",
        "a\u{7f}",
        "a\u{1f}",
        "a\u{200b}",
        "a\u{202e}b",
        "a\u{ad}",
        "a\u{85}",
    ] {
        assert!(tree(wrong.as_bytes()).is_err(), "{wrong:?}");
    }
    let p = people();
    for (depth, good) in [(limits::DEPTH, true), (limits::DEPTH + 1, false)] {
        let mut w = World::default();
        let path = format!("{}a", "d/".repeat(depth));
        let c = w.on(w.root).file(&path, "1").sign(&p.alice).make(&mut w);
        let raw = w.store.bytes(&c).to_vec();
        let root = Commit::parse(&raw, c.format()).unwrap().tree;
        let listed = plumb_trust::entries(&w.store, &root).all(|entry| entry.is_ok());
        assert_eq!(listed, good);
        if good {
            w.accepts(c);
        } else {
            w.rejects(c, R::TooLarge);
        }
    }
    // A path of as many bytes as it may have; its folders' names are long, so that they are few.
    for (more, good) in [(0, true), (1, false)] {
        let mut w = World::default();
        let folders = format!("{}/", "x".repeat(254)).repeat(16);
        let path = format!(
            "{folders}{}",
            "y".repeat(limits::PATH - folders.len() + more)
        );
        let c = w.on(w.root).file(&path, "1").sign(&p.alice).make(&mut w);
        let raw = w.store.bytes(&c).to_vec();
        let root = Commit::parse(&raw, c.format()).unwrap().tree;
        let listed = plumb_trust::entries(&w.store, &root).all(|entry| entry.is_ok());
        assert_eq!(listed, good);
        if good {
            w.accepts(c);
        } else {
            w.rejects(c, R::TooLarge);
        }
    }
}

/// A packet of a signature under another header.
fn framed(header: &[u8], body: &[u8]) -> String {
    armor_pgp(&[header, body].concat())
}

fn headers(len: usize) -> Vec<Vec<u8>> {
    let four = u32::try_from(len).unwrap().to_be_bytes();
    let mut all = vec![
        [&[0x8a][..], &four].concat(),
        [&[0xc2, 255][..], &four].concat(),
    ];
    all.push([&[0x89][..], &four[2..]].concat());
    if len < 256 {
        all.push(vec![0x88, four[3]]);
    }
    if len < 192 {
        all.push(vec![0xc2, four[3]]);
    } else {
        let rest = u16::try_from(len - 192).unwrap().to_be_bytes();
        all.push(vec![0xc2, rest[0] + 192, rest[1]]);
    }
    all
}

#[test]
fn own_96_a_signature_packet_under_every_header_of_a_definite_length() {
    let p = people();
    let rsa = Key::pgp_of("alice", CipherSuite::RSA3k);
    for key in [&p.alice, &rsa] {
        let mut w = World::with(|policy| policy.identity("alice", &[key]));
        let body = |payload: &[u8], t| {
            let whole = Packet::from(key.signature(payload, t, |b| b))
                .to_vec()
                .unwrap();
            let skip = if whole[1] < 192 { 2 } else { 3 };
            whole[skip..].to_vec()
        };
        let len = body(b"", w.clock()).len();
        assert_eq!(len >= 192, std::ptr::eq(key, &raw const rsa));
        for index in 0..headers(len).len() {
            let good = |payload: &[u8], t| {
                let body = body(payload, t);
                framed(&headers(body.len())[index], &body)
            };
            let c = w.on(w.root).file("lab/a", "1").sign_with(good).make(&mut w);
            w.accepts(c);
            // One byte more or less than it says.
            for change in [1_usize, usize::MAX] {
                let wrong = |payload: &[u8], t| {
                    let body = body(payload, t);
                    let len = body.len().wrapping_add(change);
                    framed(&headers(len)[index.min(headers(len).len() - 1)], &body)
                };
                let c = w
                    .on(w.root)
                    .file("lab/a", "1")
                    .sign_with(wrong)
                    .make(&mut w);
                w.rejects(c, R::MalformedSignature);
            }
        }
        // A length that isn't definite: old form, and a part of many.
        for header in [vec![0x8b], vec![0xc2, 0xe8]] {
            let c = w
                .on(w.root)
                .file("lab/a", "1")
                .sign_with(|payload, t| framed(&header, &body(payload, t)))
                .make(&mut w);
            w.rejects(c, R::MalformedSignature);
        }
    }
}

// What can't be read isn't garbled for that: its version says that it is something else.
#[test]
fn own_97_signatures_of_another_version() {
    let (p, mut w) = (people(), World::default());
    for version in [3, 5, 6] {
        for len in [40_usize, 191, 192, 223, 224, 250, 300] {
            // The version where it stands, and four everywhere else.
            let mut body = vec![4; len];
            body[0] = version;
            for header in headers(len) {
                let c = w
                    .on(w.root)
                    .file("lab/a", "1")
                    .sign_with(|_, _| framed(&header, &body))
                    .make(&mut w);
                w.pends(c, R::UnsupportedSignature);
                w.approve(c, &p.bob);
                w.accepts(c);
                w.tags.clear();
            }
        }
    }
}

#[test]
fn armor_headers_and_checksums() {
    let with = |header: &str| {
        let block = format!(
            "-----BEGIN PGP SIGNATURE-----\n{header}\naGVsbG8gd29ybGQ=\n=sDy3\n-----END PGP SIGNATURE-----\n"
        );
        Armor::OpenPgp.decode(block.as_bytes()).ok()
    };
    for good in [
        "",
        "Comment: x\n",
        "Comment: \u{e4}\n",
        "Version: ~ \n",
        "A1: x\nB: y\n",
    ] {
        assert_eq!(with(good).as_deref(), Some(&b"hello world"[..]), "{good}");
    }
    for wrong in [
        "Comment:x\n",
        ": x\n",
        "A b: x\n",
        "A: \u{7f}\n",
        "A: \t\n",
        "A: x\r\n",
        "A\n",
    ] {
        assert_eq!(with(wrong), None, "{wrong:?}");
    }
}

#[test]
fn files_of_keys() {
    let key = people().carol.public();
    let name = KeyFile::parse(key.as_bytes()).unwrap().name();
    for good in [
        format!("# whose it is\n\n{key}\n\n# the end\n"),
        format!("\n  {key}"),
    ] {
        assert_eq!(KeyFile::parse(good.as_bytes()).unwrap().name(), name);
    }
    for wrong in ["", "# nothing\n", "hello\n", &format!("{key}\n{key}\n")] {
        assert!(KeyFile::parse(wrong.as_bytes()).is_err(), "{wrong}");
    }
    assert_eq!(KeyFile::parse(key.as_bytes()).unwrap().owner(), "carol");
    let alice = KeyFile::parse(people().alice.public().as_bytes()).unwrap();
    assert_eq!(alice.owner(), "alice <alice@fleet.example>");
}

#[test]
fn words_of_a_policy() {
    let valid = |change: &dyn Fn(&mut tests::objects::PolicyText)| {
        let w = World::with(|policy| change(policy));
        let now = moment(w.now);
        let tree = Commit::parse(w.store.bytes(&w.root), w.root.format())
            .unwrap()
            .tree;
        plumb_trust::authority(&w.store, &tree, now).is_ok()
    };
    for (reference, good) in [
        ("refs/heads/main", true),
        ("refs/heads/a/b", true),
        ("main", false),
        ("refs/heads/", false),
        ("refs/tags/main", false),
        ("refs/heads/a b", false),
    ] {
        assert_eq!(
            valid(&|policy| policy.reference = format!("\"{reference}\"")),
            good,
            "{reference}"
        );
    }
    let (long, longer) = ("x".repeat(255), "x".repeat(256));
    for (repository, good) in [
        ("a", true),
        (long.as_str(), true),
        (longer.as_str(), false),
        ("", false),
        ("a b", false),
        ("\u{e4}", false),
    ] {
        assert_eq!(
            valid(&|policy| policy.repository = format!("\"{repository}\"")),
            good,
            "{repository}"
        );
    }
}

#[test]
fn who_could_change_something_alone_and_who_can_t_sign() {
    let weak = Key::pgp_of("bob", CipherSuite::RSA2k);
    let strong = Key::pgp_of("carol", CipherSuite::RSA3k);
    let w = World::with(|policy| {
        policy.identity("bob", &[&weak]);
        policy.identity("carol", &[&strong]);
        policy.rules.insert(
            0,
            "{paths: [\"lab/**\"], need: [{from: sec, count: 1}]}".to_owned(),
        );
        policy.groups[1].1 = "[alice, dave, erin]".to_owned();
    });
    let tree = Commit::parse(w.store.bytes(&w.root), w.root.format())
        .unwrap()
        .tree;
    let now = moment(w.now);
    let check = plumb_trust::authority(&w.store, &tree, now)
        .unwrap()
        .check(now);
    assert_eq!(check.unusable.len(), 1, "{:?}", check.unusable);
    assert!(check.unusable[0].contains("of bob"));
    let alone: Vec<(&str, Vec<&str>)> = check
        .alone
        .iter()
        .map(|alone| {
            let names = alone.identities.iter().map(String::as_str).collect();
            (alone.rule.as_str(), names)
        })
        .collect();
    // Whoever changes lab/ meets the rule for everything too: alice is in both groups.
    assert_eq!(
        alone,
        [
            ("lab/**", vec!["alice"]),
            ("**", vec!["alice", "carol"]),
            ("prod/**", vec![]),
            ("trust/**", vec![])
        ]
    );
    assert!(check.unsatisfiable.is_empty());
    assert_eq!(check.doubled.len(), 1, "{:?}", check.doubled);
    assert!(check.doubled[0].starts_with("alice is in ops and in sec"));
}
