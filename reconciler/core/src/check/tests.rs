use crate::manifest::load;
use crate::resolve::resolve;
use crate::resolve::tests::sources;

const LAN: (&str, &str) = (
    "networks/lan.yaml",
    "kind: Network\nmetadata: {name: lan}\nspec: {subnets: [192.0.2.0/24]}\n",
);

/// Returns what is found about a host `a` with this spec, beside a host `b` in the same network.
fn found(spec: &str) -> String {
    let text = format!(
        "kind: Host\nmetadata: {{name: a, labels: {{role: web}}}}\nspec:\n  networks: {{lan: {{id: 1}}}}\n  {}\n",
        spec.trim_end().replace('\n', "\n  ")
    );
    found_in(&[("hosts/a.yaml", &text)])
}

fn found_in(files: &[(&str, &str)]) -> String {
    let b = (
        "hosts/b.yaml",
        "kind: Host\nmetadata: {name: b}\nspec: {networks: {lan: {id: 2}}}\n",
    );
    let all: Vec<_> = [LAN, b].iter().chain(files).copied().collect();
    let resolved = resolve(&load(sources(&all)).fleet);
    let lines = resolved.diagnostics.iter().map(ToString::to_string);
    lines.collect::<Vec<_>>().join("\n")
}

/// Asserts that each of the first specs gives this one finding, and each of the others gives none.
#[track_caller]
fn distinguishes(finding: &str, wrong: &[&str], right: &[&str]) {
    for spec in wrong {
        let found = found(spec);
        assert!(found.contains(finding), "{spec}\n{found}");
        assert_eq!(found.matches("]: ").count(), 1, "{spec}\n{found}");
    }
    for spec in right {
        assert_eq!(found(spec), "", "{spec}");
    }
}

#[test]
fn services_need_a_unit_or_a_package() {
    distinguishes(
        "warning[missing-unit]: nothing on this host brings `app.service`",
        &[
            "resources: {service: {app: {state: started}}}",
            "resources: {service: {app: {enabled: true}}, package: {rsync}}",
            "resources: {service: {app: {enabled: true}}, package: {app: {state: absent}}}",
            "resources:\n  service: {app: {state: started}}\n  unit: {app.service.d/x.conf: {content: \"[Service]\\n\"}}",
        ],
        &[
            "resources: {service: {app: {state: stopped}}}",
            "resources: {service: {app: {masked: true}}}",
            "resources: {service: {systemd-journald: {state: started}, ssh: {enabled: true}, fstrim.timer: {enabled: true}}}",
            "resources: {service: {app: {state: started}}, package: {app-server}}",
            "resources: {service: {app: {state: started, after: [package:other]}}, package: {other}}",
            "resources: {service: {app: {state: started}}, unit: {app.service: {content: \"[Service]\\nExecStart=/bin/app\\n\"}}}",
            "resources: {service: {\"app@1\": {state: started}}, unit: {\"app@.service\": {content: \"[Service]\\nExecStart=/bin/app\\n\"}}}",
            "resources: {service: {app: {state: started}}, file: {/etc/containers/systemd/app.container: {content: \"[Container]\\n\"}}}",
            "resources: {timer: {app: {run: [/bin/true], schedule: {every: 1h}}}}",
        ],
    );
}

#[test]
fn timers_need_their_service() {
    let unit = |name: &str, text: &str| format!("{name}: {{content: \"{text}\"}}");
    let timer = unit("app.timer", "[Timer]\\nOnCalendar=daily\\n");
    let service = unit("app.service", "[Service]\\nExecStart=/bin/true\\n");
    let named = unit("app.timer", "[Timer]\\nUnit=other.service\\n");
    distinguishes(
        "warning[missing-unit]: the timer starts `app.service`",
        &[&format!("resources: {{unit: {{{timer}}}}}")],
        &[
            &format!("resources: {{unit: {{{timer}, {service}}}}}"),
            &format!("resources: {{unit: {{{timer}}}, package: {{app}}}}"),
        ],
    );
    distinguishes(
        "the timer starts `other.service`",
        &[&format!("resources: {{unit: {{{named}, {service}}}}}")],
        &[],
    );
}

#[test]
fn restarts_need_a_limit() {
    let unit = |text: &str| {
        format!(
            "resources: {{unit: {{app.service: {{content: \"[Service]\\nExecStart=/bin/app\\n{text}\"}}}}}}"
        )
    };
    distinguishes(
        "warning[start-limit]: `Restart=",
        &[
            &unit("Restart=always\\n"),
            &unit("Restart=no\\nRestart = on-failure\\n"),
        ],
        &[
            &unit(""),
            &unit("Restart=no\\n"),
            &unit("# Restart=always\\n"),
            &unit("Restart=always\\nStartLimitBurst=3\\n"),
            "resources: {unit: {app.service: {content: \"[Service]\\nRestart=always\\n\"}, app.service.d/limit.conf: {content: \"[Unit]\\nStartLimitIntervalSec=60\\n\"}}}",
        ],
    );
}

#[test]
fn owners_need_an_account() {
    distinguishes(
        "warning[unknown-owner]: nothing on this host creates the ",
        &[
            "resources: {file: {/srv/x: {content: x, owner: app}}}",
            "resources: {directory: {/srv/x: {group: app}}}",
            "resources: {directory: {/srv/x: {group: app}}, user: {app: {group: users}}}",
            "resources: {directory: {/srv/x: {owner: app}}, package: {rsync}}",
        ],
        &[
            "resources: {file: {/srv/x: {content: x, owner: www-data, group: \"1234\"}}}",
            "resources: {file: {/srv/x: {content: x, owner: app, group: app}}, user: {app: {}}}",
            "resources: {file: {/srv/x: {content: x, group: app}}, group: {app: {}}}",
            "resources: {directory: {/srv/x: {owner: postgres}}, package: {postgresql-15}}",
            "resources: {directory: {/srv/x: {owner: app, after: [package:thing]}}, package: {thing}}",
            "connect: [{user: deploy, address: 192.0.2.9}]\nresources: {directory: {/srv/x: {owner: deploy}}}",
            "resources: {directory: {/srv/x: {owner: app, state: absent}}}",
        ],
    );
    distinguishes(
        "error[unknown-owner]: `directory:/srv/x` needs the user `app`, which this host removes",
        &["resources: {directory: {/srv/x: {owner: app}}, user: {app: {state: absent}}}"],
        &[],
    );
}

#[test]
fn nothing_lies_in_a_removed_folder() {
    distinguishes(
        "error[removed-folder]: `file:/srv/x/y` lies in `directory:/srv/x`, which is to be absent",
        &["resources: {directory: {/srv/x: {state: absent}}, file: {/srv/x/y: {content: x}}}"],
        &[
            "resources: {directory: {/srv/x: {state: absent}}, file: {/srv/xy: {content: x}}}",
            "resources: {directory: {/srv/x: {state: absent}}, file: {/srv/x/y: {state: absent}}}",
            "resources: {directory: {/srv/x: {}}, file: {/srv/x/y: {content: x}}}",
        ],
    );
}

#[test]
fn private_keys_are_not_for_everybody() {
    let fleet = (
        "fleet.yaml",
        "kind: Fleet\nmetadata: {name: home}\nspec: {policies: {clearTextSecrets: allow}}\n",
    );
    let with = |mode: &str| {
        let host = format!(
            "kind: Host\nmetadata: {{name: a}}\nspec: {{resources: {{file: {{/srv/key: {{content: {{file: files/key}}{mode}}}}}}}}}\n"
        );
        found_in(&[
            fleet,
            (
                "files/key",
                "-----BEGIN PRIVATE KEY-----\nMHcCAQEEIBkgAAAAAAAA\n",
            ),
            ("hosts/a.yaml", &host),
        ])
    };
    for mode in ["", ", mode: \"0644\""] {
        let found = with(mode);
        assert!(
            found.contains("warning[readable-key]: every user"),
            "{found}"
        );
    }
    assert_eq!(with(", mode: \"0640\""), "");
}

#[test]
fn programs_listen_on_addresses_of_their_own_host() {
    let socket = |address: &str| {
        format!(
            "resources: {{unit: {{app.socket: {{content: \"[Socket]\\nListenStream={address}:80\\n\"}}}}}}"
        )
    };
    let sshd = |address: &str| {
        format!(
            "resources: {{file: {{/etc/ssh/sshd_config.d/x.conf: {{content: \"ListenAddress {address}\\n\"}}}}}}"
        )
    };
    distinguishes(
        "warning[foreign-address]: 192.0.2.2, on which it is to listen, is an address of `b`",
        &[&socket("192.0.2.2"), &sshd("192.0.2.2")],
        &[
            &socket("192.0.2.1"),
            &socket("0.0.0.0"),
            &socket("127.0.0.1"),
            &socket("[::1]"),
            &socket("198.51.100.7"),
            &sshd("192.0.2.1"),
            "resources: {file: {/srv/x: {content: \"ListenAddress 192.0.2.2\\n\"}}}",
        ],
    );
    distinguishes(
        "192.0.2.77, on which it is to listen, is an address of the network `lan`",
        &[
            "resources: {file: {/etc/default/x: {content: 'ARGS=\"--web.listen-address=192.0.2.77:9100\"'}}}",
        ],
        &[],
    );
}

#[test]
fn selectors_match_somebody() {
    let secret =
        |hosts: &str| format!("kind: Secret\nmetadata: {{name: s}}\nspec: {{hosts: {hosts}}}\n");
    let host = "kind: Host\nmetadata: {name: a, labels: {role: web}}\n";
    let found =
        |hosts: &str| found_in(&[("secrets/s.yaml", &secret(hosts)), ("hosts/a.yaml", host)]);
    let told = found("role=wbe");
    assert!(
        told.contains("secrets/s.yaml:3:15: warning[idle-selector]: `role=wbe` selects no host"),
        "{told}"
    );
    assert!(!found("role=web").contains("idle-selector"));
    assert!(!found("[b]").contains("idle-selector"));
    // The host with errors may be the one that is meant.
    let broken = found_in(&[
        ("secrets/s.yaml", &secret("[c]")),
        ("hosts/c.yaml", "kind: Hst\n"),
    ]);
    assert!(!broken.contains("idle-selector"), "{broken}");
}

#[test]
fn selectors_in_templates_match_somebody() {
    let found = |template: &str| {
        let host = "kind: Host\nmetadata: {name: a, labels: {role: web}}\nspec:\n  resources: {file: {/etc/x: {content: {templateFile: files/x.j2}}}}\n";
        found_in(&[("files/x.j2", template), ("hosts/a.yaml", host)])
    };
    let told = found("# hosts\n{{ fleet.hosts('role=wbe') | length }}");
    assert!(
        told.contains("files/x.j2:2:17: warning[idle-selector]: `role=wbe` selects no host"),
        "{told}"
    );
    let told = found("{{ fleet.endpoints(job='node', hosts=\"role in (a, b)\") | length }}");
    assert!(told.contains("`role in (a, b)` selects no host"), "{told}");
    for right in [
        "{{ fleet.hosts('role=web') | length }}",
        "{{ fleet.hosts('role in (web, db)') | length }}",
        "{{ fleet.hosts() | length }}{{ fleet.endpoints(job='node') | length }}",
        "{% set s = '*' %}{{ fleet.hosts(s) | length }}",
    ] {
        assert_eq!(found(right), "", "{right}");
    }
}

#[test]
fn one_finding_of_many_hosts_is_one() {
    let host = |name: &str| {
        format!("kind: Host\nmetadata: {{name: {name}}}\nspec: {{profiles: {{p: {{}}}}}}\n")
    };
    let all: Vec<(String, String)> = (10..60)
        .map(|number| (format!("hosts/h{number}.yaml"), host(&format!("h{number}"))))
        .collect();
    let mut files: Vec<(&str, &str)> = all
        .iter()
        .map(|(path, text)| (path.as_str(), text.as_str()))
        .collect();
    files.push((
        "profiles/p.yaml",
        "kind: Profile\nmetadata: {name: p}\nspec: {resources: {service: {app: {state: started}}}}\n",
    ));
    let resolved = resolve(&load(sources(&files)).fleet);
    assert_eq!(resolved.diagnostics.len(), 1, "{:?}", resolved.diagnostics);
    assert_eq!(resolved.diagnostics[0].hosts.len(), 50);
    assert!(!resolved.diagnostics[0].is_error());
}
