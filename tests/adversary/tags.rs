//! Approvals by signed tags.

use plumb_trust::{Oid, Reason, ReasonCode as R, Verdict};
use tests::keys::{DAY, Key, people};
use tests::objects::{PolicyText, REF, REPOSITORY, World, noted, show};

#[test]
fn case_04_a_signed_tag_on_an_unsigned_commit() {
    let (p, mut w) = (people(), World::default());
    let c = w.on(w.root).file("lab/a", "1").make(&mut w);
    w.pends(c, R::Uncovered);
    w.approve(c, &p.carol);
    w.accepts(c);
}

#[test]
fn case_05_a_tag_by_somebody_outside_the_group() {
    let (p, mut w) = (people(), World::default());
    let c = w.on(w.root).file("lab/a", "1").make(&mut w);
    w.approve(c, &p.dave);
    let outcome = w.pends(c, R::ApprovalsMissing);
    let missing = &outcome.steps[0].reasons[0].missing[0];
    assert_eq!(
        (missing.from.as_str(), missing.count, missing.have),
        ("ops", 1, 0)
    );
}

#[test]
fn two_are_needed_and_the_reason_says_who_could() {
    let (p, mut w) = (people(), World::default());
    let c = w.on(w.root).file("prod/a", "1").sign(&p.alice).make(&mut w);
    let outcome = w.pends(c, R::ApprovalsMissing);
    let step = &outcome.steps[0];
    assert_eq!(step.reasons[0].paths, ["prod/a"]);
    assert_eq!(
        step.needs.iter().find(|n| n.count == 2).unwrap().could,
        ["bob", "carol"]
    );
    w.approve(c, &p.bob);
    let outcome = w.accepts(c);
    assert_eq!(outcome.steps[0].signers.len(), 2);
}

#[test]
fn case_34_one_identity_with_two_keys() {
    let p = people();
    let other = tests::keys::Key::ssh_ed25519("alice");
    let mut w = World::with(|policy| policy.identity("alice", &[&p.alice, &other]));
    let c = w.on(w.root).file("prod/a", "1").sign(&p.alice).make(&mut w);
    w.approve(c, &other);
    w.pends(c, R::ApprovalsMissing);
}

#[test]
fn case_35_the_same_identity_as_commit_and_tag_counts_once() {
    let (p, mut w) = (people(), World::default());
    let c = w.on(w.root).file("prod/a", "1").sign(&p.alice).make(&mut w);
    w.approve(c, &p.alice);
    w.approve(c, &p.alice);
    w.pends(c, R::ApprovalsMissing);
}

// The study's table says reject; its later section that what is outside of the commit never rejects it.
#[test]
fn case_36_an_approval_found_under_another_name() {
    let (p, mut w) = (people(), World::default());
    let c = w.on(w.root).file("prod/a", "1").sign(&p.alice).make(&mut w);
    w.tag("approve/staging/1", c)
        .found_as("approve/main/1")
        .sign(&p.bob)
        .make(&mut w);
    let outcome = w.pends(c, R::ApprovalsMissing);
    assert!(noted(&outcome, "calls itself approve/staging/1"));
}

#[test]
fn case_37_an_approval_of_the_commit_before_it_was_amended() {
    let (p, mut w) = (people(), World::default());
    let before = w.on(w.root).file("prod/a", "1").sign(&p.alice).make(&mut w);
    w.approve(before, &p.bob);
    let amended = w.on(w.root).file("prod/a", "2").sign(&p.alice).make(&mut w);
    w.pends(amended, R::ApprovalsMissing);
}

#[test]
fn case_38_a_tag_of_a_tag() {
    let (p, mut w) = (people(), World::default());
    let c = w.on(w.root).file("prod/a", "1").sign(&p.alice).make(&mut w);
    let inner = w.tag("approve/other/1", c).sign(&p.bob).make(&mut w);
    let mut outer = w.tag("approve/main/1", c);
    outer.kind = "tag";
    outer.target = inner;
    outer.sign(&p.bob).make(&mut w);
    w.pends(c, R::ApprovalsMissing);
    let mut lying = w.tag("approve/main/2", c);
    lying.kind = "tree";
    lying.sign(&p.bob).make(&mut w);
    w.pends(c, R::ApprovalsMissing);
}

#[test]
fn case_39_an_approval_for_another_repository_or_branch() {
    for (from, to) in [(REPOSITORY, "another"), (REF, "refs/heads/staging")] {
        let (p, mut w) = (people(), World::default());
        let c = w.on(w.root).file("prod/a", "1").sign(&p.alice).make(&mut w);
        let tag = w.tag("approve/main/1", c);
        let message = tag.message.replace(from, to);
        tag.message(&message).sign(&p.bob).make(&mut w);
        let outcome = w.pends(c, R::ApprovalsMissing);
        assert!(noted(&outcome, "it approves for another"));
    }
}

#[test]
fn case_72_a_tag_body_that_quotes_another_signature() {
    let (p, mut w) = (people(), World::default());
    let c = w.on(w.root).file("prod/a", "1").sign(&p.alice).make(&mut w);
    let quoted = p.bob.sign(b"something else", w.clock());
    let tag = w.tag("approve/main/1", c);
    let message = format!("{quoted}\n{}", tag.message);
    tag.message(&message).sign(&p.bob).make(&mut w);
    // Reject in the study's table; its later section: contributes nothing, and is noted.
    let outcome = w.pends(c, R::ApprovalsMissing);
    assert!(noted(&outcome, "a signature block must stand once"));
}

#[test]
fn case_76_approve_base_over_add_key_use_and_remove() {
    let (p, mut w) = (people(), World::default());
    w.now += 30 * 86_400;
    let add = w
        .policy_step(w.root, |policy| {
            policy.identity("mallory", &[&p.mallory]);
            policy.groups[0].1 = "[alice, bob, carol, mallory]".to_owned();
        })
        .sign(&p.mallory)
        .make(&mut w);
    let used = w
        .on(add)
        .file("prod/a", "evil")
        .sign(&p.mallory)
        .make(&mut w);
    let removed = w
        .policy_step(used, |policy| {
            policy.identities.retain(|(name, _)| name != "mallory");
            policy.keys.retain(|(file, _)| !file.starts_with("mallory"));
            policy.groups[0].1 = "[alice, bob, carol]".to_owned();
        })
        .sign(&p.alice)
        .make(&mut w);
    let root = w.root;
    for key in [&p.alice, &p.bob, &p.dave] {
        let name = format!("approve/main/{}", w.tags.len());
        w.tag(&name, removed)
            .trailer(&format!("Approve-Base: {root}"))
            .sign(key)
            .make(&mut w);
    }
    let outcome = w.pends(removed, R::Uncovered);
    assert_eq!(outcome.accepted, root);
    assert!(noted(&outcome, "spans a change of trust/"));
}

#[test]
fn own_08_approve_base_covers_what_lies_between() {
    let (p, mut w) = (people(), World::default());
    let one = w.on(w.root).file("prod/a", "1").make(&mut w);
    let two = w.on(one).file("lab/a", "1").make(&mut w);
    let three = w.on(two).file("prod/b", "1").sign(&p.alice).make(&mut w);
    let root = w.root;
    w.tag("approve/main/1", three)
        .trailer(&format!("Approve-Base: {root}"))
        .sign(&p.bob)
        .make(&mut w);
    w.pends(three, R::ApprovalsMissing);
    w.tag("approve/main/2", three)
        .trailer(&format!("Approve-Base: {root}"))
        .sign(&p.carol)
        .make(&mut w);
    w.accepts(three);
    // The base itself isn't covered.
    w.tags.clear();
    for key in [&p.bob, &p.carol] {
        let name = format!("approve/main/{}", w.tags.len());
        w.tag(&name, three)
            .trailer(&format!("Approve-Base: {one}"))
            .sign(key)
            .make(&mut w);
    }
    assert_eq!(w.pends(three, R::Uncovered).accepted, root);
    // With the floor past the base, the rest of the span still counts.
    w.floor = Some(one);
    w.accepts(three);
}

#[test]
fn own_09_approve_base_of_a_commit_that_is_no_ancestor() {
    let (p, mut w) = (people(), World::default());
    let elsewhere = w.on(w.root).file("lab/b", "9").make(&mut w);
    let one = w.on(w.root).file("lab/a", "1").make(&mut w);
    let two = w.on(one).file("lab/a", "2").sign(&p.alice).make(&mut w);
    w.tag("approve/main/1", two)
        .trailer(&format!("Approve-Base: {elsewhere}"))
        .sign(&p.bob)
        .make(&mut w);
    let outcome = w.pends(two, R::Uncovered);
    assert!(noted(&outcome, "isn't an earlier commit"));
}

#[test]
fn own_10_a_lightweight_tag_approves_nothing() {
    let mut w = World::default();
    let c = w.on(w.root).file("lab/a", "1").make(&mut w);
    w.tags.push(plumb_trust::TagRef {
        name: "refs/tags/approve/main/1".to_owned(),
        target: c,
    });
    w.pends(c, R::Uncovered);
}

#[test]
fn own_11_an_approval_pushed_again_under_another_name_isn_t_spoiled() {
    let (p, mut w) = (people(), World::default());
    let c = w.on(w.root).file("lab/a", "1").make(&mut w);
    let tag = w.approve(c, &p.alice);
    for name in ["refs/tags/approve/main/!", "refs/tags/approve/main/zzz"] {
        w.tags.insert(
            0,
            plumb_trust::TagRef {
                name: name.to_owned(),
                target: tag,
            },
        );
    }
    w.accepts(c);
    w.tags.reverse();
    w.accepts(c);
}

#[test]
fn own_12_an_approval_older_than_its_commit() {
    let (p, mut w) = (people(), World::default());
    w.wait(86_400);
    let c = w.on(w.root).file("lab/a", "1").make(&mut w);
    let early = w.clock() - 3600;
    w.tag("approve/main/1", c)
        .dated(early)
        .sign(&p.carol)
        .make(&mut w);
    let outcome = w.pends(c, R::Uncovered);
    assert!(noted(&outcome, "before what it builds on"));
}

#[test]
fn own_13_approvals_that_lie_too_far_apart() {
    let (p, mut w) = (people(), World::default());
    let c = w.on(w.root).file("prod/a", "1").sign(&p.alice).make(&mut w);
    w.wait(8 * 86_400);
    w.approve(c, &p.bob);
    w.pends(c, R::ApprovalsMissing);
    // A third one near the second is enough.
    w.approve(c, &p.carol);
    w.accepts(c);
}

#[test]
fn own_14_an_approval_from_the_future_waits() {
    let (p, mut w) = (people(), World::default());
    let c = w.on(w.root).file("lab/a", "1").make(&mut w);
    let late = w.now + 3600;
    w.tag("approve/main/1", c)
        .dated(late)
        .sign(&p.carol)
        .make(&mut w);
    w.pends(c, R::Uncovered);
    w.now += 3600;
    w.accepts(c);
}

#[test]
fn own_15_an_approval_with_two_approve_lines() {
    let (p, mut w) = (people(), World::default());
    let other = w.on(w.root).file("prod/a", "evil").make(&mut w);
    let c = w.on(w.root).file("lab/a", "1").make(&mut w);
    w.tag("approve/main/1", c)
        .trailer(&format!("approve: {REPOSITORY} {REF} {other}"))
        .sign(&p.carol)
        .make(&mut w);
    let outcome = w.pends(c, R::Uncovered);
    assert!(noted(&outcome, "there twice"));
}

#[test]
fn own_16_an_approval_whose_line_is_not_in_the_last_paragraph() {
    let (p, mut w) = (people(), World::default());
    let c = w.on(w.root).file("lab/a", "1").make(&mut w);
    let tag = w.tag("approve/main/1", c);
    let message = format!("{}\nsome prose\n", tag.message);
    tag.message(&message).sign(&p.carol).make(&mut w);
    w.pends(c, R::Uncovered);
}

#[test]
fn own_17_a_forged_approval_blocks_nobody() {
    let (p, mut w) = (people(), World::default());
    let c = w.on(w.root).file("lab/a", "1").sign(&p.alice).make(&mut w);
    let block = p.bob.sign(b"another payload", w.clock());
    w.tag("approve/main/1", c)
        .edit(|raw| [raw, block.into_bytes()].concat())
        .make(&mut w);
    w.tag("approve/main/2", c)
        .edit(|_| b"garbage".to_vec())
        .make(&mut w);
    w.tag("approve/main/3", c).sign(&p.mallory).make(&mut w);
    w.accepts(c);
}

#[test]
fn case_43_teleport_of_a_signed_feature_commit() {
    let p = people();
    for bind in ["trailer", "approval"] {
        let mut w = World::with(|policy| bind.clone_into(&mut policy.bind_ref));
        let c = w.on(w.root).file("lab/a", "1").sign(&p.alice).make(&mut w);
        w.pends(c, R::Unbound);
        let other = w
            .on(w.root)
            .file("lab/a", "2")
            .message(&format!(
                "x\n\nDeploy-Ref: {REPOSITORY} refs/heads/staging\n"
            ))
            .sign(&p.alice)
            .make(&mut w);
        w.pends(other, R::Unbound);
        let bound = w
            .on(w.root)
            .file("lab/a", "3")
            .bound()
            .sign(&p.alice)
            .make(&mut w);
        w.accepts(bound);
        w.approve(c, &p.alice);
        w.accepts(c);
    }
}

#[test]
fn own_18_a_binding_trailer_of_an_unsigned_commit_binds_nothing() {
    let p = people();
    let mut w = World::with(|policy| "trailer".clone_into(&mut policy.bind_ref));
    let c = w
        .on(w.root)
        .file("lab/a", "1")
        .bound()
        .sign(&p.mallory)
        .make(&mut w);
    w.pends(c, R::Uncovered);
    let outcome = w.verify(c);
    assert!(outcome.revision().unwrap().trailers().is_empty());
}

#[test]
fn case_68_many_bogus_tags() {
    let (p, mut w) = (people(), World::default());
    let c = w.on(w.root).file("lab/a", "1").sign(&p.alice).make(&mut w);
    let model = {
        let mut other = w.clone();
        let id = other.tag("approve/main/x", c).sign(&p.bob).make(&mut other);
        other.store.bytes(&id).to_vec()
    };
    for n in 0..10_000 {
        // Each of its own name, its signature spoiled by that.
        let text = String::from_utf8(model.clone())
            .unwrap()
            .replace("approve/main/x", &format!("approve/main/{n}"));
        let id = w.store.write(plumb_trust::ObjectKind::Tag, text);
        w.tags.push(plumb_trust::TagRef {
            name: format!("refs/tags/approve/main/{n}"),
            target: id,
        });
    }
    let start = std::time::Instant::now();
    w.accepts(c);
    // Ten thousand signatures are computed, at most; never each with each.
    assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
}

#[test]
fn own_101_what_strangers_call_their_tags_is_written_out() {
    let (p, mut w) = (people(), World::default());
    let hides = "x\u{202e}\u{9b}8m\u{200b}";
    let shown = "x\\u{202e}\\u{9b}8m\\u{200b}";
    // As a tag of the repository, and embedded in a merge.
    let side = w.on(w.root).file("lab/b", "1").sign(&p.alice).make(&mut w);
    let tag = w.tag(&format!("approve/other/{hides}"), side).make(&mut w);
    let main = w.on(w.root).file("lab/a", "1").sign(&p.alice).make(&mut w);
    let merge = w
        .merge(&[main, side])
        .file("lab/b", "1")
        .mergetag(&w.store, tag)
        .make(&mut w);
    w.tag(&format!("approve/main/{hides}"), merge).make(&mut w);
    let outcome = w.verify(merge);
    let notes = &outcome.steps[1].notes;
    for kind in ["other", "main"] {
        let name = format!("approve/{kind}/{shown}");
        assert!(notes.iter().any(|n| n.message.contains(&name)), "{notes:?}");
    }
    let reasons = outcome
        .steps
        .iter()
        .flat_map(|s| s.reasons.iter().chain(&s.notes));
    for reason in reasons {
        let hidden = reason.message.contains(plumb_trust::object::invisible);
        assert!(!hidden, "{:?}", reason.message);
    }
}

/// A heartbeat of the beacon, of so long ago.
fn beat(w: &mut World, target: Oid, key: &Key, ago: i64) {
    let at = w.now - ago;
    w.tag(&format!("alive/main/{}", w.tags.len()), target)
        .message(&format!("alive\n\nAlive: {REPOSITORY} {REF} {target}\n"))
        .dated(at)
        .sign(key)
        .make(w);
}

fn asks_for_heartbeats(policy: &mut PolicyText, key: &Key) {
    policy.identity("beacon", &[key]);
    let freshness = "freshness: {tag: \"alive/main/*\", from: beacon, maxAge: 24h, onStale: hold}";
    freshness.clone_into(&mut policy.more);
}

/// From each of these floors the head is held for want of a heartbeat; what is accepted is the later one of the
/// floor and the one at the place `asked` of them.
#[track_caller]
fn held_from_each(w: &mut World, floors: &[Oid], asked: usize, head: Oid) {
    for (at, floor) in floors.iter().enumerate() {
        w.floor = Some(*floor);
        let outcome = w.verify(head);
        assert_eq!(outcome.verdict, Verdict::PendingAlarm, "{}", show(&outcome));
        assert_eq!(outcome.accepted, floors[at.max(asked)]);
        let stale = |reasons: &[Reason]| {
            let of = reasons.iter().filter(|r| r.code == R::HeartbeatStale);
            of.count() == 1
        };
        assert!(stale(&outcome.reasons), "{}", show(&outcome));
        if let Some(step) = outcome.first_held() {
            assert!(stale(&step.reasons), "{}", show(&outcome));
        }
    }
    w.floor = None;
}

// The policy at the end of the way says whether there must be a heartbeat, wherever one begins.
#[test]
fn own_108_a_heartbeat_that_is_asked_for_on_the_way() {
    let (p, mut w) = (people(), World::default());
    let frank = Key::ssh_ed25519("frank");
    let before = w.on(w.root).file("lab/a", "1").sign(&p.alice).make(&mut w);
    let adds = w.approved_policy_step(before, |policy| asks_for_heartbeats(policy, &p.mallory));
    // The commit that asks for it first can't have one yet: it is accepted, and there is an alarm.
    let (root, floors) = (w.root, [w.root, before, adds]);
    held_from_each(&mut w, &floors, 2, adds);
    let after = w.on(adds).file("lab/a", "2").sign(&p.alice).make(&mut w);
    let floors = [root, before, adds, after];
    held_from_each(&mut w, &floors, 2, after);
    // What takes nothing from it doesn't begin it anew.
    let other = w.approved_policy_step(after, |policy| {
        policy.identity("frank", &[&frank]);
        policy
            .groups
            .push(("guests".to_owned(), "[frank]".to_owned()));
    });
    let floors = [root, before, adds, after, other];
    held_from_each(&mut w, &floors, 2, other);
    // Beside it, what is wrong with the first commit after what is accepted is still said.
    let unsigned = w.on(adds).file("lab/a", "3").make(&mut w);
    let outcome = w.alarms(unsigned, R::HeartbeatStale);
    assert!(
        outcome.steps[2]
            .reasons
            .iter()
            .any(|r| r.code == R::Uncovered)
    );
    let broken = w
        .on(adds)
        .file("trust/policy.yaml", "no")
        .sign(&p.alice)
        .make(&mut w);
    assert_eq!(w.rejects(broken, R::HeartbeatStale).accepted, adds);
    // One by somebody else, one that names what isn't here, one that is too old; then a good one.
    beat(&mut w, root, &p.alice, 60);
    beat(&mut w, unsigned, &p.mallory, 60);
    beat(&mut w, adds, &p.mallory, DAY + 1);
    held_from_each(&mut w, &floors, 2, other);
    beat(&mut w, adds, &p.mallory, 3600);
    for floor in floors {
        w.floor = Some(floor);
        assert!(w.accepts(other).reasons.is_empty());
    }
}

// Who is held by a stale heartbeat is let go by the commit that ends it, and by nothing less.
#[test]
fn own_109_a_heartbeat_that_ends_or_changes_on_the_way() {
    let (p, frank) = (people(), Key::ssh_ed25519("frank"));
    let mut w = World::with(|policy| asks_for_heartbeats(policy, &p.mallory));
    let (root, usual) = (w.root, PolicyText::usual());
    let under_it = w.on(root).file("lab/a", "1").sign(&p.alice).make(&mut w);
    held_from_each(&mut w, &[root], 0, under_it);
    // The thief of one key ends it: that isn't accepted, and the heartbeat is still asked for.
    let alone = w
        .policy_step(under_it, |policy| policy.more.clear())
        .sign(&p.alice)
        .make(&mut w);
    let after = w.on(alone).file("lab/a", "2").sign(&p.alice).make(&mut w);
    held_from_each(&mut w, &[root], 0, after);
    w.policy.more.clear();
    w.policy.serial -= 1;
    let ends = w.approved_policy_step(under_it, |policy| {
        policy.identities.retain(|(name, _)| name != "beacon");
        policy.keys = usual.keys.clone();
    });
    let after = w.on(ends).file("lab/a", "2").sign(&p.alice).make(&mut w);
    for floor in [root, under_it, ends] {
        w.floor = Some(floor);
        assert!(w.accepts(after).reasons.is_empty());
    }
    // A server that shows only what was before it profits by nothing.
    held_from_each(&mut w, &[root], 0, under_it);
    // It begins again with another key: the old one's heartbeats are none.
    let again = w.approved_policy_step(after, |policy| asks_for_heartbeats(policy, &frank));
    let last = w.on(again).file("lab/a", "3").sign(&p.alice).make(&mut w);
    beat(&mut w, root, &p.mallory, 60);
    held_from_each(&mut w, &[root, under_it, ends, after, again, last], 4, last);
    // And with a third in one commit.
    let third = w.approved_policy_step(last, |policy| asks_for_heartbeats(policy, &p.mallory));
    for floor in [root, again, last, third] {
        w.floor = Some(floor);
        assert!(w.accepts(third).reasons.is_empty());
    }
}

// Of two who revoke each other, who was first is only what their tags say. So both are out; and a half-made
// revocation is told, with whose it is.
#[test]
fn a_revoke_tag_by_a_key_that_is_revoked_itself_counts_against_others() {
    let (p, mut w) = (people(), World::default());
    let (root, now) = (w.root, w.now);
    let c = w.on(w.root).file("lab/a", "1").sign(&p.bob).make(&mut w);
    let revoke = |w: &mut World, key: &Key, by: &Key, ago: i64| {
        let name = format!("revoke/{}/{}", key.hex(), w.tags.len());
        w.tag(&name, root).dated(now - ago).sign(by).make(w);
        name
    };
    // Carol's thief against bob, alone; then the others against carol.
    let thief = revoke(&mut w, &p.bob, &p.carol, 3000);
    let outcome = w.accepts(c);
    let begun = &outcome.begun[0];
    assert_eq!((outcome.begun.len(), begun.key.to_hex()), (1, p.bob.hex()));
    assert_eq!(begun.signers.len(), 1);
    assert_eq!(begun.signers[0].identity, "carol");
    assert_eq!(begun.signers[0].by, plumb_trust::By::Tag(thief));
    let mut missing: Vec<_> = begun
        .missing
        .iter()
        .map(|m| (m.from.as_str(), m.count, m.have))
        .collect();
    missing.sort_unstable();
    assert_eq!(missing, [("ops", 2, 1), ("sec", 1, 0)]);
    for (by, ago) in [(&p.alice, 2000), (&p.bob, 2000), (&p.dave, 2000)] {
        revoke(&mut w, &p.carol, by, ago);
    }
    let outcome = w.accepts(c);
    assert_eq!((outcome.revoked.len(), outcome.begun.len()), (1, 1));
    // Those who complete it say so by their own keys; the thief's alone never does.
    revoke(&mut w, &p.bob, &p.dave, 1000);
    assert_eq!(w.accepts(c).begun[0].missing[0].have, 1);
    let mut here = w.clone();
    revoke(&mut w, &p.bob, &p.alice, 1000);
    let outcome = w.alarms(c, R::KeyRevoked);
    assert_eq!((outcome.revoked.len(), outcome.begun.len()), (2, 0));
    // In `revoked.d` it takes part all the same: nobody gets authority back because another one loses it.
    here.revoked.insert(
        outcome
            .revoked
            .iter()
            .find(|key| key.to_hex() == p.carol.hex())
            .unwrap()
            .clone(),
    );
    revoke(&mut here, &p.bob, &p.alice, 1000);
    here.alarms(c, R::KeyRevoked);
}
