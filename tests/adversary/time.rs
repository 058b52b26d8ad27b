//! Time, revocation, rollback, freezes, heartbeats and emergencies.

use jiff::Timestamp;
use plumb_trust::ReasonCode as R;
use sequoia_openpgp::types::ReasonForRevocation as Why;
use tests::keys::{DAY, Key, people};
use tests::objects::{REF, REPOSITORY, START, World};

fn moment(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

#[test]
fn case_10_backdated_within_the_parent_s_bound() {
    let (p, mut w) = (people(), World::default());
    let c = w.on(w.root).file("lab/a", "1").sign(&p.alice).make(&mut w);
    w.seen.insert(c, moment(w.clock() + 13 * DAY));
    w.now += 30 * DAY;
    w.accepts(c);
    w.seen.insert(c, moment(w.clock() + 15 * DAY));
    w.alarms(c, R::SeenLate);
}

#[test]
fn own_39_a_key_must_be_live_shortly_before_it_was_seen() {
    let p = people();
    let mut w = World::with(|policy| {
        for (name, keys) in &mut policy.identities {
            if name == "carol" {
                keys[0].push_str(", validBefore: 2025-02-05T00:00:00Z");
            }
        }
    });
    let c = w.on(w.root).file("lab/a", "1").sign(&p.carol).make(&mut w);
    // Expires five days after: seen six days after it was made, it had been expired for a day.
    w.seen.insert(c, moment(START + 6 * DAY));
    w.accepts(c);
    w.seen.insert(c, moment(START + 8 * DAY));
    w.alarms(c, R::KeyExpired);
}

#[test]
fn own_50_an_openpgp_key_too() {
    let builder = sequoia_openpgp::cert::CertBuilder::new()
        .set_primary_key_flags(
            sequoia_openpgp::types::KeyFlags::empty()
                .set_signing()
                .set_certification(),
        )
        .set_validity_period(std::time::Duration::from_hours(31 * 24));
    let key = Key::pgp_built(builder, "alice");
    let mut w = World::with(|policy| policy.identity("alice", &[&key]));
    let c = w.on(w.root).file("lab/a", "1").sign(&key).make(&mut w);
    w.seen.insert(c, moment(START + 2 * DAY));
    w.accepts(c);
    w.seen.insert(c, moment(START + 4 * DAY));
    w.alarms(c, R::KeyExpired);
}

#[test]
fn case_11_and_12_soft_revoked() {
    let p = people();
    for (at, before) in [(START + DAY, true), (START - DAY, false)] {
        let revoked = p.alice.revoked(Why::KeyRetired, at);
        let mut w = World::with(|policy| policy.identity("alice", &[&revoked]));
        let c = w.on(w.root).file("lab/a", "1").sign(&p.alice).make(&mut w);
        if before {
            w.accepts(c);
        } else {
            w.alarms(c, R::KeyRevoked);
        }
    }
}

#[test]
fn case_13_hard_revoked() {
    let p = people();
    for reason in [Why::KeyCompromised, Why::Unspecified] {
        let revoked = p.alice.revoked(reason, START + DAY);
        let mut w = World::with(|policy| policy.identity("alice", &[&revoked]));
        let c = w.on(w.root).file("lab/a", "1").sign(&p.alice).make(&mut w);
        w.alarms(c, R::KeyRevoked);
    }
}

#[test]
fn case_14_the_signing_subkey_revoked() {
    let builder = sequoia_openpgp::cert::CertBuilder::new()
        .set_primary_key_flags(sequoia_openpgp::types::KeyFlags::empty().set_certification())
        .add_signing_subkey();
    let key = Key::pgp_built(builder, "alice");
    for (reason, at, accepted) in [
        (Why::KeyRetired, START + DAY, true),
        (Why::KeyRetired, START - DAY, false),
        (Why::KeyCompromised, START + DAY, false),
    ] {
        let revoked = key.subkey_revoked(reason, at);
        let mut w = World::with(|policy| policy.identity("alice", &[&revoked]));
        let c = w.on(w.root).file("lab/a", "1").sign(&key).make(&mut w);
        if accepted {
            w.accepts(c);
        } else {
            w.alarms(c, R::KeyRevoked);
        }
    }
}

#[test]
fn case_18_revoked_on_this_machine_only() {
    let p = people();
    for key in [&p.alice, &p.carol] {
        let mut w = World::default();
        let c = w.on(w.root).file("lab/a", "1").sign(key).make(&mut w);
        w.revoked.read(key.public().as_bytes()).unwrap();
        w.alarms(c, R::KeyRevoked);
        // It only takes away: others still can.
        w.approve(c, &p.bob);
        w.accepts(c);
    }
}

#[test]
fn a_revoke_tag_acts_at_once() {
    let p = people();
    for key in [&p.alice, &p.carol] {
        let mut w = World::default();
        let c = w.on(w.root).file("lab/a", "1").sign(key).make(&mut w);
        let root = w.root;
        for (n, signer) in [&p.bob, &p.dave].into_iter().enumerate() {
            w.tag(&format!("revoke/{}/{n}", key.hex()), root)
                .sign(signer)
                .make(&mut w);
        }
        // Two of ops are needed: the third tag is of alice or carol herself, or of the other.
        w.accepts(c);
        let other = if std::ptr::eq(key, &raw const p.alice) {
            &p.carol
        } else {
            &p.alice
        };
        w.tag(&format!("revoke/{}/9", key.hex()), root)
            .sign(other)
            .make(&mut w);
        let outcome = w.alarms(c, R::KeyRevoked);
        assert_eq!(outcome.revoked.len(), 1);
    }
}

#[test]
fn who_could_give_what_is_missing_is_whoever_still_can() {
    let p = people();
    let retired = p.alice.revoked(Why::KeyRetired, START - DAY);
    let mut w = World::with(|policy| policy.identity("alice", &[&retired]));
    let c = w.on(w.root).file("prod/a", "1").sign(&p.bob).make(&mut w);
    let could = |w: &World| {
        let outcome = w.verify(c);
        let needs = outcome.steps[0].needs.iter();
        let lacking = needs.filter(|need| need.have < need.count);
        lacking
            .flat_map(|need| need.could.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(could(&w), ["carol"]);
    // Once enough have said so, and as of when they were enough.
    let (root, now) = (w.root, w.now);
    for (n, (signer, ago)) in [
        (&p.bob, 300),
        (&p.carol, 200),
        (&p.dave, 100),
        (&p.erin, 50),
    ]
    .into_iter()
    .enumerate()
    {
        w.tag(&format!("revoke/{}/{n}", p.carol.hex()), root)
            .dated(now - ago)
            .sign(signer)
            .make(&mut w);
    }
    assert_eq!(could(&w), [""; 0]);
    w.approve(c, &p.carol);
    let outcome = w.verify(c);
    let since = format!("is revoked by a revoke/ tag since {}", moment(now - 100));
    let notes: Vec<_> = outcome.steps[0].notes.iter().map(|n| &n.message).collect();
    assert!(notes.iter().any(|n| n.contains(&since)), "{notes:?}");
    // Of a certificate it is said when.
    let one = w.on(w.root).file("lab/a", "1").sign(&p.alice).make(&mut w);
    let outcome = w.alarms(one, R::KeyRevoked);
    let on = format!(", on {})", moment(START - DAY));
    let reasons: Vec<_> = outcome.steps[0]
        .reasons
        .iter()
        .map(|r| &r.message)
        .collect();
    assert!(reasons.iter().any(|r| r.contains(&on)), "{reasons:?}");
}

#[test]
fn own_40_revoke_tags_that_are_short_of_signers_or_misnamed() {
    let (p, mut w) = (people(), World::default());
    let c = w.on(w.root).file("lab/a", "1").sign(&p.alice).make(&mut w);
    let root = w.root;
    for (n, signer) in [&p.bob, &p.carol, &p.mallory].into_iter().enumerate() {
        w.tag(&format!("revoke/{}/{n}", p.alice.hex()), root)
            .sign(signer)
            .make(&mut w);
    }
    // Found under a name that its signer didn't give.
    w.tag("revoke/0000/1", root)
        .found_as(&format!("revoke/{}/8", p.alice.hex()))
        .sign(&p.dave)
        .make(&mut w);
    // On a commit that isn't accepted.
    let pending = w.on(w.root).make(&mut w);
    w.tag(&format!("revoke/{}/7", p.alice.hex()), pending)
        .sign(&p.dave)
        .make(&mut w);
    w.accepts(c);
}

#[test]
fn own_41_a_revoke_tag_on_a_later_commit_takes_nothing_from_those_before() {
    let (p, mut w) = (people(), World::default());
    let one = w.on(w.root).file("lab/a", "1").sign(&p.alice).make(&mut w);
    let two = w.on(one).file("lab/a", "2").sign(&p.alice).make(&mut w);
    for (n, signer) in [&p.bob, &p.carol, &p.dave].into_iter().enumerate() {
        w.tag(&format!("revoke/{}/{n}", p.alice.hex()), one)
            .sign(signer)
            .make(&mut w);
    }
    let outcome = w.alarms(two, R::KeyRevoked);
    assert_eq!(outcome.accepted, one);
    assert!(outcome.reasons.iter().any(|r| r.code == R::HistoryRevoked));
}

// Whoever has the key may be able to delete the tags that took its authority away.
#[test]
fn own_99_a_deleted_revoke_tag_gives_nothing_back() {
    let (p, mut w) = (people(), World::default());
    let one = w.on(w.root).file("lab/a", "1").sign(&p.alice).make(&mut w);
    let two = w.on(one).file("lab/a", "2").sign(&p.bob).make(&mut w);
    let root = w.root;
    for (n, signer) in [&p.bob, &p.carol, &p.dave].into_iter().enumerate() {
        w.tag(&format!("revoke/{}/{n}", p.alice.hex()), root)
            .sign(signer)
            .make(&mut w);
    }
    let outcome = w.alarms(one, R::KeyRevoked);
    w.tags.clear();
    w.accepts(two);
    w.revoked_before = outcome.revoked.into_iter().collect();
    let outcome = w.alarms(one, R::KeyRevoked);
    assert_eq!(outcome.revoked, []);
    // What she says of others counts as it does beside the tags: which of them came first means nothing.
    for (n, signer) in [&p.alice, &p.carol, &p.dave].into_iter().enumerate() {
        w.tag(&format!("revoke/{}/{n}", p.bob.hex()), root)
            .sign(signer)
            .make(&mut w);
    }
    w.floor = Some(one);
    w.alarms(two, R::KeyRevoked);
}

#[test]
fn own_51_a_revoke_tag_waits_until_its_commit_is_accepted() {
    let (p, mut w) = (people(), World::default());
    let one = w.on(w.root).file("lab/a", "1").sign(&p.alice).make(&mut w);
    let two = w.on(one).file("lab/a", "2").sign(&p.alice).make(&mut w);
    let three = w.on(two).file("lab/a", "3").sign(&p.alice).make(&mut w);
    for (n, (target, signer)) in [(one, &p.bob), (one, &p.carol), (three, &p.dave)]
        .into_iter()
        .enumerate()
    {
        w.tag(&format!("revoke/{}/{n}", p.alice.hex()), target)
            .sign(signer)
            .make(&mut w);
    }
    assert_eq!(w.accepts(three).revoked.len(), 1);
    let four = w.on(three).file("lab/a", "4").sign(&p.alice).make(&mut w);
    w.alarms(four, R::KeyRevoked);
}

#[test]
fn case_42_rewound_and_diverged() {
    let (p, mut w) = (people(), World::default());
    let one = w.on(w.root).file("lab/a", "1").sign(&p.alice).make(&mut w);
    let two = w.on(one).file("lab/a", "2").sign(&p.alice).make(&mut w);
    w.floor = Some(two);
    let outcome = w.rejects(one, R::Rewound);
    assert_eq!(outcome.accepted, two);
    let other = w.on(one).file("lab/a", "3").sign(&p.alice).make(&mut w);
    w.rejects(other, R::NotDescendant);
}

#[test]
fn a_signed_rollback() {
    let (p, mut w) = (people(), World::default());
    let one = w.on(w.root).file("prod/a", "1").sign(&p.alice).make(&mut w);
    w.approve(one, &p.bob);
    let two = w.on(one).file("prod/a", "2").sign(&p.alice).make(&mut w);
    w.approve(two, &p.bob);
    w.accepts(two);
    w.floor = Some(two);
    let back = w
        .on(one)
        .message(&format!("back\n\nRollback-To: {two} {one}\n"))
        .sign(&p.alice)
        .make(&mut w);
    // Its difference from the floor is in prod.
    w.pends(back, R::ApprovalsMissing);
    w.approve(back, &p.carol);
    let outcome = w.accepts(back);
    assert_eq!(
        (
            outcome.rollbacks[0].from,
            outcome.rollbacks[0].to,
            outcome.rollbacks[0].commit
        ),
        (two, one, back)
    );
    // It goes on from there.
    let next = w.on(back).file("lab/a", "1").sign(&p.alice).make(&mut w);
    w.accepts(next);
    // Other ends than the true ones; and unsigned.
    let wrong = w
        .on(one)
        .message(&format!("back\n\nRollback-To: {one} {two}\n"))
        .sign(&p.alice)
        .make(&mut w);
    w.rejects(wrong, R::RollbackRefused);
    let unsigned = w
        .on(one)
        .message(&format!("back\n\nRollback-To: {two} {one}\n"))
        .file("lab/b", "x")
        .make(&mut w);
    w.rejects(unsigned, R::RollbackRefused);
}

#[test]
fn signed_trailer_resumes_a_rollout_with_the_approvals_of_fleet_yaml() {
    let p = people();
    let mut w = World::with(|policy| {
        let rule = "{paths: [\"fleet.yaml\"], need: [{from: ops, count: 2}]}";
        policy.rules.push(rule.to_owned());
    });
    let text = "go on\n\nRollout-Resume: 41b9f80c2d11\n";
    let one = w
        .on(w.root)
        .message(text)
        .file("lab/a", "1")
        .sign(&p.alice)
        .make(&mut w);
    w.pends(one, R::ApprovalsMissing);
    w.approve(one, &p.bob);
    let outcome = w.accepts(one);
    assert_eq!(outcome.resumes.len(), 1);
    assert_eq!(
        (
            outcome.resumes[0].rollout.as_str(),
            outcome.resumes[0].commit
        ),
        ("41b9f80c2d11", one)
    );
    // Its signer must be the one who says it: an unsigned message that others approve resumes nothing.
    let unsigned = w.on(w.root).message(text).file("lab/a", "1").make(&mut w);
    w.approve(unsigned, &p.alice);
    w.approve(unsigned, &p.bob);
    assert!(w.accepts(unsigned).resumes.is_empty());
    // Nor does a commit of a branch that is merged.
    let side = w
        .on(w.root)
        .message(text)
        .file("lab/b", "1")
        .sign(&p.alice)
        .make(&mut w);
    let root = w.root;
    let merge = w
        .merge(&[root, side])
        .file("lab/b", "1")
        .sign(&p.alice)
        .make(&mut w);
    assert!(w.accepts(merge).resumes.is_empty());
}

#[test]
fn case_78_rollback_below_the_serial() {
    let (p, mut w) = (people(), World::default());
    let step = w.approved_policy_step(w.root, |_| {});
    w.floor = Some(step);
    let root = w.root;
    let back = w
        .on(w.root)
        .message(&format!("back\n\nRollback-To: {step} {root}\n"))
        .sign(&p.alice)
        .make(&mut w);
    w.rejects(back, R::RollbackRefused);
}

#[test]
fn case_44_a_stale_heartbeat() {
    let p = people();
    let mut w = World::with(|policy| {
        policy.identity("beacon", &[&p.mallory]);
        policy.more =
            "freshness: {tag: \"alive/main/*\", from: beacon, maxAge: 24h, onStale: hold}"
                .to_owned();
    });
    let c = w.on(w.root).file("lab/a", "1").sign(&p.alice).make(&mut w);
    let outcome = w.alarms(c, R::HeartbeatStale);
    assert_eq!(outcome.accepted, w.root);
    assert_eq!(outcome.steps[0].reasons[0].code, R::HeartbeatStale);
    let (root, now) = (w.root, w.now);
    let beat = |w: &mut World, target, key, at: i64| {
        w.tag(&format!("alive/main/{at}"), target)
            .message(&format!("alive\n\nAlive: {REPOSITORY} {REF} {target}\n"))
            .dated(at)
            .sign(key)
            .make(w)
    };
    // Too old, of somebody else, of a commit that isn't on the branch.
    beat(&mut w, root, &p.mallory, now - 25 * 3600);
    beat(&mut w, root, &p.alice, now - 60);
    let elsewhere = w.on(w.root).file("lab/b", "x").make(&mut w);
    beat(&mut w, elsewhere, &p.mallory, now - 30);
    w.alarms(c, R::HeartbeatStale);
    beat(&mut w, root, &p.mallory, now - 3600);
    w.accepts(c);
    w.floor = Some(c);
    w.accepts(c);
    w.now += 24 * 3600;
    assert_eq!(w.verify(c).verdict, plumb_trust::Verdict::PendingAlarm);
}

#[test]
fn case_45_a_signature_of_tomorrow() {
    let p = people();
    for key in [&p.alice, &p.carol] {
        let mut w = World::default();
        let tomorrow = w.now + DAY;
        let c = w
            .on(w.root)
            .file("lab/a", "1")
            .dated(tomorrow)
            .sign(key)
            .make(&mut w);
        w.pends(c, R::Future);
        w.now += DAY;
        w.accepts(c);
    }
    // The signature alone of tomorrow.
    let mut w = World::default();
    let tomorrow = w.now + DAY;
    let c = w
        .on(w.root)
        .file("lab/a", "1")
        .sign_at(&p.alice, tomorrow)
        .make(&mut w);
    w.pends(c, R::Future);
    // An unsigned commit of tomorrow can't push the clock on, even approved.
    let c = w.on(w.root).file("lab/a", "2").dated(tomorrow).make(&mut w);
    w.tag("approve/main/1", c)
        .dated(tomorrow)
        .sign(&p.alice)
        .make(&mut w);
    w.pends(c, R::Future);
}

#[test]
fn case_84_reset_away_and_pushed_again() {
    let (p, mut w) = (people(), World::default());
    let c = w.on(w.root).file("lab/a", "1").sign(&p.alice).make(&mut w);
    w.accepts(c);
    w.tombstones.insert(c);
    w.alarms(c, R::Tombstoned);
}

fn frozen() -> World {
    World::with(|policy| {
        policy.more = String::from(
            "freeze: [{from: 2025-02-05T00:00:00Z, to: 2025-02-20T00:00:00Z, paths: [\"prod/**\"]}]\nemergency: {need: [{from: sec, count: 2}], ttl: 4h, bypasses: [freeze, counts], never: [\"lab/b\"]}",
        );
    })
}

#[test]
fn own_42_a_freeze() {
    let (p, mut w) = (people(), frozen());
    let early = w.on(w.root).file("prod/a", "1").sign(&p.alice).make(&mut w);
    w.approve(early, &p.bob);
    // History of before the freeze, for somebody who begins now.
    w.accepts(early);
    // In live sync, what comes now is frozen, whatever it says of its time.
    w.seen.insert(early, moment(w.now));
    w.pends(early, R::Frozen);
    w.seen.clear();
    w.floor = Some(w.root);
    w.pends(early, R::Frozen);
    let lab = w.on(w.root).file("lab/a", "1").sign(&p.alice).make(&mut w);
    w.accepts(lab);
    w.now += 20 * DAY;
    w.accepts(early);
}

#[test]
fn own_43_an_emergency_bypasses_freeze_and_counts() {
    let (p, mut w) = (people(), frozen());
    w.wait(9 * DAY + 23 * 3600);
    let c = w
        .on(w.root)
        .file("prod/a", "fix")
        .message("fix\n\nEmergency: the door is open\n")
        .sign(&p.dave)
        .make(&mut w);
    w.seen.insert(c, moment(w.now));
    w.pends(c, R::Frozen);
    w.approve(c, &p.erin);
    w.accepts(c);
    // Without the trailer the same two count for nothing here.
    let plain = w
        .on(w.root)
        .file("prod/a", "fix")
        .sign(&p.dave)
        .make(&mut w);
    w.approve(plain, &p.erin);
    w.seen.insert(plain, moment(w.now));
    w.pends(plain, R::Frozen);
}

// What the rules have already is no emergency where nothing is frozen, whatever it says; where it is frozen,
// those who may declare one still must.
#[test]
fn own_100_an_emergency_that_the_rules_cover() {
    let p = people();
    let cover = |w: &mut World, path: &str| {
        let c = w
            .on(w.root)
            .file(path, "fix")
            .message("fix\n\nEmergency: x\n")
            .sign(&p.alice)
            .make(w);
        w.approve(c, &p.bob);
        w.seen.insert(c, moment(w.now));
        c
    };
    let mut w = frozen();
    let c = cover(&mut w, "lab/b");
    w.accepts(c);
    w.wait(9 * DAY + 23 * 3600);
    let c = cover(&mut w, "prod/a");
    w.pends(c, R::Frozen);
    w.approve(c, &p.dave);
    w.approve(c, &p.erin);
    w.accepts(c);
}

#[test]
fn case_70_an_emergency_too_late_or_of_what_it_must_not_touch() {
    let (p, mut w) = (people(), frozen());
    w.wait(9 * DAY);
    let late = w
        .on(w.root)
        .file("prod/a", "fix")
        .message("fix\n\nEmergency: x\n")
        .sign(&p.dave)
        .make(&mut w);
    w.approve(late, &p.erin);
    w.seen.insert(late, moment(w.now));
    w.rejects(late, R::EmergencyExpired);
    for path in ["lab/b", "trust/keys/x"] {
        let mut w = frozen();
        let c = w
            .policy_step(w.root, |_| {})
            .message("fix\n\nEmergency: x\n");
        let c = if path.starts_with("trust") {
            c
        } else {
            w.on(w.root)
                .file(path, "x")
                .message("fix\n\nEmergency: x\n")
        };
        let c = c.sign(&p.dave).make(&mut w);
        w.approve(c, &p.erin);
        w.rejects(c, R::EmergencyForbidden);
    }
}

#[test]
fn own_83_nobody_declares_an_emergency_that_is_over() {
    let p = people();
    for (hours, good) in [(3, true), (5, false)] {
        let mut w = frozen();
        w.wait(5 * DAY);
        let c = w
            .on(w.root)
            .file("prod/a", "fix")
            .message("fix\n\nEmergency: the door is open\n")
            .sign(&p.dave)
            .make(&mut w);
        // It came in time and waited.
        w.seen.insert(c, moment(w.clock() + 60));
        w.wait(hours * 3600);
        w.approve(c, &p.erin);
        if good {
            w.accepts(c);
        } else {
            w.pends(c, R::Frozen);
        }
    }
}

#[test]
fn own_44_lower_bounds_must_be_on_the_chain() {
    let (p, mut w) = (people(), World::default());
    let one = w.on(w.root).file("lab/a", "1").sign(&p.alice).make(&mut w);
    let two = w.on(one).file("lab/a", "2").make(&mut w);
    let elsewhere = w.on(w.root).file("lab/a", "3").sign(&p.alice).make(&mut w);
    let bounds = [w.root, one, two, elsewhere];
    let inputs = plumb_trust::Inputs::new(w.root, two, moment(w.now)).lower_bounds(&bounds);
    let outcome = plumb_trust::verify(&w.store, &inputs);
    assert_eq!(outcome.off_chain, [two, elsewhere]);
}

#[test]
fn own_45_signatures_within_the_skew_don_t_add_up() {
    let (p, mut w) = (people(), World::default());
    w.wait(5 * DAY);
    let one = w.on(w.root).file("lab/a", "1").sign(&p.alice).make(&mut w);
    // Within the skew backwards, again and again.
    let (latest, mut tip) = (w.clock(), one);
    for (n, back) in [500, 600, 300, 601].into_iter().enumerate() {
        tip = w
            .on(tip)
            .file("lab/a", &n.to_string())
            .dated(latest - back)
            .sign(&p.carol)
            .make(&mut w);
        if back > 600 {
            w.alarms(tip, R::Backdated);
        } else {
            w.accepts(tip);
        }
    }
}
