//! A fleet of 100 resources a host: 40 files are rendered for each host, and ten hosts list the whole fleet.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use plumb_document::SourceFile;

/// Hosts that list the whole fleet.
const CONSUMERS: usize = 10;

/// The files of the repository.
pub fn files(hosts: usize) -> BTreeMap<Arc<str>, SourceFile> {
    let mut files = BTreeMap::new();
    let mut add = |path: String, text: String| {
        files.insert(Arc::from(path), SourceFile::from(text.as_bytes()));
    };
    add("fleet.yaml".to_owned(), FLEET.to_owned());
    add("networks/lan.yaml".to_owned(), LAN.to_owned());
    add("profiles/base.yaml".to_owned(), base());
    add("profiles/monitoring.yaml".to_owned(), MONITORING.to_owned());
    for number in 1..=hosts {
        add(format!("hosts/h{number}.yaml"), host(number, hosts));
    }
    files
}

const FLEET: &str = "kind: Fleet
metadata: {name: bench}
spec:
  domain: fleet.example
  hostDefaults:
    os: {family: debian, release: \"13\"}
    profiles: {base: {}}
";

const LAN: &str = "kind: Network
metadata: {name: lan}
spec: {type: lan, subnets: [10.0.0.0/16, \"2001:db8::/64\"]}
";

const MONITORING: &str = "kind: Profile
metadata: {name: monitoring}
spec:
  description: Lists the whole fleet.
  resources:
    file:
      /etc/prometheus/targets.json:
        content: {template: \"{{ fleet.endpoints(job='node') | targets }}\\n\"}
      /etc/hosts.fleet:
        content:
          template: |
            {% for member in fleet.network('lan').members %}
            {{ member.ipv4 }} {{ member.name }}
            {% endfor %}
";

fn base() -> String {
    let mut text = String::from(
        "kind: Profile
metadata: {name: base}
spec:
  description: What every host has.
  endpoints:
    metrics: {ports: [9100], on: [lan], scrape: {job: node}}
  resources:
    file:
",
    );
    for number in 0..40 {
        let _ = write!(
            text,
            "      /etc/bench/rendered-{number}:
        content:
          template: |
            host = {{{{ host.name }}}}
            address = {{{{ host.networks.lan.ipv4 }}}}
            role = {{{{ host.labels.role }}}}
            number = {number}
"
        );
    }
    for number in 0..20 {
        let _ = writeln!(
            text,
            "      /etc/bench/plain-{number}: {{content: \"number = {number}\\n\", mode: \"0640\"}}"
        );
    }
    text.push_str("    directory: {/etc/bench: {mode: \"0755\"}}\n    package:\n");
    for number in 0..10 {
        let _ = writeln!(text, "      package-{number}: {{}}");
    }
    text.push_str("    service:\n");
    for number in 0..10 {
        let _ = writeln!(
            text,
            "      service-{number}: {{state: started, enabled: true, restartOn: [file:/etc/bench/rendered-{number}]}}"
        );
    }
    text.push_str("    sysctl:\n");
    for number in 0..10 {
        let _ = writeln!(
            text,
            "      net.bench.value_{number}: {{value: \"{number}\"}}"
        );
    }
    text.push_str("    user:\n");
    for number in 0..9 {
        let _ = writeln!(text, "      user-{number}: {{shell: /bin/bash}}");
    }
    text
}

fn host(number: usize, hosts: usize) -> String {
    let role = ["web", "db", "cache", "queue"][number % 4];
    let monitoring = if number > hosts - CONSUMERS {
        "\n  profiles: {monitoring: {}}"
    } else {
        ""
    };
    format!(
        "kind: Host
metadata: {{name: h{number}, labels: {{role: {role}, rack: r{}}}}}
spec:
  hostKeys: [\"ssh-ed25519 {}\"]
  connect: [{{user: deploy, network: lan, port: 22}}]
  networks: {{lan: {{address: 10.0.{}.{}}}}}{monitoring}
",
        number / 40,
        key(number),
        number / 250,
        number % 250 + 1,
    )
}

/// A key that no other host has, in the form of OpenSSH.
fn key(number: usize) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut blob = b"\0\0\0\x0bssh-ed25519\0\0\0\x20".to_vec();
    blob.extend_from_slice(&number.to_be_bytes());
    blob.resize(51, 7);
    blob.chunks(3)
        .flat_map(|three| {
            let bits = three
                .iter()
                .fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte));
            [18, 12, 6, 0].map(|shift| char::from(DIGITS[bits >> shift & 63]))
        })
        .collect()
}
