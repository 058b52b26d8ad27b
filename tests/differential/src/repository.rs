//! A world as a bare repository, and its keys as gpg and ssh-keygen want them.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::case::{Object, World};

/// A repository on disk.
pub struct Repository {
    folder: tempfile::TempDir,
}

impl Repository {
    /// Writes one, of commits and tags alone. Objects lie under the names that the world gives them, true or not.
    ///
    /// # Panics
    ///
    /// If it can't be written.
    pub fn write(world: &World) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let git = folder.path();
        let format = if world.told.head.len() == 40 {
            "sha1"
        } else {
            "sha256"
        };
        let version = if format == "sha1" { "0" } else { "1" };
        let extension = if format == "sha1" {
            ""
        } else {
            "[extensions]\n\tobjectFormat = sha256\n"
        };
        fs::create_dir_all(git.join("refs/heads")).expect("refs");
        fs::write(git.join("HEAD"), "ref: refs/heads/main\n").expect("HEAD");
        let config =
            format!("[core]\n\tbare = true\n\trepositoryFormatVersion = {version}\n{extension}");
        fs::write(git.join("config"), config).expect("config");
        // Nobody here looks into the trees of what is signed.
        let signable = |object: &&Object| matches!(object.kind.as_str(), "commit" | "tag");
        for object in world.objects.iter().filter(signable) {
            let (folder, name) = object.id.split_at(2);
            let folder = git.join("objects").join(folder);
            fs::create_dir_all(&folder).expect("a folder of objects");
            let file = fs::File::create(folder.join(name)).expect("an object");
            let mut zlib = flate2::write::ZlibEncoder::new(file, flate2::Compression::fast());
            write!(zlib, "{} {}\0", object.kind, object.bytes.len()).expect("an object");
            zlib.write_all(&object.bytes).expect("an object");
            zlib.finish().expect("an object");
        }
        fs::write(
            git.join("refs/heads/main"),
            format!("{}\n", world.told.head),
        )
        .expect("a branch");
        for (name, target) in &world.told.tags {
            let path = git.join(name);
            // Some cases have a tag and one below its name.
            if fs::create_dir_all(path.parent().expect("refs")).is_ok() {
                let _ = fs::write(path, format!("{target}\n"));
            }
        }
        Self { folder }
    }

    /// The git folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// The public keys of a policy.
pub struct Keys {
    folder: tempfile::TempDir,
}

impl Keys {
    /// Imports them.
    ///
    /// # Panics
    ///
    /// If gpg isn't there.
    pub fn write(world: &World) -> Self {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("a folder");
        let keys = Self { folder };
        fs::create_dir(keys.gnupg()).expect("a folder");
        fs::set_permissions(keys.gnupg(), fs::Permissions::from_mode(0o700)).expect("its mode");
        fs::write(
            keys.gnupg().join("gpg.conf"),
            "trust-model always\nno-autostart\n",
        )
        .expect("gpg.conf");
        let mut signers = String::new();
        for (name, key) in &world.told.keys {
            if !key.starts_with("-----BEGIN PGP") {
                // The comment of a key isn't part of it.
                let words: Vec<&str> = key.split_whitespace().take(2).collect();
                let _ = writeln!(
                    signers,
                    "{name}@fleet.example namespaces=\"git\" {}",
                    words.join(" ")
                );
                continue;
            }
            let mut gpg = Command::new("gpg")
                .args(["--batch", "--quiet", "--import"])
                .env("GNUPGHOME", keys.gnupg())
                .stdin(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .expect("gpg");
            // gpg refuses keys of kinds that it doesn't know; then it has none to verify with.
            let _ = gpg.stdin.take().expect("a pipe").write_all(key.as_bytes());
            gpg.wait().expect("gpg");
        }
        fs::write(keys.signers(), signers).expect("allowed signers");
        keys
    }

    /// gpg's folder.
    pub fn gnupg(&self) -> PathBuf {
        self.folder.path().join("gnupg")
    }

    /// The file of `gpg.ssh.allowedSignersFile`.
    pub fn signers(&self) -> PathBuf {
        self.folder.path().join("allowed_signers")
    }
}
