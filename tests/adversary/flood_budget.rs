//! Floods by strangers, in two sizes: counted work is linear in what was pushed, or a limit ends it.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use jiff::Timestamp;
use plumb_trust::object::limits;
use plumb_trust::{
    Inputs, ObjectError, ObjectKind, Objects, Oid, Outcome, ReasonCode as R, Work, verify,
};
use tests::keys::people;
use tests::objects::{World, show};

use crate::flood_inputs::{self as flood, Cover, Flood};

/// A store that counts what is read of it.
struct Meter<'w> {
    world: &'w World,
    objects: RefCell<HashMap<Oid, u64>>,
    bytes: Cell<u64>,
}

impl<'w> Meter<'w> {
    fn new(world: &'w World) -> Self {
        Self {
            world,
            objects: RefCell::default(),
            bytes: Cell::new(0),
        }
    }

    /// The number of reads of the object that was read most often.
    fn most(&self) -> u64 {
        self.objects
            .borrow()
            .values()
            .copied()
            .max()
            .unwrap_or_default()
    }
}

impl Objects for Meter<'_> {
    fn read(&self, id: &Oid, kind: ObjectKind, limit: u64) -> Result<Cow<'_, [u8]>, ObjectError> {
        *self.objects.borrow_mut().entry(*id).or_default() += 1;
        let bytes = self.world.store.read(id, kind, limit)?;
        self.bytes.set(self.bytes.get() + bytes.len() as u64);
        Ok(bytes)
    }
}

/// What a verification cost.
struct Cost {
    reads: u64,
    bytes: u64,
    most: u64,
    work: Work,
    outcome: Outcome,
}

fn cost(flood: &Flood) -> Cost {
    let Flood { world, head } = flood;
    let now = Timestamp::from_second(world.now).unwrap();
    let mut inputs = Inputs::new(world.root, *head, now).tags(&world.tags);
    inputs.floor = world.floor;
    let meter = Meter::new(world);
    let outcome = verify(&meter, &inputs);
    let reads = meter.objects.borrow().values().sum();
    Cost {
        reads,
        bytes: meter.bytes.get(),
        most: meter.most(),
        work: outcome.work,
        outcome,
    }
}

/// A flood that is twice as large costs at most so much more; what is the same in both is no part of it.
#[track_caller]
fn is_linear(make: impl Fn(usize) -> Flood, size: usize) -> Cost {
    let [none, one, two] = [size / 8, size, size * 2].map(|size| cost(&make(size)));
    let counts = |cost: &Cost| {
        [
            ("objects", cost.reads),
            ("bytes", cost.bytes),
            ("signatures", cost.work.signatures),
            ("YAML values", cost.work.yaml_values),
            ("members", cost.work.members),
            ("certificate pairs", cost.work.certificate_pairs),
            ("folded bytes", cost.work.folded_bytes),
            ("tree entries", cost.work.tree_entries),
        ]
    };
    let counted = counts(&none)
        .into_iter()
        .zip(counts(&one))
        .zip(counts(&two));
    for (((what, none), (_, one)), (_, two)) in counted {
        // From an eighth to the whole, and from the whole to twice as much.
        let (first, second) = (one.saturating_sub(none), two.saturating_sub(one));
        assert!(
            second * 10 <= first * 15 + 1000,
            "{what}: {none}, {one}, {two}: {}",
            show(&one_of(&make, size))
        );
    }
    two
}

fn one_of(make: &impl Fn(usize) -> Flood, size: usize) -> Outcome {
    cost(&make(size)).outcome
}

#[track_caller]
fn refused(cost: &Cost, code: R) {
    let reasons = &cost.outcome.first_held().unwrap().reasons;
    assert!(
        reasons.iter().any(|reason| reason.code == code),
        "{}",
        show(&cost.outcome)
    );
}

#[test]
fn own_140_a_policy_of_many_needs_of_large_groups() {
    // Both grow, so that the text does twice and their product four times.
    let two = is_linear(|n| flood::needs_and_members(n, n, Cover::Approved), 60);
    refused_or_accepted(&two);
    // As many as a stranger can write down are refused before they are compared.
    let most = cost(&flood::needs_and_members(500, 500, Cover::Approved));
    assert!(most.work.members <= 10_000, "{:?}", most.work);
}

#[track_caller]
fn refused_or_accepted(cost: &Cost) {
    let codes: Vec<R> = cost.outcome.steps[0]
        .reasons
        .iter()
        .map(|r| r.code)
        .collect();
    assert!(
        codes.iter().all(|code| *code == R::PolicyInvalid),
        "{codes:?}"
    );
}

#[test]
fn own_141_policies_of_a_merged_branch_that_nobody_signed() {
    let flood = cost(&flood::policies_on_a_side(60, 60));
    refused(&flood, R::SideUnsigned);
    let root = cost(&flood::policies_on_a_side(4, 4));
    assert_eq!(flood.work.yaml_values, root.work.yaml_values);
}

#[test]
fn own_142_a_certificate_of_many_subkeys_and_bad_bindings() {
    let small = cost(&flood::certificate_files(
        &flood::certificate(20, 40),
        1,
        Cover::Approved,
    ));
    assert!(small.outcome.is_accept(), "{}", show(&small.outcome));
    // The product is what the library works through, so that the product is what is limited.
    let cert = flood::certificate(600, 500);
    let large = cost(&flood::certificate_files(&cert, 1, Cover::Approved));
    refused(&large, R::PolicyInvalid);
    assert!(
        large.work.certificate_pairs <= limits::CERTIFICATE_PAIRS,
        "{:?}",
        large.work
    );
}

#[test]
fn own_143_one_certificate_under_several_names() {
    let cert = flood::certificate(20, 40);
    let one = cost(&flood::certificate_files(&cert, 1, Cover::Approved));
    let many = cost(&flood::certificate_files(&cert, 50, Cover::Approved));
    refused(&many, R::PolicyInvalid);
    assert_eq!(many.work.certificate_pairs, one.work.certificate_pairs);
}

#[test]
fn own_144_one_key_file_under_many_names() {
    let key = flood::large_key(100_000);
    let one = cost(&flood::certificate_files(&key, 1, Cover::Approved));
    let many = cost(&flood::certificate_files(&key, 900, Cover::Approved));
    refused(&many, R::PolicyInvalid);
    // The tree that holds the names is larger.
    assert!(
        many.bytes <= one.bytes + 200_000,
        "{} {}",
        many.bytes,
        one.bytes
    );
    // Different files are as much as they are, up to a limit.
    let mut w = World::default();
    let mut step = w.policy_step(w.root, |_| {});
    for n in 0..20 {
        let large = flood::large_key(1_000_000);
        step = step.entry(&format!("trust/keys/large-{n}"), "100644", &large);
    }
    let p = people();
    let head = step.sign(&p.alice).make(&mut w);
    w.approve(head, &p.bob);
    w.approve(head, &p.dave);
    let large = cost(&Flood { world: w, head });
    refused(&large, R::PolicyInvalid);
    assert!(
        large.bytes <= limits::TRUST_BYTES + (2 << 20),
        "{}",
        large.bytes
    );
}

#[test]
fn own_145_many_paths_below_a_long_one() {
    is_linear(|n| flood::long_paths(n, 15), 1000);
    refused(&cost(&flood::long_paths(20_000, 15)), R::TooLarge);
    // As many paths as there may be fit, as long as paths are.
    let two = cost(&flood::long_paths(150_000, 0));
    assert!(
        two.outcome.steps[0]
            .reasons
            .iter()
            .all(|r| r.code != R::TooLarge)
    );
}

#[test]
fn own_146_names_that_grow_when_they_are_folded() {
    is_linear(flood::growing_names, 400);
    let many = cost(&flood::growing_names(8000));
    refused(&many, R::TooLarge);
    assert!(
        many.work.folded_bytes <= limits::FOLDED + 10_000,
        "{:?}",
        many.work
    );
}

#[test]
fn own_147_unsigned_tags_that_revoke_a_key_over_a_long_branch() {
    is_linear(|n| flood::revoke_tags(n, 40), 200);
    let two = is_linear(|n| flood::revoke_tags(n * 4, n), 20);
    assert!(two.outcome.is_accept(), "{}", show(&two.outcome));
    // Nor are signed ones examined for each commit.
    let p = people();
    let mut signed = flood::revoke_tags(0, 40);
    let head = signed.head;
    for n in 0..100 {
        let tag = signed
            .world
            .tag(&format!("revoke/{}/{n}", p.alice.hex()), head);
        tag.sign(&p.mallory).make(&mut signed.world);
    }
    assert!(cost(&signed).work.signatures <= 40 + 100);
}

#[test]
fn own_148_tags_with_a_copied_signature() {
    is_linear(|n| flood::copied_signatures(n, 4000), 50);
    let large = cost(&flood::copied_signatures(100, 60_000));
    assert_eq!(
        large.work.signatures, 0,
        "they are larger than approvals are"
    );
    // One that is as large as an approval may be is one.
    let (p, mut w) = (people(), World::default());
    let head = w.on(w.root).file("lab/a", "1").make(&mut w);
    let words = "a reason\n".repeat(1400);
    let tag = w.tag("approve/main/long", head);
    let message = format!("{words}\n{}", tag.message);
    tag.message(&message).sign(&p.alice).make(&mut w);
    w.accepts(head);
}

#[test]
fn own_149_groups_of_identities_that_are_not_there() {
    let many = cost(&flood::unknown_members(2000, Cover::Approved));
    refused(&many, R::PolicyInvalid);
    let message = &many.outcome.steps[0].reasons[0].message;
    assert!(message.contains("there is no identity"), "{message}");
}

#[test]
fn own_150_a_policy_of_more_values_than_any_has() {
    is_linear(|n| flood::yaml_values(n, Cover::Approved), 2000);
    let many = cost(&flood::yaml_values(300_000, Cover::Approved));
    refused(&many, R::PolicyInvalid);
    assert_eq!(
        many.work.yaml_values,
        cost(&flood::yaml_values(200_000, Cover::Approved))
            .work
            .yaml_values
    );
}

#[test]
fn own_151_a_policy_that_is_wrong_in_more_places_than_anybody_reads() {
    refused(
        &cost(&flood::duplicate_keys(1000, Cover::Approved)),
        R::PolicyInvalid,
    );
    let wrong = |count: usize| {
        let text = format!("a: {{{}}}\n", vec!["a: 1"; count].join(","));
        plumb_trust::Policy::parse(text.as_bytes())
            .unwrap_err()
            .len()
    };
    assert_eq!(wrong(20_000), wrong(10_000));
    let mut text = flood::policy_text(2, 2);
    text.push_str("    - {paths: [\"**\"], need: [");
    text.push_str(&vec!["{from: nobody, count: 0}"; 20_000].join(","));
    text.push_str("]}\n");
    let wrong = plumb_trust::Policy::parse(text.as_bytes()).unwrap_err();
    assert!(wrong.len() <= 100, "{}", wrong.len());
}

#[test]
fn own_152_a_garbled_name_is_quoted_in_part() {
    let long = cost(&flood::garbled_name(1 << 20));
    refused(&long, R::MalformedTree);
    assert!(long.outcome.steps[0].reasons[0].message.len() < 2000);
}

#[test]
fn own_153_tags_that_call_themselves_something_long() {
    let many = cost(&flood::long_tag_names(150, 10_000));
    refused(&many, R::Uncovered);
    let notes = &many.outcome.steps[0].notes;
    assert_eq!(notes.len(), 100);
    assert!(notes.iter().all(|note| note.message.len() < 1000));
}

#[test]
fn own_154_wide_folders_within_wide_folders() {
    let wide = cost(&flood::nested_wide_folders(8, 40_000));
    refused(&wide, R::TooLarge);
    let one = 8 << 20;
    assert!(wide.bytes <= limits::TREES + one, "{}", wide.bytes);
}

#[test]
fn own_155_a_wide_folder_in_trust() {
    let wide = cost(&flood::wide_trust(3000, 15, Cover::Approved));
    refused(&wide, R::PolicyInvalid);
    // A listing shows the same of it as ever.
    let flood = flood::wide_trust(50, 2, Cover::Nobody);
    let raw = flood.world.store.bytes(&flood.head);
    let root = Oid::from_hex(&raw[5..45]).unwrap();
    let paths: Vec<String> = plumb_trust::entries(&flood.world.store, &root)
        .map(|entry| entry.unwrap().path)
        .collect();
    assert!(
        paths
            .iter()
            .any(|path| path.starts_with("trust/a/lll") && path.ends_with("/000049"))
    );
    assert!(paths.contains(&"trust/policy.yaml".to_owned()) && paths.is_sorted());
}

#[test]
fn own_156_links_with_one_target() {
    is_linear(|n| flood::links(n, 4000), 100);
    // A commit is read to find the way and to judge it.
    assert!(cost(&flood::links(500, 4000)).most <= 2);
    // Different targets are as much as they are, up to a limit.
    let mut w = World::default();
    let mut commit = w.on(w.root);
    for n in 0..5000 {
        let target = format!("{n}/{}", "a/".repeat(2000));
        commit = commit.entry(&format!("lab/{n}"), "120000", target.as_bytes());
    }
    let head = commit.make(&mut w);
    refused(&cost(&Flood { world: w, head }), R::TooLarge);
}

#[test]
fn own_157_an_approved_branch_merged_into_a_wide_folder() {
    is_linear(|n| flood::approved_into_a_wide_folder(n, n * 20), 30);
}

#[test]
fn own_158_copies_of_a_signed_commit_on_a_side() {
    let many = cost(&flood::signed_copies(200));
    refused(&many, R::SideUnsigned);
    assert!(many.work.signatures <= 16, "{:?}", many.work);
}

#[test]
fn own_159_a_merge_of_many_commits_from_long_ago() {
    is_linear(flood::far_parents, 200);
    let far = cost(&flood::far_parents(400));
    assert!(far.most <= 20, "{}", far.most);
}

#[test]
fn own_160_large_empty_commits_at_the_ends_of_branches() {
    is_linear(|n| flood::empty_commits(n, 10_000), 4);
    let large = cost(&flood::empty_commits(64, 200_000));
    assert!(
        large.bytes <= limits::EMPTY_COMMITS * 2 + (20 << 20),
        "{}",
        large.bytes
    );
    assert!(large.work.signatures <= 50, "{:?}", large.work);
}

#[test]
fn own_161_revoking_tags_of_nothing_above_a_long_history() {
    let calm = cost(&flood::revoke_tags_of_nothing(0, 600));
    let many = cost(&flood::revoke_tags_of_nothing(50, 600));
    assert!(many.outcome.is_accept(), "{}", show(&many.outcome));
    assert!(
        many.reads <= calm.reads + 100,
        "{} {}",
        many.reads,
        calm.reads
    );
}
