use super::*;

fn files() -> Sources<()> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fleet-repo-minimal");
    let mut files = BTreeMap::new();
    let mut open = vec![root.clone()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path
                    .strip_prefix(&root)
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned();
                files.insert(
                    Arc::from(name),
                    std::fs::read(&path).unwrap().as_slice().into(),
                );
            }
        }
    }
    Sources {
        revision: (),
        files,
    }
}

#[test]
fn the_template_resolves_without_a_word() {
    let resolved = resolve(&load(files()).fleet);
    let told: Vec<String> = resolved
        .diagnostics
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(told, Vec::<String>::new());
    assert_eq!(resolved.fleet.as_str(), "home");
    // An address of an example may be somebody's: no alert goes there.
    assert_eq!(resolved.alertmanagers, []);
    assert_eq!(resolved.hosts.len(), 4);
    for (name, result) in &resolved.hosts {
        let HostResult::Ready(intent) = result else {
            panic!("{name} is held")
        };
        assert_eq!(intent.connect.len(), 1, "{name}");
        for resource in intent.desired.resources().values() {
            for content in resource.spec().contents() {
                assert!(
                    resolved.contents.get(&content.sha256).is_some(),
                    "{name} lacks a content"
                );
            }
        }
    }
    let json = rendered(&resolved);
    let nas = &json["hosts"]["local-nas"]["resources"];
    assert_eq!(
        nas["file"]["/etc/motd"]["content"]
            .as_str()
            .unwrap()
            .lines()
            .next(),
        Some("DataStorage.fleet.example (server at home)")
    );
    let targets: Value = serde_json::from_str(
        nas["file"]["/etc/prometheus/targets/node.json"]["content"]
            .as_str()
            .unwrap(),
    )
    .unwrap();
    let hosts: Vec<_> = targets
        .as_array()
        .unwrap()
        .iter()
        .map(|group| group["labels"]["host"].as_str().unwrap())
        .collect();
    assert_eq!(
        hosts,
        ["cortex-alpha", "linda", "local-nas"],
        "dormant hosts and those without metrics aren't scraped"
    );
    assert_eq!(targets[0]["targets"][0], "10.88.128.1:9100");
    assert_eq!(
        json["hosts"]["linda"]["resources"]["sysctl"]["vm.swappiness"]["value"],
        "10"
    );
    assert_eq!(
        json["hosts"]["linda"]["resources"]["user"]["john"]["groups"],
        serde_json::json!(["operators", "plugdev", "video"])
    );
    let names = nas["file"]["/etc/hosts"]["content"].as_str().unwrap();
    assert!(names.ends_with("::1 localhost ip6-localhost ip6-loopback\n\n10.88.128.1 cortex-alpha.fleet.example cortex-alpha\n10.88.128.2 access-point.fleet.example access-point\n10.88.128.3 local-nas.fleet.example local-nas\n10.88.128.10 printer.fleet.example printer\n10.88.128.41 display-1.fleet.example display-1\n10.88.128.88 linda.fleet.example linda\n"), "{names}");
}

#[test]
fn the_same_files_give_the_same_digests() {
    let digests = || {
        let resolved = resolve(&load(files()).fleet);
        serde_json::to_string(&rendered(&resolved)).unwrap()
    };
    assert_eq!(digests(), digests());
}

#[test]
fn explanations_lead_to_the_lines() {
    let fleet = load(files()).fleet;
    let text = crate::explain::explain(&fleet, "linda", "sysctl:vm.swappiness")
        .unwrap()
        .to_string();
    assert_eq!(
        text,
        "sysctl:vm.swappiness on linda
  defined at profiles/base.yaml:22:7 by profile base (profile base at fleet.yaml:12:16)
  defined at hosts/linda.yaml:23:14 by host linda
  value: \"10\"
    from hosts/linda.yaml:23:30 by host linda at `force`
    overrides \"{{ params.swappiness | string }}\" of profiles/base.yaml:22:23 by profile base at `resources`
"
    );
    let text = crate::explain::explain(&fleet, "linda", "user:john#groups")
        .unwrap()
        .to_string();
    assert!(
        text.contains("groups: [\"operators\",\"plugdev\",\"video\"]"),
        "{text}"
    );
    assert!(text.contains("from profiles/operator.yaml:25:29 by profile operator at `defaults`, written as \"{{ params.groups }}\""), "{text}");
    let text = crate::explain::explain(&fleet, "linda", "file:/etc/ssh/sshd_config.d/plumb.conf")
        .unwrap()
        .to_string();
    assert!(
        text.contains("  after package:openssh-server\n  before service:ssh\n"),
        "{text}"
    );
    let text = crate::explain::explain(&fleet, "local-nas", "profile:photos")
        .unwrap()
        .to_string();
    assert!(
        text.contains("defined at hosts/local-nas.yaml:12:5 by host local-nas"),
        "{text}"
    );
    let wrong = |host: &str, address: &str| {
        crate::explain::explain(&fleet, host, address)
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        wrong("lindo", "file:/etc/motd"),
        "unknown host `lindo`; did you mean `linda`?"
    );
    assert_eq!(
        wrong("linda", "file:/etc/mot"),
        "linda has no `file:/etc/mot`; did you mean `file:/etc/motd`?"
    );
    assert_eq!(
        wrong("linda", "profile:bas"),
        "linda has no `profile:bas`; did you mean `profile:base`?"
    );
    assert!(wrong("linda", "motd").contains("TYPE:NAME"));
}

#[test]
fn the_templates_alertmanager_is_there_once_its_line_is_meant() {
    let mut files = files();
    let fleet = files.files.get_mut("fleet.yaml").unwrap();
    let text = std::str::from_utf8(fleet.bytes().unwrap()).unwrap();
    let meant = text.replace("# alertmanagers:", "alertmanagers:");
    assert_ne!(meant, text);
    *fleet = meant.as_bytes().into();
    let resolved = resolve(&load(files).fleet);
    assert!(
        resolved.diagnostics.is_empty(),
        "{:?}",
        resolved.diagnostics
    );
    assert_eq!(
        resolved.alertmanagers,
        [plumb_api::AlertmanagerUrl::new("http://10.88.128.3:9093")]
    );
}
