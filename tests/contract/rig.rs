//! The real host: its address, a shell on it, and this binary on it.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use tokio::sync::{Mutex, MutexGuard};

/// One case at a time on the host: they share its ledger.
static TURN: Mutex<()> = Mutex::const_new(());

pub async fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().await
}

/// How the real host is reached.
pub struct Rig {
    pub address: String,
    pub user: String,
    pub key: PathBuf,
    pub host_key: String,
}

/// The real host that the environment names.
pub fn rig() -> &'static Rig {
    static RIG: OnceLock<Rig> = OnceLock::new();
    RIG.get_or_init(|| {
        let get = |name: &str| {
            std::env::var(name).unwrap_or_else(|_| {
                panic!("{name} isn't set: this needs a real host, `tests/rig/rig env` names one")
            })
        };
        Rig {
            address: get("PLUMB_RIG_HOST"),
            user: get("PLUMB_RIG_USER"),
            key: get("PLUMB_RIG_KEY").into(),
            host_key: get("PLUMB_RIG_HOSTKEY"),
        }
    })
}

impl Rig {
    fn command(&self) -> Command {
        static KNOWN: OnceLock<tempfile::NamedTempFile> = OnceLock::new();
        let known = KNOWN.get_or_init(|| {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            writeln!(file, "{} {}", self.address, self.host_key).unwrap();
            file
        });
        let mut command = Command::new("ssh");
        command
            .args([
                "-o",
                "BatchMode=yes",
                "-o",
                "StrictHostKeyChecking=yes",
                "-o",
                "ConnectTimeout=10",
            ])
            .arg("-o")
            .arg(format!("UserKnownHostsFile={}", known.path().display()))
            .arg("-i")
            .arg(&self.key)
            .arg(format!("{}@{}", self.user, self.address));
        command
    }

    /// Runs a script as root on the host, by the machine's own ssh.
    pub fn sh(&self, script: &str) -> Output {
        self.root("sh -s", script.as_bytes())
    }

    fn root(&self, command: &str, input: &[u8]) -> Output {
        let sudo = if self.user == "root" { "" } else { "sudo -n " };
        feed(self.command().arg(format!("{sudo}{command}")), input)
    }

    fn copy(&self, from: &Path, to: &str) {
        let bytes = std::fs::read(from).unwrap();
        let output = self.root(&format!("sh -c 'cat >{to}; chmod 755 {to}'"), &bytes);
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

/// Runs a program with this as its input.
pub fn feed(command: &mut Command, input: &[u8]) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || {
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

/// Where this binary and the agent lie on the host.
const THERE: &str = "/root/plumb-contract";
/// Set where this binary runs on the host itself.
pub const HERE: &str = "PLUMB_CONTRACT_HERE";

/// Runs one test of this binary on the host itself.
pub fn there(test: &str) {
    static COPIED: OnceLock<()> = OnceLock::new();
    let rig = rig();
    COPIED.get_or_init(|| {
        let made = rig.sh(&format!("mkdir -p {THERE}"));
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
        rig.copy(
            &std::env::current_exe().unwrap(),
            &format!("{THERE}/contract"),
        );
        rig.copy(
            Path::new(env!("CARGO_BIN_EXE_test-agent")),
            &format!("{THERE}/test-agent"),
        );
    });
    let output = rig.sh(&format!(
        "{HERE}={THERE}/test-agent {THERE}/contract --exact {test} --include-ignored --nocapture 2>&1"
    ));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "on the host itself: {said}");
    assert!(
        said.contains("1 passed"),
        "it didn't run on the host itself: {said}"
    );
}
