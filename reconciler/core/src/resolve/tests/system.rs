//! Composites of the system itself: names, language, environment, journal, devices, sources of packages.

use serde_json::json;

use super::*;

/// The resources of one host `a` with these resources, on this release of Debian.
fn on(release: &str, resources: &str) -> Value {
    of(
        &format!("os: {{family: debian, release: \"{release}\"}}\nresources: {{{resources}}}"),
        &[],
    )
}

fn plain(resources: &str) -> Value {
    of(&format!("resources: {{{resources}}}"), &[])
}

fn wrong(resources: &str) -> String {
    told_of(&format!("resources: {{{resources}}}"), &[])
}

#[test]
fn environment_is_one_file_for_all_variables() {
    let resources = plain("environment: {EDITOR: {value: nvim}, PRICE: {value: \"5 $\"}}");
    assert_eq!(
        resources["file"]["/etc/environment.d/90-plumb.conf"]["content"],
        "# Written by plumb.\nEDITOR=\"nvim\"\nPRICE=\"5 $$\"\n"
    );
    assert_eq!(
        resources["file"]["/etc/profile.d/plumb.sh"]["content"],
        "# Written by plumb.\nexport EDITOR='nvim'\nexport PRICE='5 $'\n"
    );
    assert!(wrong("environment: {\"A B\": {value: x}}").contains("a variable is letters"));
    assert!(wrong("environment: {A: {value: \"x\\ny\"}}").contains("one line"));
}

#[test]
fn tmpfiles_are_created_when_they_change() {
    let resources = plain("tmpfiles: {app: {lines: [\"d /run/app 0755 root root -\"]}}");
    assert_eq!(
        resources["file"]["/etc/tmpfiles.d/app.conf"]["content"],
        "# Written by plumb.\nd /run/app 0755 root root -\n"
    );
    assert_eq!(
        resources["command"]["tmpfiles-app"],
        json!({
            "run": ["/usr/bin/systemd-tmpfiles", "--create", "/etc/tmpfiles.d/app.conf"],
            "refreshOn": ["file:/etc/tmpfiles.d/app.conf"],
        })
    );
    assert!(wrong("tmpfiles: {app: {lines: [run/app]}}").contains("a type and an absolute path"));
}

#[test]
fn journald_restarts_with_its_drop_in() {
    let resources =
        plain("journald: {main: {storage: persistent, maxUse: 2GiB, maxAge: 30d, rateLimit: off}}");
    assert_eq!(
        resources["file"]["/etc/systemd/journald.conf.d/90-main.conf"]["content"],
        "# Written by plumb.\n[Journal]\nStorage=persistent\nSystemMaxUse=2147483648\nMaxRetentionSec=2592000s\nRateLimitIntervalSec=0\nRateLimitBurst=0\n"
    );
    assert_eq!(
        resources["service"]["systemd-journald"],
        json!({"restartOn": ["file:/etc/systemd/journald.conf.d/90-main.conf"]})
    );
    assert!(wrong("journald: {main: {maxUse: 2GB}}").contains("isn't a size"));
}

#[test]
fn hostname_is_kept_from_cloud_init() {
    let resources = of("hostname: web-1\nresources: {hostname: {system: {}}}", &[]);
    assert_eq!(resources["file"]["/etc/hostname"]["content"], "web-1\n");
    assert_eq!(
        resources["sysctl"]["kernel.hostname"],
        json!({"value": "web-1"})
    );
    assert_eq!(
        resources["file"]["/etc/cloud/cloud.cfg.d/90-plumb-hostname.cfg"]["content"],
        "# Written by plumb.\npreserve_hostname: true\n"
    );
    assert_eq!(
        plain("hostname: {system: {}}")["file"]["/etc/hostname"]["content"],
        "a\n"
    );
    assert!(wrong("hostname: {web: {}}").contains("name it `system`"));
}

#[test]
fn locale_is_written_where_the_release_reads_it() {
    let locale = "locale: {system: {lang: en_GB.UTF-8, generate: [en_GB.UTF-8], timezone: Europe/London, keymap: uk}}";
    let old = on("12", locale);
    assert_eq!(
        old["file"]["/etc/default/locale"]["content"],
        "LANG=en_GB.UTF-8\n"
    );
    assert_eq!(
        old["file"]["/etc/locale.gen"]["content"],
        "# Written by plumb.\nen_GB.UTF-8 UTF-8\n"
    );
    assert_eq!(
        old["link"]["/etc/localtime"]["target"],
        "/usr/share/zoneinfo/Europe/London"
    );
    assert_eq!(
        old["file"]["/etc/default/keyboard"]["content"],
        "XKBMODEL=pc105\nXKBLAYOUT=gb\nXKBVARIANT=\nXKBOPTIONS=\nBACKSPACE=guess\nKEYMAP=uk\n"
    );
    let new = on("13", locale);
    assert_eq!(
        new["file"]["/etc/locale.conf"]["content"],
        "LANG=en_GB.UTF-8\n"
    );
    assert!(new["file"]["/etc/default/locale"].is_null());
    assert!(
        wrong("locale: {system: {timezone: ../../etc/passwd}}")
            .contains("isn't the name of a time zone")
    );
    assert!(
        wrong("locale: {system: {lang: de_DE.UTF-8, generate: [en_GB.UTF-8]}}")
            .contains("isn't among")
    );
}

#[test]
fn repository_is_a_source_with_its_key_and_pin() {
    let resources = plain(
        "repository: {grafana: {uris: [\"https://apt.example/deb\"], suites: [stable], components: [main], key: \"KEY\", pin: {priority: 100, packages: [\"grafana*\"]}}}",
    );
    assert_eq!(
        resources["file"]["/etc/apt/sources.list.d/grafana.sources"]["content"],
        "# Written by plumb.\nTypes: deb\nURIs: https://apt.example/deb\nSuites: stable\nComponents: main\nSigned-By: /etc/apt/keyrings/grafana.asc\n"
    );
    assert_eq!(
        resources["file"]["/etc/apt/keyrings/grafana.asc"]["content"],
        "KEY"
    );
    assert_eq!(
        resources["file"]["/etc/apt/preferences.d/grafana"]["content"],
        "# Written by plumb.\nPackage: grafana*\nPin: origin \"apt.example\"\nPin-Priority: 100\n"
    );
    for (repository, says) in [
        (
            "uris: [x], suites: [stable], components: [main]",
            "addresses that apt can read",
        ),
        (
            "uris: [\"file:/srv\"], suites: [./], components: [main]",
            "a flat repository",
        ),
        (
            "uris: [\"file:/srv\"], suites: [./], pin: {priority: 1}",
            "needs an address with a host",
        ),
    ] {
        let told = wrong(&format!("repository: {{x: {{{repository}}}}}"));
        assert!(told.contains(says), "{repository}: {told}");
    }
}

#[test]
fn udev_rules_are_verified_where_udev_can() {
    let rules = "udev: {spin: {rules: ['ACTION==\"add\", KERNEL==\"sd*\", RUN+=\"/bin/true\"']}}";
    let old = on("12", rules);
    assert!(old["file"]["/etc/udev/rules.d/90-spin.rules"]["validate"].is_null());
    assert_eq!(
        on("13", rules)["file"]["/etc/udev/rules.d/90-spin.rules"]["validate"],
        json!(["udevadm", "verify", "%s"])
    );
    assert_eq!(
        old["command"]["udev-spin-trigger"]["after"],
        json!(["command:udev-spin-reload"])
    );
}

#[test]
fn zram_is_a_package_its_file_and_its_service() {
    let resources = plain("zram: {main: {percent: 50, algorithm: zstd, priority: 100}}");
    assert_eq!(
        resources["file"]["/etc/default/zramswap"]["content"],
        "# Written by plumb.\nPERCENT=50\nALGO=zstd\nPRIORITY=100\n"
    );
    assert_eq!(resources["service"]["zramswap"]["enabled"], true);
    assert!(wrong("zram: {main: {percent: 0}}").contains("must be 1 to 400"));
}

#[test]
fn authorized_keys_lie_where_only_root_writes() {
    let resources = plain(
        "authorizedKeys: {john: {keys: [\"ssh-ed25519 AAAAC3 john\"], exclusive: true}, eve: {keys: [{key: \"ssh-ed25519 AAAAC4\", options: [restrict]}]}}",
    );
    assert_eq!(
        resources["file"]["/etc/ssh/authorized_keys.d/eve"]["content"],
        "# Written by plumb.\nrestrict ssh-ed25519 AAAAC4\n"
    );
    assert_eq!(
        resources["file"]["/etc/ssh/sshd_config.d/10-plumb-keys.conf"]["content"],
        "# Written by plumb.\nAuthorizedKeysFile .ssh/authorized_keys .ssh/authorized_keys2 /etc/ssh/authorized_keys.d/%u\nMatch User john\n    AuthorizedKeysFile /etc/ssh/authorized_keys.d/%u\n"
    );
    assert_eq!(
        resources["service"]["ssh"],
        json!({"reloadOn": ["file:/etc/ssh/sshd_config.d/10-plumb-keys.conf"]})
    );
    assert!(wrong("authorizedKeys: {john: {keys: [\"no key\"]}}").contains("isn't a public key"));
    assert!(wrong("authorizedKeys: {john: {keys: []}}").contains("it has no key"));
}

#[test]
fn sshd_listens_in_its_networks_and_locks_nobody_out() {
    let host = "networks: {lan: {id: 5}}\nconnect: [{user: deploy, network: lan}]\n";
    let network = object("Network", "lan", "{subnets: [192.0.2.0/24]}");
    let files = |sshd: &str| {
        vec![
            (
                "hosts/a.yaml".to_owned(),
                object(
                    "Host",
                    "a",
                    &format!("{host}resources: {{sshd: {{main: {sshd}}}}}"),
                ),
            ),
            ("networks/lan.yaml".to_owned(), network.clone()),
        ]
    };
    let resources = super::host(
        "a",
        &borrowed(&files(
            "{ports: [1108], on: [lan], passwords: false, root: false, allowUsers: [john, deploy], match: [{user: build, settings: {MaxSessions: 1}}], settings: {X11Forwarding: false}}",
        )),
    );
    assert_eq!(
        resources["file"]["/etc/ssh/sshd_config.d/10-plumb-main.conf"]["content"],
        "# Written by plumb.\nPort 1108\nListenAddress 192.0.2.5\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin no\nAllowUsers deploy john\nX11Forwarding no\nMatch User build\n    MaxSessions 1\n"
    );
    assert_eq!(
        resources["unit"]["ssh.socket.d/10-plumb-main.conf"]["content"],
        "# Written by plumb.\n[Socket]\nListenStream=\nListenStream=192.0.2.5:1108\n"
    );
    for (sshd, says) in [
        ("{allowUsers: [john]}", "it would lock out `deploy`"),
        (
            "{settings: {PubkeyAuthentication: false}}",
            "it would lock out `deploy`",
        ),
        (
            "{settings: {DenyUsers: john deploy}}",
            "it would lock out `deploy`",
        ),
        (
            "{match: [{user: deploy, settings: {ForceCommand: /bin/true}}]}",
            "it would lock out `deploy`",
        ),
        (
            "{on: [wan]}",
            "the host has no address in the network `wan`",
        ),
        (
            "{settings: {Port: 22}}",
            "`Port` is set by a field of `sshd`",
        ),
        (
            "{settings: {Banner: \"a\\nb\"}}",
            "with a value of one line",
        ),
        (
            "{match: [{settings: {MaxSessions: 1}}]}",
            "needs a `user`, `group` or `address`",
        ),
    ] {
        let told = told(&borrowed(&files(sshd)));
        assert!(told.contains(says), "{sshd}: {told}");
    }
}

#[test]
fn exclusive_keys_lock_out_neither_plumb_nor_who_cannot_be_known() {
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";
    let told = |user: &str, options: &str| {
        let spec = format!(
            "connect: [{{user: {user}, address: 192.0.2.1}}]\nresources: {{authorizedKeys: {{deploy: {{exclusive: true, keys: [{{key: {key}, options: [{options}]}}]}}}}}}"
        );
        told(&[("hosts/a.yaml", &object("Host", "a", &spec))])
    };
    assert!(told("deploy", "'command=\"/bin/true\"'").contains("it would lock out `deploy`"));
    assert_eq!(told("root", "'command=\"/bin/true\"'"), "");
    assert_eq!(told("deploy", "restrict"), "");
}

#[test]
fn sshd_may_not_refuse_root_that_plumb_connects_as() {
    let sshd = |user: &str| {
        let spec = format!(
            "connect: [{{user: {user}, address: 192.0.2.1}}]\nresources: {{sshd: {{main: {{root: false}}}}}}"
        );
        told(&[("hosts/a.yaml", &object("Host", "a", &spec))])
    };
    assert!(sshd("root").contains("it would lock out `root`"));
    assert_eq!(sshd("deploy"), "");
    let pattern = "connect: [{user: deploy, address: 192.0.2.1}]\nresources: {sshd: {main: {allowUsers: [\"dep*\"]}}}";
    assert_eq!(told(&[("hosts/a.yaml", &object("Host", "a", pattern))]), "");
}

#[test]
fn known_hosts_has_every_pinned_key_under_each_name() {
    let reader =
        "resources: {knownHosts: {fleet: {extra: [\"git.example ssh-ed25519 AAAAC3git\"]}}}";
    let other = "hostname: BOX\nhostKeys: [\"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5b root@b\"]\nnetworks: {lan: {id: 6}}\nendpoints: {ssh: {ports: [1108], on: [lan]}}";
    let files = [
        ("hosts/a.yaml".to_owned(), object("Host", "a", reader)),
        ("hosts/b.yaml".to_owned(), object("Host", "b", other)),
        (
            "networks/lan.yaml".to_owned(),
            object("Network", "lan", "{subnets: [192.0.2.0/24]}"),
        ),
    ];
    assert_eq!(
        super::host("a", &borrowed(&files))["file"]["/etc/ssh/ssh_known_hosts"]["content"],
        "# Written by plumb.\n192.0.2.6,BOX,BOX.fleet.example,[192.0.2.6]:1108,[BOX.fleet.example]:1108,[BOX]:1108,[b]:1108,b ssh-ed25519 AAAAC3NzaC1lZDI1NTE5b\ngit.example ssh-ed25519 AAAAC3git\n"
    );
}

#[test]
fn known_hosts_is_held_while_a_host_of_the_fleet_is_broken() {
    let reader = object("Host", "a", "resources: {knownHosts: {fleet: {}}}");
    let typo = "kind: Host\nmetadata: {name: b}\nspec: {resourcse: {}}\n";
    let resolved = resolved(&[("hosts/a.yaml", &reader), ("hosts/b.yaml", typo)]);
    let held = |name: &str| {
        let (_, result) = resolved
            .hosts
            .iter()
            .find(|(host, _)| host.as_str() == name)
            .unwrap();
        matches!(result, HostResult::Held(_))
    };
    assert!(held("a") && held("b"));
}

#[test]
fn container_is_a_quadlet_with_a_digest() {
    let digest = "a".repeat(64);
    let app = format!(
        "container: {{app: {{image: \"registry.example/app@sha256:{digest}\", ports: [\"127.0.0.1:8080:80\"], volumes: [\"/srv/app:/data\"], environment: {{MODE: a b}}}}}}"
    );
    let resources = on("13", &app);
    assert_eq!(
        resources["file"]["/etc/containers/systemd/app.container"]["content"],
        format!(
            "# Written by plumb.\n[Unit]\nDescription=container app\n\n[Container]\nContainerName=app\nImage=registry.example/app@sha256:{digest}\nPublishPort=127.0.0.1:8080:80\nVolume=/srv/app:/data\nEnvironment=\"MODE=a b\"\n\n[Service]\nRestart=always\nTimeoutStartSec=900\n\n[Install]\nWantedBy=multi-user.target\n"
        )
    );
    let old = format!("os: {{family: debian, release: \"12\"}}\nresources: {{{app}}}");
    assert!(told_of(&old, &[]).contains("Debian 12 has no podman that reads quadlets"));
    assert!(
        wrong("container: {app: {image: \"registry.example/app:latest\"}}")
            .contains("a tag can be moved")
    );
}
