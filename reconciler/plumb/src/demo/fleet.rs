//! The demonstration's manifests, policy and configuration.

use std::path::Path;

use crate::report::Failure;

use super::keys::DemoSigner;

/// Renders the policy: it has two groups, and one path needs a signature from each of them.
pub(super) fn policy(
    repository: &str,
    alice: &DemoSigner,
    bob: &DemoSigner,
    carol: &DemoSigner,
) -> String {
    format!(
        "kind: TrustPolicy
metadata: {{name: main}}
spec:
  serial: 1
  repository: {repository}
  ref: refs/heads/main
  bindRef: trailer
  identities:
    alice: {{keys: [{}]}}
    bob: {{keys: [{}]}}
    carol: {{keys: [{}]}}
  groups: {{ops: [alice, bob], sec: [carol]}}
  rules:
    - {{paths: [\"**\"], need: [{{from: ops, count: 1}}]}}
    - {{paths: [profiles/access.yaml], need: [{{from: ops, count: 1}}, {{from: sec, count: 1}}]}}
    - {{paths: [\"trust/**\"], need: [{{from: ops, count: 2}}, {{from: sec, count: 1}}]}}
",
        alice.policy_form(),
        bob.policy_form(),
        carol.policy_form()
    )
}

/// The files of the first commit, besides the policy.
pub(super) const FIRST: &[(&str, &str)] = &[
    (
        "fleet.yaml",
        "kind: Fleet
metadata: {name: demo}
spec:
  domain: demo.example
  hostDefaults:
    arch: x86_64
    profiles: {base: {}}
    drift: {mode: correct}
",
    ),
    (
        "profiles/base.yaml",
        "kind: Profile\nmetadata: {name: base}\nspec: {description: What every host has.}\n",
    ),
    (
        "profiles/access.yaml",
        "kind: Profile
metadata: {name: access}
spec:
  description: Who may log in; it takes two people to change.
  resources:
    file:
      /etc/ssh/sshd_config.d/10-fleet.conf: {content: \"PasswordAuthentication no\\n\", mode: \"0600\"}
",
    ),
];

/// The files of the second commit: three hosts and their resources.
pub(super) const MANIFESTS: &[(&str, &str)] = &[
    (
        "hosts/web-1.yaml",
        "kind: Host\nmetadata: {name: web-1, labels: {role: web}}\nspec:\n  profiles: {site: {port: 8080}}\n",
    ),
    (
        "hosts/web-2.yaml",
        "kind: Host\nmetadata: {name: web-2, labels: {role: web}}\nspec:\n  profiles: {site: {port: 8081}}\n",
    ),
    (
        "hosts/vault.yaml",
        "kind: Host
metadata: {name: vault, labels: {role: vault, team: security}}
spec:
  drift: {mode: alert}      # whatever moves here by itself is left as it is, and somebody is told
  resources:
    file:
      /etc/vault.conf: {content: \"sealed = yes\\n\", mode: \"0640\"}
",
    ),
    (
        "profiles/base.yaml",
        "kind: Profile
metadata: {name: base}
spec:
  description: What every host has.
  includes: {access: {}}
  resources:
    file:
      /etc/motd: {content: {template: \"This is {{ host.name }} of the fleet {{ fleet.domain }}.\\n\"}}
    sysctl: {vm.swappiness: {value: \"10\"}}
",
    ),
    (
        "profiles/site.yaml",
        "kind: Profile
metadata: {name: site}
spec:
  description: A web site that knows its neighbours.
  params:
    port: {type: integer, minimum: 1, maximum: 65535, description: Where it listens}
  resources:
    directory: {/srv/site: {mode: \"0755\"}}
    link: {/etc/site.conf: {target: /srv/site/site.conf}}
    file:
      /srv/site/site.conf:
        content:
          template: |
            listen {{ params.port }}
            {% for host in fleet.hosts('role=web') %}
            neighbour {{ host.name }}
            {% endfor %}
",
    ),
];

/// Renders the controller's configuration, with intervals short enough to watch.
pub(super) fn controller(
    folder: &Path,
    bare: &Path,
    introduction: &str,
    listen: &str,
    alertmanagers: &[String],
) -> String {
    let (folder, bare) = (folder.display(), bare.display());
    format!(
        "kind: Controller
spec:
  source: {{url: \"{bare}\", ref: refs/heads/main, poll: 1s}}
  introduction: {{commit: \"{introduction}\"}}
  state: {folder}/state
  socket: {folder}/plumb.sock
  listen: \"{listen}\"
  alertmanagers: {alertmanagers:?}
  resync: 1s
  sandbox: {{vault: hosts/vault, web-1: hosts/web-1, web-2: hosts/web-2}}
"
    )
}

/// Replaces `from` in a manifest by `to`. Fails if the manifest doesn't contain `from`.
pub(super) fn edited(text: &str, from: &str, to: &str) -> Result<String, Failure> {
    if text.contains(from) {
        Ok(text.replace(from, to))
    } else {
        Err(Failure::new(format!("the demo's manifest has no `{from}`")))
    }
}
