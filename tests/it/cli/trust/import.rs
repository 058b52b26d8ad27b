//! trust import.

use crate::cli::environment::Environment;

/// An empty repository whose user is alice.
fn repository() -> Environment {
    let env = Environment::new();
    env.key("alice");
    env.key("bob");
    env.be("alice");
    std::fs::create_dir(env.path("fleet")).unwrap();
    env.git("fleet", &["init", "--quiet"]);
    env
}

#[test]
fn allowed_signers_become_a_policy_that_works() {
    let env = repository();
    let line = |name: &str| format!("{name}@fleet.example {}", env.read(&format!("{name}.pub")));
    env.write(
        "signers",
        &format!(
            "# ours\n{}{}*@elsewhere {}",
            line("alice"),
            line("bob"),
            env.read("bob.pub")
        ),
    );
    let args = ["import", "../signers"];
    let shown = env.trust(&args).exits(0);
    let shown = shown.matches("import/allowed_signers_become_a_policy_that_works");
    // The policy goes to stdout alone, what to know of it to stderr.
    assert!(
        shown.stdout.starts_with("# Who may change"),
        "{}",
        shown.stdout
    );
    assert!(!env.path("fleet/trust").exists());
    env.trust(&["import", "../signers", "--write"])
        .exits(0)
        .matches("import/allowed_signers_become_a_policy_that_works-2");
    env.trust(&["check"]).exits(0);
    let first = env.commit("Who may change this fleet", &["-S"]);
    env.git("fleet", &["config", "plumb.introduction", &first]);
    env.write("fleet/README", "x\n");
    env.commit("A word", &["-S"]);
    env.plumb("fleet", &["verify"]).exits(0);
    env.git("fleet", &["revert", "--quiet", "--no-edit", "-S", "HEAD"]);
    env.plumb("fleet", &["verify"]).exits(0);
    // With a policy there, it is shown what that doesn't have.
    env.trust(&["import", "../signers", "--write"])
        .exits(1)
        .matches("import/allowed_signers_become_a_policy_that_works-3");
    env.trust(&args)
        .exits(0)
        .matches("import/allowed_signers_become_a_policy_that_works-4");
    env.key("carol");
    env.write("signers", &line("carol"));
    env.trust(&args)
        .exits(0)
        .matches("import/allowed_signers_become_a_policy_that_works-5");
}

#[test]
fn sequoia_gits_policy_is_never_widened() {
    let env = repository();
    // Bob's ends before Alice's, also where the second changes between the two.
    let (alice, bob) = (
        env.gpg_key("alice", "ed25519", "1y"),
        env.gpg_key("bob", "ed25519", "11m"),
    );
    let carol = env.gpg_key("carol", "brainpoolP256r1", "1y");
    let armor = |fingerprint: &str| env.gpg(&["--armor", "--export", fingerprint]);
    let text = format!(
        "version = 0\ncommit_goodlist = [\"{}\"]\n\n[authorization.\"Alice <alice@fleet.example>\"]\nsign_commit = true\nsign_tag = true\nadd_user = true\nretire_user = true\naudit = true\nkeyring = \"\"\"\n{}\"\"\"\n\n[authorization.bob]\nsign_commit = true\nkeyring = \"\"\"\n{}\"\"\"\n\n[authorization.carol]\nsign_commit = true\nadd_user = true\nretire_user = true\nkeyring = \"\"\"\n{}\"\"\"\n",
        "1".repeat(40),
        armor(&alice),
        armor(&bob),
        armor(&carol)
    );
    env.end_gpg();
    env.write("openpgp-policy.toml", &text);
    let run = env
        .trust(&["import", "../openpgp-policy.toml", "--write"])
        .exits(0);
    run.matches("import/sequoia_gits_policy_is_never_widened");
    let json = env.trust(&["show", "-o", "json"]).exits(0).json();
    let policy = &json["policy"];
    assert_eq!(policy["groups"]["committers"], serde_json::json!([0, 1]));
    assert_eq!(policy["groups"]["maintainers"], serde_json::json!([0]));
    let trust = policy["rules"][1]["need"].clone();
    assert_eq!(
        trust,
        serde_json::json!([{"from": "committers", "count": 1}, {"from": "maintainers", "count": 1}])
    );
    assert_eq!(policy["identities"][0]["keys"][0]["name"], alice.as_str());
    env.trust(&["check"])
        .exits(0)
        .matches("import/sequoia_gits_policy_is_never_widened-2");
    env.trust(&["import", "../openpgp-policy.toml"])
        .exits(0)
        .matches("import/sequoia_gits_policy_is_never_widened-3");
    // Bob may commit and may not change the policy; when nobody may, there is none.
    env.write(
        "nobody.toml",
        &text.replace("add_user = true", "add_user = false"),
    );
    env.trust(&["import", "../nobody.toml"])
        .exits(1)
        .matches("import/sequoia_gits_policy_is_never_widened-4");
}

#[test]
fn codeowners_are_shown_as_a_difference_to_the_policy() {
    let env = repository();
    env.write(
        "fleet/.github/CODEOWNERS",
        "* @alice @bob\n/hosts/ @alice\n/free\n",
    );
    env.trust(&["import", ".github/CODEOWNERS"])
        .exits(1)
        .matches("import/codeowners_are_shown_as_a_difference_to_the_policy");
    env.trust(&[
        "init",
        "--ssh-key=alice=../alice.pub",
        "--ssh-key=bob=../bob.pub",
    ])
    .exits(0);
    env.trust(&["import", ".github/CODEOWNERS"])
        .exits(0)
        .matches("import/codeowners_are_shown_as_a_difference_to_the_policy-2");
    let json = env
        .trust(&["import", ".github/CODEOWNERS", "-o", "json"])
        .exits(0)
        .json();
    let policy = json["policy"].as_str().unwrap();
    env.write("fleet/trust/policy.yaml", policy);
    env.trust(&["check"]).exits(0);
}

#[test]
fn what_it_is_must_be_clear() {
    let env = repository();
    env.write("something", "hello\n");
    env.trust(&["import", "../something"])
        .exits(1)
        .matches("import/what_it_is_must_be_clear");
    env.trust(&["import", "../something", "--format", "allowed-signers"])
        .exits(1)
        .matches("import/what_it_is_must_be_clear-2");
    env.trust(&["import", "../missing"])
        .exits(1)
        .matches("import/what_it_is_must_be_clear-3");
}

#[test]
fn two_principals_of_one_local_name_are_two_people() {
    let env = repository();
    let line = |site: &str, name: &str| {
        format!("admin@{site}.example {}", env.read(&format!("{name}.pub")))
    };
    env.write(
        "signers",
        &format!("{}{}", line("one", "alice"), line("two", "bob")),
    );
    env.trust(&["import", "../signers"])
        .exits(0)
        .matches("import/two_principals_of_one_local_name_are_two_people");
}

#[test]
fn where_the_hooks_cant_be_put_it_is_said_what_to_do() {
    let env = repository();
    let line = |name: &str| format!("{name}@fleet.example {}", env.read(&format!("{name}.pub")));
    env.write("signers", &format!("{}{}", line("alice"), line("bob")));
    // One of their own stays as it is.
    env.write(
        "fleet/.git/hooks/commit-msg",
        "#!/bin/sh\n# no hook commit-msg\nexit 0\n",
    );
    let run = env
        .trust(&["import", "../signers", "--write"])
        .exits(0)
        .matches("import/where_the_hooks_cant_be_put_it_is_said_what_to_do");
    assert!(!run.stderr.contains("prepare"), "{}", run.stderr);
    assert!(
        env.read("fleet/.git/hooks/commit-msg")
            .ends_with("exit 0\n")
    );
    // Where they can't be written, the commands that would are said, and work.
    std::fs::remove_dir_all(env.path("fleet/trust")).unwrap();
    std::fs::remove_dir_all(env.path("fleet/.git/hooks")).unwrap();
    env.write("fleet/.git/hooks", "");
    let run = env
        .trust(&["import", "../signers", "--write"])
        .exits(0)
        .matches("import/where_the_hooks_cant_be_put_it_is_said_what_to_do-2");
    std::fs::remove_file(env.path("fleet/.git/hooks")).unwrap();
    std::fs::create_dir(env.path("fleet/.git/hooks")).unwrap();
    let commands: Vec<&str> = run
        .stderr
        .lines()
        .filter_map(|line| Some(&line[line.find("printf ")?..]))
        .collect();
    assert_eq!(commands.len(), 2, "{}", run.stderr);
    for command in commands {
        let command = command.replace("exec plumb", "exec \"$PLUMB\"");
        let mut shell = env.command("sh", "fleet");
        shell.args(["-c", &command]);
        Environment::run(shell).exits(0);
    }
    let first = env.commit("Who may change this fleet", &["-S"]);
    env.git("fleet", &["config", "plumb.introduction", &first]);
    env.write("fleet/README", "x\n");
    env.commit("A word", &["-S"]);
    env.plumb("fleet", &["verify"]).exits(0);
}

#[test]
fn where_no_line_translates_each_says_why_and_what_is_shown_can_be_applied() {
    let env = Environment::new();
    env.three();
    env.write("CODEOWNERS", "/{x} @bob\n/docs @bob,@alice\n\"a b\" @bob\n");
    env.trust(&["import", "../CODEOWNERS"])
        .exits(1)
        .matches("import/where_no_line_translates_each_says_why_and_what_is_shown_can_be_applied");
    env.write("CODEOWNERS", "\"a b\" @bob\n/docs @bob\n");
    let run = env.trust(&["import", "../CODEOWNERS"]).exits(0).matches(
        "import/where_no_line_translates_each_says_why_and_what_is_shown_can_be_applied-2",
    );
    env.write("rules.diff", &run.stdout);
    env.git("fleet", &["apply", "../rules.diff"]);
    assert!(env.read("fleet/trust/policy.yaml").contains("[docs]"));
}

#[test]
fn what_ssh_keygen_refuses_is_never_imported() {
    let env = repository();
    let key = env.read("alice.pub");
    env.write("data", "x\n");
    let keygen = |args: &[&str], input: bool| {
        let mut command = env.command("ssh-keygen", ".");
        command.arg("-Y").args(args);
        if input {
            command.stdin(std::fs::File::open(env.path("data")).unwrap());
        }
        Environment::run(command)
    };
    keygen(&["sign", "-q", "-f", "alice", "-n", "git", "data"], false).exits(0);
    let mut taken = 0;
    for options in [
        "",
        "namespaces=\"git\" ",
        "Namespaces=\"g*\" ",
        "namespaces=\"git, file\" ",
        "valid-before=\"21000101\" ",
        "valid-after=\"20200101Z\",valid-before=\"21000101Z\" ",
        "valid-before=21000101 ",
        "valid-before=\"21000101\",valid-before=\"20990101\" ",
        "valid-after=\"20200101\",valid-after=\"20200101\" ",
        "valid-before=\"21000101\" namespaces=\"git\" ",
        "namespaces=\"git\",Namespaces=\"git\" ",
        "namespaces=\"git\", ",
        "namespaces=\"git\"x ",
        "namespaces=git ",
        "namespaces =\"git\" ",
        "namespaces=\"file, git\" ",
        "namespaces=\"\" ",
        "namespaces=\"GIT\" ",
        "namespaces=\"g{it,x}\" ",
        "namespaces=\"[g]it\" ",
        "namespaces=\"git/\" ",
        "namespaces=\"git,!git\" ",
        "unknown ",
    ] {
        env.write("signers", &format!("alice@x {options}{key}"));
        let imported = env.trust(&["import", "../signers"]).code == 0;
        let verify = [
            "verify", "-f", "signers", "-I", "alice@x", "-n", "git", "-s", "data.sig",
        ];
        let good = keygen(&verify, true).code == 0;
        assert!(good || !imported, "{options}");
        taken += usize::from(imported);
    }
    assert_eq!(taken, 6);
}

#[test]
fn beside_a_policy_it_is_said_what_may_be_somebody_else() {
    let env = Environment::new();
    env.three();
    env.key("stranger");
    let line = |name: &str, key: &str| format!("{name} {}", env.read(&format!("{key}.pub")));
    env.write(
        "signers",
        &format!(
            "{}{}{}",
            line("alice@elsewhere", "stranger"),
            line("robert@x", "bob"),
            line("carol@x", "carol")
        ),
    );
    let run = env
        .trust(&["import", "../signers"])
        .exits(0)
        .matches("import/beside_a_policy_it_is_said_what_may_be_somebody_else");
    assert!(!run.stderr.contains("carol"), "{}", run.stderr);
    assert!(
        !run.stderr.contains("one signature changes"),
        "{}",
        run.stderr
    );
    env.trust(&["import", "../signers", "-C", "nowhere"])
        .exits(1)
        .matches("import/beside_a_policy_it_is_said_what_may_be_somebody_else-2");
}
