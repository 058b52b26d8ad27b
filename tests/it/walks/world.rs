//! An empty root: the machine's `/usr` to read, homes, a folder for the git server, and nothing else of
//! the machine. It has no network, and what is started in it ends with the block that started it.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// All that the pages may call: `PATH` has nothing else.
const PROGRAMS: &str = "bash sh git gpg ssh-keygen sed \
    base64 basename cat chmod cp cut date dirname echo env expr false head ln ls mkdir mktemp mv \
    printf pwd rm rmdir sha256sum sleep sort tail tee test touch tr true uname wc";

/// Makes the root and goes into it. `$1` is the root, `$2` plumb, `$3` the home, `$4` the first folder.
const ENTER: &str = r#"
set -e
bind() { mount --bind "$1" "$2" && { mount -o remount,bind,ro "$2" 2>/dev/null || true; }; }
for part in usr bin sbin lib lib32 lib64; do
    [ -d "/$part" ] && [ ! -L "/$part" ] && bind "/$part" "$1/$part"
done
for device in null zero full random urandom; do mount --bind "/dev/$device" "$1/dev/$device"; done
mount -t proc proc "$1/proc" 2>/dev/null || mount --rbind /proc "$1/proc"
mount --bind "$2" "$1/walk/bin/plumb"
exec chroot "$1" /usr/bin/env -i HOME="$3" PATH=/walk/bin LC_ALL=C bash -c 'cd "$1" && exec bash -e /walk/block' walk "$4"
"#;

pub(super) struct World {
    root: TempDir,
}

/// What a block did.
pub(super) struct Ran {
    pub(super) code: i32,
    /// What it printed, errors among the rest.
    pub(super) output: String,
    /// The line of it that failed, counted from one.
    pub(super) failed: Option<usize>,
}

impl World {
    pub(super) fn new() -> Self {
        let world = Self {
            root: tempfile::tempdir().unwrap(),
        };
        for folder in [
            "dev",
            "etc",
            "home",
            "proc",
            "srv/exchange",
            "srv/git",
            "tmp",
            "walk/bin",
        ] {
            fs::create_dir_all(world.path(folder)).unwrap();
        }
        for part in ["usr", "bin", "sbin", "lib", "lib32", "lib64"] {
            let of_machine = Path::new("/").join(part);
            match fs::read_link(&of_machine) {
                Ok(target) => symlink(target, world.path(part)).unwrap(),
                Err(_) if of_machine.is_dir() => fs::create_dir(world.path(part)).unwrap(),
                Err(_) => {}
            }
        }
        for device in ["null", "zero", "full", "random", "urandom"] {
            fs::write(world.path("dev").join(device), "").unwrap();
        }
        // ssh-keygen asks who runs it.
        fs::write(world.path("etc/passwd"), "root:x:0:0::/:/bin/sh\n").unwrap();
        fs::write(world.path("walk/bin/plumb"), "").unwrap();
        for program in PROGRAMS.split_whitespace() {
            let place = ["/usr/bin", "/bin"]
                .iter()
                .map(|folder| Path::new(folder).join(program))
                .find(|place| place.exists())
                .unwrap_or_else(|| panic!("{program} isn't installed"));
            symlink(place, world.path("walk/bin").join(program)).unwrap();
        }
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Runs commands as a person, who goes on where the last block left off.
    #[track_caller]
    pub(super) fn run(&self, person: &str, script: &str) -> Ran {
        let home = format!("/home/{person}");
        fs::create_dir_all(self.path(&home[1..])).unwrap();
        fs::set_permissions(self.path(&home[1..]), fs::Permissions::from_mode(0o700)).unwrap();
        let left = self.path("walk").join(person);
        let folder = fs::read_to_string(&left).unwrap_or_else(|_| home.clone());
        let failed = self.path("walk/failed");
        let _ = fs::remove_file(&failed);
        let script = format!(
            "trap 'pwd >/walk/{person}' EXIT; trap 'echo $((LINENO - 1)) >/walk/failed' ERR\n{script}"
        );
        fs::write(self.path("walk/block"), script).unwrap();
        let output = self.path("walk/output");
        let file = fs::File::create(&output).unwrap();
        let status = Command::new("unshare")
            .args([
                "--user",
                "--map-root-user",
                "--mount",
                "--net",
                "--ipc",
                "--uts",
            ])
            .args([
                "--pid",
                "--fork",
                "--kill-child",
                "sh",
                "-c",
                ENTER,
                "enter",
            ])
            .arg(self.root.path())
            .arg(env!("CARGO_BIN_EXE_test-plumb"))
            .args([&home, folder.trim_end()])
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .status()
            .expect("unshare (of util-linux) can be run");
        let output = fs::read_to_string(output).unwrap();
        assert!(
            !output.contains("unshare failed"),
            "the walks run in a root of their own, for which this machine must allow namespaces: as root, or with kernel.unprivileged_userns_clone and without kernel.apparmor_restrict_unprivileged_userns: {output}"
        );
        Ran {
            code: status.code().unwrap_or(-1),
            output,
            failed: fs::read_to_string(failed)
                .ok()
                .and_then(|line| line.trim().parse().ok()),
        }
    }
}
