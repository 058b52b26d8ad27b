//! The composite `timer`.

use super::*;

#[test]
fn timer_expands_to_units_and_their_state() {
    let resources = of(
        "resources: {timer: {dyndns: {run: [/usr/local/bin/dyndns, \"100%\", $HOME], user: www-data, schedule: {onBoot: 5m, every: 60m, calendar: \"Sat 02:00\", persistent: true, randomDelay: 10m}, onFailure: resync, environment: {A: b c}}, resync: {run: [/bin/resync], schedule: {calendar: daily}}}}",
        &[],
    );
    assert_eq!(
        resources["unit"]["dyndns.service"]["content"],
        "# Written by plumb.
[Unit]
Description=dyndns, run by dyndns.timer
StartLimitIntervalSec=10s
StartLimitBurst=5
OnFailure=resync.service

[Service]
Type=oneshot
User=www-data
Environment=\"A=b c\"
ExecStart=\"/usr/local/bin/dyndns\" \"100%%\" \"$$HOME\"
PrivateTmp=yes
NoNewPrivileges=yes
ProtectSystem=full
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectControlGroups=yes
RestrictSUIDSGID=yes
RestrictRealtime=yes
LockPersonality=yes
"
    );
    assert_eq!(
        resources["unit"]["dyndns.timer"],
        serde_json::json!({
            "content": "# Written by plumb.
[Unit]
Description=Times of dyndns.service

[Timer]
OnBootSec=300000ms
OnUnitActiveSec=3600000ms
RandomizedDelaySec=600000ms
OnCalendar=Sat 02:00
Persistent=yes

[Install]
WantedBy=timers.target
",
            "vendorUnit": "refuse",
        })
    );
    assert_eq!(
        resources["service"]["dyndns.timer"],
        serde_json::json!({"state": "started", "enabled": true, "after": ["unit:dyndns.service"]})
    );
    assert_eq!(
        resources["check"]["timer-dyndns"],
        serde_json::json!({"program": {"path": "/usr/local/bin/dyndns", "user": "www-data"}})
    );
    assert_eq!(
        resources["check"]["timer-resync"],
        serde_json::json!({"program": {"path": "/bin/resync"}})
    );
}

#[test]
fn timer_that_only_repeats_has_a_first_time() {
    let resources = of(
        "resources: {timer: {a: {run: [/a], schedule: {every: 5m}}}}",
        &[],
    );
    let text = resources["unit"]["a.timer"]["content"].as_str().unwrap();
    assert!(
        text.contains("OnUnitActiveSec=300000ms\nOnActiveSec=300000ms\n"),
        "{text}"
    );
}

#[test]
fn check_of_a_timers_program_has_no_manage() {
    let timer = "timer: {a: {run: [/a], schedule: {every: 5m}, manage: once}}";
    let cron = "cron: {b: {run: [/b], user: root, schedule: \"@daily\", manage: once}}";
    let resources = of(&format!("resources: {{{timer}, {cron}}}"), &[]);
    for (check, program) in [("timer-a", "/a"), ("cron-b", "/b")] {
        let found = &resources["check"][check];
        assert_eq!(found["program"]["path"], program);
        assert!(found.get("manage").is_none(), "{found}");
    }
}

#[test]
fn timer_errors_have_their_place() {
    for (timer, says) in [
        (
            "{run: [/a], schedule: {}}",
            "`timer:a`: it has no condition for when to run",
        ),
        (
            "{run: [a], schedule: {every: 5m}}",
            "`timer:a`: `run` must be an absolute path",
        ),
        (
            "{run: [/a], schedule: {every: 5m}, onFailure: b}",
            "error[unknown-reference]: `timer:a`: the host has no `timer:b` or `service:b`",
        ),
        (
            "{run: [/a], schedule: {every: 5m}, credentials: {x: y}}",
            "write an address as TYPE:NAME",
        ),
        ("{run: [/a], schedule: {every: often}}", "isn't a duration"),
    ] {
        let told = told_of(&format!("resources: {{timer: {{a: {timer}}}}}"), &[]);
        assert!(told.contains(says), "{timer}: {told}");
    }
    let service = "resources: {timer: {a: {run: [/a], schedule: {every: 5m}, onFailure: b}}, service: {b: {}}}";
    assert_eq!(told_of(service, &[]), "");
}
