//! A whole agent over its wire, on a directory: what it makes, gives back, refuses and survives.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::semicolon_if_nothing_returned,
    unreachable_pub
)]

#[path = "../driver/mod.rs"]
mod driver;

mod accounts;
mod dead_man;
mod formats;
mod identity;
mod keeping;
mod making;
mod random;
mod refusing;
mod surviving;
mod units;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use driver::{Driver, State};
use serde_json::json;

/// A directory that goes when it is dropped.
struct Root(PathBuf);

impl Root {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "plumb-agent-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(path.join("etc/systemd/system")).unwrap();
        for folder in ["", "etc", "etc/systemd", "etc/systemd/system"] {
            fs::set_permissions(path.join(folder), fs::Permissions::from_mode(0o755)).unwrap();
        }
        let write = |name: &str, text: &str| fs::write(path.join(name), text).unwrap();
        write(
            "etc/passwd",
            "root:x:0:0:root:/root:/bin/bash\nalice:x:1000:1000::/home/alice:/bin/sh\n",
        );
        write("etc/group", "root:x:0:\nalice:x:1000:\nsudo:x:27:alice\n");
        write("etc/machine-id", "0123456789abcdef0123456789abcdef\n");
        Self(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name.trim_start_matches('/'))
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn write(&self, name: &str, text: &str) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), text).unwrap();
    }

    fn mode(&self, name: &str) -> u32 {
        fs::symlink_metadata(self.path(name)).unwrap().mode() & 0o7777
    }

    fn has(&self, name: &str) -> bool {
        fs::symlink_metadata(self.path(name)).is_ok()
    }

    fn driver(&self) -> Driver {
        Driver::sandbox(&self.0)
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn everything() -> State {
    State::new()
        .with("group:web", json!({"gid": 800}))
        .with("user:www", json!({"uid": 801, "group": "web", "groups": ["sudo"], "home": "/srv/www", "shell": "/usr/sbin/nologin", "comment": "web", "createHome": false}))
        .with("directory:/srv/www", json!({"owner": "www", "group": "web", "mode": "2750"}))
        .with("file:/srv/www/deep/er/index.html", json!({"content": "hello\n", "owner": "www", "group": "web", "mode": "0640"}))
        .with("file:/etc/motd", json!({"content": "welcome\n"}))
        .with("link:/etc/localtime", json!({"target": "/usr/share/zoneinfo/UTC"}))
        .with("unit:app.service", json!({"content": "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n"}))
        .with("unit:app.service.d/limits.conf", json!({"content": "[Service]\nLimitNOFILE=4096\n"}))
        .with("service:app", json!({"enabled": true}))
        .with("sysctl:net.ipv4.ip_forward", json!({"value": "1"}))
}
