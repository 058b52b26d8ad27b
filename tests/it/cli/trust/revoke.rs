//! trust revoke.

use crate::cli::environment::Environment;

#[test]
fn a_revoked_key_counts_no_longer_as_soon_as_the_tag_is_there() {
    let env = Environment::new();
    env.fleet();
    env.key("bob");
    env.trust(&["add", "bob", "--key", "../bob.pub", "--group", "ops"])
        .exits(0);
    let accepted = env.commit("Trust bob", &["-S"]);
    env.be("bob");
    env.edit("fleet/files/journald.conf", "2G", "1G");
    env.commit("A thief's", &["-S"]);
    env.plumb("fleet", &["verify"]).exits(0);
    env.be("alice");
    let bob = env.fingerprint("bob");
    // On what hosts run, not on what the thief pushed.
    let run = env
        .trust(&[
            "revoke",
            &bob,
            "--reason",
            "laptop stolen",
            "--on",
            &accepted,
        ])
        .exits(0);
    run.says(&[
        "revoked: SHA256:",
        "signed by alice",
        "acts as soon as it is pushed",
        "git push origin refs/tags/revoke/",
        "plumb trust remove bob",
    ]);
    let tag = env.git("fleet", &["tag", "--list", "revoke/*"]);
    assert!(tag.ends_with("/alice"), "{tag}");
    let text = env.git("fleet", &["cat-file", "tag", &tag]);
    assert!(text.contains("laptop stolen"), "{text}");
    env.plumb("fleet", &["verify", "--floor", &accepted, "--head", "HEAD"])
        .exits(3)
        .says(&["[key-revoked]", "by a revoke/ tag", "git show"]);
    env.trust(&["revoke", &bob, "--on", &accepted])
        .exits(1)
        .says(&["has done it already", "--id"]);
}

#[test]
fn it_says_how_many_more_must_do_the_same() {
    let env = Environment::new();
    env.three();
    let carol = env.fingerprint("carol");
    env.trust(&["revoke", &carol]).exits(0).says(&[
        "it doesn't act yet: 1 more of ops must do the same (bob or carol)",
        &format!("plumb trust revoke {carol}"),
    ]);
    let json = env
        .plumb("fleet", &["verify", "-o", "json"])
        .exits(0)
        .json();
    assert!(json.get("revoked").is_none(), "{json}");
    env.be("bob");
    let json = env.trust(&["revoke", &carol, "-o", "json"]).exits(0).json();
    assert_eq!(json["missing"], serde_json::json!([]));
    assert_eq!(json["revokers"], serde_json::json!(["alice", "bob"]));
    let json = env
        .plumb("fleet", &["verify", "-o", "json"])
        .exits(0)
        .json();
    assert_eq!(json["revoked"], serde_json::json!([carol]));
}

#[test]
fn a_tag_that_would_count_for_nothing_isnt_kept() {
    let env = Environment::new();
    env.fleet();
    env.key("mallory");
    let alice = env.fingerprint("alice");
    env.be("mallory");
    env.trust(&["revoke", &alice]).exits(1).says(&[
        "would count for nothing",
        "isn't in the policy",
        "alice",
    ]);
    assert_eq!(env.git("fleet", &["tag", "--list"]), "");
    env.be("alice");
    env.trust(&["revoke", "alice"])
        .exits(1)
        .says(&["not a fingerprint", &format!("alice has {alice}")]);
    env.git("fleet", &["config", "--unset", "plumb.introduction"]);
    env.trust(&["revoke", &alice])
        .exits(1)
        .says(&["it isn't known which commits are accepted", "--on COMMIT"]);
}
