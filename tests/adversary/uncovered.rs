//! Merges and folders that no approval covers: a step that changes nothing still needs a signature, and what
//! a commit changes is its tree and its parents, not a list of files.

use plumb_trust::{ObjectKind, Oid, ReasonCode as R};
use tests::keys::{Key, people};
use tests::objects::{PolicyText, REF, REPOSITORY, World};

/// Everything that `bindRef` and `sideBranches` can be.
fn policies() -> impl Iterator<Item = World> {
    let binds = ["none", "trailer", "approval"];
    binds.into_iter().flat_map(|bind| {
        ["vouched", "allSigned"].map(|side| {
            World::with(|policy| {
                bind.clone_into(&mut policy.bind_ref);
                policy.more = format!("sideBranches: {side}");
            })
        })
    })
}

/// A mainline commit that two people stand behind, whatever the policy's `bindRef` is.
fn honest(w: &mut World, parent: Oid) -> Oid {
    let p = people();
    let c = w.on(parent).file("lab/a", "1").bound().sign(&p.alice);
    let c = c.make(w);
    w.approve(c, &p.bob);
    w.accepts(c);
    c
}

/// A tree with an empty folder at a path, beside everything that a commit has.
fn with_empty_folder(w: &mut World, like: Oid, path: &str) -> Oid {
    const MARK: &str = "a file that stands where the folder will";
    let mut files = w.files(&like).clone();
    files.insert(path.to_owned(), ("100644", MARK.as_bytes().to_vec()));
    let tree = w.store.tree(&files);
    let empty = w.store.raw_tree(&[]);
    replace(w, &tree, path, empty)
}

/// The tree with an object in a file's place, as a folder.
fn replace(w: &mut World, tree: &Oid, path: &str, folder: Oid) -> Oid {
    let raw = w.store.bytes(tree).to_vec();
    let parsed = plumb_trust::object::Tree::parse(&raw, tree.format()).unwrap();
    let (name, rest) = path
        .split_once('/')
        .map_or((path, None), |(n, r)| (n, Some(r)));
    let mut entries: Vec<(&str, String, Oid)> = Vec::new();
    for entry in parsed.entries() {
        let mode = match entry.mode {
            plumb_trust::EntryMode::Folder => "40000",
            _ => "100644",
        };
        entries.push((mode, entry.name.to_owned(), entry.id));
    }
    let at = entries.iter().position(|(_, n, _)| n == name).unwrap();
    entries[at] = match rest {
        Some(rest) => (
            "40000",
            name.to_owned(),
            replace(w, &entries[at].2.clone(), rest, folder),
        ),
        None => ("40000", name.to_owned(), folder),
    };
    let order = |(mode, name, _): &(&str, String, Oid)| match *mode {
        "40000" => format!("{name}/"),
        _ => name.clone(),
    };
    entries.sort_by_key(order);
    let entries: Vec<(&str, &[u8], Oid)> = entries
        .iter()
        .map(|(mode, name, id)| (*mode, name.as_bytes(), *id))
        .collect();
    w.store.raw_tree(&entries)
}

#[track_caller]
fn isnt_accepted(w: &World, head: Oid) {
    let outcome = w.verify(head);
    assert!(
        outcome.accepted != head,
        "{}",
        tests::objects::show(&outcome)
    );
}

#[test]
fn own_112_unsigned_merge_of_an_approved_ancestor_is_uncovered() {
    let p = people();
    for mut w in policies() {
        let root = w.root;
        let one = honest(&mut w, root);
        let tip = honest(&mut w, one);
        for signer in [None, Some(&p.mallory)] {
            let mut merge = w.merge(&[tip, one]);
            if let Some(key) = signer {
                merge = merge.sign(key);
            }
            let merge = merge.make(&mut w);
            w.pends(merge, R::Uncovered);
        }
    }
}

#[test]
fn own_113_unsigned_merge_with_the_embedded_approval_of_an_ancestor_is_uncovered() {
    for mut w in policies() {
        let root = w.root;
        let one = honest(&mut w, root);
        let tag = w.tags[0].target;
        let tip = honest(&mut w, one);
        let merge = w.merge(&[tip, one]).mergetag(&w.store, tag).make(&mut w);
        w.tags.clear();
        w.floor = Some(tip);
        w.pends(merge, R::Uncovered);
    }
}

#[test]
fn own_114_unsigned_merge_of_an_approval_commit_on_an_ancestor_is_uncovered() {
    let p = people();
    for mut w in policies() {
        let root = w.root;
        let one = honest(&mut w, root);
        let tip = honest(&mut w, one);
        let approval = w
            .on(one)
            .message(&format!("fine\n\nApprove: {REPOSITORY} {REF} {one}\n"))
            .sign(&p.carol)
            .make(&mut w);
        let merge = w.merge(&[tip, approval]).make(&mut w);
        w.pends(merge, R::Uncovered);
    }
}

#[test]
fn own_115_unsigned_octopus_buries_no_approved_branch() {
    let p = people();
    for mut w in policies() {
        let root = w.root;
        let one = honest(&mut w, root);
        let tip = honest(&mut w, one);
        let branch = |w: &mut World, path: &str| {
            let c = w.on(one).file(path, "2").bound().sign(&p.carol).make(w);
            w.approve(c, &p.alice);
            w.approve(c, &p.bob);
            c
        };
        let (taken, buried) = (branch(&mut w, "lab/b"), branch(&mut w, "prod/b"));
        // Of the ancestor and the branch nothing is taken.
        let octopus = w.merge(&[tip, one, buried]).make(&mut w);
        w.pends(octopus, R::Uncovered);
        // One branch is taken as it was approved, the other one only becomes an ancestor.
        let octopus = w
            .merge(&[tip, taken, buried])
            .file("lab/b", "2")
            .make(&mut w);
        let outcome = w.pends(octopus, R::Uncovered);
        assert_eq!(outcome.accepted, tip);
        // Both are taken.
        let octopus = w
            .merge(&[tip, taken, buried])
            .file("lab/b", "2")
            .file("prod/b", "2")
            .make(&mut w);
        w.accepts(octopus);
        // Somebody of the policy may bury it.
        let merge = w.merge(&[tip, buried]).bound().sign(&p.alice).make(&mut w);
        w.accepts(merge);
    }
}

#[test]
fn own_116_unsigned_merge_adds_no_empty_folder_under_trust() {
    for mut w in policies() {
        let root = w.root;
        let one = honest(&mut w, root);
        let tip = honest(&mut w, one);
        let tree = with_empty_folder(&mut w, tip, "trust/keys/x");
        let merge = w.merge(&[tip, one]).tree(tree).make(&mut w);
        isnt_accepted(&w, merge);
    }
}

#[test]
fn own_117_unsigned_merge_moves_no_clock() {
    let p = people();
    for mut w in policies() {
        let root = w.root;
        let one = honest(&mut w, root);
        let tip = honest(&mut w, one);
        let skew = 600;
        w.floor = Some(tip);
        let merge = w.merge(&[tip, one]).dated(w.now + skew).make(&mut w);
        w.pends(merge, R::Uncovered);
        let next = w.on(tip).file("lab/a", "9").bound();
        let next = next.dated(w.now - skew).sign(&p.alice).make(&mut w);
        w.approve(next, &p.bob);
        w.accepts(next);
    }
}

#[test]
fn own_118_unsigned_merge_of_a_branch_whose_change_is_there_already_is_uncovered() {
    let p = people();
    let mut w = World::default();
    let branch = w.on(w.root).file("lab/a", "1").make(&mut w);
    w.approve(branch, &p.alice);
    // The same change came to the mainline by itself.
    let tip = w.on(w.root).file("lab/a", "1").sign(&p.bob).make(&mut w);
    let merge = w.merge(&[tip, branch]).make(&mut w);
    w.pends(merge, R::Uncovered);
    let signed = w.merge(&[tip, branch]).sign(&p.bob).make(&mut w);
    w.accepts(signed);
}

#[test]
fn own_119_unsigned_merge_of_a_branch_that_took_its_change_back_is_uncovered() {
    let p = people();
    for mut w in policies() {
        let root = w.root;
        let tip = honest(&mut w, root);
        let one = w
            .on(tip)
            .file("lab/b", "2")
            .bound()
            .sign(&p.carol)
            .make(&mut w);
        let back = w
            .on(one)
            .file("lab/b", "b\n")
            .bound()
            .sign(&p.carol)
            .make(&mut w);
        w.approve(back, &p.alice);
        w.approve(back, &p.bob);
        let merge = w.merge(&[tip, back]).make(&mut w);
        w.pends(merge, R::Uncovered);
    }
}

#[test]
fn own_120_empty_folder_under_trust_needs_the_rule_of_trust() {
    let p = people();
    let mut w = World::default();
    let root = w.root;
    let tree = with_empty_folder(&mut w, root, "trust/keys/x");
    let alone = w.on(w.root).tree(tree).sign(&p.alice).make(&mut w);
    isnt_accepted(&w, alone);
    // With everybody's approval it is a policy step like any other: its serial has to rise.
    w.approve(alone, &p.bob);
    w.approve(alone, &p.dave);
    w.rejects(alone, R::PolicySerial);
    let mut files = w.files(&w.root.clone()).clone();
    let mut policy = w.policy.clone();
    policy.serial += 1;
    files.extend(policy.files());
    let like = w.on(w.root).with_files(&files).make(&mut w);
    let tree = with_empty_folder(&mut w, like, "trust/keys/x");
    let step = w.on(w.root).tree(tree).sign(&p.alice).make(&mut w);
    w.approve(step, &p.bob);
    w.approve(step, &p.dave);
    w.accepts(step);
    w.know(step, like);
    // Taking it out is a change of `trust/` too.
    let out = w.on(step).sign(&p.alice).make(&mut w);
    isnt_accepted(&w, out);
}

#[test]
fn own_121_empty_folders_need_the_rules_of_their_paths() {
    let p = people();
    let mut w = World::default();
    for path in ["prod/x", "prod/x/y/z"] {
        let root = w.root;
        let tree = with_empty_folder(&mut w, root, path);
        let one = w.on(w.root).tree(tree).sign(&p.alice).make(&mut w);
        let outcome = w.pends(one, R::ApprovalsMissing);
        assert_eq!(outcome.steps[0].reasons[0].paths, [path]);
        w.approve(one, &p.bob);
        w.accepts(one);
        w.know(one, w.root);
        let out = w.on(one).sign(&p.alice).make(&mut w);
        w.pends(out, R::ApprovalsMissing);
    }
    // A folder that loses its last file and stays, and one that takes a file's place.
    let empty = w.store.raw_tree(&[]);
    let root_tree = w.store.tree(&w.files(&w.root.clone()).clone());
    let emptied = replace(&mut w, &root_tree, "prod", empty);
    let one = w.on(w.root).tree(emptied).sign(&p.alice).make(&mut w);
    let outcome = w.pends(one, R::ApprovalsMissing);
    assert_eq!(
        outcome.steps[0].reasons[0].paths,
        ["prod", "prod/a", "prod/b"]
    );
    let in_place = replace(&mut w, &root_tree, "prod/a", empty);
    let one = w.on(w.root).tree(in_place).sign(&p.alice).make(&mut w);
    w.pends(one, R::ApprovalsMissing);
}

#[test]
fn own_122_empty_folder_that_no_rule_owns_is_refused() {
    let p = people();
    let mut w = World::with(|policy| policy.rules[0] = policy.rules[0].replace("**", "lab/**"));
    let root = w.root;
    let tree = with_empty_folder(&mut w, root, "other");
    let one = w.on(w.root).tree(tree).sign(&p.alice).make(&mut w);
    w.rejects(one, R::NoRule);
}

#[test]
fn own_123_empty_folder_stands_beside_no_policy_step_and_in_no_freeze() {
    let p = people();
    let mut w = World::default();
    let step = w.policy_step(w.root, |_| {}).make(&mut w);
    let tree = with_empty_folder(&mut w, step, "lab/x");
    let mixed = w.on(w.root).tree(tree).sign(&p.alice).make(&mut w);
    w.rejects(mixed, R::PolicyNotIsolated);
    let mut w = World::with(|policy| {
        policy.more =
            "freeze: [{from: 2025-01-01T00:00:00Z, to: 2026-01-01T00:00:00Z, paths: [\"lab/**\"]}]"
                .to_owned();
    });
    w.floor = Some(w.root);
    let root = w.root;
    let tree = with_empty_folder(&mut w, root, "lab/x");
    let one = w.on(w.root).tree(tree).sign(&p.alice).make(&mut w);
    w.pends(one, R::Frozen);
}

#[test]
fn own_124_an_approved_branch_is_taken_with_its_empty_folders() {
    let p = people();
    let mut w = World::default();
    let root = w.root;
    let tree = with_empty_folder(&mut w, root, "prod/x");
    let tip = w.on(w.root).tree(tree).file("lab/a", "1").make(&mut w);
    w.approve(tip, &p.alice);
    w.approve(tip, &p.bob);
    let whole = w.merge(&[w.root, tip]).tree(tree).make(&mut w);
    w.accepts(whole);
    // The branch's folder is left out, and so its approvals count for nothing.
    let partial = w.on(w.root).file("lab/a", "1").make(&mut w);
    let partial = w.store.tree(&w.files(&partial).clone());
    let merge = w.merge(&[w.root, tip]).tree(partial).make(&mut w);
    isnt_accepted(&w, merge);
}

/// The keys that the property tests take away need a use: nobody outside of the policy approves a merge.
#[test]
fn own_125_approvals_by_strangers_cover_no_merge() {
    let strangers = [Key::pgp("stranger"), Key::ssh_ed25519("stranger")];
    let mut w = World::new(PolicyText::usual());
    let tip = w.on(w.root).file("lab/a", "1").make(&mut w);
    for key in &strangers {
        w.approve(tip, key);
    }
    let merge = w.merge(&[w.root, tip]).file("lab/a", "1").make(&mut w);
    w.pends(merge, R::Uncovered);
    assert!(w.store.iter().any(|(_, kind, _)| kind == ObjectKind::Tag));
}
