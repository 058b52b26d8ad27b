//! The whole template: what each host gets, what its catalogue says of itself, and faults of hand-kept
//! fleets that its manifests can't have.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn template() -> PathBuf {
    root().join("fleet-repo-template")
}

/// A copy of the template that a test changes.
struct Fleet(tempfile::TempDir);

impl Fleet {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        copy(&template(), folder.path());
        Self(folder)
    }

    fn edit(&self, path: &str, from: &str, to: &str) {
        let path = self.0.path().join(path);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "`{from}` isn't in {}", path.display());
        fs::write(&path, text.replacen(from, to, 1)).unwrap();
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Returns what `check` says, without line breaks inside of sentences.
    fn check(&self) -> String {
        let said = plumb(&["check"], self.0.path());
        let words: Vec<&str> = said
            .split_whitespace()
            .filter(|word| *word != "│")
            .collect();
        words.join(" ")
    }

    fn rendered(&self) -> Value {
        let text = plumb(&["render", "--all", "-o", "json"], self.0.path());
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            fs::create_dir_all(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn plumb(arguments: &[&str], folder: &Path) -> String {
    let run = Command::new(env!("CARGO_BIN_EXE_test-plumb"))
        .args(arguments)
        .arg("-C")
        .arg(folder)
        .env("NO_COLOR", "1")
        .output()
        .unwrap();
    String::from_utf8_lossy(&run.stdout).into_owned() + &String::from_utf8_lossy(&run.stderr)
}

/// Returns the manifests below a folder of the template, by name.
fn manifests(folder: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut open = vec![template().join(folder)];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|ending| ending == "yaml") {
                let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
                found.insert(name, fs::read_to_string(&path).unwrap());
            }
        }
    }
    found
}

/// Returns the hosts whose digests differ.
fn changed(before: &Value, after: &Value) -> BTreeSet<String> {
    let digests = |fleet: &Value| -> BTreeMap<String, Value> {
        let hosts = fleet["hosts"].as_object().unwrap().iter();
        hosts
            .map(|(name, host)| (name.clone(), host["digest"].clone()))
            .collect()
    };
    let (before, after) = (digests(before), digests(after));
    let names = before.keys().chain(after.keys());
    let differ = names.filter(|name| before.get(*name) != after.get(*name));
    differ.cloned().collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn each_host_gets_what_its_golden_says() {
    let goldens = root().join("tests/it/goldens");
    let hosts = manifests("hosts");
    assert_eq!(
        plumb(&["check"], &template()),
        format!("{} hosts: no errors\n", hosts.len())
    );
    let mut differ = Vec::new();
    for name in hosts.keys() {
        let text = plumb(&["render", name], &template());
        // The digest follows from the rest.
        let (first, rest) = text.split_once('\n').unwrap_or((&text, ""));
        let first = first.rsplit_once("  ").map_or(first, |(head, _)| head);
        let text = format!("{first}\n{rest}");
        let golden = goldens.join(format!("{name}.txt"));
        if std::env::var_os("PLUMB_BLESS").is_some() {
            fs::create_dir_all(&goldens).unwrap();
            fs::write(&golden, &text).unwrap();
        }
        if fs::read_to_string(&golden).unwrap_or_default() != text {
            differ.push(name.clone());
        }
    }
    assert_eq!(
        differ,
        Vec::<String>::new(),
        "read the difference after PLUMB_BLESS=1 cargo test -p tests --test it template"
    );
    let kept: BTreeSet<String> = fs::read_dir(&goldens)
        .unwrap()
        .map(|entry| {
            entry
                .unwrap()
                .file_name()
                .to_string_lossy()
                .replace(".txt", "")
        })
        .collect();
    assert_eq!(kept, hosts.into_keys().collect());
}

#[test]
fn every_profile_describes_itself_and_its_parameters() {
    for (name, text) in manifests("profiles") {
        assert!(text.contains("\n  description: "), "{name}");
        let params = text.split("\n  params:\n").nth(1).unwrap_or_default();
        for line in params.lines().take_while(|line| line.starts_with("    ")) {
            assert!(line.contains("description:"), "{name}: {line}");
            let param = line.trim().split(':').next().unwrap();
            assert!(
                text.contains(&format!("params.{param}")),
                "{name} doesn't use {param}"
            );
        }
    }
}

#[test]
fn every_profile_holds_on_a_host_of_its_own() {
    let fleet = Fleet::new();
    fs::remove_dir_all(fleet.0.path().join("images")).unwrap();
    for name in manifests("hosts")
        .keys()
        .filter(|name| *name != "cortex-alpha")
    {
        fs::remove_file(fleet.0.path().join(format!("hosts/{name}.yaml"))).unwrap();
    }
    let profiles = manifests("profiles");
    // The router forwards a port to this one.
    fleet.write(
        "hosts/linda.yaml",
        "kind: Host\nmetadata: {name: linda}\nspec:\n  networks:\n    wg: {id: 250, keyless: true}\n    lan: {id: 250, interface: eth0}\n  endpoints: {sunshine: {ports: [47984], on: [lan]}}\n",
    );
    let mut hosts = 2;
    for (number, (name, text)) in profiles.iter().enumerate() {
        let params = text.split("\n  params:\n").nth(1).unwrap_or_default();
        let mut params = params.lines().take_while(|line| line.starts_with("    "));
        if params.any(|line| !line.contains("default:")) {
            continue;
        }
        // What refers to an endpoint of the same host needs who offers it.
        let beside = match name.as_str() {
            "grafana" => ", prometheus: {}, alertmanager: {}",
            "prometheus" => ", alertmanager: {}",
            _ => "",
        };
        let id = number + 3;
        fleet.write(
            &format!("hosts/probe-{name}.yaml"),
            &format!("kind: Host\nmetadata: {{name: probe-{name}}}\nspec:\n  networks:\n    wg: {{id: {id}, keyless: true}}\n    lan: {{id: {id}, interface: eth0}}\n    wan: {{id: {id}, interface: eth1}}\n  profiles: {{{name}: {{}}{beside}}}\n"),
        );
        hosts += 1;
    }
    assert_eq!(fleet.check(), format!("{hosts} hosts: no errors"));
    assert!(hosts > 50, "{hosts}");
}

#[test]
fn a_new_exporter_changes_its_host_and_who_scrapes_it() {
    let fleet = Fleet::new();
    let before = fleet.rendered();
    fleet.edit(
        "hosts/remote-builder.yaml",
        "    build: {}\n",
        "    build: {}\n    disk-metrics: {}\n",
    );
    let after = fleet.rendered();
    assert_eq!(
        changed(&before, &after),
        set(&["local-nas", "remote-builder"])
    );
    let targets =
        &after["hosts"]["local-nas"]["resources"]["file"]["/etc/prometheus/targets/smartctl.json"];
    assert!(
        targets["content"]
            .as_str()
            .unwrap()
            .contains("10.88.127.51:3107"),
        "{targets}"
    );
}

#[test]
fn every_active_host_is_scraped_without_a_list() {
    let rendered = Fleet::new().rendered();
    let files = &rendered["hosts"]["local-nas"]["resources"]["file"];
    let nodes = files["/etc/prometheus/targets/node.json"]["content"]
        .as_str()
        .unwrap();
    for (name, text) in manifests("hosts") {
        let is_active = !text.contains("\n  state: ");
        assert_eq!(
            nodes.contains(&format!("\"{name}\"")),
            is_active,
            "{name}: {nodes}"
        );
    }
}

#[test]
fn a_moved_host_leaves_no_old_address_behind() {
    let fleet = Fleet::new();
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";
    fleet.edit(
        "hosts/display-2.yaml",
        "  arch: aarch64\n",
        &format!("  arch: aarch64\n  hostKeys: [\"{key}\"]\n"),
    );
    let linda = |fleet: &Fleet| fleet.rendered()["hosts"]["linda"].to_string();
    let before = linda(&fleet);
    assert!(
        before.contains("10.88.127.42")
            && before.contains("AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl")
    );
    fleet.edit("hosts/display-2.yaml", "wg: {id: 42,", "wg: {id: 44,");
    let after = linda(&fleet);
    assert!(
        after.contains("10.88.127.44") && !after.contains("10.88.127.42"),
        "{after}"
    );
}

#[test]
fn two_hosts_of_one_address_are_an_error_that_names_both() {
    let fleet = Fleet::new();
    fleet.edit("hosts/display-2.yaml", "wg: {id: 42,", "wg: {id: 41,");
    let said = fleet.check();
    assert!(
        said.contains("hosts/display-2.yaml") && said.contains("hosts/display-1.yaml"),
        "{said}"
    );
}

#[test]
fn a_peer_without_a_key_is_an_error_and_is_never_left_out() {
    let fleet = Fleet::new();
    let host = fs::read_to_string(template().join("hosts/display-2.yaml")).unwrap();
    let key = host
        .split(", publicKey: ")
        .nth(1)
        .and_then(|rest| rest.split('}').next())
        .unwrap();
    fleet.edit("hosts/display-2.yaml", &format!(", publicKey: {key}"), "");
    let said = fleet.check();
    assert!(
        said.contains("peer") && said.contains("hosts/display-2.yaml"),
        "{said}"
    );
}

#[test]
fn a_port_that_is_used_twice_is_an_error() {
    let fleet = Fleet::new();
    fleet.edit(
        "hosts/linda.yaml",
        "  endpoints:\n",
        "  endpoints:\n    vnc: {ports: [1108], on: [wg]}\n",
    );
    let said = fleet.check();
    assert!(
        said.contains("1108") && said.contains("hosts/linda.yaml"),
        "{said}"
    );
}

#[test]
fn two_profiles_that_disagree_are_an_error_that_names_both() {
    let fleet = Fleet::new();
    fleet.write(
        "profiles/no-forwarding.yaml",
        "kind: Profile\nmetadata: {name: no-forwarding}\nspec:\n  description: x\n  resources: {sysctl: {net.ipv6.conf.all.forwarding: {value: \"0\"}}}\n",
    );
    fleet.edit(
        "hosts/cortex-alpha.yaml",
        "    router: {}\n",
        "    router: {}\n    no-forwarding: {}\n",
    );
    let said = fleet.check();
    assert!(
        said.contains("conflict")
            && said.contains("profiles/no-forwarding.yaml")
            && said.contains("profiles/network/router.yaml")
            && said.contains("force"),
        "{said}"
    );
}

#[test]
fn every_unit_that_restarts_by_itself_has_a_start_limit() {
    let rendered = Fleet::new().rendered();
    let mut units = 0;
    for (host, of) in rendered["hosts"].as_object().unwrap() {
        for (name, unit) in of["resources"]["unit"].as_object().into_iter().flatten() {
            let content = unit["content"].as_str().unwrap_or_default();
            if content.contains("\nRestart=") {
                assert!(
                    content.contains("StartLimitIntervalSec="),
                    "{name} of {host}: {content}"
                );
                units += 1;
            }
        }
    }
    assert!(units > 5, "{units}");
}

#[test]
fn no_host_gets_a_text_that_flushes_the_packet_filter() {
    let rendered = Fleet::new().rendered().to_string();
    assert!(!rendered.contains("flush ruleset"));
}

#[test]
fn an_endpoint_opens_its_port_on_its_network_and_nowhere_else() {
    let rendered = Fleet::new().rendered();
    let open = &rendered["hosts"]["cortex-alpha"]["resources"]["firewall"]["main"]["open"];
    let of_ssh: Vec<&Value> = open
        .as_array()
        .unwrap()
        .iter()
        .filter(|one| one["ports"] == serde_json::json!([1108]))
        .collect();
    assert_eq!(of_ssh.len(), 1, "{open}");
    assert_eq!(of_ssh[0]["on"], serde_json::json!(["interface:wireg0"]));
}
