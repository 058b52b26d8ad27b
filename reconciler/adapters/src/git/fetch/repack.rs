//! Combines the packs of a mirror into one.

use std::io::{self, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::transport::apart;
use super::watch::{FetchTimeouts, Watch};

/// Runs `git repack` on a mirror. It keeps unreachable objects: an old head of a rewound branch may still be
/// the target of hosts. If git isn't installed, nothing is repacked, and reading gets slower.
pub(crate) fn repack(mirror: &Path, closed: &Arc<AtomicBool>) -> io::Result<()> {
    let timeouts = FetchTimeouts {
        idle: Duration::from_mins(15),
        total: Duration::from_mins(15),
    };
    let watch = Watch::start(timeouts, Arc::clone(closed))?;
    let mut command = Command::new("git");
    apart(&mut command);
    let mut child = command
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .arg("--git-dir")
        .arg(mirror)
        .args(["repack", "-q", "-a", "-d", "--keep-unreachable"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let output = child.stdout.take();
    watch.adopt(child);
    if let Some(output) = output {
        // git prints nothing here; the end of its output means that it has ended.
        watch.hear(output).read_to_end(&mut Vec::new())?;
    }
    Ok(())
}
