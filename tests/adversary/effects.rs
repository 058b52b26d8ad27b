//! Rules and freezes by `hosts`: attacks that reach a protected host through paths that its rule doesn't own.
//!
//! The fleet has the protected `db` (`env=prod`) and `lab` (`env=lab`). One of ops may change any path, and a
//! change of an `env=prod` host needs two. Each attack is signed by one.

use std::cell::Cell;

use plumb_adapters::git::Repository;
use plumb_adapters::git::write::Writer;
use plumb_trust::{Affected, Effects, Inputs, ObjectFormat, Oid, Outcome, ReasonCode as R, verify};
use tests::keys::people;
use tests::objects::{Commit, PolicyText, REF, World, moment, show};

const DB_KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDbDbDbDbDbDbDbDbDbDbDbDbDbDbDbDbDbDbDbDbDbD";
const LAB_KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILabLabLabLabLabLabLabLabLabLabLabLabLabLabLabLa";
const RULE: &str = "{hosts: env=prod, need: [{from: ops, count: 2}]}";

/// The repository of a world on disk, which counts the comparisons.
struct Counted {
    repository: Repository,
    count: Cell<usize>,
}

impl Effects for Counted {
    fn between(&self, before: &Oid, after: &Oid) -> Affected {
        self.count.set(self.count.get() + 1);
        self.repository.between(before, after)
    }
}

/// A fleet whose accepted commit is `base`.
struct Fleet {
    world: World,
    base: Oid,
}

fn host(name: &str, env: &str, id: u8, key: &str) -> String {
    format!(
        "kind: Host\nmetadata: {{name: {name}, labels: {{env: {env}}}}}\nspec:\n  uid: uid-{name}\n  hostKeys: [\"{key}\"]\n  networks: {{lan: {{id: {id}, mac: \"02:00:5e:00:53:{id}\"}}}}\n  connect: [{{network: lan}}]\n"
    )
}

impl Fleet {
    fn new() -> Self {
        Self::with(|policy| policy.rules.push(RULE.to_owned()))
    }

    fn with(policy: impl FnOnce(&mut PolicyText)) -> Self {
        let p = people();
        let mut world = World::with(policy);
        let mut first = world.on(world.root);
        for (path, text) in [
            (
                "fleet.yaml",
                "kind: Fleet\nmetadata: {name: home}\nspec:\n  domain: fleet.example\n  hostDefaults: {profiles: {base: {}}}\n",
            ),
            (
                "profiles/base.yaml",
                "kind: Profile\nmetadata: {name: base}\nspec:\n  params: {level: {type: integer, default: 1}}\n  resources:\n    file:\n      /etc/motd: {content: {file: files/motd}}\n      /etc/hosts: {content: {templateFile: files/hosts.j2}}\n      /etc/level: {content: {template: \"{{ params.level }}\\n\"}}\n",
            ),
            ("files/motd", "hello\n"),
            (
                "files/hosts.j2",
                "{% for one in fleet.network('lan').members %}{{ one.ipv4 }} {{ one.name }}\n{% endfor %}",
            ),
            (
                "networks/lan.yaml",
                "kind: Network\nmetadata: {name: lan}\nspec: {type: lan, subnets: [192.0.2.0/24]}\n",
            ),
            ("hosts/db.yaml", &*host("db", "prod", 10, DB_KEY)),
            ("hosts/lab.yaml", &*host("lab", "lab", 20, LAB_KEY)),
        ] {
            first = first.file(path, text);
        }
        let base = first.sign(&p.alice).make(&mut world);
        world.approve(base, &p.bob);
        Self { world, base }
    }

    fn on_base(&mut self) -> Commit<'static> {
        self.world.on(self.base)
    }

    fn text(&self, path: &str) -> String {
        String::from_utf8(self.world.files(&self.base)[path].1.clone()).unwrap()
    }

    /// A commit that replaces a text in a file.
    fn edit(&mut self, path: &str, from: &str, to: &str) -> Commit<'static> {
        let text = self.text(path);
        assert!(text.contains(from), "{path}: {text}");
        self.on_base().file(path, &text.replace(from, to))
    }

    fn counted(&self) -> (tempfile::TempDir, Counted) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fleet.git");
        let writer = Writer::create(&path, ObjectFormat::Sha1, REF).unwrap();
        for (_, kind, bytes) in self.world.store.iter() {
            writer.raw(kind, bytes).unwrap();
        }
        let counted = Counted {
            repository: Repository::open(&path).unwrap(),
            count: Cell::new(0),
        };
        (folder, counted)
    }

    fn inputs(&self, head: Oid) -> Inputs<'_> {
        let inputs = Inputs::new(self.world.root, head, moment(self.world.now));
        inputs
            .tags(&self.world.tags)
            .first_seen(&self.world.seen)
            .explain()
    }

    /// Verifies up to a head; returns the number of comparisons, too.
    fn verify(&self, floor: Oid, head: Oid) -> (Outcome, usize) {
        let (_folder, counted) = self.counted();
        let inputs = self.inputs(head).floor(floor).effects(&counted);
        let outcome = verify(counted.repository.objects(), &inputs);
        (outcome, counted.count.get())
    }

    #[track_caller]
    fn pends(&self, head: Oid, code: R) -> Outcome {
        let (outcome, _) = self.verify(self.base, head);
        let reasons = &outcome.steps[0].reasons;
        assert!(
            outcome.accepted == self.base && reasons.iter().any(|reason| reason.code == code),
            "{}",
            show(&outcome)
        );
        outcome
    }

    #[track_caller]
    fn accepts(&self, head: Oid) -> Outcome {
        let (outcome, _) = self.verify(self.base, head);
        assert!(outcome.accepted == head, "{}", show(&outcome));
        outcome
    }

    /// Asserts that one of ops isn't enough for the commit, and that two are.
    #[track_caller]
    fn needs_two(&mut self, commit: Commit<'static>) {
        let p = people();
        let commit = commit.sign(&p.alice).make(&mut self.world);
        let outcome = self.pends(commit, R::ApprovalsMissing);
        let missing = &outcome.steps[0].reasons[0].missing;
        assert_eq!((missing[0].count, missing[0].have), (2, 1));
        self.world.approve(commit, &p.bob);
        self.accepts(commit);
    }
}

#[test]
fn case_81_host_with_a_protected_hosts_address() {
    let mut fleet = Fleet::new();
    let alias = host("lab", "lab", 20, LAB_KEY).replace(
        "connect: [{network: lan}]",
        "connect: [{address: 192.0.2.10}]",
    );
    let commit = fleet.on_base().file("hosts/lab.yaml", &alias);
    fleet.needs_two(commit);
    let commit = fleet.edit("hosts/lab.yaml", "id: 20, mac", "id: 10, mac");
    fleet.needs_two(commit);
}

#[test]
fn case_82_protected_host_is_relabelled_and_loosened() {
    let mut fleet = Fleet::new();
    let loose = host("db", "lab", 10, DB_KEY) + "  drift: {mode: ignore}\n";
    let commit = fleet.on_base().file("hosts/db.yaml", &loose);
    fleet.needs_two(commit);
}

#[test]
fn own_213_profile_of_a_protected_host() {
    let mut fleet = Fleet::new();
    let commit = fleet.edit("profiles/base.yaml", "default: 1", "default: 2");
    fleet.needs_two(commit);
}

#[test]
fn own_214_defaults_of_all_hosts() {
    let mut fleet = Fleet::new();
    let commit = fleet.edit(
        "fleet.yaml",
        "{profiles: {base: {}}}",
        "{profiles: {base: {}}, connect: [{address: 203.0.113.1}]}",
    );
    // A host's own `connect` wins, so this reaches nobody.
    let p = people();
    let nothing = commit.sign(&p.alice).make(&mut fleet.world);
    fleet.accepts(nothing);
    let commit = fleet.edit("fleet.yaml", "base: {}", "base: {level: 3}");
    fleet.needs_two(commit);
}

#[test]
fn own_215_file_that_a_protected_host_gets() {
    let mut fleet = Fleet::new();
    let commit = fleet.on_base().file("files/motd", "changed\n");
    fleet.needs_two(commit);
}

#[test]
fn own_216_template_that_a_protected_host_renders() {
    let mut fleet = Fleet::new();
    let commit = fleet.edit("files/hosts.j2", "{{ one.name }}", "{{ one.name }}.evil");
    fleet.needs_two(commit);
}

#[test]
fn own_217_deleted_protected_host() {
    let mut fleet = Fleet::new();
    let commit = fleet.on_base().without("hosts/db.yaml");
    fleet.needs_two(commit);
}

#[test]
fn own_218_renamed_and_relabelled_protected_host() {
    let mut fleet = Fleet::new();
    let renamed = host("web", "lab", 10, DB_KEY) + "  formerly: [db]\n";
    let commit = fleet.on_base().without("hosts/db.yaml");
    let commit = commit.file("hosts/web.yaml", &renamed);
    fleet.needs_two(commit);
}

#[test]
fn own_219_facts_of_a_network_that_a_protected_host_renders() {
    let mut fleet = Fleet::new();
    // The address of an unprotected host is in the protected host's /etc/hosts.
    let commit = fleet.edit("hosts/lab.yaml", "id: 20, mac", "id: 21, mac");
    fleet.needs_two(commit);
    let commit = fleet.edit("networks/lan.yaml", "192.0.2.0/24", "198.51.100.0/24");
    fleet.needs_two(commit);
}

#[test]
fn own_220_secret_of_a_protected_host_and_its_readers() {
    let mut fleet = Fleet::new();
    let secret = |hosts: &str| {
        format!(
            "kind: Secret\nmetadata: {{name: app}}\nspec: {{version: 1, hosts: {hosts}, values: {{}}}}\n"
        )
    };
    let commit = fleet
        .on_base()
        .file("secrets/app.yaml", &secret("env=prod"));
    fleet.needs_two(commit);
    let p = people();
    let commit = fleet
        .on_base()
        .file("secrets/app.yaml", &secret("env=prod"));
    let base = commit.sign(&p.alice).make(&mut fleet.world);
    fleet.world.approve(base, &p.bob);
    fleet.base = base;
    let commit = fleet.on_base().file("secrets/app.yaml", &secret("\"*\""));
    fleet.needs_two(commit);
    let commit = fleet.on_base().without("secrets/app.yaml");
    fleet.needs_two(commit);
}

#[test]
fn own_221_composite_in_a_profile() {
    let mut fleet = Fleet::new();
    let commit = fleet.edit(
        "profiles/base.yaml",
        "  resources:\n",
        "  resources:\n    cron: {report: {schedule: \"@daily\", user: root, run: [/bin/evil]}}\n",
    );
    fleet.needs_two(commit);
}

#[test]
fn own_222_former_name_of_a_protected_host() {
    let mut fleet = Fleet::new();
    let heir = host("lab", "lab", 20, LAB_KEY) + "  formerly: [db]\n";
    let commit = fleet.on_base().without("hosts/db.yaml");
    let commit = commit.file("hosts/lab.yaml", &heir);
    fleet.needs_two(commit);
}

#[test]
fn own_223_keys_and_identity_of_a_protected_host() {
    let mut fleet = Fleet::new();
    let commit = fleet.edit("hosts/lab.yaml", LAB_KEY, DB_KEY);
    fleet.needs_two(commit);
    let commit = fleet.edit("hosts/lab.yaml", LAB_KEY, &format!("{DB_KEY} a comment"));
    fleet.needs_two(commit);
    let commit = fleet.edit("hosts/lab.yaml", "uid-lab", "uid-db");
    fleet.needs_two(commit);
    let commit = fleet.edit("hosts/db.yaml", DB_KEY, LAB_KEY);
    fleet.needs_two(commit);
}

#[test]
fn own_224_what_cannot_be_resolved_affects_every_host() {
    for path in ["fleet.yaml", "profiles/base.yaml", "hosts/db.yaml"] {
        let mut fleet = Fleet::new();
        let commit = fleet.on_base().file(path, "kind: [\n");
        fleet.needs_two(commit);
        // The commit that mends it can't be compared with anything.
        let p = people();
        let commit = fleet.on_base().file(path, "kind: [\n");
        let broken = commit.sign(&p.alice).make(&mut fleet.world);
        fleet.world.approve(broken, &p.bob);
        let mended = fleet.text(path);
        fleet.base = broken;
        let commit = fleet.on_base().file(path, &mended);
        fleet.needs_two(commit);
    }
}

#[test]
fn own_225_host_that_becomes_protected() {
    let mut fleet = Fleet::new();
    let commit = fleet.edit("hosts/lab.yaml", "env: lab", "env: prod");
    fleet.needs_two(commit);
}

#[test]
fn own_226_change_of_an_unprotected_host_needs_one() {
    let p = people();
    let mut fleet = Fleet::new();
    let lab = host("lab", "lab", 20, LAB_KEY)
        + "  resources: {file: {/etc/lab: {content: \"lab\\n\"}}}\n";
    let commit = fleet.on_base().file("hosts/lab.yaml", &lab);
    let commit = commit.file("README.md", "for people\n");
    let commit = commit.sign(&p.alice).make(&mut fleet.world);
    fleet.accepts(commit);
}

#[test]
fn own_227_rule_that_names_a_host_follows_it_through_a_rename() {
    let rule = RULE.replace("env=prod", "[db]");
    let mut fleet = Fleet::with(|policy| policy.rules.push(rule));
    let renamed = host("web", "prod", 10, DB_KEY) + "  formerly: [db]\n";
    let commit = fleet.on_base().without("hosts/db.yaml");
    let commit = commit.file("hosts/web.yaml", &renamed);
    fleet.needs_two(commit);
}

#[test]
fn own_228_without_a_comparison_every_host_is_affected() {
    let p = people();
    let mut fleet = Fleet::new();
    let commit = fleet.on_base().file("README.md", "for people\n");
    let commit = commit.sign(&p.alice).make(&mut fleet.world);
    fleet.accepts(commit);
    let inputs = fleet.inputs(commit).floor(fleet.base);
    let outcome = verify(&fleet.world.store, &inputs);
    assert_eq!(outcome.accepted, fleet.base, "{}", show(&outcome));
    // An empty commit changes no tree.
    let empty = fleet.on_base().sign(&p.alice).make(&mut fleet.world);
    let inputs = fleet.inputs(empty).floor(fleet.base);
    assert!(verify(&fleet.world.store, &inputs).is_accept());
}

#[test]
fn own_229_only_policies_with_such_rules_pay_and_only_for_signed_commits() {
    let p = people();
    let mut plain = Fleet::with(|_| {});
    let commit = plain.on_base().file("files/motd", "changed\n");
    let commit = commit.sign(&p.alice).make(&mut plain.world);
    let (outcome, count) = plain.verify(plain.base, commit);
    assert!(outcome.is_accept() && count == 0, "{count}");
    let mut fleet = Fleet::new();
    for key in [None, Some(&p.mallory)] {
        let mut commit = fleet.on_base().file("files/motd", "changed\n");
        if let Some(key) = key {
            commit = commit.sign(key);
        }
        let commit = commit.make(&mut fleet.world);
        let (outcome, count) = fleet.verify(fleet.base, commit);
        assert!(!outcome.is_accept() && count == 0, "{count}");
    }
    // Nothing at or below the floor is compared again.
    let (outcome, count) = fleet.verify(fleet.base, fleet.base);
    assert!(outcome.is_accept() && count == 0, "{count}");
}

#[test]
fn own_230_approved_branch_that_reaches_a_protected_host() {
    let p = people();
    let mut fleet = Fleet::new();
    let tip = fleet.on_base().file("files/motd", "changed\n");
    let tip = tip.make(&mut fleet.world);
    fleet.world.approve(tip, &p.bob);
    let merge = fleet.world.merge(&[fleet.base, tip]);
    let merge = merge.file("files/motd", "changed\n").make(&mut fleet.world);
    fleet.pends(merge, R::ApprovalsMissing);
    fleet.world.approve(tip, &p.carol);
    fleet.accepts(merge);
    // An approval of the branch doesn't cover what the merge adds.
    let evil = fleet.world.merge(&[fleet.base, tip]);
    let evil = evil.file("files/motd", "changed\n");
    let evil = evil.file("lab/a", "2").sign(&p.alice);
    let evil = evil.make(&mut fleet.world);
    fleet.pends(evil, R::ApprovalsMissing);
}

#[test]
fn own_231_freeze_of_hosts_and_the_emergency_that_bypasses_it() {
    const FREEZE: &str = "freeze: [{from: 2020-01-01T00:00:00Z, to: 2099-01-01T00:00:00Z, hosts: env=prod}]\nemergency: {need: [{from: sec, count: 1}], ttl: 4h, bypasses: [freeze, counts]}";
    let p = people();
    let mut fleet = Fleet::with(|policy| FREEZE.clone_into(&mut policy.more));
    fleet.world.now = fleet.world.clock() + 3600;
    let commit = fleet.on_base().file("files/motd", "changed\n");
    let commit = commit.sign(&p.alice).make(&mut fleet.world);
    fleet.pends(commit, R::Frozen);
    let readme = fleet.on_base().file("README.md", "for people\n");
    let readme = readme.sign(&p.alice).make(&mut fleet.world);
    fleet.accepts(readme);
    let fix = fleet.on_base().file("files/motd", "changed\n");
    let fix = fix.message("fix\n\nEmergency: the door is open\n");
    let fix = fix.sign(&p.dave).make(&mut fleet.world);
    fleet.accepts(fix);
}

#[test]
fn own_232_emergency_bypasses_the_count_of_a_rule_by_hosts() {
    const EMERGENCY: &str =
        "emergency: {need: [{from: sec, count: 1}], ttl: 4h, bypasses: [counts]}";
    let p = people();
    let mut fleet = Fleet::with(|policy| {
        policy.rules.push(RULE.to_owned());
        EMERGENCY.clone_into(&mut policy.more);
    });
    fleet.world.now = fleet.world.clock() + 3600;
    let fix = fleet.on_base().file("files/motd", "changed\n");
    let fix = fix.message("fix\n\nEmergency: the door is open\n");
    let fix = fix.sign(&p.dave).make(&mut fleet.world);
    fleet.accepts(fix);
    let other = fleet.on_base().file("files/motd", "changed\n");
    let other = other.message("fix\n\nEmergency: the door is open\n");
    let other = other.sign(&p.alice).make(&mut fleet.world);
    fleet.pends(other, R::ApprovalsMissing);
}

#[test]
fn own_233_trust_must_be_at_least_as_strong_as_rules_by_hosts() {
    let judged = |rule: &str| {
        let w = World::with(|policy| policy.rules.push(rule.to_owned()));
        let outcome = verify(&w.store, &Inputs::new(w.root, w.root, moment(w.now)));
        outcome.reasons.first().map(|reason| reason.code)
    };
    assert_eq!(judged(RULE), None);
    for rule in [
        "{hosts: env=prod, need: [{from: ops, count: 3}]}",
        "{hosts: env=prod, paths: [\"lab/**\"], need: [{from: ops, count: 1}]}",
        "{hosts: \"env=(\", need: [{from: ops, count: 1}]}",
        "{hosts: [], need: [{from: ops, count: 1}]}",
        "{hosts: true, need: [{from: ops, count: 1}]}",
    ] {
        assert_eq!(judged(rule), Some(R::PolicyInvalid), "{rule}");
    }
}

#[test]
fn own_234_approvals_of_a_branch_that_changes_a_host_only_together_with_the_main_branch() {
    let p = people();
    let mut fleet = Fleet::new();
    let side = fleet.edit("hosts/lab.yaml", "{env: lab}", "{env: lab, site: x}");
    let side = side.make(&mut fleet.world);
    fleet.world.approve(side, &p.bob);
    let trap = "{% if fleet.hosts('site=x') %}evil{% endif %}{{ params.level }}\\n";
    let main = fleet.edit("profiles/base.yaml", "{{ params.level }}\\n", trap);
    let main = main.sign(&p.alice).make(&mut fleet.world);
    fleet.accepts(main);
    let merge = fleet.world.merge(&[main, side]);
    let relabelled = fleet
        .text("hosts/lab.yaml")
        .replace("{env: lab}", "{env: lab, site: x}");
    let merge = merge.file("hosts/lab.yaml", &relabelled).sign(&p.alice);
    let merge = merge.make(&mut fleet.world);
    let (outcome, _) = fleet.verify(main, merge);
    assert_eq!(outcome.accepted, main, "{}", show(&outcome));
    fleet.world.approve(merge, &p.bob);
    let (outcome, _) = fleet.verify(main, merge);
    assert_eq!(outcome.accepted, merge, "{}", show(&outcome));
}

#[test]
fn own_235_fleets_name_by_which_hosts_know_whom_they_obey() {
    let mut fleet = Fleet::new();
    let commit = fleet.edit("fleet.yaml", "{name: home}", "{name: other}");
    fleet.needs_two(commit);
}

#[test]
fn own_236_former_name_of_a_protected_host_that_left() {
    let p = people();
    let mut fleet = Fleet::new();
    let gone = fleet.on_base().without("hosts/db.yaml").sign(&p.alice);
    let gone = gone.make(&mut fleet.world);
    fleet.world.approve(gone, &p.bob);
    fleet.accepts(gone);
    let heir = fleet.text("hosts/lab.yaml") + "  formerly: [db]\n";
    let heir = fleet
        .world
        .on(gone)
        .file("hosts/lab.yaml", &heir)
        .sign(&p.alice);
    let heir = heir.make(&mut fleet.world);
    let (outcome, _) = fleet.verify(gone, heir);
    assert_eq!(outcome.accepted, gone, "{}", show(&outcome));
}

#[test]
fn own_237_protected_hosts_address_in_another_spelling_and_its_name() {
    for address in ["\"::ffff:192.0.2.10\"", "DB.fleet.example"] {
        let mut fleet = Fleet::new();
        let alias = host("lab", "lab", 20, LAB_KEY);
        let alias = alias.replace("{network: lan}]", &format!("{{address: {address}}}]"));
        let commit = fleet.on_base().file("hosts/lab.yaml", &alias);
        fleet.needs_two(commit);
    }
}
