//! What holds for all of them: a small random search, seeded, over signatures, tags and keys.

use std::collections::BTreeSet;

use plumb_trust::{Detail, EntryMode, Inputs, ObjectKind, Oid, TagRef, Verdict, object, verify};
use tests::keys::{DAY, Key, people};
use tests::objects::{PolicyText, REF, REPOSITORY, World};

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

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.next(of.len())]
    }

    /// One in so many.
    fn rarely(&mut self, of: usize) -> bool {
        self.next(of) == 0
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.next(at + 1));
        }
    }
}

/// Five of the policy, and mallory, who isn't in it.
fn keys() -> [&'static Key; 6] {
    let p = people();
    [&p.alice, &p.bob, &p.carol, &p.dave, &p.erin, &p.mallory]
}

/// What a history is made of, so that it can be made again with one thing less.
#[derive(Clone)]
struct Plan {
    bind: &'static str,
    side_branches: &'static str,
    steps: Vec<Planned>,
}

#[derive(Clone)]
struct Planned {
    path: &'static str,
    signer: Option<usize>,
    bound: bool,
    /// How long after the last it is made, and how much earlier it claims to be.
    wait: i64,
    back: i64,
    side: Option<Side>,
    tags: Vec<Option<Approval>>,
}

/// A branch that the step merges.
#[derive(Clone)]
struct Side {
    path: &'static str,
    signer: Option<usize>,
    approvals: Vec<Option<(usize, Carried)>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Carried {
    Tag,
    Mergetag,
    Empty,
}

#[derive(Clone, Copy)]
struct Approval {
    by: usize,
    spans: bool,
}

const PATHS: [&str; 4] = ["lab/a", "prod/a", "prod/b", "lab/b"];

impl Plan {
    fn new(random: &mut Random) -> Self {
        let steps = (0..3).map(|_| Planned::new(random)).collect();
        Self {
            bind: random.one(&["none", "none", "trailer", "approval"]),
            side_branches: random.one(&["vouched", "vouched", "allSigned"]),
            steps,
        }
    }

    /// As real objects. Time goes on for what was taken out too.
    fn make(&self) -> Made {
        let mut w = World::with(|policy| {
            self.bind.clone_into(&mut policy.bind_ref);
            policy.more = format!("sideBranches: {}", self.side_branches);
            for (name, keys) in &mut policy.identities {
                if name == "carol" {
                    keys[0].push_str(", validBefore: 2025-02-05T00:00:00Z");
                }
            }
        });
        w.now += 30 * DAY;
        let mut made = Made {
            targets: vec![w.root],
            head: w.root,
            w,
        };
        for (n, step) in self.steps.iter().enumerate() {
            step.make(n, &mut made);
        }
        made
    }

    /// The same with one thing less, in every way.
    fn less(&self) -> Vec<Self> {
        let mut all = Vec::new();
        for (n, step) in self.steps.iter().enumerate() {
            let mut without = |change: &dyn Fn(&mut Planned)| {
                let mut less = self.clone();
                change(&mut less.steps[n]);
                all.push(less);
            };
            if step.signer.is_some() {
                without(&|step| step.signer = None);
            }
            for tag in 0..step.tags.len() {
                without(&|step| step.tags[tag] = None);
            }
            let Some(side) = &step.side else { continue };
            if side.signer.is_some() {
                without(&|step| step.side.as_mut().unwrap().signer = None);
            }
            for (at, approval) in side.approvals.iter().enumerate() {
                // An empty commit is an approval, and also a commit that `allSigned` asks something of.
                if self.side_branches == "vouched"
                    || approval.is_some_and(|a| a.1 != Carried::Empty)
                {
                    without(&|step| step.side.as_mut().unwrap().approvals[at] = None);
                }
            }
        }
        all
    }
}

impl Planned {
    fn new(random: &mut Random) -> Self {
        let side = random.rarely(2).then(|| Side {
            path: random.one(&PATHS),
            signer: (!random.rarely(3)).then(|| random.next(6)),
            approvals: (0..random.next(4))
                .map(|_| {
                    let carried = [Carried::Tag, Carried::Mergetag, Carried::Empty];
                    Some((random.next(6), random.one(&carried)))
                })
                .collect(),
        });
        Self {
            path: random.one(&PATHS),
            signer: (!random.rarely(4)).then(|| random.next(6)),
            bound: random.rarely(2),
            wait: random.one(&[0, 0, 0, DAY, 3 * DAY, 8 * DAY]),
            back: random.one(&[0, 0, 0, 0, 300, DAY]),
            side,
            tags: (0..random.next(4))
                .map(|_| {
                    Some(Approval {
                        by: random.next(6),
                        spans: random.rarely(3),
                    })
                })
                .collect(),
        }
    }

    fn make(&self, n: usize, made: &mut Made) {
        let keys = keys();
        made.w.wait(self.wait);
        let content = format!("{n}\n");
        let mut mergetags = Vec::new();
        let side = self.side.as_ref().map(|side| {
            let mut commit = made.w.on(made.head).file(side.path, &content);
            if let Some(signer) = side.signer {
                commit = commit.sign(keys[signer]);
            }
            let mut tip = commit.make(&mut made.w);
            for approval in &side.approvals {
                let Some((by, carried)) = *approval else {
                    made.w.wait(60);
                    continue;
                };
                if carried == Carried::Empty {
                    tip = made
                        .w
                        .on(tip)
                        .message(&format!("fine\n\nApprove: {REPOSITORY} {REF} {tip}\n"))
                        .sign(keys[by])
                        .make(&mut made.w);
                    continue;
                }
                let tag = made.w.approve(tip, keys[by]);
                if carried == Carried::Mergetag {
                    made.w.tags.pop();
                    mergetags.push(tag);
                }
            }
            // What was embedded stands on the tip as it was then.
            mergetags.retain(|tag| {
                let raw = made.w.store.bytes(tag);
                object::Tag::parse(raw, tip.format()).unwrap().target == tip
            });
            (tip, side.path)
        });
        let at = made.w.clock() + 60 - self.back;
        let mut commit = match side {
            Some((tip, path)) => made.w.merge(&[made.head, tip]).file(path, &content),
            None => made.w.on(made.head),
        };
        commit = commit.file(self.path, &content).dated(at);
        for tag in mergetags {
            commit = commit.mergetag(&made.w.store, tag);
        }
        if self.bound {
            commit = commit.bound();
        }
        if let Some(signer) = self.signer {
            commit = commit.sign(keys[signer]);
        }
        made.head = commit.make(&mut made.w);
        made.targets.extend(side.map(|(tip, _)| tip));
        made.targets.push(made.head);
        for tag in &self.tags {
            let Some(Approval { by, spans }) = *tag else {
                made.w.wait(60);
                continue;
            };
            let name = format!("approve/main/{}", made.w.tags.len());
            let (head, root) = (made.head, made.w.root);
            let mut tag = made.w.tag(&name, head);
            if spans {
                tag = tag.trailer(&format!("Approve-Base: {root}"));
            }
            tag.sign(keys[by]).make(&mut made.w);
        }
    }
}

#[derive(Clone)]
struct Made {
    w: World,
    head: Oid,
    /// What could be approved.
    targets: Vec<Oid>,
}

impl Made {
    fn accepted(&self) -> usize {
        self.w
            .verify(self.head)
            .steps
            .iter()
            .take_while(|step| step.verdict == Verdict::Accept)
            .count()
    }

    /// Everything that is said, but for the order of notes.
    fn said(&self) -> (Verdict, Oid, Vec<String>) {
        let outcome = self.w.verify(self.head);
        let mut said = Vec::new();
        for step in &outcome.steps {
            let mut notes: Vec<String> = step.notes.iter().map(|n| format!("{n:?}")).collect();
            notes.sort();
            said.push(format!(
                "{} {} {:?} {notes:?}",
                step.commit, step.verdict, step.reasons
            ));
        }
        (outcome.verdict, outcome.accepted, said)
    }
}

/// Histories, of which enough get somewhere and enough don't.
fn histories(seed: u64) -> impl Iterator<Item = (Plan, Made, Random)> {
    let mut random = Random(seed);
    let mut counts = [0; 4];
    let mut left = 60;
    std::iter::from_fn(move || {
        if left == 0 {
            assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
            return None;
        }
        left -= 1;
        let plan = Plan::new(&mut random);
        let made = plan.make();
        counts[made.accepted()] += 1;
        let next = u64::try_from(random.next(usize::MAX)).unwrap();
        Some((plan, made, Random(next)))
    })
}

#[test]
fn removing_a_signature_or_an_approval_never_accepts_more() {
    let mut fewer = 0;
    for (plan, made, _) in histories(1) {
        let all = made.accepted();
        for less in plan.less() {
            let left = less.make().accepted();
            assert!(left <= all);
            fewer += usize::from(left < all);
        }
    }
    assert!(fewer > 20, "{fewer}");
}

#[test]
fn adding_an_unrelated_approval_never_accepts_less() {
    let mut more = 0;
    for (_, mut made, mut random) in histories(2) {
        for _ in 0..8 {
            let before = made.accepted();
            let (target, key) = (random.one(&made.targets), random.one(&keys()));
            let at = made.w.clock() + random.one(&[-20, -8, -1, 0, 0, 0, 0, 1, 8, 60]) * DAY;
            let name = format!("approve/main/{}", made.w.tags.len());
            let base = random.one(&made.targets);
            let mut tag = made.w.tag(&name, target).dated(at);
            if random.rarely(3) {
                tag = tag.trailer(&format!("Approve-Base: {base}"));
            }
            let spoil = random.rarely(4);
            tag.sign(key)
                .edit(move |mut raw| {
                    if spoil {
                        raw[60] ^= 1;
                    }
                    raw
                })
                .make(&mut made.w);
            let after = made.accepted();
            assert!(after >= before);
            more += usize::from(after > before);
        }
    }
    assert!(more > 2, "{more}");
}

#[test]
fn taking_a_key_away_never_accepts_more() {
    let mut fewer = 0;
    for (_, mut made, _) in histories(3) {
        let before = made.accepted();
        for key in &keys()[..5] {
            let mut less = made.clone();
            less.w.revoked.read(key.public().as_bytes()).unwrap();
            let left = less.accepted();
            assert!(left <= before);
            fewer += usize::from(left < before);
        }
        let mallory = people().mallory.public();
        made.w.revoked.read(mallory.as_bytes()).unwrap();
        assert_eq!(made.accepted(), before);
    }
    assert!(fewer > 20, "{fewer}");
}

#[test]
fn the_order_in_which_tags_come_means_nothing() {
    for (_, mut made, mut random) in histories(4) {
        // The same tags under other names too.
        for at in 0..made.w.tags.len() {
            let target = made.w.tags[at].target;
            let name = format!("refs/tags/approve/main/{}", ["!", "zzz"][at % 2]);
            made.w.tags.push(TagRef { name, target });
        }
        let said = made.said();
        for _ in 0..3 {
            random.shuffle(&mut made.w.tags);
            assert_eq!(made.said(), said);
        }
    }
}

#[test]
fn verifying_in_two_parts_is_verifying_at_once() {
    let mut parts = 0;
    for (mut plan, ..) in histories(5) {
        for step in &mut plan.steps {
            step.back = 0;
        }
        let mut made = plan.make();
        let whole = made.w.verify(made.head);
        for step in whole.steps.iter().filter(|s| s.verdict == Verdict::Accept) {
            made.w.floor = Some(step.commit);
            let rest = made.w.verify(made.head);
            assert_eq!(rest.accepted, whole.accepted);
            assert_eq!(rest.verdict, whole.verdict);
            parts += 1;
        }
    }
    assert!(parts > 20, "{parts}");
}

#[test]
fn splitting_and_joining_an_object_is_the_identity() {
    let mut counts = [0; 3];
    for (_, made, _) in histories(6) {
        for (id, kind, raw) in made.w.store.iter() {
            match kind {
                ObjectKind::Commit => {
                    join_commit(id, raw);
                    counts[0] += 1;
                }
                ObjectKind::Tag => {
                    let tag = object::Tag::parse(raw, id.format()).unwrap();
                    let signature = tag.signature.unwrap_or_default();
                    assert_eq!([&tag.payload().to_vec()[..], signature].concat(), raw);
                    counts[1] += 1;
                }
                ObjectKind::Tree => {
                    let tree = object::Tree::parse(raw, id.format()).unwrap();
                    let mut joined = Vec::new();
                    for entry in tree.entries() {
                        joined.extend(match entry.mode {
                            EntryMode::File => &b"100644 "[..],
                            EntryMode::Folder => b"40000 ",
                            _ => panic!("not made here"),
                        });
                        joined.extend(entry.name.as_bytes());
                        joined.push(0);
                        joined.extend(entry.id.as_bytes());
                    }
                    assert_eq!(joined, raw);
                    counts[2] += 1;
                }
                ObjectKind::Blob => {}
            }
        }
    }
    assert!(counts.iter().all(|count| *count > 50), "{counts:?}");
}

fn join_commit(id: &Oid, raw: &[u8]) {
    let commit = object::Commit::parse(raw, id.format()).unwrap();
    let mut payload = commit.payload().to_vec();
    let Some(block) = &commit.signature else {
        assert_eq!(payload, raw);
        return;
    };
    let text = String::from_utf8(block.to_vec()).unwrap();
    let header = format!("gpgsig {}\n", text.replace('\n', "\n "));
    let at = payload.windows(2).position(|w| w == b"\n\n").unwrap() + 1;
    payload.splice(at..at, header.into_bytes());
    assert_eq!(payload, raw);
    // The embedded tags are the ones that were embedded.
    for tag in &commit.mergetags {
        let header = String::from_utf8(tag.clone()).unwrap();
        let header = format!("mergetag {}\n", header.trim_end().replace('\n', "\n "));
        assert!(String::from_utf8_lossy(raw).contains(&header));
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

/// The same of approvals: what is changed counts only if the change is in what isn't signed.
#[test]
fn a_changed_byte_of_an_approval_never_counts() {
    let (p, mut random) = (people(), Random(7));
    for key in [&p.bob, &p.carol] {
        let mut w = World::default();
        let c = w.on(w.root).file("prod/a", "1").sign(&p.alice).make(&mut w);
        let tag = w.approve(c, key);
        w.accepts(c);
        let raw = w.store.bytes(&tag).to_vec();
        let signature = raw.windows(10).position(|w| w == b"-----BEGIN").unwrap();
        for _ in 0..300 {
            let mut changed = raw.clone();
            let at = random.next(signature);
            changed[at] ^= 1 << random.next(8);
            w.tags[0].target = w.store.write(ObjectKind::Tag, changed);
            assert!(!w.verify(c).is_accept(), "byte {at}");
        }
    }
}

// How much is told changes nothing but that; of a held head, the newest accepted are those before it.
#[test]
fn detail_is_of_the_newest_accepted_and_changes_no_verdict() {
    let p = people();
    let mut w = World::new(PolicyText::usual());
    let mut chain = vec![w.root];
    for n in 0..4 {
        let at = w.on(chain[n]).file("lab/a", &n.to_string());
        chain.push(at.sign(&p.alice).make(&mut w));
    }
    let held = w.on(chain[4]).file("prod/a", "1").sign(&p.alice);
    chain.push(held.make(&mut w));
    let now = jiff::Timestamp::from_second(w.now).unwrap();
    let told = |detail| {
        let outcome = verify(&w.store, &Inputs::new(w.root, chain[5], now).detail(detail));
        let verdicts: Vec<_> = outcome
            .steps
            .iter()
            .map(|s| (s.commit, s.verdict))
            .collect();
        let signers: Vec<_> = outcome.steps.iter().map(|s| s.signers.len()).collect();
        let needs: Vec<_> = outcome.steps.iter().map(|s| s.needs.len()).collect();
        (outcome.accepted, verdicts, signers, needs)
    };
    let (accepted, verdicts, signers, needs) = told(Detail::Explain);
    assert_eq!(accepted, chain[4]);
    assert_eq!((signers, needs), (vec![1; 5], vec![1, 1, 1, 1, 2]));
    for (detail, expected) in [
        (Detail::Brief, vec![0, 0, 0, 0, 1]),
        (Detail::Newest(2), vec![0, 0, 1, 1, 1]),
        (Detail::Newest(9), vec![1; 5]),
    ] {
        let said = told(detail);
        assert_eq!((said.0, &said.1, &said.2), (accepted, &verdicts, &expected));
    }
}
