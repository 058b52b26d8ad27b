//! Secret objects: the resources that hosts get, and what `check` says of their readers.

use serde_json::json;

use super::*;

const KEY: &str = "age1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq";
/// The form of a ciphertext, as YAML.
const CIPHERTEXT: &str =
    "-----BEGIN AGE ENCRYPTED FILE-----\\nYWdl\\n-----END AGE ENCRYPTED FILE-----\\n";
const POLICY: (&str, &str) = (
    "trust/policy.yaml",
    "kind: TrustPolicy\nmetadata: {name: main}\nspec: {repository: r1}\n",
);
const OPERATED: (&str, &str) = (
    "fleet.yaml",
    "kind: Fleet\nmetadata: {name: home}\nspec: {domain: fleet.example, secrets: {operators: [on]}}\n",
);

/// A Secret with a value, encrypted to these readers for its present use.
fn secret(hosts: &str, readers: &str, deliver: &str) -> String {
    let spec: plumb_api::kind::SecretObjectSpec = serde_json::from_value(json!({
        "hosts": hosts,
        "deliver": plumb_document::parse(&Arc::from("x"), deliver.as_bytes()).unwrap(),
    }))
    .unwrap();
    let usage = crate::manifest::usage("app", &spec, "token").unwrap();
    object(
        "Secret",
        "app",
        &format!(
            "version: 3\nhosts: \"{hosts}\"\ndeliver: {deliver}\nrecipients: {{token: {{version: 2, usage: \"{usage}\", {readers}}}}}\nvalues: {{token: \"{CIPHERTEXT}\"}}"
        ),
    )
}

fn all<'a>(host: &'a str, secret: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        OPERATED,
        POLICY,
        ("trust/recipients/on.pub", KEY),
        ("hosts/a.yaml", host),
        ("secrets/app.yaml", secret),
    ]
}

const DELIVER: &str = "[{key: token, path: /run/a, owner: app}, {key: token, unit: app}]";

#[test]
fn selected_hosts_get_the_value_and_the_drop_in() {
    let host_text = object(
        "Host",
        "a",
        &format!(
            "ageKey: {KEY}\nresources: {{service: {{app: {{restartOn: [\"secret:app/token\"]}}}}, user: {{app: {{}}}}}}"
        ),
    );
    let readers = format!("hosts: {{a: {KEY}}}, operators: {{\"on\": {KEY}}}");
    let text = secret("role=server", &readers, DELIVER);
    let resources = host("a", &all(&host_text, &text));
    let value = &resources["secret"]["app/token"];
    assert_eq!(value["version"], 2);
    assert_eq!(value["repository"], "r1");
    assert_eq!(
        value["deliver"],
        json!([
            {"path": "/run/a", "owner": "app"},
            {"path": "/run/plumb/credentials/app.service/app.token"},
        ])
    );
    let drop_in = &resources["unit"]["app.service.d/plumb-app-token.conf"];
    let content = drop_in["content"].as_str().unwrap();
    assert!(
        content.ends_with("LoadCredential=token:/run/plumb/credentials/app.service/app.token\n"),
        "{content}"
    );
    let other = secret("role=other", "hosts: {}", DELIVER);
    let resolved = resolved(&all(&object("Host", "a", "{}"), &other));
    let HostResult::Ready(intent) = &resolved.hosts[&"a".parse().unwrap()] else {
        panic!("the host is held");
    };
    assert!(intent.desired.resources().is_empty());
}

#[test]
fn readers_who_lack_the_value_or_keep_it_are_told() {
    let host_text = object("Host", "a", &format!("ageKey: {KEY}"));
    let other = KEY.replace("qqqq", "pppp");
    for (readers, says) in [
        (
            format!("operators: {{\"on\": {KEY}}}"),
            "isn't encrypted to a",
        ),
        (
            format!("hosts: {{a: {other}}}, operators: {{\"on\": {KEY}}}"),
            "isn't encrypted to a",
        ),
        (format!("hosts: {{a: {KEY}}}"), "isn't encrypted to on"),
        (
            format!("hosts: {{a: {KEY}, b: {KEY}}}, operators: {{\"on\": {KEY}}}"),
            "is still encrypted to b",
        ),
    ] {
        let text = secret("role=server", &readers, DELIVER);
        let told = told(&all(&host_text, &text));
        assert!(told.contains(says), "{says}\n{told}");
        assert_eq!(told.matches("error[").count(), 1, "{told}");
    }
    let readers = format!("hosts: {{a: {KEY}}}, operators: {{\"on\": {KEY}}}");
    let moved = secret("role=server", &readers, DELIVER).replace("path: /run/a", "path: /run/b");
    let told = told(&all(&host_text, &moved));
    assert!(
        told.contains("for other `hosts` or another delivery"),
        "{told}"
    );
}

#[test]
fn host_without_a_key_and_deliveries_to_disks_are_told() {
    let keyless = object("Host", "a", "{}");
    let readers = format!("operators: {{\"on\": {KEY}}}");
    let told_keyless = told(&all(&keyless, &secret("role=server", &readers, DELIVER)));
    assert!(
        told_keyless.contains("no `ageKey` is pinned for a"),
        "{told_keyless}"
    );
    let host_text = object("Host", "a", &format!("ageKey: {KEY}"));
    for (deliver, says) in [
        ("[{key: token, path: /etc/a}]", "below /run"),
        ("[{key: token}]", "exactly one of `path` and `unit`"),
        ("[{key: token, path: /run/a, unit: b}]", "exactly one of"),
        ("[{key: token, unit: b, owner: c}]", "to the unit itself"),
        (
            "[{key: token, path: /run/a, mode: \"0444\"}]",
            "lets others read",
        ),
    ] {
        let told = told(&all(&host_text, &secret("role=server", &readers, deliver)));
        assert!(told.contains(says), "{says}\n{told}");
    }
}

#[test]
fn value_in_clear_is_told_and_never_shown() {
    let host_text = object("Host", "a", &format!("ageKey: {KEY}"));
    let readers = format!("hosts: {{a: {KEY}}}, operators: {{\"on\": {KEY}}}");
    let sealed = secret("role=server", &readers, DELIVER);
    for clear in ["hunter2", "-----BEGIN AGE ENCRYPTED FILE-----\\nYWdl\\n"] {
        let told = told(&all(&host_text, &sealed.replace(CIPHERTEXT, clear)));
        assert!(
            told.contains("error[clear-text-secret]: the value of `token` isn't an age file"),
            "{told}"
        );
        assert!(!told.contains(clear), "{told}");
    }
}

#[test]
fn delivery_to_the_path_of_another_resource_is_told() {
    let host_text = object(
        "Host",
        "a",
        &format!("ageKey: {KEY}\nresources: {{file: {{/run/a: {{content: x}}}}}}"),
    );
    let readers = format!("hosts: {{a: {KEY}}}, operators: {{\"on\": {KEY}}}");
    let told = told(&all(&host_text, &secret("role=server", &readers, DELIVER)));
    assert!(told.contains("manage the same thing on the host"), "{told}");
    assert!(
        told.contains("deliver the secret to another path"),
        "{told}"
    );
}

#[test]
fn broken_secret_holds_only_the_hosts_that_it_selects() {
    let (a, b) = (object("Host", "a", "{}"), object("Host", "b", "{}"));
    let text = object("Secret", "app", "hosts: [a]\nnonsense: true");
    let files = [
        POLICY,
        ("hosts/a.yaml", a.as_str()),
        ("hosts/b.yaml", b.as_str()),
        ("secrets/app.yaml", text.as_str()),
    ];
    let resolved = resolved(&files);
    let is_held =
        |name: &str| matches!(resolved.hosts[&name.parse().unwrap()], HostResult::Held(_));
    assert!(is_held("a") && !is_held("b"));
}

fn with_file(file: &str) -> (String, String) {
    let readers = format!("hosts: {{a: {KEY}}}, operators: {{\"on\": {KEY}}}");
    let host_text = object(
        "Host",
        "a",
        &format!("ageKey: {KEY}\nresources: {{{file}}}"),
    );
    (host_text, secret("role=server", &readers, "[]"))
}

#[test]
fn secret_in_a_template_is_shown_by_its_name() {
    for (content, shown) in [
        (
            "{template: \"psk={{ secret('app/token') }}\\n\"}",
            json!("psk=<secret app/token>\n"),
        ),
        ("{secret: app/token}", json!({"secret": "app/token"})),
    ] {
        let (host_text, text) = with_file(&format!("file: {{/etc/wifi: {{content: {content}}}}}"));
        let resources = host("a", &all(&host_text, &text));
        let file = &resources["file"]["/etc/wifi"];
        assert_eq!(file["secrets"], json!(["secret:app/token"]));
        assert_eq!(file["mode"], "0600");
        assert_eq!(file["content"], shown);
        let ciphertext = resources["secret"]["app/token"]["ciphertext"].as_str();
        assert!(ciphertext.unwrap().starts_with("<encrypted, sha256 "));
    }
}

#[test]
fn secret_elsewhere_than_in_a_files_own_content_is_told() {
    for (resources, says) in [
        (
            "file: {/etc/a: {mode: \"0644\", content: {secret: app/token}}}",
            "its mode lets others read it",
        ),
        (
            "file: {/etc/a: {block: true, content: {secret: app/token}}}",
            "a block can't have a secret",
        ),
        (
            "file: {/etc/a: {content: {secret: app/other}}}",
            "refers to `secret:app/other`, which isn't on this host",
        ),
        (
            "file: {/etc/a: {content: {template: \"{{ secret('token') }}\"}}}",
            "`token` isn't the name of a secret",
        ),
        (
            "file: {/etc/a: {content: {template: \"{{ secret('app/token') | upper }}\"}}}",
            "changes a secret's placeholder",
        ),
        (
            "unit: {a.service: {content: {template: \"{{ secret('app/token') }}\"}}}",
            "only the content of a file can have a secret",
        ),
        (
            "user: {u: {comment: \"{{ secret('app/token') }}\"}}",
            "only the content of a file can have a secret",
        ),
    ] {
        let (host_text, text) = with_file(resources);
        let told = told(&all(&host_text, &text));
        assert!(told.contains(says), "{says}\n{told}");
    }
}

#[test]
fn types_get_secrets_by_files_that_root_alone_reads() {
    const IMAGE: &str = "registry.example/a@sha256:c2ce5e7c9d3b5b1d5d1b2c8a0a4a3ad7f2a5d7e0c2b4a6f8091a2b3c4d5e6f70";
    let (host_text, text) = with_file(&format!(
        "timer: {{t: {{run: [/bin/true], schedule: {{every: 5m}}, credentials: {{key: secret:app/token}}}}}}, \
         backup: {{b: {{tool: restic, repository: /mnt/b, paths: [/srv], schedule: {{calendar: daily}}, credentials: secret:app/token}}}}, \
         certificate: {{c: {{names: [a.example], acme: {{directory: \"https://a.example/d\", email: a@a.example, dns: {{provider: gandiv5, credentials: secret:app/token}}}}}}}}, \
         container: {{d: {{image: \"{IMAGE}\", secrets: {{TOKEN: secret:app/token}}}}}}, \
         user: {{u: {{password: {{secret: app/token}}}}}}"
    ));
    let resources = host("a", &all(&host_text, &text));
    for name in [
        "t.timer.key",
        "backup-b",
        "certificate-c",
        "d.container.env",
    ] {
        let file = &resources["file"][format!("/etc/plumb/credentials/{name}")];
        assert_eq!(file["secrets"], json!(["secret:app/token"]), "{name}");
        assert_eq!(
            (&file["mode"], &file["owner"]),
            (&json!("0600"), &json!("root")),
            "{name}"
        );
    }
    let unit = resources["unit"]["t.service"]["content"].as_str().unwrap();
    assert!(
        unit.contains("LoadCredential=key:/etc/plumb/credentials/t.timer.key\n"),
        "{unit}"
    );
    assert!(
        resources["service"]["d"]["restartOn"]
            .to_string()
            .contains("file:/etc/plumb/credentials/d.container.env")
    );
    assert_eq!(
        resources["user"]["u"]["password"],
        json!({"secret": "secret:app/token"})
    );
}

#[test]
fn what_is_no_secret_is_told() {
    for (resources, says) in [
        (
            "timer: {t: {run: [/bin/true], schedule: {every: 5m}, credentials: {key: file:/etc/a}}}",
            "`file:/etc/a` isn't a secret",
        ),
        (
            "timer: {t: {run: [/bin/true], schedule: {every: 5m}, credentials: {a/b: secret:app/token}}}",
            "isn't a name of a credential",
        ),
        (
            "compose: {p: {file: files/p.yaml, environment: {A: b}, secrets: {A: secret:app/token}}}",
            "or `environment` has it too",
        ),
        (
            "backup: {b: {tool: restic, repository: /mnt/b, paths: [/srv], schedule: {calendar: daily}, credentials: secret:app/none}}",
            "refers to `secret:app/none`, which isn't on this host",
        ),
    ] {
        let (host_text, text) = with_file(resources);
        let mut files = all(&host_text, &text);
        files.push(("files/p.yaml", "services: {}"));
        let told = told(&files);
        assert!(told.contains(says), "{says}\n{told}");
    }
}
