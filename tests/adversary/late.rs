//! What comes late, or claims to be older than it is: keys that have ended since, dates that run
//! backwards, approvals of long ago.

use jiff::Timestamp;
use plumb_trust::{Oid, ReasonCode as R};
use tests::keys::{DAY, Key, people};
use tests::objects::{REF, REPOSITORY, START, World, noted};

fn moment(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

/// The usual policy, in which carol's key ends five days after the beginning.
fn carol_ends(more: &str) -> World {
    World::with(|policy| {
        for (name, keys) in &mut policy.identities {
            if name == "carol" {
                keys[0].push_str(", validBefore: 2025-02-05T00:00:00Z");
            }
        }
        more.clone_into(&mut policy.more);
    })
}

/// Seen six days after the beginning, carol's key was live shortly before; seen after eight, it wasn't.
#[track_caller]
fn only_while_it_lived(mut w: World, merge: Oid, code: R) {
    w.accepts(merge);
    w.seen.insert(merge, moment(START + 6 * DAY));
    w.accepts(merge);
    w.seen.insert(merge, moment(START + 8 * DAY));
    w.pends(merge, code);
}

// Nobody notes when an embedded tag came: it came with its merge.
#[test]
fn own_54_an_expired_key_in_an_embedded_tag() {
    let (p, mut w) = (people(), carol_ends(""));
    let tip = w.on(w.root).file("prod/a", "1").make(&mut w);
    let tag = w.tag("approve/main/1", tip).sign(&p.carol).make(&mut w);
    let merge = w
        .merge(&[w.root, tip])
        .file("prod/a", "1")
        .mergetag(&w.store, tag)
        .sign(&p.alice)
        .make(&mut w);
    w.tags.clear();
    only_while_it_lived(w, merge, R::ApprovalsMissing);
}

#[test]
fn own_55_an_expired_key_in_an_empty_commit() {
    let (p, mut w) = (people(), carol_ends(""));
    let tip = w.on(w.root).file("prod/a", "1").make(&mut w);
    let empty = w
        .on(tip)
        .message(&format!("fine\n\nApprove: {REPOSITORY} {REF} {tip}\n"))
        .sign(&p.carol)
        .make(&mut w);
    let merge = w
        .merge(&[w.root, empty])
        .file("prod/a", "1")
        .sign(&p.alice)
        .make(&mut w);
    // Seen by itself before, it was here before.
    let mut early = w.clone();
    early.seen.insert(empty, moment(START + DAY));
    early.seen.insert(merge, moment(START + 8 * DAY));
    early.accepts(merge);
    only_while_it_lived(w, merge, R::ApprovalsMissing);
}

#[test]
fn own_56_an_expired_key_under_all_signed() {
    let (p, mut w) = (people(), carol_ends("sideBranches: allSigned"));
    let tip = w.on(w.root).file("lab/a", "1").sign(&p.carol).make(&mut w);
    let merge = w
        .merge(&[w.root, tip])
        .file("lab/a", "1")
        .sign(&p.alice)
        .make(&mut w);
    only_while_it_lived(w, merge, R::SideUnsigned);
    // Work may lie on a branch for longer than a signature of the branch itself may be old.
    let mut w = carol_ends("sideBranches: allSigned");
    w.now += 60 * DAY;
    let tip = w.on(w.root).file("lab/a", "1").sign(&p.bob).make(&mut w);
    w.wait(30 * DAY);
    let merge = w
        .merge(&[w.root, tip])
        .file("lab/a", "1")
        .sign(&p.alice)
        .make(&mut w);
    w.seen.insert(merge, moment(w.clock()));
    w.accepts(merge);
}

#[test]
fn own_57_a_side_commit_that_is_older_than_what_it_stands_on() {
    let p = people();
    let mut w = World::with(|policy| policy.more = "sideBranches: allSigned".to_owned());
    w.wait(DAY);
    for (back, good) in [(500, true), (700, false)] {
        let one = w.on(w.root).file("lab/a", "1").sign(&p.bob).make(&mut w);
        let at = w.clock() - back;
        let two = w
            .on(one)
            .file("lab/a", "2")
            .dated(at)
            .sign(&p.carol)
            .make(&mut w);
        let merge = w
            .merge(&[w.root, two])
            .file("lab/a", "2")
            .sign(&p.alice)
            .make(&mut w);
        if good {
            w.accepts(merge);
        } else {
            w.pends(merge, R::SideUnsigned);
        }
    }
}

// The primary key lives on; the subkey that signs has ended.
#[test]
fn own_58_an_expired_subkey() {
    let builder = sequoia_openpgp::cert::CertBuilder::new()
        .set_primary_key_flags(sequoia_openpgp::types::KeyFlags::empty().set_certification())
        .add_subkey(
            sequoia_openpgp::types::KeyFlags::empty().set_signing(),
            std::time::Duration::from_hours(31 * 24),
            None,
        );
    let key = Key::pgp_built(builder, "alice");
    let mut w = World::with(|policy| policy.identity("alice", &[&key]));
    let c = w.on(w.root).file("lab/a", "1").sign(&key).make(&mut w);
    w.seen.insert(c, moment(START + 2 * DAY));
    w.accepts(c);
    w.seen.insert(c, moment(START + 4 * DAY));
    w.alarms(c, R::KeyExpired);
}

#[test]
fn own_59_an_unsigned_commit_of_long_ago_doesn_t_set_the_clock_back() {
    let (p, mut w) = (people(), World::default());
    w.wait(5 * DAY);
    let one = w.on(w.root).file("lab/a", "1").sign(&p.alice).make(&mut w);
    let forge = w.on(one).file("lab/a", "2").dated(31_536_000).make(&mut w);
    w.approve(forge, &p.alice);
    w.accepts(forge);
    let backdated = w
        .on(forge)
        .file("lab/a", "3")
        .dated(START + DAY)
        .sign(&p.carol)
        .make(&mut w);
    w.alarms(backdated, R::Backdated);
    // Nor is it set back by beginning anew: with the forge's commit as the floor, and one more on top.
    w.floor = Some(forge);
    w.alarms(backdated, R::Backdated);
    let more = w
        .on(forge)
        .file("lab/b", "3")
        .dated(31_536_000)
        .make(&mut w);
    w.approve(more, &p.alice);
    w.floor = Some(more);
    let backdated = w
        .on(more)
        .file("lab/a", "3")
        .dated(START + DAY)
        .sign(&p.carol)
        .make(&mut w);
    w.alarms(backdated, R::Backdated);
    // An approval of it can't be older either.
    w.floor = None;
    w.tags.pop();
    w.tag("approve/main/old", more)
        .dated(START + DAY)
        .sign(&p.carol)
        .make(&mut w);
    let outcome = w.pends(more, R::Uncovered);
    assert!(noted(&outcome, "before what it builds on"));
}

#[test]
fn own_60_dates_of_before_the_introduction_mean_nothing() {
    let (p, mut w) = (people(), World::default());
    let ahead = w.on(w.root).dated(START + 9 * DAY).make(&mut w);
    let introduction = w.on(ahead).make(&mut w);
    w.root = introduction;
    let one = w.on(w.root).file("lab/a", "1").sign(&p.alice).make(&mut w);
    let two = w.on(one).file("lab/a", "2").sign(&p.alice).make(&mut w);
    w.accepts(two);
    w.floor = Some(one);
    w.accepts(two);
    w.floor = Some(introduction);
    w.accepts(two);
}

#[test]
fn own_61_a_forge_whose_clock_is_ahead_keeps_nobody_out() {
    let (p, mut w) = (people(), World::default());
    let ahead = w.clock() + 9 * 60;
    let forge = w.on(w.root).file("lab/a", "1").dated(ahead).make(&mut w);
    let next = w.on(forge).file("lab/a", "2").sign(&p.carol).make(&mut w);
    w.approve(forge, &p.alice);
    w.accepts(next);
}

// "Pushing and then waiting" is normal, and so is a commit on top of one that waits.
#[test]
fn own_62_an_approval_that_comes_later_makes_nothing_on_top_too_old() {
    let (p, mut w) = (people(), World::default());
    let one = w.on(w.root).file("prod/a", "1").sign(&p.alice).make(&mut w);
    let two = w.on(one).file("lab/a", "1").sign(&p.carol).make(&mut w);
    w.wait(2 * DAY);
    w.approve(one, &p.bob);
    w.accepts(two);
    w.wait(2 * DAY);
    w.approve(one, &p.carol);
    w.accepts(two);
}

#[test]
fn own_63_what_a_commit_carries_sets_its_time() {
    let (p, mut w) = (people(), World::default());
    let tip = w.on(w.root).file("prod/a", "1").make(&mut w);
    w.wait(5 * DAY);
    let bob = w.tag("approve/main/1", tip).sign(&p.bob).make(&mut w);
    let carol = w.tag("approve/main/2", tip).sign(&p.carol).make(&mut w);
    let merge = w
        .merge(&[w.root, tip])
        .file("prod/a", "1")
        .mergetag(&w.store, bob)
        .mergetag(&w.store, carol)
        .dated(START + 120)
        .make(&mut w);
    w.tags.clear();
    w.accepts(merge);
    let good = w.on(merge).file("lab/a", "1").sign(&p.carol).make(&mut w);
    w.accepts(good);
    let backdated = w
        .on(merge)
        .file("lab/a", "1")
        .dated(START + DAY)
        .sign(&p.carol)
        .make(&mut w);
    w.alarms(backdated, R::Backdated);
}

// Its date is a part of what is signed; and it is all that is known of a floor.
#[test]
fn own_82_a_signed_date_counts_beside_the_time_of_the_signature() {
    let (p, mut w) = (people(), World::default());
    let one = w
        .on(w.root)
        .file("lab/a", "1")
        .dated(START + DAY)
        .sign_at(&p.alice, START + 60)
        .make(&mut w);
    for (at, good) in [(START + DAY - 500, true), (START + 600, false)] {
        let two = w
            .on(one)
            .file("lab/a", "2")
            .dated(at)
            .sign(&p.carol)
            .make(&mut w);
        for floor in [w.root, one] {
            w.floor = Some(floor);
            if good {
                w.accepts(two);
            } else {
                w.alarms(two, R::Backdated);
            }
        }
    }
}

#[test]
fn own_64_the_approval_of_a_branch_expires() {
    let p = people();
    for (days, good) in [(6, true), (8, false)] {
        // A forge merges it after so many days, and says so.
        let mut w = World::default();
        let tip = w.on(w.root).file("lab/a", "1").make(&mut w);
        w.approve(tip, &p.bob);
        let merge = |w: &mut World, onto, at| {
            let merge = w.merge(&[onto, tip]).file("lab/a", "1");
            merge.dated(at).make(w)
        };
        let root = w.root;
        let honest = merge(&mut w, root, START + days * DAY);
        // Or it claims another date, and the branch has gone on meanwhile.
        w.wait(days * DAY);
        let main = w.on(w.root).file("lab/b", "1").sign(&p.alice).make(&mut w);
        let false_date = merge(&mut w, main, START + 120);
        for merge in [honest, false_date] {
            if good {
                w.accepts(merge);
            } else {
                let outcome = w.pends(merge, R::Uncovered);
                assert!(noted(&outcome, "more than 7d before the merge"));
            }
        }
    }
}

#[test]
fn own_65_a_heartbeat_by_a_key_that_has_ended() {
    let p = people();
    let mut w = World::with(|policy| {
        policy.identity("beacon", &[&p.mallory]);
        for (name, keys) in &mut policy.identities {
            if name == "beacon" {
                keys[0].push_str(", validBefore: 2025-02-09T00:00:00Z");
            }
        }
        policy.more =
            "freshness: {tag: \"alive/main/*\", from: beacon, maxAge: 240h, onStale: hold}"
                .to_owned();
    });
    let (root, made) = (w.root, w.now - 3 * DAY);
    let beat = w
        .tag("alive/main/1", root)
        .message(&format!("alive\n\nAlive: {REPOSITORY} {REF} {root}\n"))
        .dated(made)
        .sign(&p.mallory)
        .make(&mut w);
    w.seen.insert(beat, moment(made));
    w.accepts(root);
    w.seen.insert(beat, moment(w.now + DAY));
    w.now += DAY + 3600;
    assert!(
        w.verify(root)
            .reasons
            .iter()
            .any(|r| r.code == R::HeartbeatStale)
    );
}
