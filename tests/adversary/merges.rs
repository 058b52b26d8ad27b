//! Merges: what a side branch brings, and who approved that.

use plumb_trust::{ObjectFormat, Oid, ReasonCode as R, Verdict};
use tests::keys::people;
use tests::objects::{PolicyText, REF, REPOSITORY, World, noted};

#[test]
fn two_persons_by_a_tag_of_the_branch_and_a_signed_merge() {
    let (p, mut w) = (people(), World::default());
    let tip = w.on(w.root).file("prod/a", "1").make(&mut w);
    let tag = w.tag("approve/main/1-bob", tip).sign(&p.bob).make(&mut w);
    let files = w.files(&tip).clone();
    let merge = w
        .merge(&[w.root, tip])
        .with_files(&files)
        .mergetag(&w.store, tag)
        .sign(&p.alice)
        .make(&mut w);
    // The tag's ref may be gone: the merge has it.
    w.tags.clear();
    w.accepts(merge);
    // And the other way around.
    w.tags.push(plumb_trust::TagRef {
        name: "refs/tags/approve/main/1-bob".to_owned(),
        target: tag,
    });
    let plain = w
        .merge(&[w.root, tip])
        .with_files(&files)
        .sign(&p.alice)
        .make(&mut w);
    w.accepts(plain);
}

#[test]
fn case_19_unsigned_side_branch_vouched_or_all_signed() {
    let p = people();
    let merge = |w: &mut World, sign: bool| {
        let mut side = w.on(w.root).file("lab/a", "1");
        if sign {
            side = side.sign(&p.bob);
        }
        let tip = side.make(w);
        let files = w.files(&tip).clone();
        w.merge(&[w.root, tip])
            .with_files(&files)
            .sign(&p.alice)
            .make(w)
    };
    let mut w = World::default();
    let m = merge(&mut w, false);
    w.accepts(m);
    let mut w = World::with(|policy| policy.more = "sideBranches: allSigned".to_owned());
    let m = merge(&mut w, false);
    w.pends(m, R::SideUnsigned);
    let m = merge(&mut w, true);
    w.accepts(m);
}

#[test]
fn case_20_parents_swapped() {
    let (p, mut w) = (people(), World::default());
    let one = w.on(w.root).file("lab/a", "1").sign(&p.alice).make(&mut w);
    let two = w.on(one).file("lab/a", "2").sign(&p.alice).make(&mut w);
    let side = w.on(w.root).file("lab/b", "1").sign(&p.alice).make(&mut w);
    let foxtrot = w.merge(&[side, two]).sign(&p.alice).make(&mut w);
    w.floor = Some(two);
    w.rejects(foxtrot, R::NotDescendant);
}

#[test]
fn case_21_stale_parent_merge() {
    let (p, mut w) = (people(), World::default());
    let old = w.on(w.root).file("lab/a", "1").sign(&p.bob).make(&mut w);
    let retired = w.approved_policy_step(old, |policy| {
        policy.groups[0].1 = "[alice, carol]".to_owned();
        policy.identities.retain(|(name, _)| name != "bob");
        policy.keys.retain(|(file, _)| !file.starts_with("bob"));
    });
    let tip = w.on(retired).file("lab/b", "1").sign(&p.alice).make(&mut w);
    // Bob merges the tip with the commit where he still was somebody.
    let mut side = w.on(old).file("lab/a", "2").sign(&p.bob);
    side.seconds += 1;
    let side = side.make(&mut w);
    let plain = w
        .merge(&[tip, side])
        .file("lab/a", "2")
        .sign(&p.bob)
        .make(&mut w);
    w.pends(plain, R::Uncovered);
    // With the old policy put back: pending, nothing gained. Its serial falls, which no approval cures, and
    // that is said once somebody of the policy stands behind it.
    let files = w.files(&side).clone();
    let restoring = w
        .merge(&[tip, side])
        .with_files(&files)
        .sign(&p.bob)
        .make(&mut w);
    let outcome = w.verify(restoring);
    assert_eq!(outcome.verdict, Verdict::Reject);
    assert_eq!(outcome.accepted, tip);
    let only_policy = w.files(&old).clone();
    let mut commit = w.merge(&[tip, side]);
    commit.files.retain(|path, _| !path.starts_with("trust/"));
    commit.files.extend(
        only_policy
            .into_iter()
            .filter(|(path, _)| path.starts_with("trust/")),
    );
    let restoring = commit.sign(&p.bob).make(&mut w);
    w.pends(restoring, R::Uncovered);
    w.approve(restoring, &p.alice);
    w.rejects(restoring, R::PolicySerial);
}

#[test]
fn case_22_octopus_with_a_rule_met_by_one_parent_only() {
    let (p, mut w) = (people(), World::default());
    let one = w.on(w.root).file("prod/a", "1").make(&mut w);
    w.approve(one, &p.bob);
    let two = w.on(w.root).file("prod/b", "1").make(&mut w);
    let octopus = w
        .merge(&[w.root, one, two])
        .file("prod/a", "1")
        .file("prod/b", "1")
        .sign(&p.alice)
        .make(&mut w);
    let outcome = w.pends(octopus, R::ApprovalsMissing);
    assert_eq!(outcome.steps[0].reasons[0].paths, ["prod/b"]);
    w.approve(two, &p.carol);
    // Approved later than the merge was made: still a branch tip that was approved.
    w.accepts(octopus);
}

// A script approves both within a second; what is said of one branch isn't said of the other.
#[test]
fn own_104_two_branches_approved_in_the_same_second() {
    let (p, mut w) = (people(), World::default());
    let one = w.on(w.root).file("prod/a", "1").make(&mut w);
    let two = w.on(w.root).file("prod/b", "1").make(&mut w);
    let at = w.clock() + 60;
    for (name, tip) in [("approve/main/1", one), ("approve/main/2", two)] {
        w.tag(name, tip).dated(at).sign(&p.bob).make(&mut w);
    }
    let octopus = w
        .merge(&[w.root, one, two])
        .file("prod/a", "1")
        .file("prod/b", "1")
        .sign(&p.alice)
        .make(&mut w);
    w.accepts(octopus);
}

// Who says since which commit something is approved has looked at no more: the rest of the branch isn't
// approved by that, wherever it is merged.
#[test]
fn own_110_an_approval_since_a_commit_is_of_no_more_of_a_branch() {
    let p = people();
    let mut w = World::default();
    let below = w.on(w.root).file("prod/b", "evil").make(&mut w);
    let tip = w.on(below).file("prod/a", "1").make(&mut w);
    let root = w.root;
    let elsewhere = w.on(below).file("lab/a", "1").make(&mut w);
    let approve = |w: &mut World, base: &str| {
        let tag = w.tag("approve/main/1", tip);
        tag.trailer(&format!("Approve-Base: {base}"))
            .sign(&p.bob)
            .make(w)
    };
    let merge = |w: &mut World, tags: &[Oid]| {
        let mut merge = w
            .merge(&[root, tip])
            .file("prod/a", "1")
            .file("prod/b", "evil");
        for tag in tags {
            merge = merge.mergetag(&w.store, *tag);
        }
        merge.sign(&p.alice).make(w)
    };
    let plain = merge(&mut w, &[]);
    for (base, good) in [
        (below.to_string(), false),
        (elsewhere.to_string(), false),
        ("main".to_owned(), false),
        (root.to_string(), true),
    ] {
        let tag = approve(&mut w, &base);
        let carried = merge(&mut w, &[tag]);
        if good {
            w.accepts(plain);
        } else {
            let outcome = w.pends(plain, R::ApprovalsMissing);
            assert!(noted(&outcome, "only a part of that"), "{base}");
        }
        w.tags.clear();
        if good {
            w.accepts(carried);
        } else {
            w.pends(carried, R::ApprovalsMissing);
        }
        let claim = format!("fine\n\nApprove: {REPOSITORY} {REF} {tip}\nApprove-Base: {base}\n");
        let empty = w.on(tip).message(&claim).sign(&p.bob).make(&mut w);
        let merge = w.merge(&[root, empty]);
        let merge = merge.file("prod/a", "1").file("prod/b", "evil");
        let merge = merge.sign(&p.alice).make(&mut w);
        if good {
            w.accepts(merge);
        } else {
            w.pends(merge, R::ApprovalsMissing);
        }
    }
    // Since an earlier commit of main than the branch left: it leaves nothing out.
    let main = w.on(root).file("lab/a", "1").sign(&p.alice).make(&mut w);
    let tip = w.on(main).file("prod/a", "2").make(&mut w);
    let tag = w.tag("approve/main/2", tip);
    let tag = tag.trailer(&format!("Approve-Base: {root}")).sign(&p.bob);
    tag.make(&mut w);
    let merge = w.merge(&[main, tip]).file("prod/a", "2").sign(&p.alice);
    let merge = merge.make(&mut w);
    w.accepts(merge);
    // Of the commit itself, on main, an approval is of all that it changes.
    let tip = w.on(merge).file("prod/a", "3").sign(&p.alice).make(&mut w);
    let tag = w.tag("approve/main/3", tip);
    let tag = tag.trailer(&format!("Approve-Base: {merge}")).sign(&p.bob);
    tag.make(&mut w);
    w.accepts(tip);
}

#[test]
fn case_23_evil_merge_that_keeps_the_mergetag() {
    let (p, mut w) = (people(), World::default());
    let tip = w.on(w.root).file("prod/a", "1").make(&mut w);
    let tag = w.tag("approve/main/1", tip).sign(&p.bob).make(&mut w);
    let altered = w
        .merge(&[w.root, tip])
        .file("prod/a", "evil")
        .mergetag(&w.store, tag)
        .sign(&p.alice)
        .make(&mut w);
    let outcome = w.pends(altered, R::ApprovalsMissing);
    assert!(noted(&outcome, "didn't take all of it"));
    let more = w
        .merge(&[w.root, tip])
        .file("prod/a", "1")
        .file("prod/b", "evil")
        .mergetag(&w.store, tag)
        .sign(&p.alice)
        .make(&mut w);
    let outcome = w.pends(more, R::ApprovalsMissing);
    assert_eq!(outcome.steps[0].reasons[0].paths, ["prod/b"]);
}

#[test]
fn case_24_merge_that_silently_puts_an_old_file_back() {
    let (p, mut w) = (people(), World::default());
    let tip = w.on(w.root).file("lab/a", "1").make(&mut w);
    let newer = w
        .on(w.root)
        .file("prod/b", "fixed")
        .sign(&p.alice)
        .make(&mut w);
    w.approve(newer, &p.bob);
    // The reviewer's branch has the old prod/b, as it left before; so has the merge.
    w.approve(tip, &p.bob);
    let files = w.files(&tip).clone();
    let merge = w
        .merge(&[newer, tip])
        .with_files(&files)
        .sign(&p.alice)
        .make(&mut w);
    let outcome = w.pends(merge, R::ApprovalsMissing);
    assert_eq!(outcome.steps[1].reasons[0].paths, ["prod/b"]);
}

#[test]
fn case_25_mergetag_of_no_parent() {
    let (p, mut w) = (people(), World::default());
    let other = w.on(w.root).file("prod/a", "1").make(&mut w);
    let tag = w.tag("approve/main/1", other).sign(&p.bob).make(&mut w);
    let tip = w.on(w.root).file("prod/a", "2").make(&mut w);
    let merge = w
        .merge(&[w.root, tip])
        .file("prod/a", "2")
        .mergetag(&w.store, tag)
        .sign(&p.alice)
        .make(&mut w);
    w.rejects(merge, R::MergetagMismatch);
    // Of the first parent: nothing of it is merged.
    let root = w.root;
    let tag = w.tag("approve/main/2", root).sign(&p.bob).make(&mut w);
    let merge = w
        .merge(&[w.root, tip])
        .file("prod/a", "2")
        .mergetag(&w.store, tag)
        .sign(&p.alice)
        .make(&mut w);
    w.rejects(merge, R::MergetagMismatch);
}

#[test]
fn case_26_criss_cross_all_bases_must_agree() {
    let (p, mut w) = (people(), World::default());
    // Two bases: main 1 and side 1, each merged into the other's line.
    let main1 = w.on(w.root).file("lab/a", "1").sign(&p.alice).make(&mut w);
    let side1 = w.on(w.root).file("prod/a", "1").make(&mut w);
    w.approve(side1, &p.bob);
    let main2 = w
        .merge(&[main1, side1])
        .file("prod/a", "1")
        .sign(&p.alice)
        .make(&mut w);
    let side2 = w
        .merge(&[side1, main1])
        .file("lab/a", "1")
        .file("prod/b", "2")
        .make(&mut w);
    w.approve(side2, &p.bob);
    // Since both bases the side changed prod/b alone.
    let good = w
        .merge(&[main2, side2])
        .file("prod/b", "2")
        .sign(&p.alice)
        .make(&mut w);
    w.accepts(good);
    // prod/a differs from one base only: no approval of the side covers what the merge makes of it.
    let evil = w
        .merge(&[main2, side2])
        .file("prod/a", "a\n")
        .file("prod/b", "2")
        .sign(&p.alice)
        .make(&mut w);
    w.pends(evil, R::ApprovalsMissing);
}

// What the side has from one base only isn't its own change: it can't put back what main fixed since.
#[test]
fn own_49_criss_cross_that_puts_a_fix_back() {
    let (p, mut w) = (people(), World::default());
    let main1 = w.on(w.root).file("lab/a", "1").sign(&p.alice).make(&mut w);
    let side1 = w.on(w.root).file("prod/b", "s").make(&mut w);
    w.approve(side1, &p.bob);
    let main2 = w
        .merge(&[main1, side1])
        .file("prod/b", "s")
        .sign(&p.alice)
        .make(&mut w);
    let main3 = w
        .on(main2)
        .file("prod/b", "fixed")
        .sign(&p.alice)
        .make(&mut w);
    w.approve(main3, &p.bob);
    let side2 = w
        .merge(&[side1, main1])
        .file("lab/a", "1")
        .file("prod/a", "2")
        .make(&mut w);
    w.approve(side2, &p.bob);
    let files = w.files(&side2).clone();
    let evil = w
        .merge(&[main3, side2])
        .with_files(&files)
        .sign(&p.alice)
        .make(&mut w);
    let outcome = w.pends(evil, R::ApprovalsMissing);
    assert_eq!(outcome.steps[3].reasons[0].paths, ["prod/b"]);
    let good = w
        .merge(&[main3, side2])
        .file("prod/a", "2")
        .sign(&p.alice)
        .make(&mut w);
    w.accepts(good);
}

#[test]
fn case_74_partial_merge_of_an_approved_branch() {
    let (p, mut w) = (people(), World::default());
    let tip = w
        .on(w.root)
        .file("prod/a", "1")
        .file("prod/b", "1")
        .make(&mut w);
    w.approve(tip, &p.bob);
    let partial = w
        .merge(&[w.root, tip])
        .file("prod/a", "1")
        .sign(&p.alice)
        .make(&mut w);
    let outcome = w.pends(partial, R::ApprovalsMissing);
    assert!(noted(&outcome, "didn't take all of it"));
    let whole = w
        .merge(&[w.root, tip])
        .file("prod/a", "1")
        .file("prod/b", "1")
        .sign(&p.alice)
        .make(&mut w);
    w.accepts(whole);
}

#[test]
fn case_75_empty_commits_with_and_without_approve() {
    let (p, mut w) = (people(), World::default());
    let tip = w.on(w.root).file("prod/a", "1").make(&mut w);
    let bare = w
        .on(tip)
        .message("fine with me\n")
        .sign(&p.bob)
        .make(&mut w);
    let files = w.files(&tip).clone();
    let merge = w
        .merge(&[w.root, bare])
        .with_files(&files)
        .sign(&p.alice)
        .make(&mut w);
    w.pends(merge, R::ApprovalsMissing);
    let one = w
        .on(tip)
        .message(&format!("fine\n\nApprove: {REPOSITORY} {REF} {tip}\n"))
        .sign(&p.bob)
        .make(&mut w);
    let merge = w
        .merge(&[w.root, one])
        .with_files(&files)
        .sign(&p.alice)
        .make(&mut w);
    w.accepts(merge);
    // One on top of another, each of its own author; the merge itself is a forge's.
    let two = w
        .on(one)
        .message(&format!("fine\n\nApprove: {REPOSITORY} {REF} {one}\n"))
        .sign(&p.carol)
        .make(&mut w);
    let forge = w.merge(&[w.root, two]).with_files(&files).make(&mut w);
    w.accepts(forge);
    // One that approves something else than what it stands on.
    let wrong = w
        .on(one)
        .message(&format!("fine\n\nApprove: {REPOSITORY} {REF} {tip}\n"))
        .sign(&p.carol)
        .make(&mut w);
    let forge = w.merge(&[w.root, wrong]).with_files(&files).make(&mut w);
    w.pends(forge, R::ApprovalsMissing);
}

#[test]
fn own_19_an_approval_commit_that_isn_t_empty_approves_nothing() {
    let (p, mut w) = (people(), World::default());
    let tip = w.on(w.root).file("prod/a", "1").make(&mut w);
    let full = w
        .on(tip)
        .file("prod/b", "x")
        .message(&format!("fine\n\nApprove: {REPOSITORY} {REF} {tip}\n"))
        .sign(&p.bob)
        .make(&mut w);
    let files = w.files(&full).clone();
    let merge = w
        .merge(&[w.root, full])
        .with_files(&files)
        .sign(&p.alice)
        .make(&mut w);
    w.pends(merge, R::ApprovalsMissing);
}

#[test]
fn own_20_a_side_author_s_signature_is_no_approval() {
    let (p, mut w) = (people(), World::default());
    let tip = w
        .on(w.root)
        .file("prod/a", "1")
        .bound()
        .sign(&p.bob)
        .make(&mut w);
    let files = w.files(&tip).clone();
    let merge = w
        .merge(&[w.root, tip])
        .with_files(&files)
        .sign(&p.alice)
        .make(&mut w);
    w.pends(merge, R::ApprovalsMissing);
}

#[test]
fn own_21_a_merge_of_something_merged_already_covers_nothing() {
    let (p, mut w) = (people(), World::default());
    let tip = w.on(w.root).file("lab/a", "1").sign(&p.alice).make(&mut w);
    w.approve(w.root, &p.bob);
    let evil = w
        .merge(&[tip, w.root])
        .file("prod/a", "evil")
        .sign(&p.alice)
        .make(&mut w);
    let outcome = w.pends(evil, R::ApprovalsMissing);
    assert_eq!(outcome.accepted, tip);
}

#[test]
fn own_22_false_dates_hide_no_base() {
    let (p, mut w) = (people(), World::default());
    // The side claims to be from 1971, so that main is walked before it.
    let side = w
        .on(w.root)
        .file("prod/a", "1")
        .dated(31_536_000)
        .make(&mut w);
    let mut main = w.root;
    for n in 0..5 {
        main = w
            .on(main)
            .file("lab/a", &n.to_string())
            .sign(&p.alice)
            .make(&mut w);
    }
    w.approve(side, &p.bob);
    let mut merge = w.merge(&[main, side]);
    merge
        .files
        .insert("prod/a".to_owned(), ("100644", b"1".to_vec()));
    let merge = merge.sign(&p.alice).make(&mut w);
    w.accepts(merge);
    let mut evil = w.merge(&[main, side]);
    evil.files
        .insert("prod/a".to_owned(), ("100644", b"1".to_vec()));
    evil.files
        .insert("prod/b".to_owned(), ("100644", b"evil".to_vec()));
    let evil = evil.sign(&p.alice).make(&mut w);
    w.pends(evil, R::ApprovalsMissing);
}

#[test]
fn own_23_a_branch_without_a_common_ancestor() {
    let (p, mut w) = (people(), World::default());
    let mut orphan = w.on(w.root).file("prod/c", "1");
    orphan.parents.clear();
    let orphan = orphan.make(&mut w);
    w.approve(orphan, &p.bob);
    let merge = w
        .merge(&[w.root, orphan])
        .file("prod/c", "1")
        .sign(&p.alice)
        .make(&mut w);
    w.accepts(merge);
    let evil = w
        .merge(&[w.root, orphan])
        .file("prod/c", "1")
        .file("prod/a", "x")
        .sign(&p.alice)
        .make(&mut w);
    w.pends(evil, R::ApprovalsMissing);
}

#[test]
fn case_80_trailers_of_an_unsigned_merge_are_ignored() {
    let (p, mut w) = (people(), World::default());
    let tip = w.on(w.root).file("lab/a", "1").make(&mut w);
    let forge = w
        .merge(&[w.root, tip])
        .file("lab/a", "1")
        .message("merge\n\nBudget-Deletions: 31\nBudget-Deletions: 32\nEmergency: now\n")
        .make(&mut w);
    w.approve(forge, &p.alice);
    let outcome = w.accepts(forge);
    assert!(outcome.revision().unwrap().trailers().is_empty());
    let signed = w
        .on(forge)
        .file("lab/a", "2")
        .message("x\n\nBudget-Deletions: 31\n")
        .sign(&p.alice)
        .make(&mut w);
    let outcome = w.accepts(signed);
    assert_eq!(
        outcome
            .revision()
            .unwrap()
            .trailers()
            .get("budget-deletions"),
        Some("31")
    );
    let twice = w
        .on(signed)
        .file("lab/a", "3")
        .message("x\n\nBudget-Deletions: 31\nbudget-deletions: 32\n")
        .sign(&p.alice)
        .make(&mut w);
    w.rejects(twice, R::DuplicateTrailer);
}

#[test]
fn own_24_a_sha256_repository() {
    let p = people();
    let mut w = World::of_format(PolicyText::usual(), ObjectFormat::Sha256);
    let tip = w.on(w.root).file("prod/a", "1").make(&mut w);
    let tag = w.tag("approve/main/1", tip).sign(&p.bob).make(&mut w);
    let merge = w
        .merge(&[w.root, tip])
        .file("prod/a", "1")
        .mergetag(&w.store, tag)
        .sign(&p.alice)
        .make(&mut w);
    w.accepts(merge);
    let wrong = w
        .on(merge)
        .file("lab/a", "1")
        .sign(&p.alice)
        .replace("gpgsig-sha256 ", "gpgsig ")
        .make(&mut w);
    w.rejects(wrong, R::MalformedCommit);
}
