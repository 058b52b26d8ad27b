//! A whole life of a policy, every command as it is printed to people.

use crate::cli::environment::Environment;

#[test]
fn from_one_key_to_two_people_a_new_key_and_a_stolen_one() {
    let env = Environment::new();
    env.fleet();
    // A second person.
    env.key("bob");
    env.trust(&["add", "bob", "--key", "../bob.pub", "--group", "ops"])
        .exits(0);
    env.commit("Trust bob", &["-S"]);
    env.plumb("fleet", &["verify"]).exits(0);
    // Two people where it matters, with a third so that one may lose a key.
    env.key("carol");
    env.trust(&["add", "carol", "--key", "../carol.pub", "--group", "ops"])
        .exits(0);
    env.edit(
        "fleet/trust/policy.yaml",
        "[\"trust/**\"], need: [{from: ops, count: 1}]",
        "[\"trust/**\"], need: [{from: ops, count: 2}]",
    );
    env.edit(
        "fleet/trust/policy.yaml",
        "bindRef: none   ",
        "bindRef: trailer",
    );
    let check = env.trust(&["check"]).exits(0);
    check.matches("round/from_one_key_to_two_people_a_new_key_and_a_stolen_one");
    env.commit("Trust carol, and two for the policy", &["-S"]);
    env.plumb("fleet", &["verify"]).exits(0);
    // A new key of alice's: hers now, and bob's word for it.
    env.key("new");
    let old = env.fingerprint("alice");
    let run = env
        .trust(&["rotate", "alice", "--key", "../new.pub"])
        .exits(0)
        .matches("round/from_one_key_to_two_people_a_new_key_and_a_stolen_one-2");
    // The policy binds now: the command says what the commit must say.
    let trailer = run
        .stdout
        .lines()
        .find_map(|line| line.split_once("--trailer '")?.1.strip_suffix('\''))
        .unwrap_or_else(|| panic!("{}", run.stdout))
        .to_owned();
    env.commit("Another key of alice", &["-S", "--trailer", &trailer]);
    env.plumb("fleet", &["verify"])
        .exits(3)
        .matches("round/from_one_key_to_two_people_a_new_key_and_a_stolen_one-3");
    env.approved_by("bob");
    let rotated = env.git("fleet", &["rev-parse", "HEAD"]);
    env.plumb("fleet", &["verify"])
        .exits(0)
        .matches("round/from_one_key_to_two_people_a_new_key_and_a_stolen_one-4");
    assert!(!env.read("fleet/trust/policy.yaml").contains(&old));
    // Carol's key is stolen, and used.
    env.be("carol");
    env.edit("fleet/files/journald.conf", "2G", "1G");
    env.commit("A thief's", &["-S", "--trailer", &trailer]);
    env.plumb("fleet", &["verify"]).exits(0);
    let carol = env.fingerprint("carol");
    env.be("new");
    env.trust(&["revoke", &carol, "--on", &rotated])
        .exits(0)
        .matches("round/from_one_key_to_two_people_a_new_key_and_a_stolen_one-5");
    env.be("bob");
    env.trust(&["revoke", &carol, "--on", &rotated])
        .exits(0)
        .matches("round/from_one_key_to_two_people_a_new_key_and_a_stolen_one-6");
    let range = format!("{rotated}..HEAD");
    env.plumb("fleet", &["verify", &range])
        .exits(3)
        .stdout_has(&["[key-revoked]"]);
    // The branch goes back, and carol out of the policy.
    env.git("fleet", &["reset", "--quiet", "--hard", &rotated]);
    env.be("new");
    env.trust(&["remove", "carol"])
        .exits(0)
        .stdout_has(&["removed: carol"]);
    env.commit("Trust carol no longer", &["-S", "--trailer", &trailer]);
    env.be("bob");
    env.plumb("fleet", &["approve", "--yes", "main"])
        .exits(0)
        .matches("round/from_one_key_to_two_people_a_new_key_and_a_stolen_one-7");
    env.plumb("fleet", &["verify"]).exits(0);
    env.trust(&["check"])
        .exits(0)
        .matches("round/from_one_key_to_two_people_a_new_key_and_a_stolen_one-8");
    let json = env.trust(&["show", "-o", "json"]).exits(0).json();
    assert_eq!(json["policy"]["serial"], 5);
}
