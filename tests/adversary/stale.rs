//! Merges of branches that were approved when the branch they go to was another.

use plumb_trust::ReasonCode as R;
use tests::keys::people;
use tests::objects::{REF, REPOSITORY, World};

/// Main is what a change makes of it after a branch was approved; the merge takes the branch's side.
#[track_caller]
fn undoes(
    side: impl Fn(tests::objects::Commit<'static>) -> tests::objects::Commit<'static>,
    main: impl Fn(tests::objects::Commit<'static>) -> tests::objects::Commit<'static>,
    merged: impl Fn(tests::objects::Commit<'static>) -> tests::objects::Commit<'static>,
    uncovered: &[&str],
) {
    let (p, mut w) = (people(), World::default());
    let commit = w.on(w.root);
    let tip = side(commit).make(&mut w);
    w.approve(tip, &p.bob);
    let commit = w.on(w.root);
    let newer = main(commit).sign(&p.alice).make(&mut w);
    w.approve(newer, &p.carol);
    let commit = w.merge(&[newer, tip]);
    let merge = merged(commit).sign(&p.alice).make(&mut w);
    if uncovered.is_empty() {
        w.accepts(merge);
        return;
    }
    let outcome = w.pends(merge, R::ApprovalsMissing);
    assert_eq!(outcome.steps[1].reasons[0].paths, uncovered);
    // Whoever looks at the merge itself can still approve it.
    w.approve(merge, &p.carol);
    w.accepts(merge);
}

#[test]
fn own_66_an_old_approval_doesn_t_undo_a_newer_change() {
    undoes(
        |side| side.file("prod/a", "1"),
        |main| main.file("prod/a", "fixed"),
        |merge| merge.file("prod/a", "1"),
        &["prod/a"],
    );
    // What main didn't touch is still covered.
    undoes(
        |side| side.file("prod/a", "1").file("prod/b", "1"),
        |main| main.file("prod/a", "fixed"),
        |merge| merge.file("prod/a", "1").file("prod/b", "1"),
        &["prod/a"],
    );
    undoes(
        |side| side.file("prod/a", "1"),
        |main| main.file("prod/b", "fixed"),
        |merge| merge.file("prod/a", "1"),
        &[],
    );
}

#[test]
fn own_67_nor_a_newer_removal_or_addition_or_mode() {
    undoes(
        |side| side.file("prod/a", "1"),
        |main| main.without("prod/a"),
        |merge| merge.file("prod/a", "1"),
        &["prod/a"],
    );
    undoes(
        |side| side.file("prod/new", "1"),
        |main| main.file("prod/new", "fixed"),
        |merge| merge.file("prod/new", "1"),
        &["prod/new"],
    );
    undoes(
        |side| side.without("prod/a"),
        |main| main.file("prod/a", "fixed"),
        |merge| merge.without("prod/a"),
        &["prod/a"],
    );
    undoes(
        |side| side.file("prod/a", "1"),
        |main| main.entry("prod/a", "100755", b"a\n"),
        |merge| merge.file("prod/a", "1"),
        &["prod/a"],
    );
}

#[test]
fn own_68_what_main_changed_and_took_back_is_as_it_was() {
    let (p, mut w) = (people(), World::default());
    let tip = w.on(w.root).file("prod/a", "1").make(&mut w);
    w.approve(tip, &p.bob);
    let mut main = w.root;
    for content in ["2", "a\n"] {
        main = w
            .on(main)
            .file("prod/a", content)
            .sign(&p.alice)
            .make(&mut w);
        w.approve(main, &p.carol);
    }
    let merge = w
        .merge(&[main, tip])
        .file("prod/a", "1")
        .sign(&p.alice)
        .make(&mut w);
    w.accepts(merge);
}

#[test]
fn own_69_a_branch_without_a_base_replaces_nothing() {
    let (p, mut w) = (people(), World::default());
    let mut orphan = w.on(w.root).file("prod/a", "1").file("prod/c", "1");
    orphan.parents.clear();
    let orphan = orphan.make(&mut w);
    w.approve(orphan, &p.bob);
    let merge = w
        .merge(&[w.root, orphan])
        .file("prod/a", "1")
        .file("prod/c", "1")
        .sign(&p.alice)
        .make(&mut w);
    let outcome = w.pends(merge, R::ApprovalsMissing);
    assert_eq!(outcome.steps[0].reasons[0].paths, ["prod/a"]);
}

// Bob means the branch, for main; alice means the whole, for somewhere else.
#[test]
fn own_70_a_part_that_is_meant_for_main_doesn_t_bind_the_rest() {
    let p = people();
    for bind in ["trailer", "approval"] {
        let mut w = World::with(|policy| bind.clone_into(&mut policy.bind_ref));
        let tip = w.on(w.root).file("lab/a", "1").make(&mut w);
        w.approve(tip, &p.bob);
        let whole = w
            .merge(&[w.root, tip])
            .file("lab/a", "1")
            .sign(&p.alice)
            .make(&mut w);
        w.accepts(whole);
        let more = w
            .merge(&[w.root, tip])
            .file("lab/a", "1")
            .file("lab/b", "1")
            .sign(&p.alice)
            .make(&mut w);
        w.pends(more, R::Unbound);
        let bound = w
            .merge(&[w.root, tip])
            .file("lab/a", "1")
            .file("lab/b", "1")
            .message(&format!("merge\n\nDeploy-Ref: {REPOSITORY} {REF}\n"))
            .sign(&p.alice)
            .make(&mut w);
        w.accepts(bound);
    }
}
