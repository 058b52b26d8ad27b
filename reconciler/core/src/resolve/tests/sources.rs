//! Files that come from elsewhere: archives, commits, and blocks in files of others.

use serde_json::json;

use super::*;

#[test]
fn archive_of_the_repository_is_named_by_its_content() {
    let profile = "archive: {/opt/app: {file: files/app.tar, strip: 1}}";
    let files = [
        (
            "hosts/a.yaml",
            object("Host", "a", &format!("resources: {{{profile}}}")),
        ),
        ("files/app.tar", "bytes".to_owned()),
    ];
    let files: Vec<_> = files
        .iter()
        .map(|(path, text)| (*path, text.as_str()))
        .collect();
    let digest = plumb_api::Digest::of_bytes(b"bytes");
    assert_eq!(
        host("a", &files)["archive"]["/opt/app"],
        json!({"file": {"sha256": digest, "size": 5}, "strip": 1})
    );
    let resolved = resolved(&files);
    assert!(
        resolved.contents.get(&digest).is_some(),
        "the bytes go to the host"
    );
}

#[test]
fn archive_with_a_missing_file_or_no_digest_is_told() {
    let wrong = |spec: &str| {
        told_of(
            &format!("resources: {{archive: {{/opt/app: {spec}}}}}"),
            &[],
        )
    };
    let missing = wrong("{file: files/app.tar}");
    assert!(
        missing.contains("the repository has no file `files/app.tar`"),
        "{missing}"
    );
    let outside = wrong("{file: app.tar}");
    assert!(outside.contains("isn't under files/"), "{outside}");
    let bare = wrong("{url: \"https://x.example/a.tgz\"}");
    assert!(bare.contains("`url` needs `sha256`"), "{bare}");
}

#[test]
fn file_below_an_archive_comes_after_it() {
    let resources = "archive: {/opt/app: {url: \"https://x.example/a.tgz\", sha256: \"0000000000000000000000000000000000000000000000000000000000000000\"}}, file: {/opt/app/conf: {content: x}}";
    let text = object("Host", "a", &format!("resources: {{{resources}}}"));
    let resolved = resolved(&[("hosts/a.yaml", &text)]);
    let (_, result) = resolved.hosts.iter().next().unwrap();
    let HostResult::Ready(intent) = result else {
        panic!("the host is held");
    };
    let file = "file:/opt/app/conf".parse().unwrap();
    let spec = intent.desired.get(&file).unwrap();
    let first = spec.requires("/opt/app/conf");
    assert!(
        first
            .iter()
            .any(|one| one.address.to_string() == "archive:/opt/app")
    );
}

#[test]
fn hosts_are_a_block_of_the_fleets_addresses() {
    let reader = "hostname: ALPHA\nnetworks: {lan: {id: 5}, wg: {id: 5}}\nresources: {hosts: {fleet: {networks: [wg, lan], extra: [\"203.0.113.9 cache\"]}}}";
    let other = "networks: {lan: {id: 6}}";
    let retired = "state: retired\nnetworks: {lan: {id: 7}}";
    let network =
        |name: &str, subnet: &str| object("Network", name, &format!("{{subnets: [{subnet}]}}"));
    let files = [
        ("hosts/a.yaml".to_owned(), object("Host", "a", reader)),
        ("hosts/b.yaml".to_owned(), object("Host", "b", other)),
        ("hosts/c.yaml".to_owned(), object("Host", "c", retired)),
        (
            "networks/lan.yaml".to_owned(),
            network("lan", "192.0.2.0/24"),
        ),
        (
            "networks/wg.yaml".to_owned(),
            network("wg", "198.51.100.0/24, \"2001:db8::/64\""),
        ),
    ];
    let resources = super::host("a", &borrowed(&files));
    let text = "198.51.100.5 ALPHA.fleet.example ALPHA a\n2001:db8::5 ALPHA.fleet.example ALPHA a\n192.0.2.5 ALPHA.fleet.example ALPHA a\n192.0.2.6 b.fleet.example b\n203.0.113.9 cache\n";
    assert_eq!(
        resources["file"]["/etc/hosts"],
        json!({"content": text, "block": true})
    );
    assert_eq!(
        resources["file"]["/etc/cloud/templates/hosts.debian.tmpl"],
        json!({"content": text, "block": true, "ifMissing": "skip"})
    );
}

#[test]
fn hosts_of_an_unknown_network_are_told() {
    let told = told_of("resources: {hosts: {fleet: {networks: [wgg]}}}", &[]);
    assert!(told.contains("the fleet has no network `wgg`"), "{told}");
    let told = told_of("resources: {hosts: {fleet: {extra: [cache]}}}", &[]);
    assert!(
        told.contains("`cache` isn't an address and names"),
        "{told}"
    );
}
