//! Invariants of the verdict over random histories: strangers move nothing without approvals, and neither a
//! smaller group nor another revocation accepts more.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt::Write as _;
use std::sync::OnceLock;

use plumb_trust::{Inputs, Oid, Verdict, object, verify};
use sequoia_openpgp::types::{HashAlgorithm, ReasonForRevocation as Why};
use tests::certificates::Revoking;
use tests::keys::{DAY, Key, people};
use tests::objects::{Files, PolicyText, REF, REPOSITORY, START, World, moment};

const HISTORIES: usize = 100;
const HOUR: i64 = 3600;
const NAMES: [&str; 5] = ["alice", "bob", "carol", "dave", "erin"];
const OPS: [usize; 3] = [0, 1, 2];
const SEC: [usize; 2] = [3, 4];
/// The keys of each identity.
const KEYS: [&[usize]; 5] = [&[0, 1], &[2], &[3], &[4, 5], &[6]];
/// The key of nobody.
const MALLORY: usize = 7;
const PATHS: [&str; 5] = ["lab/a", "lab/b", "lab/c", "prod/a", "prod/b"];

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

    /// True once in so many times.
    fn rarely(&mut self, of: usize) -> bool {
        self.next(of) == 0
    }

    /// The key of somebody in `ops`.
    fn ops(&mut self) -> usize {
        let identity = self.one(&OPS);
        self.one(KEYS[identity])
    }
}

/// The keys of the policy and mallory's. Each certificate designates a revoker.
fn keys() -> &'static [Key; 8] {
    static MADE: OnceLock<[Key; 8]> = OnceLock::new();
    MADE.get_or_init(|| {
        let p = people();
        let designating =
            |key: &Key, revoker: &Key| key.designating(revoker, HashAlgorithm::SHA512);
        [
            designating(&p.alice, &p.dave),
            Key::ssh_ed25519("alice"),
            designating(&p.bob, &p.alice),
            p.carol.clone(),
            designating(&p.dave, &p.bob),
            Key::ssh_ed25519("dave"),
            p.erin.clone(),
            p.mallory.clone(),
        ]
    })
}

fn owner(key: usize) -> Option<usize> {
    KEYS.iter().position(|keys| keys.contains(&key))
}

/// A revocation in a certificate.
#[derive(Debug, Clone, Copy)]
struct CertRevocation {
    key: usize,
    reason: Why,
    seconds: i64,
    hash: HashAlgorithm,
    designated: bool,
}

impl CertRevocation {
    fn new(random: &mut Random) -> Self {
        let reasons = [Why::KeyCompromised, Why::Unspecified, Why::KeyRetired];
        let hashes = [HashAlgorithm::SHA512, HashAlgorithm::SHA1];
        Self {
            key: random.one(&[0, 2, 4]),
            reason: random.one(&reasons),
            seconds: START + random.one(&[-1, 0, 1, 3]) * DAY,
            hash: random.one(&hashes),
            designated: random.rarely(2),
        }
    }

    fn apply(self) -> Key {
        let key = &keys()[self.key];
        let revoker = match (self.designated, self.key) {
            (false, _) => key,
            (true, 0) => &keys()[4],
            (true, 2) => &keys()[0],
            (true, _) => &keys()[2],
        };
        let how = Revoking::new(self.reason, self.seconds).hash(self.hash);
        key.revoked_by(revoker, how)
    }
}

/// What a history is made under, besides its plan.
#[derive(Debug, Clone, Copy, Default)]
struct Setting {
    out_of_groups: Option<usize>,
    /// A key that becomes that of an identity without a group.
    key_out_of_groups: Option<usize>,
    revoked: Option<CertRevocation>,
}

impl Setting {
    fn apply(&self, policy: &mut PolicyText) {
        let revoked = self.revoked.map(|revoked| (revoked.key, revoked.apply()));
        let public = |key: usize| match &revoked {
            Some((other, changed)) if *other == key => changed,
            _ => &keys()[key],
        };
        for (identity, name) in NAMES.iter().enumerate() {
            let kept = KEYS[identity].iter();
            let kept = kept.filter(|key| self.key_out_of_groups != Some(**key));
            let kept: Vec<&Key> = kept.map(|key| public(*key)).collect();
            policy.identity(name, &kept);
        }
        if let Some(key) = self.key_out_of_groups {
            policy.identity("nobody", &[public(key)]);
        }
        for (group, members) in [(0, &OPS[..]), (1, &SEC[..])] {
            let members = members
                .iter()
                .filter(|who| self.out_of_groups != Some(**who));
            let names: Vec<&str> = members.map(|who| NAMES[*who]).collect();
            policy.groups[group].1 = format!("[{}]", names.join(", "));
        }
    }
}

#[derive(Debug, Clone)]
struct Plan {
    bind: &'static str,
    more: String,
    steps: Vec<Step>,
    revocation: Option<TagRevocation>,
}

/// A key that `revoke/` tags of a quorum name, and the mainline commit that they stand on.
#[derive(Debug, Clone, Copy)]
struct TagRevocation {
    key: usize,
    target: usize,
}

#[derive(Debug, Clone)]
struct Step {
    wait: i64,
    paths: Vec<&'static str>,
    /// A folder that gets an empty folder.
    empty: Option<&'static str>,
    sides: Vec<Side>,
    /// Leaves the first changed path of each branch out.
    partial: bool,
    signer: Option<usize>,
    /// How much later than the commit's date the signature is made.
    signed_after: i64,
    dated_before: i64,
    bound: bool,
    emergency: bool,
    tags: Vec<Approval>,
    seen_after: Option<i64>,
}

#[derive(Debug, Clone)]
struct Side {
    from: BranchSource,
    paths: Vec<&'static str>,
    signer: Option<usize>,
    approvals: Vec<Approval>,
}

/// Where a merged branch comes from.
#[derive(Debug, Clone, Copy)]
enum BranchSource {
    /// A new branch, so many commits below the head.
    Fork(usize),
    /// A commit of the mainline, so many below the head.
    Ancestor(usize),
    /// The tip of an earlier branch.
    Earlier(usize),
}

#[derive(Debug, Clone, Copy)]
struct Approval {
    by: usize,
    after: i64,
    /// Names a base so many commits below the head.
    base: Option<usize>,
    carrier: Carrier,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Carrier {
    Tag,
    Mergetag,
    Empty,
}

impl Approval {
    fn new(random: &mut Random, by: usize, carrier: &[Carrier]) -> Self {
        Self {
            by,
            after: random.one(&[0, 0, 0, 0, -HOUR, 5 * HOUR, 2 * DAY]),
            base: random.rarely(5).then(|| random.next(4)),
            carrier: random.one(carrier),
        }
    }
}

impl Side {
    fn new(random: &mut Random, enough: bool) -> Self {
        use Carrier::{Empty, Mergetag, Tag};
        let from = match random.next(if enough { 12 } else { 5 }) {
            0 => BranchSource::Ancestor(1 + random.next(3)),
            1 => BranchSource::Earlier(random.next(3)),
            _ => BranchSource::Fork(random.next(3)),
        };
        let approvals = if enough {
            [0, 2, 3]
                .map(|by| Approval::new(random, by, &[Tag, Mergetag, Empty]))
                .to_vec()
        } else {
            let by = |random: &mut Random| random.next(8);
            let count = random.next(3);
            let approvals = (0..count).map(|_| {
                let by = by(random);
                Approval::new(random, by, &[Tag, Mergetag, Empty])
            });
            approvals.collect()
        };
        Self {
            from,
            paths: (0..=random.next(2)).map(|_| random.one(&PATHS)).collect(),
            signer: (!random.rarely(3)).then(|| random.ops()),
            approvals,
        }
    }
}

impl Step {
    fn new(random: &mut Random) -> Self {
        let enough = !random.rarely(4);
        let merges = random.rarely(2);
        let sides = if merges {
            random.one(&[1, 1, 1, 2, 3])
        } else {
            0
        };
        let unknown = random.rarely(if merges { 2 } else { 4 });
        let emergency = random.rarely(4);
        let own_paths = if merges {
            random.one(&[0, 0, 0, 1])
        } else {
            random.one(&[0, 1, 1, 2])
        };
        let count = if enough && (!merges || own_paths > 0) {
            2
        } else {
            random.next(2)
        };
        let tag = |random: &mut Random| {
            let by = if enough { random.ops() } else { random.next(8) };
            Approval::new(random, by, &[Carrier::Tag])
        };
        Self {
            wait: random.one(&[0, 0, HOUR, 5 * HOUR, DAY]),
            paths: (0..own_paths).map(|_| random.one(&PATHS)).collect(),
            empty: random
                .rarely(12)
                .then(|| random.one(&["lab", "prod", "trust"])),
            sides: (0..sides).map(|_| Side::new(random, enough)).collect(),
            partial: random.rarely(8),
            signer: match (unknown, emergency) {
                (true, _) => random.rarely(3).then_some(MALLORY),
                (false, true) => Some(random.one(&[4, 5, 6])),
                (false, false) if random.rarely(4) => Some(random.next(7)),
                (false, false) => Some(random.ops()),
            },
            signed_after: random.one(&[0, 0, 0, 0, -HOUR, 300, 5 * HOUR]),
            dated_before: random.one(&[0, 0, 0, 0, 300, 2 * HOUR]),
            bound: !random.rarely(3),
            emergency,
            tags: (0..count).map(|_| tag(random)).collect(),
            seen_after: random
                .rarely(3)
                .then(|| random.one(&[0, HOUR, 4 * HOUR, 5 * HOUR])),
        }
    }
}

impl Plan {
    fn new(random: &mut Random) -> Self {
        let mut more = String::new();
        if random.rarely(5) {
            more.push_str("sideBranches: allSigned\n");
        }
        if random.rarely(2) {
            more.push_str("approvals: {maxAge: 1d}\n");
        }
        if random.rarely(2) {
            more.push_str("emergency: {need: [{from: sec, count: 1}], ttl: 4h, bypasses: [freeze, counts], never: [\"lab/b\"]}\n");
        }
        if random.rarely(3) {
            more.push_str("freeze: [{from: 2025-02-01T00:00:00Z, to: 2025-03-20T00:00:00Z, paths: [\"prod/**\"]}]\n");
        }
        Self {
            bind: random.one(&["none", "none", "trailer", "approval"]),
            more,
            steps: (0..5).map(|_| Step::new(random)).collect(),
            revocation: random.rarely(6).then(|| TagRevocation::new(random)),
        }
    }

    /// Makes the history as real objects.
    fn make(&self, setting: &Setting) -> History {
        let mut w = World::with(|policy| {
            self.bind.clone_into(&mut policy.bind_ref);
            policy.more.clone_from(&self.more);
            setting.apply(policy);
        });
        w.now += 10 * DAY;
        let mut made = History {
            chain: vec![w.root],
            signers: vec![None],
            merged: vec![Vec::new()],
            tips: Vec::new(),
            approvals: Vec::new(),
            empties: HashMap::new(),
            w,
        };
        for (n, step) in self.steps.iter().enumerate() {
            step.make(n, &mut made);
        }
        if let Some(by_tags) = self.revocation {
            made.revoke(by_tags);
        }
        made
    }
}

impl TagRevocation {
    fn new(random: &mut Random) -> Self {
        Self {
            key: random.next(7),
            target: random.next(4),
        }
    }
}

/// An approval that was made.
struct ApprovalRecord {
    by: usize,
    target: Oid,
    base: Option<Oid>,
}

struct History {
    w: World,
    /// The mainline, from the introduction on; and who signed each commit, and what it merges.
    chain: Vec<Oid>,
    signers: Vec<Option<usize>>,
    merged: Vec<Vec<Oid>>,
    tips: Vec<Oid>,
    approvals: Vec<ApprovalRecord>,
    empties: HashMap<Oid, BTreeSet<String>>,
}

impl Step {
    fn make(&self, n: usize, made: &mut History) {
        made.w.wait(self.wait);
        let head = *made.chain.last().unwrap();
        let mut files = made.w.files(&head).clone();
        let (mut parents, mut mergetags) = (vec![head], Vec::new());
        for (s, side) in self.sides.iter().enumerate() {
            let content = format!("{n}.{s}\n");
            let (tip, changed) = side.make(&content, made, &mut mergetags);
            if parents.contains(&tip) {
                continue;
            }
            parents.push(tip);
            let there = made.w.files(&tip).clone();
            for path in changed.iter().skip(usize::from(self.partial)) {
                files.insert((*path).to_owned(), there[*path].clone());
            }
        }
        for path in &self.paths {
            files.insert(
                (*path).to_owned(),
                ("100644", format!("{n}\n").into_bytes()),
            );
        }
        let mut message = String::from("a change\n\n");
        if self.bound {
            writeln!(message, "Deploy-Ref: {REPOSITORY} {REF}").unwrap();
        }
        if self.emergency {
            message.push_str("Emergency: the door is open\n");
        }
        let merged = parents[1..].to_vec();
        let mut commit = made.w.merge(&parents).with_files(&files).message(&message);
        if let Some(folder) = self.empty {
            let tree = with_empty_folder(&mut made.w, &files, folder);
            commit = commit.tree(tree);
        }
        let date = commit.seconds - self.dated_before;
        commit = commit.dated(date);
        for (target, tag) in mergetags {
            if merged.contains(&target) {
                commit = commit.mergetag(&made.w.store, tag);
            }
        }
        if let Some(signer) = self.signer {
            commit = commit.sign_at(&keys()[signer], date + self.signed_after);
        }
        let id = commit.make(&mut made.w);
        if let Some(folder) = self.empty {
            made.empties
                .entry(id)
                .or_default()
                .insert(format!("{folder}/zz"));
        }
        if let Some(after) = self.seen_after {
            made.w.seen.insert(id, moment(date + after));
        }
        made.chain.push(id);
        made.signers.push(self.signer);
        made.merged.push(merged);
        for tag in &self.tags {
            made.approve(tag, id);
        }
    }
}

impl Side {
    /// Makes the branch. Returns its tip and what it changes.
    fn make(
        &self,
        content: &str,
        made: &mut History,
        mergetags: &mut Vec<(Oid, Oid)>,
    ) -> (Oid, Vec<&'static str>) {
        let below = |made: &History, n: usize| made.chain[made.chain.len().saturating_sub(n + 1)];
        let (mut tip, changed) = match self.from {
            BranchSource::Fork(n) => {
                let base = below(made, n);
                let mut commit = made.w.on(base);
                for path in &self.paths {
                    commit = commit.file(path, content);
                }
                if let Some(signer) = self.signer {
                    commit = commit.sign(&keys()[signer]);
                }
                (commit.make(&mut made.w), self.paths.clone())
            }
            BranchSource::Ancestor(n) => (below(made, n), Vec::new()),
            BranchSource::Earlier(n) => match made.tips.get(n) {
                Some(tip) => (*tip, Vec::new()),
                None => (below(made, n), Vec::new()),
            },
        };
        let is = |carrier: Carrier| move |approval: &&Approval| approval.carrier == carrier;
        for approval in self.approvals.iter().filter(is(Carrier::Empty)) {
            let message = format!("fine\n\nApprove: {REPOSITORY} {REF} {tip}\n");
            let commit = made.w.on(tip).message(&message);
            tip = commit.sign(&keys()[approval.by]).make(&mut made.w);
        }
        for approval in self.approvals.iter().filter(is(Carrier::Empty)) {
            made.approvals.push(ApprovalRecord {
                by: approval.by,
                target: tip,
                base: None,
            });
        }
        for approval in self
            .approvals
            .iter()
            .filter(|a| a.carrier != Carrier::Empty)
        {
            let tag = made.approve(approval, tip);
            if approval.carrier == Carrier::Mergetag {
                made.w.tags.pop();
                mergetags.push((tip, tag));
            }
        }
        made.tips.push(tip);
        (tip, changed)
    }
}

/// Writes the trees of files, with an empty folder `zz` in one of their folders.
fn with_empty_folder(w: &mut World, files: &Files, folder: &str) -> Oid {
    let empty = w.store.raw_tree(&[]);
    let root = w.store.tree(files);
    let raw = w.store.bytes(&root).to_vec();
    let parsed = object::Tree::parse(&raw, root.format()).unwrap();
    let inside = parsed.get(folder).unwrap().id;
    let mut changed = w.store.bytes(&inside).to_vec();
    changed.extend(b"40000 zz\0");
    changed.extend(empty.as_bytes());
    let changed = w.store.write(plumb_trust::ObjectKind::Tree, changed);
    // Two folders may be the same tree, so the name is a part of what is looked for.
    let entry = [folder.as_bytes(), b"\0", inside.as_bytes()].concat();
    let at = raw
        .windows(entry.len())
        .position(|bytes| bytes == entry)
        .unwrap();
    let mut raw = raw.clone();
    let id = at + folder.len() + 1;
    raw.splice(id..id + 20, changed.as_bytes().iter().copied());
    w.store.write(plumb_trust::ObjectKind::Tree, raw)
}

impl History {
    fn approve(&mut self, approval: &Approval, target: Oid) -> Oid {
        let name = format!("approve/main/{}-{}", self.approvals.len(), self.w.clock());
        let at = self.w.clock() + 60 + approval.after;
        let base = approval
            .base
            .map(|n| self.chain[self.chain.len().saturating_sub(n + 1)]);
        let mut tag = self.w.tag(&name, target).dated(at);
        if let Some(base) = base {
            tag = tag.trailer(&format!("Approve-Base: {base}"));
        }
        self.approvals.push(ApprovalRecord {
            by: approval.by,
            target,
            base,
        });
        tag.sign(&keys()[approval.by]).make(&mut self.w)
    }

    /// Adds `revoke/` tags of two of `ops` and one of `sec`, none of them the key's owner.
    fn revoke(&mut self, by_tags: TagRevocation) {
        let target = self.chain[by_tags.target.min(self.chain.len() - 1)];
        let hex = keys()[by_tags.key].hex();
        let others = |group: &[usize], count: usize| -> Vec<usize> {
            let others = group.iter().filter(|who| owner(by_tags.key) != Some(**who));
            others.take(count).map(|who| KEYS[*who][0]).collect()
        };
        for signer in [others(&OPS, 2), others(&SEC, 1)].concat() {
            let tag = self.w.tag(&format!("revoke/{hex}/{signer}"), target);
            tag.sign(&keys()[signer]).make(&mut self.w);
        }
    }

    fn accepted(&self) -> usize {
        let w = &self.w;
        let head = self.chain[self.chain.len() - 1];
        let inputs = Inputs::new(w.root, head, moment(w.now))
            .tags(&w.tags)
            .first_seen(&w.seen)
            .revoked(&w.revoked)
            .reference(REF);
        let outcome = verify(&w.store, &inputs);
        let accepted = outcome.steps.iter();
        accepted
            .take_while(|step| step.verdict == Verdict::Accept)
            .count()
    }

    /// A commit's files and empty folders.
    fn leaves(&self, id: &Oid) -> BTreeMap<String, Vec<u8>> {
        let files = self.w.files(id).iter();
        let files = files.map(|(path, (_, content))| (path.clone(), content.clone()));
        let empties = self.empties.get(id).into_iter().flatten();
        files
            .chain(empties.map(|path| (path.clone(), Vec::new())))
            .collect()
    }

    fn ancestors(&self, id: &Oid) -> HashSet<Oid> {
        let (mut seen, mut next) = (HashSet::new(), vec![*id]);
        while let Some(id) = next.pop() {
            if seen.insert(id) {
                let raw = self.w.store.bytes(&id);
                next.extend(object::Commit::parse(raw, id.format()).unwrap().parents);
            }
        }
        seen
    }

    /// Returns what no approval covers of a mainline commit whose own signature counts for nothing. It asks
    /// less than the contract does: neither times nor bindings, nor that all of a branch was taken.
    fn uncovered(&self, at: usize) -> Option<String> {
        let (parent, id) = (&self.chain[at - 1], &self.chain[at]);
        let (before, after) = (self.leaves(parent), self.leaves(id));
        let all: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        let changed: Vec<&String> = all
            .into_iter()
            .filter(|path| before.get(*path) != after.get(*path))
            .collect();
        let position = |id: &Oid| self.chain.iter().position(|other| other == id);
        let spans = |given: &&ApprovalRecord| {
            let to = position(&given.target);
            let from = given.base.and_then(|base| position(&base));
            given.target == *id || to.is_some_and(|to| to > at) && from.is_some_and(|f| f < at)
        };
        let whole: BTreeSet<usize> = self
            .approvals
            .iter()
            .filter(spans)
            .filter_map(|given| owner(given.by))
            .collect();
        let known = self.ancestors(parent);
        let of_tip = |tip: &Oid, path: &String| -> BTreeSet<usize> {
            if known.contains(tip) || self.leaves(tip).get(path) != after.get(path) {
                return BTreeSet::new();
            }
            let given = self.approvals.iter().filter(|given| given.target == *tip);
            given.filter_map(|given| owner(given.by)).collect()
        };
        if changed.is_empty() && whole.is_empty() {
            return Some("nothing changes, and nobody signed".to_owned());
        }
        for path in &changed {
            let tips = self.merged[at].iter().flat_map(|tip| of_tip(tip, path));
            let have: BTreeSet<usize> = tips.chain(whole.iter().copied()).collect();
            let count = |group: &[usize]| group.iter().filter(|who| have.contains(who)).count();
            let (ops, sec) = match path.split('/').next() {
                Some("prod") => (2, 0),
                Some("trust") => (2, 1),
                _ => (1, 0),
            };
            if count(&OPS) < ops || count(&SEC) < sec {
                return Some((*path).clone());
            }
        }
        let covers = |tip: &&Oid| changed.iter().any(|path| !of_tip(tip, path).is_empty());
        let bare = self.merged[at]
            .iter()
            .find(|tip| whole.is_empty() && !covers(tip));
        bare.map(|tip| format!("the merge of {tip}"))
    }
}

/// Plans and their histories, some of which are accepted in whole and some not at all.
fn histories(
    seed: u64,
    adjust: impl Fn(&mut Plan),
    mut check: impl FnMut(&Plan, History, &mut Random),
) {
    let mut random = Random(seed);
    let mut counts = BTreeMap::new();
    for _ in 0..HISTORIES {
        let mut plan = Plan::new(&mut random);
        adjust(&mut plan);
        let made = plan.make(&Setting::default());
        *counts.entry(made.accepted()).or_insert(0) += 1;
        check(&plan, made, &mut random);
    }
    assert!(counts.len() > 4, "{counts:?}");
}

#[test]
fn strangers_move_the_head_by_approvals_alone() {
    let (mut by_approvals, mut refused) = (0, 0);
    histories(
        21,
        |_| (),
        |plan, mut made, random| {
            let check = |made: &History, accepted: usize| {
                let unknown = |at: &usize| made.signers[*at].is_none_or(|key| key == MALLORY);
                let steps: Vec<usize> = (1..=accepted).filter(unknown).collect();
                for at in &steps {
                    let uncovered = made.uncovered(*at);
                    assert!(uncovered.is_none(), "step {at}: {uncovered:?}\n{plan:#?}");
                }
                steps.len()
            };
            let accepted = made.accepted();
            by_approvals += check(&made, accepted);
            // Unsigned merges of whatever there is, on top of what is accepted.
            made.chain.truncate(accepted + 1);
            made.signers.truncate(accepted + 1);
            made.merged.truncate(accepted + 1);
            for n in 0..4 {
                let mut step = Step::new(random);
                step.signer = None;
                step.tags.clear();
                step.paths.clear();
                step.dated_before = random.one(&[-DAY, 0, DAY]);
                step.empty = random.rarely(2).then(|| random.one(&["lab", "trust"]));
                let sides = 1 + random.next(3);
                let side = |random: &mut Random| Side {
                    from: match random.next(2) {
                        0 => BranchSource::Ancestor(1 + random.next(3)),
                        _ => BranchSource::Earlier(random.next(made.tips.len() + 1)),
                    },
                    paths: Vec::new(),
                    signer: None,
                    approvals: Vec::new(),
                };
                step.sides = (0..sides).map(|_| side(random)).collect();
                step.make(10 + n, &mut made);
                let now = made.accepted();
                check(&made, now);
                refused += usize::from(now <= accepted);
                made.chain.truncate(accepted + 1);
                made.signers.truncate(accepted + 1);
                made.merged.truncate(accepted + 1);
            }
        },
    );
    assert!(
        by_approvals > 20 && refused > 100,
        "{by_approvals} {refused}"
    );
}

#[test]
fn leaving_the_groups_accepts_nothing_more() {
    let mut fewer = 0;
    // A smaller group may be too small for a revocation, which gives authority back by design.
    let unrevoked = |plan: &mut Plan| plan.revocation = None;
    histories(22, unrevoked, |plan, made, random| {
        let all = made.accepted();
        let out = |who: usize| Setting {
            out_of_groups: Some(who),
            ..Setting::default()
        };
        // Of an identity with several keys, one of them.
        let key_out = |key: usize| Setting {
            key_out_of_groups: Some(key),
            ..Setting::default()
        };
        let settings = [
            out(random.one(&OPS)),
            out(random.next(5)),
            key_out(random.one(&[0, 1])),
            key_out(random.one(&[0, 1, 4, 5])),
        ];
        for setting in settings {
            let left = plan.make(&setting).accepted();
            assert!(
                left <= all,
                "{left} instead of {all}: {setting:?}\n{plan:#?}"
            );
            fewer += usize::from(left < all);
        }
    });
    assert!(fewer > 50, "{fewer}");
}

#[test]
fn adding_a_revocation_accepts_nothing_more() {
    let mut fewer = [0; 3];
    histories(
        23,
        |_| (),
        |plan, mut made, random| {
            let all = made.accepted();
            let more = |left: usize, what: &dyn std::fmt::Debug| {
                assert!(left <= all, "{left} instead of {all}: {what:?}\n{plan:#?}");
                usize::from(left < all)
            };
            for _ in 0..2 {
                let known = made.w.revoked.clone();
                let file = keys()[random.next(7)].public();
                made.w.revoked.read(file.as_bytes()).unwrap();
                fewer[0] += more(made.accepted(), &file);
                made.w.revoked = known;
            }
            let revoked = Some(CertRevocation::new(random));
            let setting = Setting {
                revoked,
                ..Setting::default()
            };
            fewer[1] += more(plan.make(&setting).accepted(), &revoked);
            let by_tags = TagRevocation::new(random);
            made.revoke(by_tags);
            fewer[2] += more(made.accepted(), &by_tags);
        },
    );
    assert!(fewer.iter().all(|fewer| *fewer > 2), "{fewer:?}");
}
