//! Examples of the kinds for the reference. Together they are a valid fleet.

use super::ObjectKind;

const FLEET: &str = r#"kind: Fleet
metadata: {name: home}
spec:
  domain: fleet.example
  alertmanagers: [{url: "http://192.0.2.3:9093"}]
  hostDefaults:
    os: {family: debian, release: "13"}
    connect: [{user: deploy, network: lan}]
    drift: {mode: correct}
  rollout: {halt: {failures: 1}}
  policies: {clearTextSecrets: deny}
"#;

const HOST: &str = r#"kind: Host
metadata: {name: web, labels: {role: server}}
spec:
  arch: x86_64
  ageKey: age1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq
  networks:
    lan: {id: 8, interface: eth0, mac: "02:00:5e:00:53:08", assign: dhcp}
  profiles:
    node-exporter: {port: 9200}
  resources:
    package: {git, tmux}
  force:
    sysctl: {vm.swappiness: {value: "10"}}
"#;

const PROFILE: &str = r#"kind: Profile
metadata: {name: node-exporter}
spec:
  description: Prometheus' node exporter.
  params:
    port: {type: integer, default: 9100, minimum: 1, maximum: 65535, description: "Where it listens"}
  endpoints:
    metrics: {ports: ["{{ params.port }}"], on: [lan], scrape: {job: node, interval: 15s}}
  when: host.os.family == 'debian'
  resources:
    exporter: {node: {port: "{{ params.port }}", on: [lan]}}
"#;

const NETWORK: &str = r#"kind: Network
metadata: {name: lan}
spec:
  type: lan
  subnets: [192.0.2.0/24, "2001:db8::/64"]
  members:
    printer: {id: 10, mac: "02:00:5e:00:53:10"}
"#;

const SECRET: &str = r#"kind: Secret
metadata: {name: nextcloud}
spec:
  version: 1
  hosts: [web]
  deliver: [{key: admin, path: /run/plumb/secrets/nextcloud-admin, owner: nextcloud}]
  recipients: {admin: {version: 1, usage: "8b52022ffe0f729f9c78c7fc9f8be373bb3d95d5ad5a7b0bf2c5f5b014754c97", hosts: {web: age1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq}}}
  values: {admin: "-----BEGIN AGE ENCRYPTED FILE-----\nYWdl\n-----END AGE ENCRYPTED FILE-----\n"}
"#;

const IMAGE: &str = "kind: Image
metadata: {name: web-card}
spec: {host: web, format: sd, size: 4GiB}
";

const TRUST_POLICY: &str = r#"kind: TrustPolicy
metadata: {name: main}
spec:
  serial: 1
  repository: 6f1c0c9e-5d1b-4c0e-9a52-3a7f1f0e8d11
  ref: refs/heads/main
  bindRef: none
  identities:
    alice: {keys: [{ssh: "SHA256:A2ggtu1ycm7Zi+m1I1ec+qY3sC/rBon97Wh/9VDwmP0"}]}
    bob: {keys: [{ssh: "SHA256:ea+u7j6WBR11lwDIRHZFadvY3UKxCY2aJuEpq4palEE"}]}
  groups: {ops: [alice, bob]}
  rules:
    - {paths: ["**"], need: [{from: ops, count: 1}]}
    - {paths: ["trust/**"], need: [{from: ops, count: 2}]}
"#;

impl ObjectKind {
    /// Returns an example for the reference. The examples of all kinds together are a valid fleet.
    pub fn example(self) -> &'static str {
        match self {
            Self::Fleet => FLEET,
            Self::Host => HOST,
            Self::Profile => PROFILE,
            Self::Network => NETWORK,
            Self::Secret => SECRET,
            Self::Image => IMAGE,
            Self::TrustPolicy => TRUST_POLICY,
        }
    }

    /// Returns the path of the example in a repository.
    pub fn example_path(self) -> &'static str {
        match self {
            Self::Fleet => "fleet.yaml",
            Self::Host => "hosts/web.yaml",
            Self::Profile => "profiles/node-exporter.yaml",
            Self::Network => "networks/lan.yaml",
            Self::Secret => "secrets/nextcloud.yaml",
            Self::Image => "images/web-card.yaml",
            Self::TrustPolicy => "trust/policy.yaml",
        }
    }
}
