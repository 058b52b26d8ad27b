//! Objects that are garbled, too large, missing, or named to deceive.

use plumb_trust::{ObjectKind, Oid, ReasonCode as R};
use tests::keys::people;
use tests::objects::{START, World};

/// A commit by alice whose tree has these raw entries beside what the root has.
fn with_entry(entries: &[(&str, &[u8])]) -> (World, Oid) {
    let (p, mut w) = (people(), World::default());
    let blob = w.store.write(ObjectKind::Blob, "x");
    let empty = w.store.raw_tree(&[]);
    let all: Vec<(&str, &[u8], Oid)> = entries
        .iter()
        .map(|(mode, name)| (*mode, *name, if *mode == "40000" { empty } else { blob }))
        .collect();
    let folder = w.store.raw_tree(&all);
    let root = root_entries(&w);
    let mut raw: Vec<(&str, &[u8], Oid)> = root
        .iter()
        .map(|(mode, name, id)| (mode.as_str(), name.as_slice(), *id))
        .collect();
    raw.push(("40000", b"zone", folder));
    let tree = w.store.raw_tree(&raw);
    let c = w.on(w.root).tree(tree).sign(&p.alice).make(&mut w);
    (w, c)
}

fn root_entries(w: &World) -> Vec<(String, Vec<u8>, Oid)> {
    let tree = w.verify(w.root).revision().unwrap().tree();
    let mut rest = w.store.bytes(&tree);
    let mut entries = Vec::new();
    while !rest.is_empty() {
        let space = rest.iter().position(|b| *b == b' ').unwrap();
        let nul = rest.iter().position(|b| *b == 0).unwrap();
        let id = Oid::from_bytes(&rest[nul + 1..nul + 21]).unwrap();
        entries.push((
            String::from_utf8(rest[..space].to_vec()).unwrap(),
            rest[space + 1..nul].to_vec(),
            id,
        ));
        rest = &rest[nul + 21..];
    }
    entries
}

#[test]
fn a_tree_made_by_hand_is_like_any_other() {
    let (w, c) = with_entry(&[("100644", b"fine"), ("40000", b"folder")]);
    w.accepts(c);
}

#[test]
fn case_40_replace_refs_are_refs_and_not_objects() {
    // There is no way to hand one in: a store gives objects by name, and each is checked against it.
    let (p, mut w) = (people(), World::default());
    let c = w.on(w.root).file("lab/a", "evil").make(&mut w);
    let signed = w.on(w.root).file("lab/a", "1").sign(&p.alice).make(&mut w);
    let bytes = w.store.bytes(&signed).to_vec();
    w.store.put(c, ObjectKind::Commit, bytes);
    w.rejects(c, R::CorruptObject);
    // Nor where others look at it ahead.
    let top = w.on(c).file("lab/a", "2").sign(&p.alice).make(&mut w);
    w.rejects(top, R::CorruptObject);
}

#[test]
fn case_41_a_shallow_clone() {
    let (p, mut w) = (people(), World::default());
    let hidden = w.on(w.root).file("lab/a", "evil").make(&mut w);
    let c = w.on(hidden).file("lab/a", "1").sign(&p.alice).make(&mut w);
    w.store.remove(&hidden);
    w.rejects(c, R::MissingObject);
    // The same on a side branch.
    let mut w = World::default();
    let below = w.on(w.root).file("lab/a", "0").make(&mut w);
    let side = w.on(below).file("lab/a", "1").make(&mut w);
    let merge = w
        .merge(&[w.root, side])
        .file("lab/a", "1")
        .sign(&p.alice)
        .make(&mut w);
    w.store.remove(&side);
    w.rejects(merge, R::MissingObject);
}

#[test]
fn case_56_an_encoding_header_and_latin_1() {
    let (p, mut w) = (people(), World::default());
    let mut commit = w
        .on(w.root)
        .file("lab/a", "1")
        .headers("encoding ISO-8859-1\n");
    commit.message = b"gr\xfc\xdfe\n".to_vec();
    let c = commit.sign(&p.alice).make(&mut w);
    w.accepts(c);
}

#[test]
fn case_57_crlf_in_the_message_and_in_a_header() {
    let (p, mut w) = (people(), World::default());
    let c = w
        .on(w.root)
        .file("lab/a", "1")
        .message("a\r\nb\r\n")
        .sign(&p.alice)
        .make(&mut w);
    w.accepts(c);
    let c = w
        .on(w.root)
        .file("lab/a", "2")
        .headers("encoding UTF-8\r\n")
        .sign(&p.alice)
        .make(&mut w);
    w.rejects(c, R::MalformedCommit);
}

#[test]
fn case_58_nul_missing_tree_duplicate_author() {
    let p = people();
    for (from, to) in [
        ("author Somebody", "author Some\0body"),
        ("a change", "a cha\0nge"),
        (
            "committer",
            "author Somebody <somebody@fleet.example> 1 +0000\ncommitter",
        ),
        ("tree ", "tre "),
        ("committer", "commiter"),
        ("\n\na change", "\na change"),
        (" +0000\ncommitter", " +0000 x\ncommitter"),
        ("<somebody@fleet.example>", "somebody@fleet.example"),
        ("<somebody@fleet.example>", "<a>b <somebody@fleet.example>"),
        (
            "author Somebody <somebody@fleet.example> 1",
            "author Somebody <somebody@fleet.example> 01",
        ),
        ("committer", "unknown header\ncommitter"),
        ("\ngpgsig", "\nunknown header\ngpgsig"),
        ("\ngpgsig", "\nencoding x\nencoding y\ngpgsig"),
        (
            "\ngpgsig",
            "\nparent 6f1c0c9e6f1c0c9e6f1c0c9e6f1c0c9e6f1c0c9e\ngpgsig",
        ),
    ] {
        let mut w = World::default();
        let c = w
            .on(w.root)
            .file("lab/a", "1")
            .sign(&p.alice)
            .replace(from, to)
            .make(&mut w);
        w.rejects(c, R::MalformedCommit);
    }
    let mut w = World::default();
    let tree = Oid::from_hex(b"6f1c0c9e6f1c0c9e6f1c0c9e6f1c0c9e6f1c0c9e").unwrap();
    let c = w.on(w.root).tree(tree).sign(&p.alice).make(&mut w);
    w.rejects(c, R::MissingObject);
}

#[test]
fn case_59_a_false_author_with_a_valid_key() {
    let (p, mut w) = (people(), World::default());
    let c = w
        .on(w.root)
        .file("lab/a", "1")
        .author("Bob <bob@fleet.example>")
        .sign(&p.alice)
        .make(&mut w);
    let outcome = w.accepts(c);
    assert_eq!(outcome.steps[0].signers[0].identity, "alice");
}

#[test]
fn case_60_names_that_mean_something_else() {
    let long = [b'x'; 256];
    for name in [
        &b".."[..],
        b".",
        b"a/b",
        b".git",
        b".GIT",
        b".Git",
        b"git~1",
        b"GIT~1",
        b".git.",
        b".git ",
        b".git::$INDEX",
        b".git\\x",
        b"",
        b".g\xe2\x80\x8cit",
        &long,
    ] {
        let (w, c) = with_entry(&[("100644", name)]);
        w.rejects(c, R::MalformedTree);
    }
    for twice in [
        &[("100644", &b"a"[..]), ("100644", b"a")][..],
        &[("100644", b"b"), ("100644", b"a")],
        &[("100644", b"a"), ("40000", b"a")],
        &[("40000", b"a"), ("100644", b"a.b")],
    ] {
        let (w, c) = with_entry(twice);
        w.rejects(c, R::MalformedTree);
    }
    for mode in ["100664", "0100644", "040000", "100600", "1", ""] {
        let (w, c) = with_entry(&[(mode, b"a")]);
        w.rejects(c, R::MalformedTree);
    }
}

#[test]
fn case_61_names_that_some_file_systems_take_for_one() {
    for pair in [
        [&b"A.yaml"[..], b"a.yaml"],
        ["e\u{301}".as_bytes(), "\u{e9}".as_bytes()],
        ["\u{c9}".as_bytes(), "\u{e9}".as_bytes()],
        [b"SS", "\u{df}".as_bytes()],
    ] {
        let (w, c) = with_entry(&[("100644", pair[0]), ("100644", pair[1])]);
        w.rejects(c, R::MalformedTree);
    }
}

#[test]
fn case_62_names_that_aren_t_text() {
    for name in [
        &b"\xff"[..],
        b"a\nb",
        b"a\x1bb",
        "a\u{202e}b".as_bytes(),
        b"a\x7f",
    ] {
        let (w, c) = with_entry(&[("100644", name)]);
        w.rejects(c, R::MalformedTree);
    }
}

#[test]
fn case_63_links_that_leave_and_submodules() {
    let p = people();
    for target in [
        "../../etc/passwd",
        "/etc/passwd",
        "x/../../../y",
        "",
        ".git/config",
    ] {
        let mut w = World::default();
        let c = w
            .on(w.root)
            .entry("lab/link", "120000", target.as_bytes())
            .sign(&p.alice)
            .make(&mut w);
        w.rejects(c, R::Link);
    }
    let mut w = World::default();
    let c = w
        .on(w.root)
        .entry("lab/link", "120000", b"../prod/a")
        .sign(&p.alice)
        .make(&mut w);
    w.accepts(c);
    let (w, c) = with_entry(&[("160000", b"module")]);
    w.rejects(c, R::Gitlink);
}

#[test]
fn case_64_a_change_of_the_mode_alone() {
    let (p, mut w) = (people(), World::default());
    let c = w
        .on(w.root)
        .entry("prod/a", "100755", b"a\n")
        .sign(&p.alice)
        .make(&mut w);
    w.pends(c, R::ApprovalsMissing);
    w.approve(c, &p.bob);
    w.accepts(c);
}

#[test]
fn case_65_a_rename_out_of_prod() {
    let (p, mut w) = (people(), World::default());
    let c = w
        .on(w.root)
        .without("prod/a")
        .file("lab/c", "a\n")
        .sign(&p.alice)
        .make(&mut w);
    w.pends(c, R::ApprovalsMissing);
    // Into another case of the folder, too.
    let mut w = World::default();
    let c = w
        .on(w.root)
        .without("prod/a")
        .without("prod/b")
        .file("Prod/a", "evil")
        .sign(&p.alice)
        .make(&mut w);
    w.pends(c, R::ApprovalsMissing);
}

#[test]
fn case_66_attributes_change_nothing_of_what_is_read() {
    let (p, mut w) = (people(), World::default());
    let c = w
        .on(w.root)
        .file(".gitattributes", "* export-subst ident filter=x\n")
        .file("lab/a", "$Id$\n")
        .sign(&p.alice)
        .make(&mut w);
    let outcome = w.accepts(c);
    let tree = outcome.revision().unwrap().tree();
    let entry = plumb_trust::entries(&w.store, &tree)
        .map(Result::unwrap)
        .find(|e| e.path == "lab/a")
        .unwrap();
    assert_eq!(
        &*plumb_trust::content(&w.store, &entry, 100).unwrap(),
        b"$Id$\n"
    );
}

#[test]
fn case_67_things_too_large() {
    let p = people();
    let mut w = World::default();
    let c = w
        .on(w.root)
        .file("lab/a", "1")
        .message(&"x".repeat(2 << 20))
        .sign(&p.alice)
        .make(&mut w);
    w.rejects(c, R::TooLarge);
    let mut w = World::default();
    let mut commit = w.on(w.root).file("lab/a", "1");
    commit
        .parents
        .extend((1..=20_u8).map(|n| Oid::from_bytes(&[n; 20]).unwrap()));
    let c = commit.sign(&p.alice).make(&mut w);
    w.rejects(c, R::TooLarge);
    let names: Vec<Vec<u8>> = (0..100_001)
        .map(|n| format!("{n:08}").into_bytes())
        .collect();
    let entries: Vec<(&str, &[u8])> = names
        .iter()
        .map(|name| ("100644", name.as_slice()))
        .collect();
    let (w, c) = with_entry(&entries);
    w.rejects(c, R::TooLarge);
    // Folders within folders: so many, and one more.
    let mut w = World::default();
    let deep = |w: &mut World, depth: usize| {
        let file = format!("lab/{}x", "d/".repeat(depth - 1));
        w.on(w.root).file(&file, "x").sign(&p.alice).make(w)
    };
    let c = deep(&mut w, plumb_trust::object::limits::DEPTH);
    w.accepts(c);
    let c = deep(&mut w, plumb_trust::object::limits::DEPTH + 1);
    w.rejects(c, R::TooLarge);
}

#[test]
fn case_69_a_store_that_lies() {
    let (p, mut w) = (people(), World::default());
    let c = w.on(w.root).file("lab/a", "1").sign(&p.alice).make(&mut w);
    let revision = w.accepts(c).revision().unwrap();
    // Another tree under the accepted one's name, another policy under the root's.
    let evil = w.store.raw_tree(&[]);
    let bytes = w.store.bytes(&evil).to_vec();
    let mut lying = w.clone();
    lying.store.put(revision.tree(), ObjectKind::Tree, bytes);
    lying.rejects(c, R::CorruptObject);
    let entry = plumb_trust::entries(&w.store, &revision.tree())
        .map(Result::unwrap)
        .find(|e| e.path == "lab/a")
        .unwrap();
    let mut lying = w.clone();
    lying
        .store
        .put(entry.id, ObjectKind::Blob, b"evil".to_vec());
    assert!(plumb_trust::content(&lying.store, &entry, 100).is_err());
}

#[test]
fn own_35_the_same_parent_twice_and_itself() {
    let (p, mut w) = (people(), World::default());
    let c = w
        .merge(&[w.root, w.root])
        .file("lab/a", "1")
        .sign(&p.alice)
        .make(&mut w);
    w.rejects(c, R::MalformedCommit);
}

// A verdict is of the tree: what a file holds is named by it, and is read when the revision is loaded.
#[test]
fn own_36_no_file_outside_of_trust_is_read() {
    let (p, mut w) = (people(), World::default());
    let text = "kind: Host\n";
    let c = w.on(w.root).file("hosts/a.yaml", text).sign(&p.alice);
    let c = c.make(&mut w);
    let blob = w.store.write(ObjectKind::Blob, text);
    w.store.remove(&blob);
    w.accepts(c);
}

#[test]
fn own_37_dates_that_can_t_be() {
    let p = people();
    for date in ["99999999999999999999", "-5", "253402300800"] {
        let mut w = World::default();
        let seconds = (START + 60).to_string();
        let c = w
            .on(w.root)
            .file("lab/a", "1")
            .sign(&p.alice)
            .replace(
                &format!("{seconds} +0000\ngpgsig"),
                &format!("{date} +0000\ngpgsig"),
            )
            .make(&mut w);
        w.rejects(c, R::MalformedCommit);
    }
}

#[test]
fn own_38_the_floor_is_missing_or_no_commit() {
    let (_, mut w) = (people(), World::default());
    let tree = w.verify(w.root).revision().unwrap().tree();
    let c = w.on(w.root).make(&mut w);
    w.floor = Some(tree);
    let outcome = w.verify(c);
    assert!(outcome.revision().is_none());
    assert_eq!(outcome.verdict, plumb_trust::Verdict::Reject);
    assert_eq!(outcome.steps[0].reasons[0].code, R::CorruptObject);
}

/// A store that shows one commit with another parent, once.
struct TwoFaced<'a> {
    world: &'a World,
    commit: Oid,
    first: Vec<u8>,
    asked: std::cell::Cell<bool>,
}

impl plumb_trust::Objects for TwoFaced<'_> {
    fn read(
        &self,
        id: &Oid,
        kind: ObjectKind,
        limit: u64,
    ) -> Result<std::borrow::Cow<'_, [u8]>, plumb_trust::ObjectError> {
        if *id == self.commit && !self.asked.replace(true) {
            return Ok(self.first.as_slice().into());
        }
        self.world.store.read(id, kind, limit)
    }
}

#[test]
fn own_52_a_store_that_hides_a_commit_on_the_way_down() {
    let (p, mut w) = (people(), World::default());
    let hidden = w.on(w.root).file("lab/b", "evil").make(&mut w);
    let commit = w.on(hidden).file("lab/a", "1").sign(&p.alice).make(&mut w);
    let text = String::from_utf8(w.store.bytes(&commit).to_vec()).unwrap();
    let first = text
        .replace(&hidden.to_string(), &w.root.to_string())
        .into_bytes();
    let top = w.on(commit).file("lab/a", "2").sign(&p.alice).make(&mut w);
    let now = jiff::Timestamp::from_second(w.now).unwrap();
    // Threads that look ahead begin where there are two commits.
    for (head, threads) in [(commit, 0), (top, 0), (top, 2)] {
        let store = TwoFaced {
            world: &w,
            commit,
            first: first.clone(),
            asked: std::cell::Cell::new(false),
        };
        let inputs = plumb_trust::Inputs::new(w.root, head, now).threads(threads);
        let outcome = plumb_trust::verify(&store, &inputs);
        assert_eq!(outcome.accepted, w.root);
        assert_eq!(outcome.steps[0].reasons[0].code, R::CorruptObject);
    }
}

#[test]
fn own_53_a_folder_added_beside_a_file_of_its_name() {
    let (p, mut w) = (people(), World::default());
    let one = w
        .on(w.root)
        .file("x", "1")
        .file("x.y", "1")
        .sign(&p.alice)
        .make(&mut w);
    let tree = w.accepts(one).revision().unwrap().tree();
    let raw = w.store.bytes(&tree).to_vec();
    let at = raw.windows(4).position(|w| w == b"x.y\0").unwrap() + 24;
    let empty = w.store.raw_tree(&[]);
    let raw = [&raw[..at], b"40000 x\0", empty.as_bytes(), &raw[at..]].concat();
    let tree = w.store.write(ObjectKind::Tree, raw);
    let c = w.on(one).tree(tree).sign(&p.alice).make(&mut w);
    w.rejects(c, R::MalformedTree);
}
