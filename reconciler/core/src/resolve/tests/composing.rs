use serde_json::json;

use super::*;

#[test]
fn a_null_spec_is_just_this() {
    assert_eq!(
        of("resources: {package: {btop, git}}", &[]),
        json!({"package": {"btop": {}, "git": {}}})
    );
}

#[test]
fn priorities_decide_between_places() {
    let profile = "resources: {sysctl: {vm.swappiness: {value: \"60\"}}}";
    let host = |block: &str, value: &str| {
        format!(
            "profiles: {{p: {{}}}}\n{block}: {{sysctl: {{vm.swappiness: {{value: \"{value}\"}}}}}}"
        )
    };
    let value = |block: &str| {
        of(&host(block, "10"), &[("p", profile)])["sysctl"]["vm.swappiness"]["value"].clone()
    };
    assert_eq!(value("defaults"), "60");
    assert_eq!(value("force"), "10");
    assert_eq!(
        told_of(&host("resources", "10"), &[("p", profile)]),
        "hosts/a.yaml:5:40: error[conflict]: `sysctl:vm.swappiness#value` is set twice at the priority `resources`: the text \"60\" by profile p, the text \"10\" by host a
  profiles/p.yaml:4:40: the other one
  hint: make them equal, or decide in the host: `force: {sysctl: {vm.swappiness: {value: \"10\"}}}`
  [a]"
    );
    assert_eq!(
        told_of(&host("resources", "60"), &[("p", profile)]),
        "",
        "places that agree are no conflict"
    );
}

#[test]
fn the_line_that_is_told_decides() {
    let profile = "resources: {sysctl: {vm.swappiness: {value: \"60\"}}}";
    let host = "profiles: {p: {}}\nresources: {sysctl: {vm.swappiness: {value: \"10\"}}}\n";
    let told = told_of(host, &[("p", profile)]);
    let line = told
        .split('`')
        .find(|part| part.starts_with("force: "))
        .unwrap();
    let resources = of(&format!("{host}{line}\n"), &[("p", profile)]);
    assert_eq!(resources["sysctl"]["vm.swappiness"]["value"], "10");
}

#[test]
fn two_forces_have_no_line_that_decides() {
    let profile = "force: {sysctl: {vm.swappiness: {value: \"60\"}}}";
    let told = told_of(
        "profiles: {p: {}}\nforce: {sysctl: {vm.swappiness: {value: \"10\"}}}",
        &[("p", profile)],
    );
    assert!(told.contains("hint: both are under `force`"), "{told}");
}

#[test]
fn sets_unite_and_lists_must_agree() {
    let profile = "resources:\n  group: {media: {members: [zoe, anna]}}\n  file: {/x: {content: \"\", validate: [a, \"%s\"]}}";
    let host = "profiles: {p: {}}\nresources: {group: {media: {members: [john, anna]}}}";
    assert_eq!(
        of(host, &[("p", profile)])["group"]["media"]["members"],
        json!(["anna", "john", "zoe"])
    );
    let host = "profiles: {p: {}}\nresources: {file: {/x: {validate: [b, \"%s\"]}}}";
    assert!(told_of(host, &[("p", profile)]).contains("`file:/x#validate` is set twice"));
    let host = "profiles: {p: {}}\nforce: {group: {media: {members: [john]}}}";
    assert_eq!(
        of(host, &[("p", profile)])["group"]["media"]["members"],
        json!(["john"]),
        "force says the whole set"
    );
}

#[test]
fn the_order_of_places_means_nothing() {
    // The same words in other places and another order of keys give the same digest.
    let one = [
        (
            "hosts/a.yaml",
            "kind: Host\nmetadata: {name: a}\nspec:\n  profiles: {p: {}, q: {}}\n  resources: {group: {g: {members: [x]}}}\n",
        ),
        (
            "profiles/p.yaml",
            "kind: Profile\nmetadata: {name: p}\nspec: {resources: {group: {g: {members: [y, z], gid: 7}}}}\n",
        ),
        (
            "profiles/q.yaml",
            "kind: Profile\nmetadata: {name: q}\nspec: {resources: {package: {git}, group: {g: {members: [z]}}}}\n",
        ),
    ];
    let other = [
        (
            "hosts/a.yaml",
            "kind: Host\nmetadata: {name: a}\nspec:\n  resources: {package: {git}, group: {g: {gid: 7, members: [z, x]}}}\n  profiles: {q: {}, p: {}}\n",
        ),
        (
            "profiles/p.yaml",
            "kind: Profile\nmetadata: {name: p}\nspec: {resources: {group: {g: {members: [y]}}}}\n",
        ),
        (
            "profiles/q.yaml",
            "kind: Profile\nmetadata: {name: q}\nspec: {resources: {group: {g: {members: [x]}}}}\n",
        ),
    ];
    let digest =
        |files: &[(&str, &str)]| rendered(&resolved(files))["hosts"]["a"]["digest"].clone();
    assert_eq!(digest(&one), digest(&other));
}

#[test]
fn host_defaults_are_below_all_else() {
    let fleet = "kind: Fleet\nmetadata: {name: home}\nspec:\n  hostDefaults:\n    os: {family: debian, release: \"13\"}\n    profiles: {p: {value: \"1\"}}\n    resources: {sysctl: {vm.swappiness: {value: \"60\"}, kernel.printk: {value: \"3\"}}}\n";
    let profile = "params: {value: {type: string}}\nresources: {sysctl: {vm.swappiness: {value: \"{{ params.value }}\"}}}";
    let files = with("profiles: {p: {value: \"2\"}}", &[("p", profile)]);
    let mut files = borrowed(&files);
    files.push(("fleet.yaml", fleet));
    assert_eq!(
        host("a", &files),
        json!({"sysctl": {"vm.swappiness": {"value": "2"}, "kernel.printk": {"value": "3"}}})
    );
}

#[test]
fn os_is_atomic() {
    let fleet = "kind: Fleet\nmetadata: {name: home}\nspec: {hostDefaults: {os: {family: debian, release: \"13\"}}}\n";
    let files = with(
        "os: {family: ubuntu}\nresources: {file: {/x: {content: {template: \"{{ host.os.family }} {{ host.os.release is none }}\"}}}}",
        &[],
    );
    let mut files = borrowed(&files);
    files.push(("fleet.yaml", fleet));
    assert_eq!(host("a", &files)["file"]["/x"]["content"], "ubuntu true");
}

#[test]
fn what_others_bring_can_be_removed() {
    let profile = "includes: {q: {}}\nresources: {package: {git, btop}}";
    let profiles = [("p", profile), ("q", "resources: {package: {tmux}}")];
    assert_eq!(
        of("profiles: {p: {}}\nremove: [package:btop]", &profiles),
        json!({"package": {"git": {}, "tmux": {}}})
    );
    assert_eq!(
        of("profiles: {p: {}}\nremove: [profile:q]", &profiles),
        json!({"package": {"git": {}, "btop": {}}})
    );
    for (remove, says) in [
        (
            "package:btob",
            "hosts/a.yaml:5:12: error[unknown-reference]: `package:btob` isn't among the host's resources, so it can't be removed\n  hint: did you mean `package:btop`?",
        ),
        ("profile:qq", "`profile:qq` isn't among"),
        ("btop", "write an address as TYPE:NAME"),
        ("\"package:git#version\"", "a field can't be removed"),
    ] {
        let told = told_of(
            &format!("profiles: {{p: {{}}}}\nremove: [{remove}]"),
            &profiles,
        );
        assert!(told.contains(says), "{told}");
    }
    let told = told_of("resources: {package: {git}}\nremove: [package:git]", &[]);
    assert!(
        told.contains("the host both defines and removes `package:git`"),
        "{told}"
    );
}

#[test]
fn profiles_have_parameters_with_types_and_bounds() {
    let profile = "params:\n  port: {type: integer, minimum: 1, maximum: 9}\n  mode: {type: string, enum: [copy, sync], default: copy}\n  path: {type: string, pattern: \"/.*\", default: /x}\n  all: {type: array, items: {type: string}, default: []}\n";
    for (params, says) in [
        (
            "{}",
            "hosts/a.yaml:4:14: error[parameter]: the profile `p` requires the parameter `port`\n  profiles/p.yaml:5:5: declared here without a default",
        ),
        (
            "{port: 10}",
            "hosts/a.yaml:4:24: error[parameter]: the parameter `port` must be from 1 to 9, not 10",
        ),
        (
            "{port: \"1\"}",
            "the parameter `port` must be a whole number, not the text \"1\"",
        ),
        (
            "{port: 1, mode: move}",
            "the parameter `mode` must be one of \"copy\", \"sync\", not the text \"move\"",
        ),
        (
            "{port: 1, path: x}",
            "the parameter `path` must match /.*, and \"x\" doesn't",
        ),
        (
            "{port: 1, path: true}",
            "the parameter `path` must be text, not the boolean true\n  hint: put it in quotes: \"true\"",
        ),
        (
            "{port: 1, all: [1]}",
            "the parameter `all[]` must be text, not the number 1",
        ),
        (
            "{prt: 1, port: 1}",
            "hosts/a.yaml:4:18: error[parameter]: the profile `p` has no parameter `prt`\n  hint: did you mean `port`?",
        ),
        (
            "[1]",
            "a profile's parameters must be a mapping, not a list",
        ),
    ] {
        let told = told_of(&format!("profiles: {{p: {params}}}"), &[("p", profile)]);
        assert!(told.contains(says), "{params}\n{told}");
    }
    assert_eq!(told_of("profiles: {p: {port: 9}}", &[("p", profile)]), "");
}

#[test]
fn a_declaration_that_contradicts_itself_is_the_profiles_error() {
    for (param, says) in [
        (
            "{type: string, pattern: \"(\"}",
            "profiles/p.yaml:4:39: error[parameter]: the pattern of `x` isn't a valid regular expression",
        ),
        (
            "{type: integer, default: a}",
            "profiles/p.yaml:4:40: error[parameter]: the parameter `x` must be a whole number, not the text \"a\"",
        ),
        (
            "{type: integer, default: 5, maximum: 4}",
            "the parameter `x` must be at most 4, not 5",
        ),
    ] {
        let told = told_of("{}", &[("p", &format!("params: {{x: {param}}}"))]);
        assert!(told.contains(says), "{param}\n{told}");
    }
}

#[test]
fn one_profile_serves_several_keys() {
    let profile = "params: {path: {type: string}}\nresources: {directory: {\"{{ params.path }}\": {}}, unit: {\"backup-{{ instance }}.service\": {content: \"x\"}}}";
    let resources = of(
        "profiles: {photos: {of: backup, path: /a}, films: {of: backup, path: /b}}",
        &[("backup", profile)],
    );
    assert_eq!(resources["directory"], json!({"/a": {}, "/b": {}}));
    assert_eq!(
        resources["unit"]
            .as_object()
            .unwrap()
            .keys()
            .collect::<Vec<_>>(),
        ["backup-films.service", "backup-photos.service"]
    );
}

#[test]
fn a_profile_reached_twice_is_one() {
    let firewall = "params: {port: {type: integer, default: 1}}\nresources: {file: {/x: {content: {template: \"{{ params.port }}\"}}}}";
    let two = |p: &str, q: &str| {
        [
            ("firewall", firewall.to_owned()),
            ("p", format!("includes: {{firewall: {p}}}")),
            ("q", format!("includes: {{firewall: {q}}}")),
        ]
    };
    let told = |host: &str, p: &str, q: &str| {
        let profiles = two(p, q);
        let profiles: Vec<_> = profiles
            .iter()
            .map(|(name, spec)| (*name, spec.as_str()))
            .collect();
        let files = with(host, &profiles);
        let files = borrowed(&files);
        let text = told(&files);
        if text.is_empty() {
            super::host("a", &files)["file"]["/x"]["content"].to_string()
        } else {
            text
        }
    };
    assert_eq!(
        told("profiles: {p: {}, q: {}}", "{port: 5}", "{port: 5}"),
        "\"5\""
    );
    assert_eq!(told("profiles: {p: {}, q: {}}", "{port: 5}", "{}"), "\"5\"");
    let both = told("profiles: {p: {}, q: {}}", "{port: 5}", "{port: 6}");
    assert!(
        both.contains(
            "error[conflict]: two includes give the parameter `port` different values: the number"
        ),
        "{both}"
    );
    assert_eq!(
        told(
            "profiles: {p: {}, q: {}, firewall: {port: 7}}",
            "{port: 5}",
            "{port: 6}"
        ),
        "\"7\"",
        "the host's beat those of includes"
    );
    let key = told("profiles: {p: {}, firewall: {of: q}}", "{port: 5}", "{}");
    assert!(key.contains("the key `firewall` is the profile"), "{key}");
}

#[test]
fn includes_see_the_parameters_of_who_includes() {
    let outer = "params: {port: {type: integer, default: 8}}\nincludes: {inner: {port: \"{{ params.port + 1 }}\"}}";
    let inner = "params: {port: {type: integer}}\nresources: {file: {/x: {content: {template: \"{{ params.port }}\"}}}}";
    assert_eq!(
        of(
            "profiles: {outer: {}}",
            &[("outer", outer), ("inner", inner)]
        )["file"]["/x"]["content"],
        "9"
    );
}

#[test]
fn includes_have_no_circles_and_lead_somewhere() {
    let told = told_of(
        "profiles: {p: {}}",
        &[("p", "includes: {q: {}}"), ("q", "includes: {p: {}}")],
    );
    assert!(
        told.contains("profiles include each other in a circle: p → q → p"),
        "{told}"
    );
    assert!(told.contains("[a]"), "{told}");
    let told = told_of(
        "profiles: {p: {}}",
        &[("p", "includes: {sshdd: {}}"), ("sshd", "{}")],
    );
    assert!(told.contains("profiles/p.yaml:4:14: error[unknown-reference]: unknown profile `sshdd`\n  hint: did you mean `sshd`?\n  [a]"), "{told}");
    let told = told_of("profiles: {sshdd: {}}", &[("sshd", "{}")]);
    assert!(
        told.contains("hosts/a.yaml:4:14: error[unknown-reference]: unknown profile `sshdd`"),
        "{told}"
    );
}

#[test]
fn when_gates_resources_and_never_endpoints() {
    let profile = "when: host.labels.role == 'cloud'\nendpoints: {api: {ports: [80], on: \"*\"}}\nincludes: {q: {}}\nresources: {package: {git}}";
    let user = "resources: {file: {/x: {content: {template: \"{{ fleet.endpoints(name='api') | length }}\"}}}}";
    let resources = of(
        &format!("profiles: {{p: {{}}}}\n{user}"),
        &[("p", profile), ("q", "resources: {package: {tmux}}")],
    );
    assert_eq!(
        resources,
        json!({"file": {"/x": {"content": "1"}}}),
        "what comes along only with it is left out too"
    );
    let told = told_of(
        "profiles: {p: {}}",
        &[("p", "when: host.labels.roel == 'cloud'")],
    );
    assert!(
        told.contains("profiles/p.yaml:4:9: error[expression]: `host.labels.roel` is undefined"),
        "{told}"
    );
    let told = told_of("profiles: {p: {}}", &[("p", "when: host.name")]);
    assert!(told.contains("a condition must be true or false"), "{told}");
    let told = told_of("profiles: {p: {}}", &[("p", "when: fleet.domain == 'x'")]);
    assert!(
        told.contains("use only `host` and `params` in keys, `when`, `endpoints` and `networks`"),
        "{told}"
    );
}

#[test]
fn patches_are_for_what_nothing_else_can_say() {
    let profile = "params: {n: {type: string, default: \"60\"}}\nresources:\n  sysctl: {vm.swappiness: {value: \"{{ params.n }}\"}}\n  file: {/etc/x: {mode: \"0644\", validate: [check, -q, \"%s\"], content: \"\"}}\n  package: {git}";
    let patched = |patches: &str| {
        of(
            &format!("profiles: {{p: {{}}}}\npatches:\n{patches}"),
            &[("p", profile)],
        )
    };
    let told = |patches: &str| {
        told_of(
            &format!("profiles: {{p: {{}}}}\npatches:\n{patches}"),
            &[("p", profile)],
        )
    };
    let both = "  - {op: test, path: /resources/sysctl/vm.swappiness/value, value: \"{{ params.n }}\"}\n  - {op: replace, path: /resources/sysctl/vm.swappiness/value, value: \"10\"}\n";
    assert_eq!(patched(both)["sysctl"]["vm.swappiness"]["value"], "10");
    let resources = patched(
        "  - {op: remove, path: /resources/file/~1etc~1x/validate/1}\n  - {op: add, path: /resources/file/~1etc~1x/validate/0, value: \"{{ host.name }}\"}\n",
    );
    assert_eq!(
        resources["file"]["/etc/x"]["validate"],
        json!(["a", "check", "%s"])
    );
    let resources = patched(
        "  - {op: move, from: /resources/file/~1etc~1x, path: /resources/file/~1etc~1y}\n  - {op: remove, path: /resources/package/git}\n  - {op: add, path: /resources/package/tmux, value: {}}\n  - {op: copy, from: /resources/sysctl/vm.swappiness, path: /resources/sysctl/kernel.printk}\n",
    );
    assert_eq!(
        resources["file"]
            .as_object()
            .unwrap()
            .keys()
            .collect::<Vec<_>>(),
        ["/etc/y"]
    );
    assert_eq!(resources["package"], json!({"tmux": {}}));
    assert_eq!(resources["sysctl"]["kernel.printk"]["value"], "60");
    for (patch, says) in [
        (
            "  - {op: test, path: /resources/sysctl/vm.swappiness/value, value: \"60\"}\n",
            "error[patch]: the test failed: `/resources/sysctl/vm.swappiness/value` is the text \"{{ params.n }}\", not the text \"60\"\n  profiles/p.yaml:6:37: the current value",
        ),
        (
            "  - {op: replace, path: /resources/sysctl/vm.swapiness/value, value: \"60\"}\n",
            "there is no `sysctl:vm.swapiness#value` to patch\n  hint: did you mean `sysctl:vm.swappiness`?",
        ),
        (
            "  - {op: remove, path: /resources/sysctl}\n",
            "isn't the path of a resource\n  hint: write /resources/TYPE/NAME/FIELD",
        ),
        (
            "  - {op: swap, path: /resources/package/git}\n",
            "unknown value `swap`",
        ),
        (
            "  - {op: add, path: /resources/package/git}\n",
            "give add, replace and test a `value`",
        ),
        (
            "  - {op: replace, path: /resources/file/~1etc~1x/validate/9, value: \"60\"}\n",
            "there is no `file:/etc/x#validate/9` to patch",
        ),
        (
            "  - {op: add, path: /resources/file/~1etc~1x/mod, value: \"60\"}\n",
            "unknown field `mod`\n  hint: did you mean `mode`?",
        ),
    ] {
        let text = told(patch);
        assert!(text.contains(says), "{patch}\n{text}");
    }
}

#[test]
fn references_lead_somewhere_and_not_in_a_circle() {
    let told = told_of(
        "resources: {service: {nginx: {restartOn: [package:nginx]}}, package: {nginz}}",
        &[],
    );
    assert_eq!(
        told,
        "hosts/a.yaml:4:45: error[unknown-reference]: `service:nginx` refers to `package:nginx`, which isn't on this host\n  hint: did you mean `package:nginz`?\n  [a]"
    );
    let told = told_of(
        "resources: {package: {aa: {after: [package:bb]}, bb: {after: [package:aa]}}}",
        &[],
    );
    assert!(told.contains("error[cycle]: these resources depend on each other in a circle: package:aa → package:bb → package:aa"), "{told}");
    // The plan makes the group first, and the user joins it.
    let told = told_of(
        "resources: {user: {ann: {groups: [ops]}}, group: {ops: {members: [ann]}}}",
        &[],
    );
    assert_eq!(told, "");
    let told = told_of("resources: {package: {aa: {after: [package:aa]}}}", &[]);
    assert!(
        told.contains("`package:aa` is ordered after itself"),
        "{told}"
    );
    let told = told_of("resources: {package: {aa: {after: [aa]}}}", &[]);
    assert!(told.contains("write an address as TYPE:NAME"), "{told}");
    let told = told_of("drift: {ignore: [file:/etc/x]}", &[]);
    assert!(
        told.contains(
            "hosts/a.yaml:4:20: error[unknown-reference]: `file:/etc/x` isn't on this host"
        ),
        "{told}"
    );
}

#[test]
fn one_place_on_the_host_belongs_to_one_resource() {
    let told = told_of(
        "resources: {file: {/etc/x: {content: \"\"}}, link: {/etc/x: {target: /y}}}",
        &[],
    );
    assert!(
        told.contains(
            "error[conflict]: `file:/etc/x` and `link:/etc/x` manage the same thing on the host"
        ),
        "{told}"
    );
    let told = told_of(
        "resources: {file: {/etc/systemd/system/a.service: {content: \"\"}}, unit: {a.service: {content: x}}}",
        &[],
    );
    assert!(
        told.contains(
            "`file:/etc/systemd/system/a.service` and `unit:a.service` manage the same thing"
        ),
        "{told}"
    );
}

#[test]
fn a_mask_and_a_unit_file_are_one_place() {
    let told = told_of(
        "resources: {unit: {a.service: {content: x}}, service: {a: {masked: true}}}",
        &[],
    );
    assert!(
        told.contains("`unit:a.service` and `service:a` manage the same thing on the host"),
        "{told}"
    );
    assert!(
        told.contains("drop the `unit`, or write `state: stopped, enabled: false`"),
        "{told}"
    );
    let told = told_of(
        "resources: {file: {/etc/systemd/system/a.service: {content: x}}, service: {a: {masked: true}}}",
        &[],
    );
    assert!(
        told.contains("`file:/etc/systemd/system/a.service` and `service:a` manage the same thing"),
        "{told}"
    );
    let told = told_of(
        "resources: {unit: {a.service: {content: \"\"}}, service: {a: {masked: false}}}",
        &[],
    );
    assert!(
        told.contains("`unit:a.service`: an empty unit file masks the unit"),
        "{told}"
    );
}

#[test]
fn defaults_of_all_hosts_may_hold_expressions() {
    let fleet = "kind: Fleet\nmetadata: {name: home}\nspec:\n  hostDefaults:\n    connect: [{user: \"{{ host.labels.role }}\", address: \"{{ host.name }}.example\"}]\n";
    let files = with("{}", &[]);
    let mut files = borrowed(&files);
    files.push(("fleet.yaml", fleet));
    let resolved = resolved(&files);
    let HostResult::Ready(intent) = &resolved.hosts[&"a".parse().unwrap()] else {
        panic!("{:?}", resolved.diagnostics)
    };
    assert_eq!(intent.connect[0].user, "server");
    assert_eq!(intent.connect[0].address, "a.example");
}

#[test]
fn a_profile_that_nobody_uses_is_looked_at_too() {
    let told = told_of("{}", &[("p", "resources: {fil: {}}")]);
    assert_eq!(
        told,
        "profiles/p.yaml:4:15: error[unknown-type]: unknown resource type `fil`\n  hint: did you mean `file`?"
    );
}
