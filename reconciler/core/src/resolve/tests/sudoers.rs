//! The composite `sudoers`.

use super::*;

#[test]
fn sudoers_expands_to_checked_file() {
    let resources = of(
        "resources: {sudoers: {deploy: {user: deploy, commands: [ALL], noPassword: true}}}",
        &[],
    );
    assert_eq!(
        resources["file"]["/etc/sudoers.d/deploy"],
        serde_json::json!({
            "content": "# Written by plumb.\ndeploy ALL=(ALL:ALL) NOPASSWD: ALL\n",
            "owner": "root", "group": "root", "mode": "0440",
            "validate": ["visudo", "-cf", "%s"],
        })
    );
    let resources = of(
        "resources: {sudoers: {web: {group: web, runAs: www-data, commands: [/usr/bin/systemctl restart nginx, /bin/mount -o ro]}}}",
        &[],
    );
    assert_eq!(
        resources["file"]["/etc/sudoers.d/web"]["content"],
        "# Written by plumb.\n%web ALL=(www-data) /bin/mount -o ro, /usr/bin/systemctl restart nginx\n"
    );
}

#[test]
fn sudoers_rejects_what_sudo_would_skip_or_misread() {
    for (sudoers, says) in [
        (
            "a.b: {user: x, commands: [ALL]}",
            "error[invalid-name]: `a.b`",
        ),
        (
            "a: {commands: [ALL]}",
            "it must have exactly one of `user` and `group`",
        ),
        (
            "a: {user: x, commands: [\"!/bin/sh\"]}",
            "a command must be ALL, or an absolute path",
        ),
        (
            "a: {user: x, commands: []}",
            "a command must be ALL, or an absolute path",
        ),
    ] {
        let told = told_of(&format!("resources: {{sudoers: {{{sudoers}}}}}"), &[]);
        assert!(told.contains(says), "{sudoers}: {told}");
    }
}
