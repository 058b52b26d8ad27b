//! Where a case runs: the route to a host, and a shell there that knows nothing of us.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use plumb_adapters::hosts::{Agents, Connector, Identity, Program, Settings};
use plumb_core::desired::Endpoint;
use plumb_core::ports::{HostTarget, Route};
use tempfile::TempDir;

use crate::rig::{HERE, feed, rig};

/// The folder that a case may do as it likes in.
pub const AREA: &str = "/srv/contract";

/// As if Plumb had never been on a real host, but for its agents: placing them is a test elsewhere.
const CLEAN: &str = "rm -rf /srv/contract; cd /var/lib/plumb 2>/dev/null || exit 0; \
                     find . -mindepth 1 -maxdepth 1 ! -name agents -exec rm -rf {} +";

/// How the shell gets there.
enum Shell {
    /// On this machine; the host's root is this folder.
    Under(PathBuf),
    /// On the real host, over ssh.
    Rig,
}

/// A host, and the way to it.
pub struct Ground {
    target: HostTarget,
    program: Program,
    shell: Shell,
    _folder: Option<TempDir>,
}

impl Ground {
    /// A folder that stands for a machine.
    pub fn sandbox() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        for made in ["etc", "srv/contract", "var/lib"] {
            std::fs::create_dir_all(root.join(made)).unwrap();
        }
        Self::new(
            Route::Sandbox { root: root.clone() },
            Program::agent(env!("CARGO_BIN_EXE_test-agent")),
            Shell::Under(root),
            Some(folder),
        )
    }

    /// The real host.
    pub fn ssh() -> Self {
        let rig = rig();
        let route = Route::Ssh {
            endpoints: vec![Endpoint {
                address: rig.address.clone(),
                port: 22,
                user: rig.user.clone(),
            }],
            host_keys: vec![rig.host_key.clone()],
        };
        Self::new(route, Program::agent("/nonexistent"), Shell::Rig, None)
    }

    /// The machine that this runs on, if it is the real host.
    pub fn here() -> Option<Self> {
        let agent = std::env::var_os(HERE)?;
        let shell = Shell::Under("/".into());
        Some(Self::new(Route::Local, Program::agent(agent), shell, None))
    }

    fn new(route: Route, program: Program, shell: Shell, folder: Option<TempDir>) -> Self {
        let ground = Self {
            target: HostTarget {
                name: "contract".parse().unwrap(),
                arch: None,
                route,
            },
            program,
            shell,
            _folder: folder,
        };
        if ground.is_real() {
            ground.sh(CLEAN);
            ground.sh(&format!("mkdir -p {AREA}"));
        }
        ground
    }

    /// Whether it is a whole machine.
    pub fn is_real(&self) -> bool {
        !matches!(self.target.route, Route::Sandbox { .. })
    }

    pub fn target(&self) -> &HostTarget {
        &self.target
    }

    /// A connector of its own, as a controller that was just started has it.
    pub fn connector(&self) -> Connector {
        let settings = match &self.target.route {
            Route::Ssh { .. } => Settings {
                identities: vec![Identity::KeyFile(rig().key.clone())],
                keep_warm: Duration::from_secs(5),
                ..Settings::default()
            },
            _ => Settings::default(),
        };
        Connector::new(self.program.clone(), agents(), settings)
    }

    fn run(&self, script: &str) -> std::process::Output {
        match &self.shell {
            Shell::Under(root) => {
                let root = root.display().to_string();
                let root = if root == "/" { "" } else { &root };
                let mut command = Command::new("sh");
                feed(command.arg("-s").env("R", root), script.as_bytes())
            }
            Shell::Rig => rig().sh(&format!("R=; {script}")),
        }
    }

    /// Runs a script as root there, and gives what it printed. `$R` is the host's root folder.
    pub fn sh(&self, script: &str) -> String {
        let output = self.run(script);
        let (out, err) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        assert!(output.status.success(), "{script}\n{out}{err}");
        out.trim_end().to_owned()
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        // The host is another test's next, whose fleet it would refuse.
        if self.is_real() {
            self.run(CLEAN);
        }
    }
}

/// The agents for hosts over ssh: beside the plumb that `PLUMB` names, or in our own target folder.
fn agents() -> Agents {
    let plumb = std::env::var_os("PLUMB");
    Agents::beside(
        plumb
            .as_ref()
            .map_or(Path::new(env!("CARGO_BIN_EXE_test-agent")), Path::new),
    )
}
