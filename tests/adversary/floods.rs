//! More of something than anybody needs, and what must not drown in it.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::ControlFlow;

use plumb_trust::object::limits;
use plumb_trust::{
    Held, Inputs, ObjectError, ObjectKind, Objects, Oid, ReasonCode as R, TagRef, simulate, verify,
};
use tests::keys::{DAY, Key, people};
use tests::objects::{REF, REPOSITORY, START, World};

/// A store that counts how often each object is read.
struct Counting<'a>(&'a World, RefCell<HashMap<Oid, usize>>);

impl<'a> Counting<'a> {
    fn new(world: &'a World) -> Self {
        Self(world, RefCell::default())
    }

    fn of(&self, id: &Oid) -> usize {
        self.1.borrow().get(id).copied().unwrap_or_default()
    }

    fn all(&self) -> usize {
        self.1.borrow().values().sum()
    }
}

impl Objects for Counting<'_> {
    fn read(&self, id: &Oid, kind: ObjectKind, limit: u64) -> Result<Cow<'_, [u8]>, ObjectError> {
        *self.1.borrow_mut().entry(*id).or_default() += 1;
        self.0.store.read(id, kind, limit)
    }
}

fn inputs(w: &World, head: Oid) -> Inputs<'_> {
    let now = jiff::Timestamp::from_second(w.now).unwrap();
    Inputs::new(w.root, head, now).tags(&w.tags)
}

fn revoke(w: &mut World, key: &Key, target: Oid) {
    let p = people();
    for (n, signer) in [&p.bob, &p.carol, &p.dave].into_iter().enumerate() {
        w.tag(&format!("revoke/{}/{n}", key.hex()), target)
            .sign(signer)
            .make(w);
    }
}

// As many as are looked at of approvals, each of nothing.
#[test]
fn own_71_approvals_hide_no_revocation_and_no_heartbeat() {
    let p = people();
    let mut w = World::with(|policy| {
        policy.identity("beacon", &[&p.mallory]);
        policy.more =
            "freshness: {tag: \"alive/main/*\", from: beacon, maxAge: 24h, onStale: alarm}"
                .to_owned();
    });
    let c = w.on(w.root).file("lab/a", "1").sign(&p.alice).make(&mut w);
    let nothing = Oid::from_bytes(&[1; 20]).unwrap();
    for n in 0..=limits::TAGS {
        w.tags.push(TagRef {
            name: format!("refs/tags/approve/main/{n}"),
            target: nothing,
        });
    }
    let (root, now) = (w.root, w.now);
    w.tag("alive/main/1", root)
        .message(&format!("alive\n\nAlive: {REPOSITORY} {REF} {root}\n"))
        .dated(now - 60)
        .sign(&p.mallory)
        .make(&mut w);
    w.accepts(c);
    assert!(w.verify(c).reasons.is_empty());
    revoke(&mut w, &p.alice, root);
    w.alarms(c, R::KeyRevoked);
}

#[test]
fn own_72_revocations_of_others_hide_none() {
    let (p, mut w) = (people(), World::default());
    let c = w.on(w.root).file("lab/a", "1").sign(&p.alice).make(&mut w);
    let root = w.root;
    // Of keys that nobody has, sorted before and behind, and more of the key itself by nobody.
    for n in 0..=limits::STRANGERS {
        for name in [
            format!("{n:040x}/1"),
            format!("f{n:039x}/1"),
            format!("{}/{n}x", p.alice.hex()),
        ] {
            let tag = w.tag(&format!("revoke/{name}"), root);
            tag.make(&mut w);
        }
    }
    w.accepts(c);
    revoke(&mut w, &p.alice, root);
    assert_eq!(w.alarms(c, R::KeyRevoked).revoked.len(), 1);
}

// Only what the policy has can lose authority; but a key may come into it.
#[test]
fn own_73_a_key_that_is_revoked_before_it_is_added() {
    let (p, mut w) = (people(), World::default());
    let root = w.root;
    for n in 0..=limits::STRANGERS {
        let tag = w.tag(&format!("revoke/{}/{n}x", p.mallory.hex()), root);
        tag.make(&mut w);
    }
    revoke(&mut w, &p.mallory, root);
    let step = w.approved_policy_step(w.root, |policy| {
        policy.identity("mallory", &[&p.mallory]);
        policy.groups[0].1 = String::from("[alice, bob, carol, mallory]");
    });
    let c = w.on(step).file("lab/a", "1").sign(&p.mallory).make(&mut w);
    w.alarms(c, R::KeyRevoked);
}

#[test]
fn own_74_going_back_brings_no_revoked_key_back() {
    let (p, mut w) = (people(), World::default());
    let one = w.on(w.root).file("lab/a", "1").sign(&p.alice).make(&mut w);
    let two = w.on(one).file("lab/a", "2").sign(&p.bob).make(&mut w);
    let three = w.on(two).file("lab/a", "3").sign(&p.bob).make(&mut w);
    revoke(&mut w, &p.alice, two);
    w.accepts(three);
    w.floor = Some(three);
    let back = w
        .on(one)
        .message(&format!("back\n\nRollback-To: {three} {one}\n"))
        .sign(&p.carol)
        .make(&mut w);
    w.accepts(back);
    w.floor = Some(back);
    let next = w.on(back).file("lab/b", "1").sign(&p.alice).make(&mut w);
    w.alarms(next, R::KeyRevoked);
    // Nor for somebody who begins with the introduction, and never saw what was left.
    w.floor = None;
    w.alarms(next, R::KeyRevoked);
    // A commit that only claims to go back leaves nothing.
    let mut w = World::default();
    let other = w.on(w.root).file("lab/b", "1").make(&mut w);
    let one = w.on(w.root).file("lab/a", "1").sign(&p.bob).make(&mut w);
    revoke(&mut w, &p.alice, other);
    let claims = w
        .on(one)
        .file("lab/a", "2")
        .message(&format!("back\n\nRollback-To: {other} {other}\n"))
        .sign(&p.bob)
        .make(&mut w);
    let next = w.on(claims).file("lab/b", "1").sign(&p.alice).make(&mut w);
    w.accepts(next);
    w.floor = Some(claims);
    w.accepts(next);
}

// The same signature in other armor is another object, and no other voice.
#[test]
fn own_75_copies_of_one_approval_crowd_out_no_other() {
    let (p, mut w) = (people(), World::default());
    let one = w.on(w.root).file("prod/a", "1").make(&mut w);
    let two = w.on(w.root).file("prod/b", "1").make(&mut w);
    w.approve(one, &p.carol);
    w.approve(two, &p.carol);
    w.approve(two, &p.bob);
    let tag = w.tag("approve/main/x", one).sign(&p.bob).make(&mut w);
    w.tags.pop();
    let model = String::from_utf8(w.store.bytes(&tag).to_vec()).unwrap();
    let mut merge = w
        .merge(&[w.root, one, two])
        .file("prod/a", "1")
        .file("prod/b", "1");
    for n in 0..limits::PARENTS {
        let copy = model.replacen("-----\n\n", &format!("-----\nComment: {n}\n\n"), 1);
        assert_ne!(copy, model);
        let copy = w.store.write(ObjectKind::Tag, copy);
        merge = merge.mergetag(&w.store, copy);
    }
    let merge = merge.make(&mut w);
    let outcome = w.accepts(merge);
    // Carol of both, and bob of both.
    assert_eq!(outcome.steps[0].signers.len(), 4);
}

// The same among approvals of one branch: sixteen copies of the later one, which lies too far away.
#[test]
fn own_81_nor_an_earlier_one_of_the_same() {
    let (p, mut w) = (people(), World::default());
    let tip = w.on(w.root).file("prod/a", "1").make(&mut w);
    w.approve(tip, &p.carol);
    w.approve(tip, &p.bob);
    w.wait(8 * DAY);
    let tag = w.tag("approve/main/x", tip).sign(&p.bob).make(&mut w);
    w.tags.pop();
    let model = String::from_utf8(w.store.bytes(&tag).to_vec()).unwrap();
    let mut merge = w.merge(&[w.root, tip]).file("prod/a", "1");
    for n in 0..limits::PARENTS {
        let copy = model.replacen("-----\n\n", &format!("-----\nComment: {n}\n\n"), 1);
        let copy = w.store.write(ObjectKind::Tag, copy);
        merge = merge.mergetag(&w.store, copy);
    }
    let merge = merge.dated(START + 600).make(&mut w);
    w.accepts(merge);
}

// 2^40 ways through forty folders, with not one file at their ends.
#[test]
fn own_76_folders_of_folders_of_nothing() {
    let (p, mut w) = (people(), World::default());
    let mut folder = w.store.raw_tree(&[]);
    for _ in 0..40 {
        folder = w
            .store
            .raw_tree(&[("40000", b"a", folder), ("40000", b"b", folder)]);
    }
    let root = w.verify(w.root).revision().unwrap().tree();
    let raw = w.store.bytes(&root).to_vec();
    let tree = plumb_trust::object::Tree::parse(&raw, root.format()).unwrap();
    let mut entries: Vec<(&str, &[u8], Oid)> = tree
        .entries()
        .iter()
        .map(|entry| match entry.mode {
            plumb_trust::EntryMode::Folder => ("40000", entry.name.as_bytes(), entry.id),
            _ => ("100644", entry.name.as_bytes(), entry.id),
        })
        .collect();
    entries.push(("40000", b"zoo", folder));
    let bomb = w.store.raw_tree(&entries);
    let c = w.on(w.root).tree(bomb).sign(&p.alice).make(&mut w);
    w.rejects(c, R::TooLarge);
    let listed = plumb_trust::entries(&w.store, &bomb).last();
    assert!(
        listed
            .unwrap()
            .unwrap_err()
            .to_string()
            .contains("more folders")
    );
}

#[test]
fn own_78_spans_by_strangers_cost_a_signature_and_no_walk() {
    let (p, mut w) = (people(), World::default());
    let mut head = w.root;
    for n in 0..30 {
        head = w
            .on(head)
            .file("lab/a", &n.to_string())
            .sign(&p.alice)
            .make(&mut w);
    }
    let without = Counting::new(&w);
    assert!(verify(&without, &inputs(&w, head)).is_accept());
    let (without, root) = (without.all(), w.root);
    for n in 0..100 {
        w.tag(&format!("approve/main/{n}"), head)
            .trailer(&format!("Approve-Base: {root}"))
            .sign(&p.mallory)
            .make(&mut w);
    }
    let with = Counting::new(&w);
    assert!(verify(&with, &inputs(&w, head)).is_accept());
    // Each is read to be found, to be looked at, and as a tag of the head.
    let with = with.all();
    assert!(with - without <= 300, "{with} {without}");
    // One by somebody costs one walk, and not one for each step.
    w.tag("approve/main/mine", head)
        .trailer(&format!("Approve-Base: {root}"))
        .sign(&p.bob)
        .make(&mut w);
    let mine = Counting::new(&w);
    assert!(verify(&mine, &inputs(&w, head)).is_accept());
    assert!(mine.all() - with <= 200, "{} {with}", mine.all());
}

#[test]
fn own_79_the_floor_s_trailers_are_judged_as_they_were() {
    let (p, mut w) = (people(), World::default());
    let message = "x\n\nBudget-Deletions: 31\n";
    let budget = |w: &World, head| {
        let outcome = w.verify(head);
        let revision = outcome.revision().unwrap();
        assert_eq!(revision.commit(), head);
        revision.trailers().get("budget-deletions").is_some()
    };
    // Mallory signs the commit that brings mallory's key; others approve it.
    let step = w
        .policy_step(w.root, |policy| {
            policy.identity("mallory", &[&p.mallory]);
            policy.groups[0].1 = String::from("[alice, bob, carol, mallory]");
        })
        .message(message)
        .sign(&p.mallory)
        .make(&mut w);
    for key in [&p.alice, &p.bob, &p.dave] {
        w.approve(step, key);
    }
    assert!(!budget(&w, step));
    w.floor = Some(step);
    assert!(!budget(&w, step));
    let next = w
        .on(step)
        .file("lab/a", "1")
        .message(message)
        .sign(&p.mallory)
        .make(&mut w);
    assert!(budget(&w, next));
    w.floor = Some(next);
    assert!(budget(&w, next));
    w.revoked.read(p.mallory.public().as_bytes()).unwrap();
    assert!(!budget(&w, next));
    // The introduction is believed as it is.
    let mut w = World::default();
    w.root = w
        .on(w.root)
        .message(message)
        .dated(w.clock() + DAY)
        .sign(&p.alice)
        .make(&mut w);
    assert!(budget(&w, w.root));
}

#[test]
fn own_80_bad_approvals_are_told_of_up_to_a_number() {
    let mut w = World::default();
    let c = w.on(w.root).file("lab/a", "1").make(&mut w);
    for n in 0..150 {
        w.tag(&format!("approve/main/{n}"), c).make(&mut w);
    }
    let outcome = w.pends(c, R::Uncovered);
    assert_eq!(outcome.steps[0].notes.len(), 100);
    w.approve(c, &people().alice);
    assert_eq!(w.accepts(c).steps[0].notes.len(), 100);
}

#[test]
fn own_102_many_that_wait_are_looked_behind_in_one_evaluation() {
    let (p, mut w) = (people(), World::default());
    let mut head = w.root;
    let mut waits = Vec::new();
    for n in 0..300 {
        head = w
            .on(head)
            .file("prod/a", &n.to_string())
            .sign(&p.alice)
            .make(&mut w);
        waits.push(head);
    }
    let nobodys = w.on(head).file("lab/a", "1").make(&mut w);
    let good = w.on(nobodys).file("lab/b", "1").sign(&p.alice).make(&mut w);
    for n in 0..2000 {
        w.tag(&format!("approve/main/{n}"), waits[0]).make(&mut w);
    }
    let store = Counting::new(&w);
    let now = jiff::Timestamp::from_second(w.now).unwrap();
    let inputs = Inputs::new(w.root, good, now).tags(&w.tags);
    let mut waiting = Vec::new();
    simulate(&store, &inputs, &mut |next| {
        waiting.push(next);
        ControlFlow::Continue(())
    })
    .unwrap();
    // What is good is none of them, and what nobody signed is, however many wait before it.
    let commits: Vec<_> = waiting.iter().map(|held| held.step.commit).collect();
    assert_eq!(commits, [&waits[..], &[nobodys]].concat());
    let uncovered = |held: &Held| held.step.reasons.iter().any(|r| r.code == R::Uncovered);
    let (last, others) = waiting.split_last().unwrap();
    assert!(uncovered(last) && last.after == waits[299]);
    assert!(!others.iter().any(uncovered));
    // Each tag is read when tags are, and when its commit is judged.
    for tag in &w.tags {
        assert!(store.of(&tag.target) <= 2, "{}", store.of(&tag.target));
    }
    // Whoever has enough is told no more.
    let mut told = 0;
    simulate(&store, &inputs, &mut |_| {
        told += 1;
        ControlFlow::Break(())
    })
    .unwrap();
    assert_eq!(told, 1);
}

// Whoever merges makes nobody walk the whole history: where a branch left is looked for no further than that.
#[test]
fn own_105_a_merge_high_above_the_beginning() {
    let (p, mut w) = (people(), World::default());
    let mut history = vec![w.root];
    for n in 0..400 {
        let next = w.on(history[n]).file("lab/a", &n.to_string());
        history.push(next.make(&mut w));
    }
    let floor = history[400];
    let side = w.on(floor).file("prod/a", "1").make(&mut w);
    w.approve(side, &p.bob);
    let main = w.on(floor).file("lab/a", "1").sign(&p.alice).make(&mut w);
    let merge = w
        .merge(&[main, side])
        .file("prod/a", "1")
        .sign(&p.alice)
        .make(&mut w);
    let store = Counting::new(&w);
    let outcome = verify(&store, &inputs(&w, merge).floor(floor));
    assert_eq!(outcome.accepted, merge, "{outcome:?}");
    // The dates before the floor are looked at, and those are of 256 commits.
    let read: Vec<usize> = history.iter().map(|id| store.of(id)).collect();
    assert_eq!(read[..140].iter().sum::<usize>(), 0, "{read:?}");
}
