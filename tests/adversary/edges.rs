//! The last second, the last path, the last of many that still counts, and the first that doesn't; and
//! what people are told.

use jiff::Timestamp;
use plumb_trust::object::limits;
use plumb_trust::{ReasonCode as R, Verdict};
use tests::keys::{DAY, people};
use tests::objects::{REF, REPOSITORY, START, World, noted};

fn moment(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

#[test]
fn own_84_the_future_begins_behind_the_skew() {
    let (p, mut w) = (people(), World::default());
    for (ahead, good) in [(600, true), (601, false)] {
        let at = w.now + ahead;
        let signed = w
            .on(w.root)
            .file("lab/a", "1")
            .dated(w.now)
            .sign_at(&p.alice, at)
            .make(&mut w);
        let unsigned = w.on(w.root).file("lab/a", "1").dated(at).make(&mut w);
        let now = w.now;
        w.tag("approve/main/1", unsigned)
            .dated(now + 600)
            .sign(&p.alice)
            .make(&mut w);
        for c in [signed, unsigned] {
            if good {
                w.accepts(c);
            } else {
                w.pends(c, R::Future);
            }
        }
        w.tags.clear();
    }
}

#[test]
fn own_85_valid_before_is_exclusive() {
    let p = people();
    let end = START + 5 * DAY; // 2025-02-05
    let mut w = World::with(|policy| {
        for (name, keys) in &mut policy.identities {
            if name == "carol" {
                keys[0].push_str(", validBefore: 2025-02-05T00:00:00Z");
            }
        }
    });
    for (at, good) in [(end - 1, true), (end, false)] {
        let c = w
            .on(w.root)
            .file("lab/a", "1")
            .dated(at)
            .sign(&p.carol)
            .make(&mut w);
        if good {
            w.accepts(c);
            // Live two days before it was seen, to the second.
            w.seen.insert(c, moment(end - 1 + 2 * DAY));
            w.accepts(c);
            w.seen.insert(c, moment(end + 2 * DAY));
        }
        w.alarms(c, R::KeyExpired);
    }
}

#[test]
fn own_86_ages_to_the_second() {
    let p = people();
    let mut w = World::default();
    w.now += 30 * DAY;
    let c = w.on(w.root).file("lab/a", "1").sign(&p.alice).make(&mut w);
    let made = w.clock();
    w.seen.insert(c, moment(made + 14 * DAY));
    w.accepts(c);
    w.seen.insert(c, moment(made + 14 * DAY + 1));
    w.alarms(c, R::SeenLate);
    // Signatures of one step.
    for (apart, good) in [(7 * DAY, true), (7 * DAY + 1, false)] {
        let mut w = World::default();
        let c = w.on(w.root).file("prod/a", "1").sign(&p.alice).make(&mut w);
        let at = w.clock() + apart;
        w.tag("approve/main/1", c)
            .dated(at)
            .sign(&p.bob)
            .make(&mut w);
        if good {
            w.accepts(c);
        } else {
            w.pends(c, R::ApprovalsMissing);
        }
    }
    // The approval of a branch, when that is merged: no clock is better than the skew.
    for (apart, good) in [(7 * DAY + 600, true), (7 * DAY + 601, false)] {
        let mut w = World::default();
        let tip = w.on(w.root).file("lab/a", "1").make(&mut w);
        w.approve(tip, &p.bob);
        let at = w.clock() + apart;
        let merge = w
            .merge(&[w.root, tip])
            .file("lab/a", "1")
            .dated(at)
            .make(&mut w);
        if good {
            w.accepts(merge);
        } else {
            w.pends(merge, R::Uncovered);
        }
    }
}

#[test]
fn own_87_an_emergency_to_the_second() {
    let p = people();
    let four = 4 * 3600;
    for (seen, signed, code) in [
        (four, four, None),
        (four + 1, four, Some(R::EmergencyExpired)),
        (four, four + 1, Some(R::ApprovalsMissing)),
    ] {
        let mut w = World::with(|policy| {
            policy.more = "emergency: {need: [{from: sec, count: 2}], ttl: 4h, bypasses: [counts]}"
                .to_owned();
        });
        let c = w
            .on(w.root)
            .file("prod/a", "fix")
            .message("fix\n\nEmergency: the door is open\n")
            .sign(&p.dave)
            .make(&mut w);
        let made = w.clock();
        w.seen.insert(c, moment(made + seen));
        w.tag("approve/main/1", c)
            .dated(made + signed)
            .sign(&p.erin)
            .make(&mut w);
        match code {
            None => drop(w.accepts(c)),
            Some(R::EmergencyExpired) => drop(w.rejects(c, R::EmergencyExpired)),
            Some(code) => drop(w.pends(c, code)),
        }
    }
}

#[test]
fn own_88_what_is_missing_is_told_of_where_least_is() {
    let (p, mut w) = (people(), World::default());
    let step = w.policy_step(w.root, |_| {}).sign(&p.alice).make(&mut w);
    w.approve(step, &p.bob);
    w.wait(8 * DAY);
    w.approve(step, &p.erin);
    let outcome = w.pends(step, R::ApprovalsMissing);
    let missing = &outcome.steps[0].reasons[0].missing;
    assert_eq!(missing.len(), 1);
    assert_eq!((missing[0].from.as_str(), missing[0].have), ("sec", 0));
    // Of two that are as good the later one: an approval now is near it.
    let mut w = World::default();
    let c = w.on(w.root).file("prod/a", "1").sign(&p.alice).make(&mut w);
    w.wait(8 * DAY);
    w.approve(c, &p.bob);
    let outcome = w.pends(c, R::ApprovalsMissing);
    let need = outcome.steps[0].needs.iter().find(|n| n.count == 2);
    assert_eq!(need.unwrap().could, ["alice", "carol"]);
}

#[test]
fn own_89_so_many_signatures_of_one_are_looked_at() {
    let (p, mut w) = (people(), World::default());
    let c = w.on(w.root).file("lab/a", "1").sign(&p.alice).make(&mut w);
    for _ in 0..20 {
        w.approve(c, &p.bob);
    }
    let outcome = w.accepts(c);
    let bob = outcome.steps[0]
        .signers
        .iter()
        .filter(|s| s.identity == "bob");
    assert_eq!(bob.count(), 16);
    // The latest of them.
    let first = w.clock() - 15 * 60;
    assert!(
        outcome.steps[0]
            .signers
            .iter()
            .all(|s| s.identity != "bob" || s.time.as_second() >= first)
    );
}

#[test]
fn own_90_a_stale_heartbeat_that_only_alarms() {
    let p = people();
    let mut w = World::with(|policy| {
        policy.identity("beacon", &[&p.mallory]);
        policy.more =
            "freshness: {tag: \"alive/main/*\", from: beacon, maxAge: 24h, onStale: alarm}"
                .to_owned();
    });
    let c = w.on(w.root).file("lab/a", "1").sign(&p.alice).make(&mut w);
    let outcome = w.accepts(c);
    assert_eq!(outcome.reasons[0].code, R::HeartbeatStale);
    let (root, now) = (w.root, w.now);
    w.tag("alive/main/1", root)
        .message(&format!("alive\n\nAlive: {REPOSITORY} {REF} {root}\n"))
        .dated(now - DAY)
        .sign(&p.mallory)
        .make(&mut w);
    assert!(w.accepts(c).reasons.is_empty());
    w.now += 1;
    assert_eq!(w.accepts(c).reasons.len(), 1);
}

#[test]
fn own_91_what_is_told_of_an_unsigned_commit() {
    let (p, mut w) = (people(), World::default());
    let c = w
        .on(w.root)
        .file("lab/a", "1")
        .author("Some\u{85}body <a@fleet.example>")
        .message("what\u{85} it does\n\nand more\n")
        .make(&mut w);
    let told = |outcome: &plumb_trust::Outcome| -> Vec<String> {
        let reasons = outcome.steps[0].reasons.iter();
        reasons.map(|reason| reason.message.clone()).collect()
    };
    assert_eq!(
        told(&w.pends(c, R::Uncovered)),
        [
            "no identity of the policy has signed or approved it",
            "the rule ** has 0 of 1 from ops"
        ]
    );
    // Where an identity has signed it, nobody says that none has.
    let at = w.now + DAY;
    let ahead = w.on(w.root).file("lab/a", "1").sign_at(&p.alice, at);
    let ahead = ahead.make(&mut w);
    assert_eq!(
        told(&w.pends(ahead, R::Future))[0],
        "no signature or approval of it counts"
    );
    // Where it changes nothing there is no rule to tell of.
    let empty = w.on(w.root).make(&mut w);
    assert_eq!(
        told(&w.pends(empty, R::Uncovered)),
        ["it isn't signed, and no identity of the policy has approved it"]
    );
    // Somebody has approved it: that nobody signed it isn't what is missing.
    w.approve(c, &p.dave);
    let outcome = w.pends(c, R::ApprovalsMissing);
    assert_eq!(outcome.steps[0].reasons.len(), 1);
    w.approve(c, &p.alice);
    let revision = w.accepts(c).revision().unwrap();
    assert_eq!(revision.author(), "Somebody");
    assert_eq!(revision.subject(), "what it does");
    assert_eq!(revision.parent(), Some(w.root));
    assert_eq!(revision.committed(), moment(START + 60));
}

#[test]
fn own_92_what_is_told_of_an_approval_that_can_t_be_read() {
    let (p, mut w) = (people(), World::default());
    let c = w.on(w.root).file("lab/a", "1").sign(&p.alice).make(&mut w);
    w.tag("approve/main/1", c)
        .edit(move |_| format!("object {c}\nno tag\n").into_bytes())
        .make(&mut w);
    let outcome = w.accepts(c);
    assert!(noted(&outcome, "approve/main/1"));
    // One that spans nothing.
    let two = w.on(c).file("lab/a", "2").sign(&p.alice).make(&mut w);
    w.tag("approve/main/2", two)
        .trailer(&format!("Approve-Base: {two}"))
        .sign(&p.bob)
        .make(&mut w);
    let outcome = w.accepts(two);
    assert!(noted(&outcome, "isn't an earlier commit"));
    // Those by strangers, up to a number.
    for n in 0..30 {
        let root = w.root;
        w.tag(&format!("approve/main/x{n}"), two)
            .trailer(&format!("Approve-Base: {root}"))
            .sign(&p.mallory)
            .make(&mut w);
    }
    let outcome = w.accepts(two);
    let strangers = outcome.steps[0].notes.iter();
    assert_eq!(strangers.filter(|n| n.message.contains("/x")).count(), 20);
}

#[test]
fn own_93_what_a_revoked_key_approved_is_counted() {
    let (p, mut w) = (people(), World::default());
    let one = w.on(w.root).file("lab/a", "1").sign(&p.alice).make(&mut w);
    let two = w.on(one).file("lab/a", "2").sign(&p.alice).make(&mut w);
    let three = w.on(two).file("lab/a", "3").sign(&p.alice).make(&mut w);
    for (n, signer) in [&p.bob, &p.carol, &p.dave].into_iter().enumerate() {
        w.tag(&format!("revoke/{}/{n}", p.alice.hex()), three)
            .sign(signer)
            .make(&mut w);
    }
    let outcome = w.verify(three);
    let reason = outcome.reasons.iter().find(|r| r.code == R::HistoryRevoked);
    assert!(
        reason
            .unwrap()
            .message
            .contains("approved 3 accepted commits")
    );
    assert_eq!(outcome.verdict, Verdict::Accept);
}

#[test]
fn a_branch_that_is_too_long_to_be_walked() {
    let (p, mut w) = (people(), World::default());
    let tree = {
        let one = w.on(w.root).file("lab/a", "1").make(&mut w);
        String::from_utf8(w.store.bytes(&one)[..46].to_vec()).unwrap()
    };
    let mut tip = w.root;
    for n in 0..limits::SIDE {
        let at = START + 1;
        let who = format!("a <a@fleet.example> {at} +0000");
        let raw = format!("{tree}parent {tip}\nauthor {who}\ncommitter {who}\n\n{n}\n");
        tip = w.store.write(plumb_trust::ObjectKind::Commit, raw);
    }
    w.approve(tip, &p.bob);
    let mut merge = w.on(w.root).file("lab/a", "1");
    merge.parents.push(tip);
    let merge = merge.make(&mut w);
    let outcome = w.pends(merge, R::Uncovered);
    assert!(noted(&outcome, "commits lie between the merged branch"));
    // Whoever looks at the merge itself needs no walk.
    w.approve(merge, &p.bob);
    w.accepts(merge);
}

#[test]
fn own_94_a_reference_to_a_store_is_a_store() {
    let (p, mut w) = (people(), World::default());
    let c = w.on(w.root).file("lab/a", "1").sign(&p.alice).make(&mut w);
    let inputs = plumb_trust::Inputs::new(w.root, c, moment(w.now));
    assert!(plumb_trust::verify(&&w.store, &inputs).is_accept());
}

// A commit is come to by two ways: directly, as its date is the newest, and later from the base above it.
#[test]
fn own_95_a_commit_below_a_base_that_was_looked_at_before_the_base() {
    let (p, mut w) = (people(), World::default());
    w.wait(DAY);
    let below = w.on(w.root).file("lab/a", "1").sign(&p.alice).make(&mut w);
    let at = w.clock();
    let base = w
        .on(below)
        .file("lab/a", "2")
        .dated(at - 300)
        .sign(&p.carol)
        .make(&mut w);
    let main = w.merge(&[base, below]).sign(&p.alice).make(&mut w);
    let tip = w.on(base).file("prod/a", "1").dated(at - 100).make(&mut w);
    w.approve(tip, &p.bob);
    let merge = w
        .merge(&[main, tip])
        .file("prod/a", "1")
        .sign(&p.alice)
        .make(&mut w);
    w.accepts(merge);
    let evil = w
        .merge(&[main, tip])
        .file("prod/a", "1")
        .file("prod/b", "evil")
        .sign(&p.alice)
        .make(&mut w);
    w.pends(evil, R::ApprovalsMissing);
}

// The same, so often that the looking would end before it comes to a second base, if it lost count.
#[test]
fn own_98_a_second_base_behind_commits_that_were_looked_at_twice() {
    let (p, mut w) = (people(), World::default());
    let other = w.on(w.root).file("lab/b", "other").make(&mut w);
    w.wait(DAY);
    let mut below = w.root;
    for n in 0..3 {
        below = w
            .on(below)
            .file("lab/a", &n.to_string())
            .sign(&p.alice)
            .make(&mut w);
    }
    let at = w.clock();
    let base = w
        .on(below)
        .file("lab/a", "base")
        .dated(at - 300)
        .sign(&p.carol)
        .make(&mut w);
    let main = w
        .merge(&[base, below, other])
        .file("lab/b", "other")
        .sign(&p.alice)
        .make(&mut w);
    let fixed = w
        .on(main)
        .file("lab/b", "fixed")
        .sign(&p.alice)
        .make(&mut w);
    let tip = w
        .merge(&[base, other])
        .file("lab/b", "other")
        .file("prod/a", "1")
        .dated(at - 100)
        .make(&mut w);
    w.approve(tip, &p.bob);
    // From the second base the branch has lab/b as it is; that main has changed it is none of its affair.
    let merge = w
        .merge(&[fixed, tip])
        .file("prod/a", "1")
        .sign(&p.alice)
        .make(&mut w);
    w.accepts(merge);
}
