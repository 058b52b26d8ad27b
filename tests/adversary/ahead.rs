//! Long ways, of which other threads look at the commits to come.

use std::borrow::Cow;
use std::cell::Cell;

use plumb_trust::{Inputs, ObjectError, ObjectKind, Objects, Oid, ReasonCode as R, verify};
use tests::keys::people;
use tests::objects::World;

/// More than all threads have before them at once.
const LONG: usize = 500;

/// A store that can't read a commit at one time, and can at every other.
struct Forgetful<'a> {
    world: &'a World,
    commit: Oid,
    /// How often it was asked for, and at which of these it fails.
    asked: Cell<usize>,
    fails: usize,
}

impl Objects for Forgetful<'_> {
    fn read(&self, id: &Oid, kind: ObjectKind, limit: u64) -> Result<Cow<'_, [u8]>, ObjectError> {
        if *id == self.commit && self.asked.replace(self.asked.get() + 1) == self.fails {
            return Err(ObjectError::Corrupt("not now".to_owned()));
        }
        self.world.store.read(id, kind, limit)
    }
}

/// Many accepted commits by carol, in the middle of which her key is taken out and comes back; among them
/// one as large as several others together.
fn long() -> (World, Vec<Oid>) {
    let (p, mut w) = (people(), World::default());
    let mut way = vec![w.root];
    for n in 1..=LONG {
        let on = way[n - 1];
        let next = match n {
            200 => w.approved_policy_step(on, |policy| {
                "[alice, bob]".clone_into(&mut policy.groups[0].1);
            }),
            300 => w.approved_policy_step(on, |policy| {
                "[alice, bob, carol]".clone_into(&mut policy.groups[0].1);
            }),
            _ => {
                let by = if (200..300).contains(&n) {
                    &p.bob
                } else {
                    &p.carol
                };
                let commit = w.on(on).file("lab/a", &n.to_string());
                let commit = match n {
                    100 => commit.message(&"large\n".repeat(15_000)),
                    _ => commit,
                };
                commit.sign(by).make(&mut w)
            }
        };
        way.push(next);
    }
    (w, way)
}

#[test]
fn own_106_a_long_way_with_other_threads() {
    let p = people();
    let (w, way) = long();
    let now = jiff::Timestamp::from_second(w.now).unwrap();
    let judged = |w: &World, head: Oid, threads: usize| {
        let inputs = Inputs::new(w.root, head, now).tags(&w.tags).explain();
        verify(&w.store, &inputs.threads(threads))
    };
    let all = |w: &World, head: Oid| {
        let alone = judged(w, head, 0);
        for threads in 1..=3 {
            let outcome = judged(w, head, threads);
            assert_eq!(format!("{outcome:?}"), format!("{alone:?}"), "{threads}");
        }
        alone
    };
    let head = way[LONG];
    assert_eq!(all(&w, head).accepted, head);
    // Carol signs on while she is in no group: what was looked at by the policy before doesn't count.
    let mut other = w.clone();
    let on = other.on(way[200]).file("lab/a", "carol's").sign(&p.carol);
    let mut on = on.make(&mut other);
    for n in 0..100 {
        let next = other.on(on).file("lab/a", &n.to_string()).sign(&p.alice);
        on = next.make(&mut other);
    }
    let outcome = all(&other, on);
    assert_eq!(outcome.accepted, way[200]);
    assert_eq!(outcome.first_held().unwrap().reasons[0].code, R::Uncovered);
    // Other bytes under the name of one: those of the one before, whose parent they have.
    let mut lying = w.clone();
    let bytes = lying.store.bytes(&way[399]).to_vec();
    lying.store.put(way[400], ObjectKind::Commit, bytes);
    let outcome = all(&lying, head);
    assert_eq!(outcome.accepted, way[398]);
    assert_eq!(
        outcome.first_held().unwrap().reasons[0].code,
        R::CorruptObject
    );
}

// On the way down a commit is read for its parent, and then to be judged. Nobody asks a third time.
#[test]
fn own_107_a_store_that_fails_once() {
    let (w, way) = long();
    let now = jiff::Timestamp::from_second(w.now).unwrap();
    for threads in 0..=3 {
        let store = Forgetful {
            world: &w,
            commit: way[400],
            asked: Cell::default(),
            fails: 1,
        };
        let inputs = Inputs::new(w.root, way[LONG], now).tags(&w.tags);
        let outcome = verify(&store, &inputs.threads(threads));
        assert_eq!(outcome.accepted, way[399], "{threads}");
        let held = outcome.first_held().unwrap();
        assert_eq!(held.reasons[0].code, R::CorruptObject, "{threads}");
        assert_eq!(store.asked.get(), 2, "{threads}");
    }
}
