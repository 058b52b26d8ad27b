//! init, check, render, explain, diff.

use super::environment::Environment;

#[test]
fn a_new_fleet_is_whole_and_begun_only_once() {
    let env = Environment::new();
    env.key("alice");
    env.be("alice");
    env.plumb(".", &["init", "--minimal", "fleet"])
        .exits(0)
        .matches("manifests/a_new_fleet_is_whole_and_begun_only_once");
    let check = env.plumb("fleet", &["check", "-o", "json"]).exits(0);
    assert_eq!(check.json(), serde_json::json!({"diagnostics": []}));
    env.plumb(".", &["check", "fleet"])
        .exits(0)
        .stdout_has(&["4 hosts", "no errors"]);
    assert!(env.read("fleet/fleet.yaml").contains("name: fleet"));
    env.plumb(".", &["init", "--minimal", "fleet"])
        .exits(1)
        .stderr_has(&["already"]);
}

#[test]
fn every_command_finds_the_folder_by_one_option() {
    let env = Environment::new();
    env.fleet();
    for command in [
        &["check"][..],
        &["trust", "check"],
        &["trust", "show"],
        &["diff"],
        &["render", "--all"],
        &["explain", "local-nas", "file:/etc/motd"],
    ] {
        let named = [command, &["-C", "fleet"]].concat();
        let inside = env.plumb("fleet", command);
        let run = env.plumb(".", &named).exits(inside.code);
        assert_eq!(run.stdout, inside.stdout, "{named:?}");
    }
    // As earlier versions took it.
    env.plumb(".", &["trust", "show", "fleet"]).exits(0);
    env.plumb(".", &["render", "./fleet", "--all"]).exits(0);
    env.plumb(".", &["check", "fleet", "-C", "fleet"])
        .exits(2)
        .stderr_has(&["cannot be used with"]);
}

#[test]
fn an_expression_in_a_literal_content_is_warned_of() {
    let env = Environment::new();
    env.fleet();
    env.write(
        "fleet/profiles/greeting.yaml",
        "kind: Profile\nmetadata: {name: greeting}\nspec:\n  params: {who: {type: string, default: all}}\n  resources:\n    file: {/etc/greeting: {content: \"hello {{ params.who }}, {{ .Name }}\\n\"}}\n",
    );
    env.plumb("fleet", &["check"]).exits(0).stdout_has(&[
        "literal-template",
        "`{{ params.who }}` stays as it is",
        "content: {template:",
        "1 warning",
    ]);
}

#[test]
fn nothing_is_written_over_by_a_new_fleet() {
    let env = Environment::new();
    env.key("alice");
    env.be("alice");
    env.write("fleet/README.md", "mine\n");
    env.write("fleet/hosts", "a file\n");
    env.plumb(".", &["init", "--minimal", "fleet"])
        .exits(1)
        .matches("manifests/nothing_is_written_over_by_a_new_fleet");
    assert_eq!(env.read("fleet/README.md"), "mine\n");
    assert!(!env.path("fleet/fleet.yaml").exists());
    // What isn't in the way stays.
    std::fs::remove_file(env.path("fleet/README.md")).unwrap();
    std::fs::remove_file(env.path("fleet/hosts")).unwrap();
    env.write("fleet/notes.txt", "mine\n");
    env.plumb(".", &["init", "--minimal", "fleet"]).exits(0);
    assert_eq!(env.read("fleet/notes.txt"), "mine\n");
}

#[test]
fn a_branch_is_looked_at_before_anything_is_written() {
    let env = Environment::new();
    env.key("alice");
    env.be("alice");
    for wrong in ["a..b", "-x", "HEAD", "a b", ""] {
        let branch = format!("--branch={wrong}");
        env.plumb(".", &["init", "--minimal", "fleet", &branch])
            .exits(1)
            .stderr_has(&["isn't a valid branch name"]);
        assert!(!env.path("fleet").exists(), "{wrong}");
    }
    env.plumb(
        ".",
        &["init", "--minimal", "fleet", "--branch", "refs/heads/prod"],
    )
    .exits(0);
    let policy = env.read("fleet/trust/policy.yaml");
    assert!(policy.contains("ref: refs/heads/prod\n"), "{policy}");
    assert_eq!(
        env.git("fleet", &["symbolic-ref", "HEAD"]),
        "refs/heads/prod"
    );
}

#[test]
fn a_fleet_inside_another_repository_has_one_of_its_own() {
    let env = Environment::new();
    env.key("alice");
    env.be("alice");
    env.write("outer/x", "x\n");
    env.git("outer", &["init", "--quiet"]);
    env.plumb("outer", &["init", "--minimal", "fleet"])
        .exits(0)
        .matches("manifests/a_fleet_inside_another_repository_has_one_of_its_own");
    env.git("outer/fleet", &["add", "--all"]);
    env.git("outer/fleet", &["commit", "--quiet", "-S", "-m", "A fleet"]);
    env.plumb("outer/fleet", &["diff"])
        .exits(0)
        .stdout_has(&["nothing differs"]);
    assert!(
        env.try_git("outer", &["rev-parse", "--verify", "HEAD"])
            .code
            != 0
    );
}

#[test]
fn a_fleet_without_a_key_isnt_begun() {
    let env = Environment::new();
    env.plumb(".", &["init", "--minimal", "fleet"])
        .exits(1)
        .stderr_has(&["user.signingkey", "--ssh-key", "hint"]);
    assert!(!env.path("fleet").exists());
    env.key("alice");
    let refused = env
        .plumb(".", &["init", "--minimal", "fleet", "--ssh-key", "alice"])
        .exits(1)
        .stderr_has(&["secret key", "FILE.pub"]);
    assert!(!refused.stderr.contains("take it out of the repository"));
}

#[test]
fn two_keys_make_a_two_person_fleet_whose_commits_name_it() {
    let env = Environment::new();
    env.key("alice");
    env.key("bob");
    env.be("alice");
    let args = [
        "init",
        "--minimal",
        "fleet",
        "--ssh-key",
        "alice=alice.pub",
        "--ssh-key",
        "bob=bob.pub",
    ];
    env.plumb(".", &args)
        .exits(0)
        .matches("manifests/two_keys_make_a_two_person_fleet_whose_commits_name_it");
    env.plumb("fleet", &["check"]).exits(0);
    env.plumb("fleet", &["trust", "show"])
        .exits(0)
        .matches("manifests/two_keys_make_a_two_person_fleet_whose_commits_name_it-2");
    // The hook that init wrote adds the trailer that the policy asks for.
    env.commit("A fleet", &["-S"]);
    let message = env.git("fleet", &["log", "-1", "--format=%B"]);
    let policy = env.read("fleet/trust/policy.yaml");
    let id = policy
        .lines()
        .find_map(|line| line.trim().strip_prefix("repository: "))
        .unwrap();
    assert!(
        message.contains(&format!("Deploy-Ref: {id} refs/heads/main")),
        "{message}"
    );
}

#[test]
fn an_error_has_its_line_and_says_what_to_do() {
    let env = Environment::new();
    env.fleet();
    env.edit("fleet/hosts/linda.yaml", "arch: x86_64", "arhc: x86_64");
    env.plumb("fleet", &["check"]).exits(1).stdout_has(&[
        "unknown-field",
        "hosts/linda.yaml:",
        "arhc: x86_64",
        "arch",
        "1 error",
    ]);
    let json = env.plumb("fleet", &["check", "-o", "json"]).exits(1).json();
    let all = json["diagnostics"].as_array().unwrap();
    let error = all.iter().find(|d| d["code"] == "unknown-field").unwrap();
    assert_eq!(error["severity"], "error");
    assert_eq!(error["file"], "hosts/linda.yaml");
    assert!(error["line"].as_u64().unwrap() > 1 && error["column"].as_u64().unwrap() >= 1);
    assert!(
        error["hosts"]
            .as_array()
            .unwrap()
            .iter()
            .any(|host| host == "linda"),
        "{error}"
    );
}

#[test]
fn what_isnt_built_yet_is_refused_and_not_ignored() {
    let env = Environment::new();
    env.fleet();
    let host = env.read("fleet/hosts/linda.yaml");
    env.write(
        "fleet/hosts/linda.yaml",
        &format!("{host}  maintenance: {{windows: []}}\n"),
    );
    let json = env.plumb("fleet", &["check", "-o", "json"]).exits(1).json();
    assert!(json.to_string().contains("unsupported-field"), "{json}");
}

#[test]
fn a_folder_that_is_no_fleet_is_said_to_be_none() {
    let env = Environment::new();
    for command in ["check", "plan", "diff"] {
        let run = env.plumb(".", &[command]);
        assert_ne!(run.code, 0);
        run.stderr_has(&["error:"]);
    }
    env.plumb(".", &["check"])
        .exits(1)
        .stderr_has(&["fleet.yaml", "plumb init"]);
}

#[test]
fn rendering_is_plain_json_with_texts_inline() {
    let env = Environment::new();
    env.fleet();
    let json = env
        .plumb(".", &["render", "./fleet", "--all", "-o", "json"])
        .exits(0)
        .json();
    let linda = &json["hosts"]["linda"];
    assert_eq!(linda["digest"].as_str().unwrap().len(), 64);
    let motd = linda["resources"]["file"]["/etc/motd"]["content"]
        .as_str()
        .unwrap();
    assert!(motd.starts_with("LINDACORE"), "{motd}");
    let again = env
        .plumb("fleet", &["render", "--all", "-o", "json"])
        .exits(0)
        .json();
    assert_eq!(json, again, "rendering twice differs");
    env.plumb("fleet", &["render", "linda"])
        .exits(0)
        .stdout_has(&["package:tmux"]);
    env.plumb("fleet", &["render", "lindo"])
        .exits(1)
        .matches("manifests/rendering_is_plain_json_with_texts_inline");
    env.plumb("fleet", &["render"])
        .exits(2)
        .stderr_has(&["--all"]);
    let chosen = env
        .plumb("fleet", &["render", "-l", "role=router", "-o", "json"])
        .exits(0)
        .json();
    assert_eq!(chosen["hosts"].as_object().unwrap().len(), 1);
}

#[test]
fn one_bad_host_doesnt_stop_the_others() {
    let env = Environment::new();
    env.fleet();
    env.write(
        "fleet/hosts/broken.yaml",
        "kind: Host\nmetadata: {name: broken}\nspec: {resources: {file: {etc: {}}}}\n",
    );
    let run = env
        .plumb("fleet", &["render", "--all", "-o", "json"])
        .exits(1);
    assert!(run.json()["hosts"]["linda"]["resources"].is_object());
    run.stderr_has(&["broken isn't rendered"]);
}

#[test]
fn a_value_leads_to_its_line() {
    let env = Environment::new();
    env.fleet();
    env.plumb("fleet", &["explain", "linda", "sysctl:vm.swappiness"])
        .exits(0)
        .stdout_has(&[
            "value: 10",
            "hosts/linda.yaml:",
            "(force)",
            "profiles/base.yaml:",
        ]);
    let json = env
        .plumb(
            "fleet",
            &[
                "explain",
                "linda",
                "sysctl:vm.swappiness#value",
                "-o",
                "json",
            ],
        )
        .exits(0)
        .json();
    assert_eq!(
        json["fields"][0]["from"][0]["place"]["file"],
        "hosts/linda.yaml"
    );
    env.plumb("fleet", &["explain", "linda", "file:/etc/mtd"])
        .exits(1)
        .stderr_has(&["file:/etc/motd"]);
    env.plumb("fleet", &["explain", "linda", "sysctl:vm.swappiness#valeu"])
        .exits(1)
        .matches("manifests/a_value_leads_to_its_line");
    env.plumb("fleet", &["explain", "unknown-field"])
        .exits(0)
        .matches("manifests/a_value_leads_to_its_line-2");
    env.plumb("fleet", &["explain", "unknown-feild"])
        .exits(1)
        .matches("manifests/a_value_leads_to_its_line-3");
}

#[test]
fn explain_names_the_composite_of_a_part() {
    let env = Environment::new();
    env.fleet();
    let host = env.read("fleet/hosts/linda.yaml");
    env.write(
        "fleet/hosts/linda.yaml",
        &format!("{host}  defaults: {{cron: {{report: {{schedule: \"@daily\", user: root, run: [/bin/true]}}}}}}\n"),
    );
    env.plumb("fleet", &["explain", "linda", "file:/etc/cron.d/report"])
        .exits(0)
        .matches("manifests/explain_names_the_composite_of_a_part");
    env.plumb("fleet", &["explain", "linda", "cron:report"])
        .exits(0)
        .matches("manifests/explain_names_the_composite_of_a_part-2");
}

#[test]
fn diff_tells_by_its_exit_code() {
    let env = Environment::new();
    let first = env.fleet();
    let same = env.plumb("fleet", &["diff", "-o", "json"]).exits(0).json();
    assert_eq!(same["from"], first.as_str());
    assert_eq!(same["hosts"], serde_json::json!({}));
    env.edit(
        "fleet/profiles/base.yaml",
        "This machine is kept",
        "This box is kept",
    );
    let run = env.plumb("fleet", &["diff", "linda"]).exits(1);
    run.matches("manifests/diff_tells_by_its_exit_code");
    let json = env
        .plumb("fleet", &["diff", "linda", "-o", "json"])
        .exits(1)
        .json();
    let change = &json["hosts"]["linda"]["changes"][0];
    assert_eq!(
        (change["resource"].as_str(), change["op"].as_str()),
        (Some("file:/etc/motd"), Some("update"))
    );
    assert_eq!(change["patch"][0]["op"], "replace");
    // Nothing that isn't accepted counts as the old side.
    env.commit("unsigned", &["--no-gpg-sign"]);
    env.plumb("fleet", &["diff", "--accepted", "linda"])
        .exits(1)
        .stdout_has(&["This box"]);
    env.plumb("fleet", &["diff", "linda"]).exits(0);
    env.plumb("fleet", &["diff", "--from", "no-such-thing"])
        .exits(2)
        .stderr_has(&["no-such-thing"]);
    env.edit("fleet/hosts/linda.yaml", "arch:", "arhc:");
    env.plumb("fleet", &["diff"])
        .exits(2)
        .matches("manifests/diff_tells_by_its_exit_code-2");
}

#[test]
fn diff_says_when_the_introduction_is_another_repositorys() {
    let env = Environment::new();
    env.fleet();
    let set = |value: &str| {
        env.git("fleet", &["config", "plumb.introduction", value]);
    };
    // No object of this repository at all; one that the branch doesn't lead from; no commit id.
    set(&"6f1c0c9e".repeat(5));
    env.plumb("fleet", &["diff", "--accepted"])
        .exits(2)
        .matches("manifests/diff_says_when_the_introduction_is_another_repositorys");
    env.git("fleet", &["checkout", "--quiet", "--orphan", "elsewhere"]);
    let elsewhere = env.commit("Elsewhere", &["-S"]);
    env.git("fleet", &["checkout", "--quiet", "main"]);
    set(&elsewhere);
    env.plumb("fleet", &["diff", "--accepted"])
        .exits(2)
        .stderr_has(&["plumb.introduction", &elsewhere[..12], "isn't a commit of"]);
    env.plumb("fleet", &["diff"]).exits(0);
    set("main");
    env.plumb("fleet", &["diff", "--accepted"])
        .exits(2)
        .matches("manifests/diff_says_when_the_introduction_is_another_repositorys-2");
}

#[test]
fn a_host_whose_file_is_gone_leaves_and_nothing_of_it_is_deleted() {
    let env = Environment::new();
    env.fleet();
    std::fs::remove_file(env.path("fleet/hosts/display-1.yaml")).unwrap();
    let run = env
        .plumb("fleet", &["diff", "display-1"])
        .exits(1)
        .matches("manifests/a_host_whose_file_is_gone_leaves_and_nothing_of_it_is_deleted");
    assert!(!run.stdout.contains("delete"), "{}", run.stdout);
    let json = env
        .plumb("fleet", &["diff", "display-1", "-o", "json"])
        .exits(1)
        .json();
    assert_eq!(
        json["hosts"]["display-1"],
        serde_json::json!({"host": "leaves", "changes": []})
    );
}

#[test]
fn a_renamed_host_is_compared_with_what_it_was() {
    let env = Environment::new();
    env.fleet();
    let host = env.read("fleet/hosts/display-1.yaml");
    std::fs::remove_file(env.path("fleet/hosts/display-1.yaml")).unwrap();
    let host = host
        .replace("name: display-1", "name: panel")
        .replace("spec:\n", "spec:\n  formerly: [display-1]\n");
    env.write("fleet/hosts/panel.yaml", &host);
    let json = env.plumb("fleet", &["diff", "-o", "json"]).exits(1).json();
    let panel = &json["hosts"]["panel"];
    assert_eq!(panel["host"]["renamedFrom"], "display-1");
    let changes = panel["changes"].as_array().unwrap();
    assert!(
        changes.iter().all(|change| change["op"] == "update"),
        "{changes:?}"
    );
    assert!(json["hosts"]["display-1"].is_null(), "{json}");
}

#[test]
fn a_rule_that_nobody_could_meet_is_found() {
    let env = Environment::new();
    env.fleet();
    env.edit(
        "fleet/trust/policy.yaml",
        "[\"trust/**\"], need: [{from: ops, count: 1}]",
        "[\"trust/**\"], need: [{from: ops, count: 2}]",
    );
    env.plumb("fleet", &["check"])
        .exits(1)
        .matches("manifests/a_rule_that_nobody_could_meet_is_found");
}

#[test]
fn a_plan_for_hosts_without_keys_names_the_controllers_way_to_them() {
    let env = Environment::new();
    env.fleet();
    env.plumb("fleet", &["plan", "linda"])
        .exits(1)
        .matches("manifests/a_plan_for_hosts_without_keys_names_the_controllers_way_to_them");
}

#[test]
fn pointer_in_git_is_an_error_although_the_folder_has_the_real_bytes() {
    let env = Environment::new();
    env.key("alice");
    env.be("alice");
    env.plumb(".", &["init", "--minimal", "fleet"]).exits(0);
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n";
    env.write(
        "fleet/.gitattributes",
        "*.bin filter=lfs diff=lfs merge=lfs -text\n",
    );
    env.write("fleet/files/firmware.bin", pointer);
    env.write(
        "fleet/hosts/box.yaml",
        "kind: Host\nmetadata: {name: box}\nspec:\n  arch: x86_64\n  resources: {file: {/usr/local/lib/firmware.bin: {content: {file: files/firmware.bin}}}}\n",
    );
    let commit = env.commit("Add a firmware", &[]);
    env.write("fleet/files/firmware.bin", &"real".repeat(3000));
    let check = env.plumb("fleet", &["check", "-o", "json"]).exits(1).json();
    let found = &check["diagnostics"][0];
    assert_eq!(found["code"], "stand-in");
    assert_eq!(
        found["message"],
        "files/firmware.bin is a Git LFS pointer; its bytes aren't in the repository"
    );
    assert_eq!(found["hosts"], serde_json::json!(["box"]));
    env.plumb("fleet", &["diff", "--from", &commit]).exits(2);
    env.plumb("fleet", &["plan", "box", "-o", "json"]).exits(1);
}
