//! What holds for all of them: a small random search, seeded, over signatures, tags and keys.

use std::collections::BTreeSet;

use plumb_trust::{ObjectKind, Oid, Verdict};
use tests::keys::people;
use tests::objects::{PolicyText, World};

/// A generator that needs no crate: splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % below as u64).unwrap()
    }
}

/// A few commits on each other, signed or not, of lab or prod, and tags of all sorts.
fn story(random: &mut Random) -> (World, Oid) {
    let p = people();
    let keys = [&p.alice, &p.bob, &p.carol, &p.dave, &p.mallory];
    let mut w = World::default();
    let mut tip = w.root;
    for n in 0..3 {
        let path = ["lab/a", "prod/a"][random.next(2)];
        let mut commit = w.on(tip).file(path, &n.to_string());
        if random.next(4) > 0 {
            commit = commit.sign(keys[random.next(5)]);
        }
        tip = commit.make(&mut w);
        for _ in 0..random.next(4) {
            let key = keys[random.next(5)];
            let name = format!("approve/main/{}", w.tags.len());
            let root = w.root;
            let mut tag = w.tag(&name, tip);
            if random.next(4) == 0 {
                tag = tag.trailer(&format!("Approve-Base: {root}"));
            }
            tag.sign(key).make(&mut w);
        }
    }
    (w, tip)
}

fn accepted(w: &World, head: Oid) -> usize {
    w.verify(head)
        .steps
        .iter()
        .take_while(|step| step.verdict == Verdict::Accept)
        .count()
}

#[test]
fn removing_an_approval_never_accepts_more_and_order_means_nothing() {
    let mut random = Random(1);
    for _ in 0..40 {
        let (mut w, head) = story(&mut random);
        let all = accepted(&w, head);
        w.tags.reverse();
        assert_eq!(accepted(&w, head), all);
        for index in 0..w.tags.len() {
            let mut less = w.clone();
            less.tags.remove(index);
            assert!(accepted(&less, head) <= all);
        }
    }
}

#[test]
fn adding_an_unrelated_approval_never_accepts_less() {
    let p = people();
    let mut random = Random(2);
    for _ in 0..40 {
        let (mut w, head) = story(&mut random);
        let before = accepted(&w, head);
        let target = [w.root, head][random.next(2)];
        let key = [&p.mallory, &p.erin, &p.bob][random.next(3)];
        w.approve(target, key);
        assert!(accepted(&w, head) >= before);
    }
}

#[test]
fn taking_a_key_away_never_accepts_more() {
    let p = people();
    let mut random = Random(3);
    for _ in 0..40 {
        let (mut w, head) = story(&mut random);
        let before = accepted(&w, head);
        for key in [&p.alice, &p.bob, &p.carol, &p.dave] {
            let mut less = w.clone();
            less.revoked.read(key.public().as_bytes()).unwrap();
            assert!(accepted(&less, head) <= before);
        }
        w.revoked.read(p.mallory.public().as_bytes()).unwrap();
        assert_eq!(accepted(&w, head), before);
    }
}

#[test]
fn verifying_in_two_parts_is_verifying_at_once() {
    let mut random = Random(4);
    for _ in 0..40 {
        let (mut w, head) = story(&mut random);
        let whole = w.verify(head);
        if whole.steps[0].verdict == Verdict::Accept {
            w.floor = Some(whole.steps[0].commit);
            let rest = w.verify(head);
            assert_eq!(rest.accepted, whole.accepted);
            assert_eq!(rest.verdict, whole.verdict);
        }
    }
}

#[test]
fn splitting_and_joining_a_commit_is_the_identity() {
    let mut random = Random(5);
    let (w, _) = story(&mut random);
    for (id, kind, raw) in w.store.iter() {
        if kind != ObjectKind::Commit {
            continue;
        }
        let commit = plumb_trust::object::Commit::parse(raw, id.format()).unwrap();
        let payload = commit.payload().to_vec();
        match &commit.signature {
            None => assert_eq!(payload, raw),
            Some(block) => {
                let text = String::from_utf8(block.to_vec()).unwrap();
                let header = format!("gpgsig {}\n", text.replace('\n', "\n "));
                let at = payload.windows(2).position(|w| w == b"\n\n").unwrap() + 1;
                assert_eq!(
                    [&payload[..at], header.as_bytes(), &payload[at..]].concat(),
                    raw
                );
            }
        }
    }
}

/// Bytes changed at random never make a commit that is accepted, and never a panic.
#[test]
fn a_changed_byte_is_never_accepted() {
    let p = people();
    let mut random = Random(6);
    let mut verdicts = BTreeSet::new();
    for key in [&p.alice, &p.carol] {
        let mut w = World::new(PolicyText::usual());
        let c = w.on(w.root).file("lab/a", "1").sign(key).make(&mut w);
        let raw = w.store.bytes(&c).to_vec();
        for _ in 0..300 {
            let mut changed = raw.clone();
            let at = random.next(changed.len());
            let bit = 1_u8 << random.next(8);
            changed[at] ^= bit;
            let id = w.store.write(ObjectKind::Commit, changed.clone());
            let outcome = w.verify(id);
            // What isn't signed is the armor and the unhashed part of the signature.
            let in_signature = {
                let text = String::from_utf8_lossy(&raw).into_owned();
                (text.find("gpgsig").unwrap()..text.find("-----END").unwrap() + 40).contains(&at)
            };
            assert!(!outcome.is_accept() || in_signature, "byte {at} bit {bit}");
            verdicts.insert(outcome.verdict);
        }
    }
    assert!(verdicts.contains(&Verdict::Reject));
}
