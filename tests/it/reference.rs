//! `docs/reference` has a page per kind of object and per resource type, generated from the types and their
//! documentation.
//!
//! The test fails when a page differs from the code; `PLUMB_BLESS=1 cargo test -p tests reference` writes them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use plumb_api::kind::ObjectKind;
use plumb_api::{CompositeKind, Kind};
use serde_json::Value;

use crate::kind_page;

/// A documentation comment as one line, without links of rustdoc.
pub(crate) fn text(value: &Value) -> String {
    let text = value.as_str().unwrap_or_default().replace('\n', " ");
    text.replace("[`", "`")
        .replace("`]", "`")
        .replace('|', "\\|")
}

/// What a field takes, in a few words.
pub(crate) fn takes(schema: &Value) -> String {
    if let Some(title) = schema["title"].as_str() {
        return title.to_owned();
    }
    if let Some(any) = schema["anyOf"].as_array() {
        let some: Vec<_> = any
            .iter()
            .filter(|one| one["type"] != "null" && one["pattern"] != "\\{\\{")
            .map(takes)
            .collect();
        return some.join(" or ");
    }
    if let Some(one_of) = schema["oneOf"].as_array() {
        let all: Vec<_> = one_of
            .iter()
            .flat_map(|one| {
                one["const"]
                    .as_str()
                    .map_or_else(|| names(one), |c| vec![format!("`{c}`")])
            })
            .collect();
        return all.join(", ");
    }
    if schema["enum"].is_array() {
        return names(schema).join(", ");
    }
    let types: Vec<_> = match &schema["type"] {
        Value::String(one) => vec![one.clone()],
        Value::Array(many) => many
            .iter()
            .filter_map(Value::as_str)
            .filter(|t| *t != "null")
            .map(str::to_owned)
            .collect(),
        _ => vec!["value".to_owned()],
    };
    match types.first().map(String::as_str) {
        Some("array") => format!("list of {}", takes(&schema["items"])),
        Some("object") if schema["properties"]["sha256"].is_object() => "content".to_owned(),
        _ => types.join(" or "),
    }
}

fn names(schema: &Value) -> Vec<String> {
    schema["enum"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(|name| format!("`{name}`"))
        .collect()
}

/// A resource type, as its page shows it.
struct Type {
    name: &'static str,
    example: &'static str,
    schema: Value,
}

impl Type {
    fn primitives() -> Vec<Self> {
        let of = |kind: &Kind| Self {
            name: kind.as_str(),
            example: kind.example(),
            schema: serde_json::to_value(kind.schema()).expect("schemas are JSON"),
        };
        Kind::ALL.iter().map(of).collect()
    }

    fn composites() -> Vec<Self> {
        let of = |kind: &CompositeKind| Self {
            name: kind.as_str(),
            example: kind.example(),
            schema: serde_json::to_value(kind.schema()).expect("schemas are JSON"),
        };
        CompositeKind::ALL.iter().map(of).collect()
    }

    fn description(&self) -> &str {
        self.schema["description"].as_str().unwrap_or_default()
    }

    /// The first sentence of the description.
    fn summary(&self) -> String {
        let first = self.description().split("\n\n").next().unwrap_or_default();
        let line = text(&Value::from(first));
        let end = line.find(". ").map_or(line.len(), |at| at + 1);
        line[..end].to_owned()
    }

    fn page(&self, sort: &str) -> String {
        let mut page = format!("# {}\n\n", self.name);
        for paragraph in self.description().split("\n\n") {
            let _ = write!(page, "{}\n\n", text(&Value::from(paragraph)));
        }
        let _ = write!(
            page,
            "{sort} Under `resources` of a Profile or a Host:\n\n```yaml\n{}```\n\n",
            self.example
        );
        page.push_str("| field | takes | meaning |\n|---|---|---|\n");
        for (name, field) in self.schema["properties"].as_object().into_iter().flatten() {
            let _ = writeln!(
                page,
                "| `{name}` | {} | {} |",
                takes(field),
                text(&field["description"])
            );
        }
        page
    }
}

/// The pages by name.
fn pages() -> BTreeMap<String, String> {
    let primitives = Type::primitives();
    let composites = Type::composites();
    let mut index = String::from(
        "# Resource types\n\n\
         These pages are generated from the code; edit the documentation of the types in `reconciler/api/src/resource/` instead.\n\n\
         A field that is left out is not managed: it is neither compared nor changed. \
         `content` is a literal string, `{template: …}`, `{file: files/…}` or `{templateFile: files/…}`. \
         An address is `TYPE:NAME`, such as `file:/etc/motd`.\n\n",
    );
    let list = |index: &mut String, types: &[Type]| {
        index.push_str("| type | is |\n|---|---|\n");
        for one in types {
            let _ = writeln!(index, "| [{0}]({0}.md) | {1} |", one.name, one.summary());
        }
    };
    list(&mut index, &primitives);
    index.push_str(
        "\n## Composite types\n\n\
         A composite type expands to resources of the types above, its parts. `plumb explain` and plans \
         name the composite beside each part. A part is below everything that a manifest says about the \
         same address: a resource of your own there wins field by field. `remove` and `drift.ignore` take \
         a composite's address or a part's; `after`, `restartOn` and the like take a composite for all of \
         its parts but checks.\n\n",
    );
    list(&mut index, &composites);
    let mut pages = BTreeMap::from([("resources.md".to_owned(), index)]);
    pages.insert("kinds.md".to_owned(), kind_page::index());
    for kind in ObjectKind::ALL {
        pages.insert(kind_page::name(kind), kind_page::page(kind));
    }
    for (types, sort) in [
        (primitives, "A primitive type."),
        (composites, "A composite type."),
    ] {
        pages.extend(
            types
                .iter()
                .map(|one| (format!("{}.md", one.name), one.page(sort))),
        );
    }
    pages
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference")
}

#[test]
fn reference_is_what_the_code_says() {
    let pages = pages();
    if std::env::var_os("PLUMB_BLESS").is_some() {
        std::fs::create_dir_all(folder()).expect("docs can be written");
        for (name, page) in &pages {
            std::fs::write(folder().join(name), page).expect("docs can be written");
        }
    }
    let written: BTreeSet<String> = std::fs::read_dir(folder())
        .expect("docs/reference is there")
        .map(|entry| {
            entry
                .expect("it can be read")
                .file_name()
                .into_string()
                .expect("names are text")
        })
        .collect();
    assert_eq!(
        written,
        pages.keys().cloned().collect(),
        "docs/reference has a page for each kind and type, and no other"
    );
    for (name, page) in &pages {
        let found = std::fs::read_to_string(folder().join(name)).unwrap_or_default();
        assert!(
            found == *page,
            "docs/reference/{name} is not what the code says; write it with PLUMB_BLESS=1 cargo test -p tests reference"
        );
    }
}

/// Everything that examples refer to.
const AROUND: &[(&str, &str)] = &[
    (
        "fleet.yaml",
        "kind: Fleet\nmetadata: {name: home}\nspec: {domain: fleet.example}\n",
    ),
    (
        "networks/wg.yaml",
        "kind: Network\nmetadata: {name: wg}\nspec: {subnets: [192.0.2.0/24]}\n",
    ),
    (
        "networks/vpn.yaml",
        "kind: Network\nmetadata: {name: vpn}\nspec: {type: wireguard, subnets: [198.51.100.0/24], wireguard: {hub: web, endpoint: \"web.fleet.example:51820\"}}\n",
    ),
    (
        "networks/lan.yaml",
        "kind: Network\nmetadata: {name: lan}\nspec: {subnets: [203.0.113.0/24]}\n",
    ),
    (
        "hosts/web.yaml",
        "kind: Host\nmetadata: {name: web}\nspec:\n  os: {family: debian, release: \"13\"}\n  networks:\n    wg: {id: 8, interface: wg0}\n    vpn: {id: 8, publicKey: \"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\"}\n    lan: {id: 8, interface: eth0, assign: static}\n  hostKeys: [\"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl\"]\n  connect: [{user: deploy, network: wg}]\n  ageKey: age1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq\n  endpoints: {prometheus: {ports: [9090], on: [wg]}, alertmanager: {ports: [9093], on: [wg]}}\n  profiles: {example: {}}\n",
    ),
    (
        "files/alertmanager.yml",
        "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n",
    ),
    ("files/rules.yml", "groups: []\n"),
    (
        "files/grafana.asc",
        "-----BEGIN PGP PUBLIC KEY BLOCK-----\n",
    ),
    ("files/dashboards/hosts.json", "{}\n"),
    (
        "trust/policy.yaml",
        include_str!("../../fleet-repo-template/trust/policy.yaml"),
    ),
    (
        "trust/keys/alice.pub",
        include_str!("../../fleet-repo-template/trust/keys/alice.pub"),
    ),
    (
        "trust/keys/bob.pub",
        include_str!("../../fleet-repo-template/trust/keys/bob.pub"),
    ),
    (
        "trust/keys/carol.pub",
        include_str!("../../fleet-repo-template/trust/keys/carol.pub"),
    ),
    (
        "trust/keys/dave.pub",
        include_str!("../../fleet-repo-template/trust/keys/dave.pub"),
    ),
    (
        "trust/keys/erin.pub",
        include_str!("../../fleet-repo-template/trust/keys/erin.pub"),
    ),
    (
        "secrets/nextcloud.yaml",
        "kind: Secret\nmetadata: {name: nextcloud}\nspec:\n  version: 1\n  hosts: [web]\n  deliver: [{key: admin, path: /run/plumb/secrets/nextcloud-admin, owner: nextcloud}]\n  recipients: {admin: {version: 1, usage: \"8b52022ffe0f729f9c78c7fc9f8be373bb3d95d5ad5a7b0bf2c5f5b014754c97\", hosts: {web: age1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq}}}\n  values: {admin: \"-----BEGIN AGE ENCRYPTED FILE-----\\nYWdl\\n-----END AGE ENCRYPTED FILE-----\\n\"}\n",
    ),
    (
        "files/immich/compose.yaml",
        "services: {server: {image: registry.example/immich}}\n",
    ),
];

/// A network whose leases the host serves, for the type that needs one.
const LEASED: &[(&str, &str)] = &[(
    "networks/lan.yaml",
    "kind: Network\nmetadata: {name: lan}\nspec: {subnets: [203.0.113.0/24], dhcp: {server: web, range: [200, 250]}}\n",
)];

#[test]
fn examples_of_the_reference_pass_check() {
    for one in Type::primitives().iter().chain(&Type::composites()) {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let resources = one.example.replace('\n', "\n    ");
        let profile = format!(
            "kind: Profile\nmetadata: {{name: example}}\nspec:\n  description: An example.\n  resources:\n    {}\n",
            resources.trim_end()
        );
        let files = AROUND
            .iter()
            .copied()
            .chain(LEASED.iter().copied().filter(|_| one.name == "dhcp"))
            .chain([("profiles/example.yaml", profile.as_str())]);
        for (path, text) in files {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().expect("it has a folder"))
                .expect("a folder can be made");
            std::fs::write(path, text).expect("a file can be written");
        }
        let checked = Command::new(env!("CARGO_BIN_EXE_test-plumb"))
            .args(["check", "-o", "json"])
            .arg(folder.path())
            .output()
            .expect("plumb runs");
        let told = String::from_utf8_lossy(&checked.stdout);
        assert!(checked.status.success(), "{}: {told}", one.name);
        assert!(
            one.example.starts_with(&format!("{}:\n", one.name))
                || one.example.contains(&format!("\n{}:\n", one.name)),
            "the example of {} has one of its type",
            one.name
        );
    }
}
