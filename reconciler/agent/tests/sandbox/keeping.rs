//! A write keeps what it doesn't manage: ACLs, extended attributes, file attributes, capabilities.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use plumb_api::frame::Purpose;
use plumb_api::report::{ErrorCode, Outcome};
use rustix::fs::{IFlags, XattrFlags, ioctl_getflags, ioctl_setflags};
use serde_json::json;

use crate::Root;
use crate::driver::{Driver, State, plan};

const ACL: &str = "system.posix_acl_access";

/// Returns an ACL `user::rw-, user:5:NAMED, group::GROUP, mask::MASK, other::---`.
fn acl(named: u16, group: u16, mask: u16) -> Vec<u8> {
    let mut bytes = 2u32.to_le_bytes().to_vec();
    let none = u32::MAX;
    for (tag, permissions, id) in [
        (1u16, 6, none),
        (2, named, 5u32),
        (4, group, none),
        (0x10, mask, none),
        (0x20, 0, none),
    ] {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(permissions.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

impl Root {
    fn set(&self, path: &str, name: &str, value: &[u8]) {
        rustix::fs::lsetxattr(self.path(path), name, value, XattrFlags::empty()).unwrap();
    }

    fn get(&self, path: &str, name: &str) -> Option<Vec<u8>> {
        let mut value = vec![0; 4096];
        let length = rustix::fs::lgetxattr(self.path(path), name, &mut value[..]).ok()?;
        value.truncate(length);
        Some(value)
    }

    fn flags(&self, path: &str) -> IFlags {
        ioctl_getflags(fs::File::open(self.path(path)).unwrap()).unwrap()
    }

    fn chattr(&self, path: &str, flags: IFlags) {
        let file = fs::File::open(self.path(path)).unwrap();
        let now = ioctl_getflags(&file).unwrap();
        let locks = IFlags::IMMUTABLE | IFlags::APPEND;
        ioctl_setflags(&file, (now - locks) | flags).unwrap();
    }

    /// Makes a file immutable. Returns false where only root could.
    pub fn lock(&self, path: &str) -> bool {
        if is_root() {
            self.chattr(path, IFlags::IMMUTABLE);
        }
        is_root()
    }

    pub fn unlock(&self, path: &str) {
        self.chattr(path, IFlags::empty());
    }

    fn chmod(&self, path: &str, mode: u32) {
        fs::set_permissions(self.path(path), fs::Permissions::from_mode(mode)).unwrap();
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn new_content_keeps_acl_attributes_and_capabilities() {
    let root = Root::new();
    let mut driver = root.driver();
    let state = |text: &str| {
        State::new().with(
            "file:/etc/app.conf",
            json!({"content": text, "mode": "0640"}),
        )
    };
    driver.converge(&state("one\n"));
    root.set("/etc/app.conf", ACL, &acl(4, 4, 4));
    root.set("/etc/app.conf", "user.origin", b"cmdb");
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    if is_root() {
        root.set("/etc/app.conf", "security.capability", &capability);
        root.set("/etc/app.conf", "trusted.audit", b"1");
    }
    root.chattr("/etc/app.conf", IFlags::NODUMP);
    assert_eq!(driver.converge(&state("one\n")), 0, "none of it is drift");
    driver.converge(&state("two\n"));
    assert_eq!(root.read("/etc/app.conf"), "two\n");
    assert_eq!(root.get("/etc/app.conf", ACL), Some(acl(4, 4, 4)));
    assert_eq!(
        root.get("/etc/app.conf", "user.origin"),
        Some(b"cmdb".to_vec())
    );
    if is_root() {
        assert_eq!(
            root.get("/etc/app.conf", "security.capability"),
            Some(capability.to_vec())
        );
        assert_eq!(
            root.get("/etc/app.conf", "trusted.audit"),
            Some(b"1".to_vec())
        );
    }
    assert!(root.flags("/etc/app.conf").contains(IFlags::NODUMP));
}

#[test]
fn mask_of_an_acl_is_no_drift_of_the_mode() {
    let root = Root::new();
    let mut driver = root.driver();
    let state = State::new().with("file:/etc/f", json!({"content": "x", "mode": "0640"}));
    driver.converge(&state);
    root.set("/etc/f", ACL, &acl(6, 4, 6));
    assert_eq!(root.mode("/etc/f"), 0o660, "stat shows the mask");
    assert_eq!(driver.converge(&state), 0);
    let stricter = State::new().with("file:/etc/f", json!({"content": "x", "mode": "0600"}));
    let inode = || fs::metadata(root.path("/etc/f")).unwrap().ino();
    root.set("/etc/f", ACL, &acl(4, 4, 4));
    let before = inode();
    driver.converge(&stricter);
    assert_eq!(root.get("/etc/f", ACL), Some(acl(4, 0, 4)));
    assert_eq!(
        inode(),
        before,
        "a correction of the mode writes no content"
    );
}

#[test]
fn original_comes_back_with_its_attributes() {
    let root = Root::new();
    root.write("/etc/app.conf", "theirs\n");
    root.chmod("/etc/app.conf", 0o640);
    root.set("/etc/app.conf", ACL, &acl(6, 4, 6));
    root.set("/etc/app.conf", "user.origin", b"cmdb");
    root.chattr("/etc/app.conf", IFlags::NODUMP);
    let mut driver = root.driver();
    let anchor = State::new().with("file:/etc/anchor", json!({"content": "x"}));
    let ours = anchor.clone().with(
        "file:/etc/app.conf",
        json!({"content": "ours\n", "mode": "0600"}),
    );
    driver.converge(&ours);
    assert_eq!(root.read("/etc/app.conf"), "ours\n");
    rustix::fs::removexattr(root.path("/etc/app.conf"), "user.origin").unwrap();
    driver.converge(&anchor);
    assert_eq!(root.read("/etc/app.conf"), "theirs\n");
    assert_eq!(root.get("/etc/app.conf", ACL), Some(acl(6, 4, 6)));
    assert_eq!(
        root.get("/etc/app.conf", "user.origin"),
        Some(b"cmdb".to_vec())
    );
    assert!(root.flags("/etc/app.conf").contains(IFlags::NODUMP));
    // The same for a file that Plumb removed.
    let absent = anchor
        .clone()
        .with("file:/etc/app.conf", json!({"state": "absent"}));
    driver.converge(&absent);
    assert!(!root.has("/etc/app.conf"));
    driver.converge(&anchor);
    assert_eq!(root.get("/etc/app.conf", ACL), Some(acl(6, 4, 6)));
}

#[test]
fn directory_keeps_its_acl_when_its_mode_changes() {
    let root = Root::new();
    fs::create_dir(root.path("/srv")).unwrap();
    root.chmod("/srv", 0o750);
    root.set("/srv", ACL, &acl(6, 5, 7));
    root.set("/srv", "system.posix_acl_default", &acl(6, 4, 6));
    let mut driver = root.driver();
    let state = State::new().with("directory:/srv", json!({"mode": "0700"}));
    driver.converge(&state);
    assert_eq!(
        root.get("/srv", "system.posix_acl_default"),
        Some(acl(6, 4, 6))
    );
    let mut expected = acl(6, 0, 7);
    // The owner's bits are rwx now.
    expected[6] = 7;
    assert_eq!(root.get("/srv", ACL), Some(expected));
}

#[test]
fn replaced_link_keeps_its_owner_and_label() {
    if !is_root() {
        return;
    }
    let root = Root::new();
    symlink("/one", root.path("/etc/l")).unwrap();
    std::os::unix::fs::lchown(root.path("/etc/l"), Some(5), Some(6)).unwrap();
    root.set("/etc/l", "trusted.label", b"kept");
    let mut driver = root.driver();
    driver.converge(&State::new().with("link:/etc/l", json!({"target": "/two"})));
    let found = fs::symlink_metadata(root.path("/etc/l")).unwrap();
    assert_eq!((found.uid(), found.gid()), (5, 6));
    assert_eq!(root.get("/etc/l", "trusted.label"), Some(b"kept".to_vec()));
}

#[test]
fn unit_and_passwd_keep_what_they_carry() {
    let root = Root::new();
    root.write(
        "/etc/systemd/system/app.service",
        "[Service]\nExecStart=/bin/old\n",
    );
    root.set("/etc/systemd/system/app.service", "user.owner", b"web team");
    root.set("/etc/passwd", "user.origin", b"ldap-sync");
    let mut driver = root.driver();
    let unit = "[Service]\nExecStart=/bin/true\n";
    let state = State::new()
        .with("unit:app.service", json!({"content": unit}))
        .with("user:bob", json!({"uid": 1500, "createHome": false}));
    driver.converge(&state);
    assert_eq!(
        root.get("/etc/systemd/system/app.service", "user.owner"),
        Some(b"web team".to_vec())
    );
    assert_eq!(
        root.get("/etc/passwd", "user.origin"),
        Some(b"ldap-sync".to_vec())
    );
}

/// Asserts that the plan refuses these resources, that apply refuses the same, and that nothing else waits.
fn refuses(driver: &mut Driver, state: &State, expected: &[(&str, &str)]) {
    let looked = driver.try_observe(state, Purpose::Look).unwrap();
    let mut refusals: Vec<(String, String)> = looked
        .differences
        .iter()
        .filter_map(|difference| {
            let refusal = difference.refusal.as_ref()?;
            Some((difference.address.to_string(), refusal.message.clone()))
        })
        .collect();
    let expected: Vec<(String, String)> = expected
        .iter()
        .map(|(address, message)| ((*address).to_owned(), (*message).to_owned()))
        .collect();
    refusals.sort();
    assert_eq!(refusals, expected);
    let report = driver.observe(state);
    let report = driver.try_apply(state, plan(state, &report)).unwrap();
    let mut failed: Vec<(String, String)> = report
        .results
        .iter()
        .filter_map(|result| match &result.outcome {
            Outcome::Failed(error) => Some((result.address.to_string(), error.message.clone())),
            Outcome::Applied => None,
            other => panic!("{}: {other:?}", result.address),
        })
        .collect();
    failed.sort();
    assert_eq!(failed, expected, "apply refuses what the plan refuses");
}

#[test]
fn immutable_and_append_only_files_are_refused_with_the_way_out() {
    if !is_root() {
        return;
    }
    let root = Root::new();
    root.write("/etc/resolv.conf", "theirs\n");
    root.write("/etc/log", "theirs\n");
    root.write("/etc/fine", "theirs\n");
    root.chattr("/etc/resolv.conf", IFlags::IMMUTABLE);
    root.chattr("/etc/log", IFlags::APPEND);
    fs::create_dir(root.path("/srv")).unwrap();
    root.chattr("/srv", IFlags::IMMUTABLE);
    let mut driver = root.driver();
    let state = State::new()
        .with("file:/etc/fine", json!({"content": "ours\n"}))
        .with("file:/etc/log", json!({"mode": "0600"}))
        .with("file:/etc/resolv.conf", json!({"content": "ours\n"}))
        .with("file:/srv/new", json!({"content": "ours\n"}));
    refuses(
        &mut driver,
        &state,
        &[
            (
                "file:/etc/log",
                "/etc/log is append-only (`chattr +a`), so nothing is changed there",
            ),
            (
                "file:/etc/resolv.conf",
                "/etc/resolv.conf is immutable (`chattr +i`), so nothing is changed there",
            ),
            (
                "file:/srv/new",
                "/srv is immutable (`chattr +i`), so nothing is changed there",
            ),
        ],
    );
    assert_eq!(root.read("/etc/fine"), "ours\n");
    let looked = driver.try_observe(&state, Purpose::Look).unwrap();
    let hints: Vec<_> = looked
        .differences
        .iter()
        .filter_map(|difference| difference.refusal.as_ref()?.hint.clone())
        .collect();
    assert!(
        hints[1].contains("`chattr -i /etc/resolv.conf`"),
        "{hints:?}"
    );
    for path in ["/etc/resolv.conf", "/etc/log", "/srv"] {
        root.chattr(path, IFlags::empty());
    }
    driver.converge(&state);
}

#[test]
fn plan_refuses_what_apply_refuses() {
    let root = Root::new();
    fs::create_dir(root.path("/etc/conf")).unwrap();
    root.write("/etc/dir", "a file");
    root.write("/etc/shared", "x");
    fs::hard_link(root.path("/etc/shared"), root.path("/etc/other-name")).unwrap();
    root.write("/srv/full/theirs", "x");
    let mut driver = root.driver();
    let state = State::new()
        .with("directory:/etc/dir", json!({}))
        .with("directory:/srv/full", json!({"state": "absent"}))
        .with("file:/etc/conf", json!({"content": "a"}))
        .with("file:/etc/shared", json!({"content": "c"}))
        .with(
            "file:/etc/whose",
            json!({"content": "d", "owner": "nobody-here"}),
        );
    refuses(
        &mut driver,
        &state,
        &[
            (
                "directory:/etc/dir",
                "/etc/dir is a file, and is to be a directory: it isn't replaced",
            ),
            (
                "directory:/srv/full",
                "/srv/full isn't empty, so it isn't removed",
            ),
            (
                "file:/etc/conf",
                "/etc/conf is a directory, and is to be a file: it isn't replaced",
            ),
            (
                "file:/etc/shared",
                "/etc/shared has 2 hard links: the same file is elsewhere too, under a name that isn't managed",
            ),
            (
                "file:/etc/whose",
                "/etc/whose is to belong to the user `nobody-here`, which this host doesn't know",
            ),
        ],
    );
}

/// A file system mounted in a test's directory; it is unmounted when it is dropped.
struct Mount(std::path::PathBuf);

impl Mount {
    fn tmpfs(root: &Root, path: &str, options: &str) -> Self {
        let path = root.path(path);
        fs::create_dir_all(&path).unwrap();
        let done = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "none"])
            .arg(&path)
            .status()
            .unwrap();
        assert!(done.success());
        Self(path)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn read_only_mount_stops_only_what_lies_on_it() {
    if !is_root() {
        return;
    }
    let root = Root::new();
    let _mount = Mount::tmpfs(&root, "/srv/ro", "ro");
    let mut driver = root.driver();
    let state = State::new()
        .with("directory:/srv/ro/sub", json!({}))
        .with("file:/etc/urgent.conf", json!({"content": "fix\n"}))
        .with("file:/srv/ro/grub.cfg", json!({"content": "x\n"}))
        .with("sysctl:net.core.somaxconn", json!({"value": "512"}));
    refuses(
        &mut driver,
        &state,
        &[
            (
                "directory:/srv/ro/sub",
                "/srv/ro/sub can't be changed: /srv/ro is mounted read-only",
            ),
            (
                "file:/srv/ro/grub.cfg",
                "/srv/ro/grub.cfg can't be changed: /srv/ro is mounted read-only",
            ),
        ],
    );
    assert_eq!(root.read("/etc/urgent.conf"), "fix\n");
}

#[test]
fn small_mount_takes_what_fits() {
    if !is_root() {
        return;
    }
    let root = Root::new();
    let _mount = Mount::tmpfs(&root, "/srv/small", "size=64k,mode=755");
    let state = |size: usize| {
        State::new()
            .with("file:/etc/urgent.conf", json!({"content": "fix\n"}))
            .with("file:/srv/small/f", json!({"content": "x".repeat(size)}))
    };
    let mut driver = root.driver();
    driver.converge(&state(2));
    refuses(
        &mut driver,
        &state(100_000),
        &[(
            "file:/srv/small/f",
            "/srv/small/f needs 98 KiB, and /srv/small has 60 KiB free",
        )],
    );
    root.write("/srv/small/fill", &"x".repeat(60 << 10));
    let report = driver.observe(&state(3));
    let refusal = report.differences[0].refusal.as_ref().unwrap();
    assert_eq!(refusal.code, ErrorCode::NoSpace);
    assert_eq!(
        refusal.message,
        "/srv/small/f needs 1 KiB, and /srv/small has 0 KiB free"
    );
    fs::remove_file(root.path("/srv/small/fill")).unwrap();
    driver.converge(&state(3));
}

#[test]
fn mount_without_free_inodes_stops_only_what_lies_on_it() {
    if !is_root() {
        return;
    }
    let root = Root::new();
    let _mount = Mount::tmpfs(&root, "/srv/full", "nr_inodes=2,mode=755");
    root.write("/srv/full/last", "x");
    let mut driver = root.driver();
    let state = State::new()
        .with("file:/etc/urgent.conf", json!({"content": "fix\n"}))
        .with("file:/srv/full/f", json!({"content": "x\n"}));
    let message = "/srv/full/f can't be written: /srv/full has no inode free";
    refuses(&mut driver, &state, &[("file:/srv/full/f", message)]);
    assert_eq!(root.read("/etc/urgent.conf"), "fix\n");
    fs::remove_file(root.path("/srv/full/last")).unwrap();
    driver.converge(&state);
}

#[test]
fn original_that_does_not_fit_stops_only_its_own_change() {
    if !is_root() {
        return;
    }
    let root = Root::new();
    root.write("/etc/large", &"x".repeat(2 << 20));
    let _mount = Mount::tmpfs(&root, "/var/lib/plumb", "size=1m,mode=700");
    let mut driver = root.driver();
    let state = State::new()
        .with("file:/etc/large", json!({"content": "small\n"}))
        .with("file:/etc/other", json!({"content": "done\n"}));
    refuses(
        &mut driver,
        &state,
        &[(
            "file:/etc/large",
            "the original of /etc/large (2048 KiB) doesn't fit beside the ledger on /var/lib/plumb",
        )],
    );
    assert_eq!(root.read("/etc/other"), "done\n");
    assert_eq!(
        fs::metadata(root.path("/etc/large")).unwrap().len(),
        2 << 20
    );
}

#[test]
fn full_ledger_file_system_stops_the_whole_run() {
    if !is_root() {
        return;
    }
    let root = Root::new();
    let _mount = Mount::tmpfs(&root, "/var/lib/plumb", "size=1m,mode=700");
    let state = State::new().with("file:/etc/f", json!({"content": "x"}));
    let mut driver = root.driver();
    let report = driver.observe(&state);
    root.write("/var/lib/plumb/fill", &"x".repeat(900 << 10));
    let error = driver.try_apply(&state, plan(&state, &report)).unwrap_err();
    assert_eq!(error.code, ErrorCode::NoSpace);
    assert!(
        error
            .message
            .starts_with("the file system of /var/lib/plumb, which holds the ledger, has"),
        "{error}"
    );
    assert!(!root.has("/etc/f"));
}

#[test]
fn read_only_folder_of_sysctls_stops_no_file() {
    if !is_root() {
        return;
    }
    let root = Root::new();
    let _mount = Mount::tmpfs(&root, "/etc/sysctl.d", "ro");
    let mut driver = root.driver();
    let state = State::new()
        .with("file:/etc/other", json!({"content": "done\n"}))
        .with("sysctl:net.ipv4.ip_forward", json!({"value": "1"}))
        .with(
            "unit:app.service",
            json!({"content": "[Service]\nExecStart=/bin/true\n"}),
        );
    let path = "/etc/sysctl.d/80-plumb-net.ipv4.ip_forward.conf";
    let message = format!("{path} can't be changed: /etc/sysctl.d is mounted read-only");
    refuses(
        &mut driver,
        &state,
        &[("sysctl:net.ipv4.ip_forward", &message)],
    );
    assert_eq!(root.read("/etc/other"), "done\n");
}

#[test]
fn link_in_an_immutable_folder_is_refused_by_the_plan() {
    if !is_root() {
        return;
    }
    let root = Root::new();
    fs::create_dir(root.path("/srv")).unwrap();
    symlink("/one", root.path("/srv/l")).unwrap();
    root.lock("/srv");
    let mut driver = root.driver();
    let state = State::new().with("link:/srv/l", json!({"target": "/two"}));
    refuses(
        &mut driver,
        &state,
        &[(
            "link:/srv/l",
            "/srv is immutable (`chattr +i`), so nothing is changed there",
        )],
    );
    root.unlock("/srv");
}

#[test]
fn text_is_sent_only_if_asked_for_and_readable_by_everybody() {
    let root = Root::new();
    root.write("/etc/hosts", "127.0.0.1 localhost\n");
    root.write("/etc/secret", "s3cret\n");
    root.write("/etc/tls", "-----BEGIN EC PRIVATE KEY-----\nMHc=\n");
    root.chmod("/etc/hosts", 0o644);
    root.chmod("/etc/tls", 0o644);
    root.chmod("/etc/secret", 0o640);
    let mut driver = root.driver();
    let state = State::new()
        .with("file:/etc/hosts", json!({"content": "ours\n"}))
        .with("file:/etc/secret", json!({"content": "ours\n"}))
        .with("file:/etc/tls", json!({"content": "ours\n"}));
    // The driver asks for texts, at first contact too.
    let report = driver.try_observe(&state, Purpose::Look).unwrap();
    let texts: Vec<_> = report
        .differences
        .iter()
        .map(|difference| difference.text.as_deref())
        .collect();
    assert_eq!(texts, [Some("127.0.0.1 localhost\n"), None, None]);
}
