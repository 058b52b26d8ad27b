use super::*;
use plumb_document::{SourceFile, TooLarge};

fn held(files: &[(&str, &str)]) -> Vec<String> {
    let resolved = resolved(files);
    let held = resolved
        .hosts
        .iter()
        .filter(|(_, result)| matches!(result, HostResult::Held(_)));
    held.map(|(name, _)| name.to_string()).collect()
}

fn reader(expression: &str) -> String {
    object(
        "Host",
        "reader",
        &format!(
            "resources: {{file: {{/x: {{content: {{template: \"{{{{ {expression} }}}}\"}}}}}}}}"
        ),
    )
}

const GOOD: (&str, &str) = (
    "hosts/good.yaml",
    "kind: Host\nmetadata: {name: good}\nspec: {resources: {package: {git}}}\n",
);

#[test]
fn one_bad_host_holds_itself_and_those_that_read_it() {
    let unreadable = ("hosts/bad.yaml", "kind: Host\nmetadata: {name: bad\n");
    let typo = (
        "hosts/bad.yaml",
        "kind: Host\nmetadata: {name: bad, labels: {role: cloud}}\nspec: {resourcse: {}}\n",
    );
    let read = |bad: (&str, &str), expression: &str| {
        held(&[GOOD, bad, ("hosts/reader.yaml", &reader(expression))])
    };
    for bad in [unreadable, typo] {
        assert_eq!(read(bad, "host.name"), ["bad"]);
        assert_eq!(read(bad, "fleet.host('good').name"), ["bad"]);
        assert_eq!(read(bad, "fleet.host('bad').name"), ["bad", "reader"]);
        assert_eq!(read(bad, "fleet.hosts('*') | length"), ["bad", "reader"]);
        assert_eq!(read(bad, "fleet.hosts(['good']) | length"), ["bad"]);
        assert_eq!(
            read(bad, "fleet.endpoints(job='x') | length"),
            ["bad", "reader"]
        );
        assert_eq!(
            read(bad, "fleet.endpoints(job='x', hosts='role=cloud') | length"),
            ["bad", "reader"]
        );
    }
    // Its labels can be read, so it is known not to be meant; of the other nothing is known.
    assert_eq!(read(typo, "fleet.hosts('role=server') | length"), ["bad"]);
    assert_eq!(
        read(unreadable, "fleet.hosts('role=server') | length"),
        ["bad", "reader"]
    );
}

#[test]
fn an_error_that_only_concerns_resources_holds_nobody_else() {
    let bad = (
        "hosts/bad.yaml",
        "kind: Host\nmetadata: {name: bad}\nspec: {resources: {file: {/x: {mode: 1}}}}\n",
    );
    assert_eq!(
        held(&[
            GOOD,
            bad,
            ("hosts/reader.yaml", &reader("fleet.hosts('*') | length"))
        ]),
        ["bad"]
    );
}

#[test]
fn what_holds_a_host_names_it() {
    let bad = (
        "hosts/bad.yaml",
        "kind: Host\nmetadata: {name: bad}\nspec: {resourcse: {}}\n",
    );
    let files = [
        GOOD,
        bad,
        ("hosts/reader.yaml", &reader("fleet.host('bad').name")),
    ];
    assert_eq!(
        told(&files),
        "hosts/bad.yaml:3:8: error[unknown-field]: unknown field `resourcse`\n  hint: did you mean `resources`?\n  [bad reader]"
    );
    let resolved = resolved(&files);
    let HostResult::Held(diagnostics) = &resolved.hosts[&"reader".parse().unwrap()] else {
        panic!()
    };
    let text: Vec<_> = diagnostics.iter().map(ToString::to_string).collect();
    assert!(
        text[0].contains("error[held]: ")
            && text[0].contains("this reads host bad, whose manifest has errors"),
        "{text:?}"
    );
    assert!(text[1].contains("unknown field `resourcse`"), "{text:?}");
}

#[test]
fn a_bad_profile_holds_those_that_use_it() {
    let bad = (
        "profiles/p.yaml",
        "kind: Profile\nmetadata: {name: p}\nspec: {resources: {fil: {}}}\n",
    );
    let worse = (
        "profiles/p.yaml",
        "kind: Profile\nmetadata: {name: p}\nspec: {resourcse: {}}\n",
    );
    let user = (
        "hosts/user.yaml",
        "kind: Host\nmetadata: {name: user}\nspec: {profiles: {p: {}}}\n",
    );
    for bad in [bad, worse] {
        assert_eq!(held(&[GOOD, bad, user]), ["user"]);
        assert!(told(&[GOOD, bad, user]).contains("[user]"));
    }
    let reader = reader("fleet.hosts('*') | length");
    let files = [GOOD, bad, user, ("hosts/reader.yaml", reader.as_str())];
    assert_eq!(
        held(&files),
        ["user"],
        "what is wrong with resources doesn't change what others may know"
    );
}

#[test]
fn a_bad_network_holds_its_members_and_readers() {
    let bad = (
        "networks/lan.yaml",
        "kind: Network\nmetadata: {name: lan}\nspec: {subnets: [x]}\n",
    );
    let member = (
        "hosts/member.yaml",
        "kind: Host\nmetadata: {name: member}\nspec: {networks: {lan: {id: 3}}}\n",
    );
    assert_eq!(
        held(&[
            GOOD,
            bad,
            member,
            ("hosts/reader.yaml", &reader("fleet.network('lan').name"))
        ]),
        ["member", "reader"]
    );
}

#[test]
fn without_a_fleet_every_host_is_held_and_none_is_absent() {
    for fleet in [
        "kind: Fleet\nmetadata: {name: home}\nspec: {domian: x}\n",
        "{",
        "",
    ] {
        assert_eq!(held(&[GOOD, ("fleet.yaml", fleet)]), ["good"], "{fleet}");
    }
    let mut sources = sources(&[GOOD]);
    sources.files.remove("fleet.yaml");
    let resolved = resolve(&load(sources).fleet);
    assert!(
        resolved.diagnostics[0]
            .to_string()
            .contains("error[missing-fleet]: fleet.yaml is missing")
    );
    assert_eq!(resolved.hosts.len(), 1);
}

#[test]
fn a_host_of_two_files_is_held() {
    let files = [GOOD, ("hosts/home/good.yaml", GOOD.1)];
    assert_eq!(held(&files), ["good"]);
    assert!(told(&files).contains("error[duplicate-object]: a second Host has the name `good`"));
}

#[test]
fn the_order_of_hosts_and_cores_changes_nothing() {
    // Enough hosts for several threads.
    let files: Vec<(String, String)> = (0..600)
        .map(|n| (format!("hosts/h{n}.yaml"), format!("kind: Host\nmetadata: {{name: h{n}}}\nspec: {{profiles: {{p: {{}}}}, resources: {{file: {{/y: {{content: {{template: \"{{{{ host.name }}}}\"}}}}}}}}}}\n")))
        .chain([("profiles/p.yaml".to_owned(), object("Profile", "p", "resources: {file: {/x: {content: {template: \"{{ fleet.hosts() | length }}\"}}}}"))])
        .collect();
    let resolved = resolved(&borrowed(&files));
    assert_eq!(resolved.diagnostics.len(), 0);
    let mut shared = BTreeSet::new();
    for (name, result) in &resolved.hosts {
        let HostResult::Ready(intent) = result else {
            panic!()
        };
        let own = intent
            .desired
            .get(&"file:/y".parse().unwrap())
            .unwrap()
            .contents()[0]
            .sha256;
        assert_eq!(
            resolved.contents.get(&own).unwrap().as_ref(),
            name.as_str().as_bytes()
        );
        shared
            .insert(Arc::as_ptr(&intent.desired.resources()[&"file:/x".parse().unwrap()]) as usize);
    }
    assert_eq!(
        shared.len(),
        1,
        "what no fact of a host goes into is made once for all"
    );
}

#[test]
fn own_errors_are_told_beside_what_holds() {
    let bad = (
        "hosts/bad.yaml",
        "kind: Host\nmetadata: {name: bad}\nspec: {resourcse: {}}\n",
    );
    let host = object(
        "Host",
        "reader",
        "resources: {file: {/x: {content: {template: \"{{ fleet.hosts() | length }}{{ host.name }}\"}}, /y: {content: {template: \"{{ host.nmae }}\"}}}}",
    );
    let told = told(&[bad, ("hosts/reader.yaml", &host)]);
    assert!(told.contains("`host.nmae` is undefined"), "{told}");
    assert!(told.contains("[bad reader]"), "{told}");
}

#[test]
fn stand_ins_of_other_bytes_hold_the_hosts_that_use_them() {
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n";
    let uses = |content: &str| {
        object(
            "Host",
            "user",
            &format!("resources: {{file: {{/x: {{content: {content}}}}}}}"),
        )
    };
    let told_of = |content: &str, bytes: &str| {
        told(&[
            GOOD,
            ("files/fw.bin", bytes),
            ("hosts/user.yaml", &uses(content)),
        ])
    };
    holds_user(
        &told_of("{file: files/fw.bin}", pointer),
        "files/fw.bin is a Git LFS pointer; its bytes aren't in the repository",
    );
    holds_user(
        &told_of("{templateFile: files/fw.bin}", pointer),
        "files/fw.bin is a Git LFS pointer; its bytes aren't in the repository",
    );
    holds_user(
        &told_of("{file: files/fw.bin}", "\0GITCRYPT\0rest"),
        "files/fw.bin is encrypted by git-crypt; its bytes aren't in the repository in clear",
    );
    // Nobody uses it, so nobody is held; a text about pointers is none.
    assert_eq!(told(&[GOOD, ("files/fw.bin", pointer)]), "");
    let about = "version https://git-lfs.github.com/spec/v1 is the first line\n";
    assert_eq!(told_of("{file: files/fw.bin}", about), "");
}

fn holds_user(told: &str, message: &str) {
    assert!(told.contains(message), "{told}");
    assert!(
        told.contains("[user]"),
        "only the host that uses it: {told}"
    );
}

#[test]
fn file_that_is_too_large_holds_only_hosts_that_use_it() {
    let large = |path: &str, files: &[(&str, &str)]| {
        let mut sources = sources(files);
        let bound = TooLarge {
            size: 17 << 20,
            limit: 16 << 20,
        };
        let file = SourceFile::TooLarge(bound);
        sources.files.insert(Arc::from(path), file);
        let all = resolve(&load(sources).fleet).diagnostics;
        let lines = all.iter().map(|one| format!("{one} {:?}", one.hosts));
        lines.collect::<Vec<_>>().join("\n")
    };
    assert_eq!(
        large("files/backup.tar", &[GOOD]),
        "files/backup.tar:1:1: warning[file-too-large]: files/backup.tar has 17825792 bytes; the limit is 16777216, so no host can use it\n  hint: remove it from the repository, or move it to a folder that Plumb doesn't read []"
    );
    for form in ["file", "templateFile"] {
        let resources =
            format!("resources: {{file: {{/x: {{content: {{{form}: files/backup.tar}}}}}}}}");
        let user = object("Host", "user", &resources);
        let told = large("files/backup.tar", &[GOOD, ("hosts/user.yaml", &user)]);
        assert!(
            told.starts_with("hosts/user.yaml:")
                && told.ends_with(
                    "error[file-too-large]: files/backup.tar has 17825792 bytes; the limit is 16777216\n  hint: make the file smaller, or keep it outside of the repository [\"user\"]"
                ),
            "{told}"
        );
    }
    let told = large("hosts/bad.yaml", &[GOOD]);
    assert!(
        told.starts_with("hosts/bad.yaml:1:1: error[file-too-large]")
            && told.ends_with("[\"bad\"]"),
        "{told}"
    );
}
