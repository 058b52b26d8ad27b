//! Composites that keep a host's certificates and data.

use serde_json::json;

use super::*;

fn parts(resources: &str) -> Value {
    let spec = format!("resources: {{{resources}}}");
    host("a", &[("hosts/a.yaml", &object("Host", "a", &spec))])
}

fn wrong(resources: &str) -> String {
    let spec = format!("resources: {{{resources}}}");
    told(&[("hosts/a.yaml", &object("Host", "a", &spec))])
}

const ACME: &str = "directory: \"https://acme.example/dir\", email: ops@fleet.example";

#[test]
fn certificate_is_issued_renewed_and_checked() {
    let resources = parts(&format!(
        "service: {{nginx: {{}}}}, certificate: {{wild: {{names: [\"*.fleet.example\"], group: certs, reload: [\"service:nginx\"], acme: {{{ACME}, dns: {{provider: rfc2136, environment: {{RFC2136_NAMESERVER: ns.example}}, credentials: {{file: /etc/dns.env}}}}}}}}}}"
    ));
    let script = resources["file"]["/usr/local/lib/plumb/certificate-wild"]["content"]
        .as_str()
        .unwrap();
    for line in [
        "export RFC2136_NAMESERVER='ns.example'",
        ". '/etc/dns.env'",
        "'--dns' 'rfc2136' '--domains' '*.fleet.example'",
        "issued='/var/lib/certificates/wild/lego/certificates/_.fleet.example'",
        "systemctl try-reload-or-restart 'nginx.service'",
        "chgrp 'certs'",
    ] {
        assert!(script.contains(line), "{line}: {script}");
    }
    assert_eq!(
        resources["check"]["certificate-wild"]["certificate"],
        json!({
            "path": "/var/lib/certificates/wild/certificate.pem",
            "names": ["*.fleet.example"], "validFor": "14d",
        })
    );
    assert_eq!(
        resources["service"]["certificate-wild.timer"]["enabled"],
        true
    );
}

#[test]
fn certificate_of_others_is_only_checked() {
    let resources = parts(
        "certificate: {own: {names: [a.example], files: {certificate: /etc/a.pem, key: /etc/a.key}}}",
    );
    assert_eq!(
        resources["check"]["certificate-own"]["certificate"]["path"],
        "/etc/a.pem"
    );
    assert!(resources["file"].is_null() && resources["unit"].is_null());
}

#[test]
fn certificate_names_its_mistakes() {
    let with = |more: &str, acme: &str| {
        wrong(&format!(
            "certificate: {{a: {{{more}, acme: {{{ACME}{acme}}}}}}}"
        ))
    };
    for (told, says) in [
        (with("names: []", ", http: {}"), "must be DNS names"),
        (with("names: [a.example]", ""), "exactly one of `http`"),
        (
            with("names: [\"*.a.example\"]", ", http: {}"),
            "needs the proof `dns`",
        ),
        (
            with(
                "names: [a.example], reload: [\"service:none\"]",
                ", tls: {}",
            ),
            "the host has no `service:none`",
        ),
        (
            wrong("certificate: {a: {names: [a.example]}}"),
            "exactly one of `acme` and `files`",
        ),
    ] {
        assert!(told.contains(says), "{says}: {told}");
    }
}

#[test]
fn backup_is_made_verified_and_measured() {
    let resources = parts(
        "backup: {photos: {tool: restic, repository: /mnt/b, paths: [\"/srv/it's\"], exclude: [\"*.tmp\"], schedule: {calendar: daily}, keep: {daily: 7}, bandwidth: 4MiB, verify: {schedule: {calendar: weekly}, readData: 5%}, credentials: {file: /etc/b.env}}}",
    );
    let script = resources["file"]["/usr/local/lib/plumb/backup-photos"]["content"]
        .as_str()
        .unwrap();
    for line in [
        "export RESTIC_REPOSITORY='/mnt/b'",
        r"restic backup '--limit-upload=4096' '--exclude=*.tmp' -- '/srv/it'\''s'",
        "restic forget --prune '--keep-daily=7'",
        "restic check '--read-data-subset=5%'",
    ] {
        assert!(script.contains(line), "{line}: {script}");
    }
    let metrics = &resources["file"]["/var/lib/prometheus/node-exporter/backup-photos.prom"];
    assert_eq!(metrics["manage"], "once");
    assert_eq!(
        resources["command"]["backup-photos"]["run"],
        json!([
            "/usr/bin/systemctl",
            "start",
            "--no-block",
            "backup-photos.service",
            "backup-photos-verify.service"
        ])
    );
    assert!(wrong("backup: {a: {tool: rclone, repository: \"r:\", paths: [/srv], schedule: {calendar: daily}, keep: {daily: 1}}}").contains("has no snapshots to keep"));
    assert!(wrong("backup: {a: {tool: restic, repository: /b, paths: [/srv], schedule: {calendar: daily}}}").contains("needs a password"));
}
