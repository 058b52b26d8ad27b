//! verify, approve, trust.

mod approve;
mod certificates;
mod check;
mod clones;
mod effects;
mod import;
mod keys;
mod names;
mod people;
mod revoke;
mod revoked;
mod round;
mod scope;
mod verdicts;

use super::environment::Environment;

#[test]
fn verify_tells_by_its_exit_code_what_is_missing_and_who_could_give_it() {
    let env = Environment::new();
    let first = env.fleet();
    env.plumb("fleet", &["verify"])
        .exits(0)
        .matches("trust/verify_tells_by_its_exit_code_what_is_missing_and_who_could_give_it");
    env.edit("fleet/files/journald.conf", "2G", "1G");
    let unsigned = env.commit("Smaller journals", &["--no-gpg-sign"]);
    env.plumb("fleet", &["verify"])
        .exits(3)
        .matches("trust/verify_tells_by_its_exit_code_what_is_missing_and_who_could_give_it-2");
    let args = [
        "verify",
        "--git-dir",
        ".git",
        "--floor",
        &first,
        "--head",
        &unsigned,
        "-o",
        "json",
    ];
    let json = env.plumb("fleet", &args).exits(3).json();
    assert_eq!(
        (&json["verdict"], &json["accepted"]),
        (&"pending".into(), &first.as_str().into())
    );
    let step = &json["steps"][0];
    assert_eq!(step["commit"], unsigned.as_str());
    let missing = step["reasons"]
        .as_array()
        .unwrap()
        .iter()
        .find(|r| r["code"] == "approvals-missing");
    assert_eq!(
        missing.unwrap()["missing"][0],
        serde_json::json!({"from": "ops", "count": 1, "have": 0})
    );

    // A good commit on top doesn't launder it.
    env.edit("fleet/files/journald.conf", "1G", "3G");
    env.commit("Larger journals", &["-S"]);
    let json = env
        .plumb("fleet", &["verify", "-o", "json"])
        .exits(3)
        .json();
    assert_eq!(json["accepted"], first.as_str());
    assert_eq!(json["steps"][1]["reasons"][0]["code"], "ancestor");

    // Set back below what was accepted, it can never be.
    env.plumb("fleet", &["verify", "--floor", &unsigned, "--head", &first])
        .exits(4)
        .stdout_has(&["reject"]);
    env.plumb("fleet", &["verify", "--git-dir", "nowhere"])
        .exits(1)
        .stderr_has(&["nowhere"]);
    env.plumb("fleet", &["verify", "HEAD"])
        .exits(2)
        .stderr_has(&["FLOOR..HEAD"]);
    // A range the wrong way round isn't judged, and neither form says more.
    let reversed = format!("{unsigned}..{first}");
    env.plumb("fleet", &["verify", &reversed])
        .exits(1)
        .stdout_has(&["not judged", "[rewound]"]);
    let json = env
        .plumb("fleet", &["verify", &reversed, "-o", "json"])
        .exits(1)
        .json();
    assert_eq!(json["verdict"], "notJudged");
    assert_eq!(json["reasons"][0]["code"], "rewound");
    assert_eq!(
        (&json["floor"], &json["head"]),
        (&unsigned.as_str().into(), &first.as_str().into())
    );
    assert!(json.get("accepted").is_none(), "{json}");
}

#[test]
fn verify_judges_as_of_the_time_that_it_is_told() {
    let env = Environment::new();
    let first = env.fleet();
    env.edit("fleet/files/journald.conf", "2G", "1G");
    env.commit("Smaller journals", &["-S"]);
    let range = format!("{first}..HEAD");
    env.plumb("fleet", &["verify", &range]).exits(0);
    let run = env
        .plumb(
            "fleet",
            &["verify", &range, "--now", "2020-01-01T00:00:00Z"],
        )
        .exits(3);
    run.stdout_has(&["[future]"]);
}

#[test]
fn an_approval_is_a_signed_tag_that_names_what_it_approves() {
    let env = Environment::new();
    env.fleet();
    env.edit("fleet/files/journald.conf", "2G", "1G");
    let commit = env.commit("Smaller journals", &["--no-gpg-sign"]);
    env.plumb("fleet", &["verify"]).exits(3);
    let tag = format!("approve/main/{}-alice", &commit[..12]);
    let run = env.plumb("fleet", &["approve", "--yes", "HEAD"]).exits(0);
    run.stdout_has(&[&tag, &format!("git push origin refs/tags/{tag}")])
        .stderr_has(&["Smaller journals"]);
    let text = env.git("fleet", &["cat-file", "tag", &tag]);
    assert!(
        text.contains(&format!(" refs/heads/main {commit}\n")),
        "{text}"
    );
    env.plumb("fleet", &["verify"])
        .exits(0)
        .stdout_has(&["alice (tag"]);
    // The same again changes nothing, and what is left to do is said.
    let run = env
        .plumb("fleet", &["approve", "--yes", "HEAD"])
        .exits(1)
        .stderr_has(&[
            &format!("alice already approved this commit with the tag {tag}"),
            &format!("git push origin refs/tags/{tag}"),
            "create another one with --id",
        ]);
    assert!(
        !run.stderr.contains("fatal:") && !run.stderr.contains("signingkey"),
        "{}",
        run.stderr
    );
    // A name that can't be, or is taken, is told as such, before anything is signed.
    let last = tag.rsplit('/').next().unwrap();
    for (id, why) in [
        ("a b", "`a b` isn't valid as the last part of a tag name"),
        ("", "`` isn't valid as the last part of a tag name"),
        (
            "x.lock",
            "`x.lock` isn't valid as the last part of a tag name",
        ),
        (last, &format!("the tag {tag} already exists")),
    ] {
        let run = env
            .plumb("fleet", &["approve", "--yes", "HEAD", "--id", id])
            .exits(1)
            .stderr_has(&[why]);
        assert!(
            !run.stderr.contains("fatal:") && !run.stderr.contains("signingkey"),
            "{}",
            run.stderr
        );
    }
    env.plumb("fleet", &["approve", "--yes", "HEAD", "--branch", "other"])
        .exits(1)
        .matches("trust/an_approval_is_a_signed_tag_that_names_what_it_approves");
    // Nothing judges the introduction, so nothing is added to it.
    let json = env
        .plumb("fleet", &["approve", "--yes", "HEAD~1", "-o", "json"])
        .exits(0)
        .matches("trust/an_approval_is_a_signed_tag_that_names_what_it_approves-2")
        .json();
    assert_eq!(json["effect"], "nothing");
    env.plumb(".", &["approve", "--yes", "main"])
        .exits(1)
        .matches("trust/an_approval_is_a_signed_tag_that_names_what_it_approves-3");
    env.plumb("fleet", &["approve", "--yes", "nothing"])
        .exits(1)
        .matches("trust/an_approval_is_a_signed_tag_that_names_what_it_approves-4");
}

#[test]
fn trust_show_says_who_could() {
    let env = Environment::new();
    env.fleet();
    env.plumb("fleet", &["trust", "show"])
        .exits(0)
        .matches("trust/trust_show_says_who_could");
    let json = env
        .plumb("fleet", &["trust", "show", "-o", "json"])
        .exits(0)
        .json();
    assert_eq!(json["policy"]["serial"], 1);
    env.edit("fleet/trust/policy.yaml", "serial: 1", "serial: one");
    env.plumb("fleet", &["trust", "show"])
        .exits(1)
        .stderr_has(&["trust/policy.yaml:", "serial"]);
    env.plumb("fleet", &["check"])
        .exits(1)
        .stdout_has(&["trust/policy.yaml"]);
}

#[test]
fn a_commit_is_explained() {
    let env = Environment::new();
    let first = env.fleet();
    env.edit("fleet/files/journald.conf", "2G", "1G");
    env.commit("Smaller journals", &["-S"]);
    env.plumb("fleet", &["explain", "HEAD"])
        .exits(0)
        .matches("trust/a_commit_is_explained");
    env.plumb("fleet", &["explain", &first])
        .exits(1)
        .stderr_has(&["first commit", "introduction"]);
}
