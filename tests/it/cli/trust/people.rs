//! People with keys of their own: OpenPGP in a temporary gpg home, SSH in files.

use std::process::Stdio;

use crate::cli::environment::{Environment, Run};

impl Environment {
    /// A new OpenPGP key without a passphrase in this environment's gpg; its fingerprint.
    pub(super) fn gpg_key(&self, name: &str, algorithm: &str, expires: &str) -> String {
        let user = format!("{name} <{name}@fleet.example>");
        self.gpg(&[
            "--pinentry-mode",
            "loopback",
            "--passphrase",
            "",
            "--quick-generate-key",
            &user,
            algorithm,
            "sign",
            expires,
        ]);
        let listed = self.gpg(&["--with-colons", "--list-keys", &user]);
        let line = listed
            .lines()
            .find(|line| line.starts_with("fpr:"))
            .unwrap();
        line.split(':').nth(9).unwrap().to_owned()
    }

    /// gpg in this environment; it must succeed.
    #[track_caller]
    pub(super) fn gpg(&self, args: &[&str]) -> String {
        let home = self.path("home/.gnupg");
        if !home.exists() {
            use std::os::unix::fs::PermissionsExt as _;
            std::fs::create_dir_all(&home).unwrap();
            std::fs::set_permissions(&home, std::fs::Permissions::from_mode(0o700)).unwrap();
        }
        let mut command = self.command("gpg", ".");
        command.args(["--batch", "--yes"]).args(args);
        let run = Self::run(command);
        assert_eq!(run.code, 0, "gpg {args:?}: {}", run.stderr);
        run.stdout
    }

    /// Ends the agent that gpg has begun for this environment.
    pub(super) fn end_gpg(&self) {
        let mut command = self.command("gpgconf", ".");
        command.args(["--kill", "gpg-agent"]).stdout(Stdio::null());
        Self::run(command);
    }

    /// Makes git be this person, who signs with an OpenPGP key.
    pub(super) fn be_with_gpg(&self, name: &str, fingerprint: &str) {
        self.write(
            "gitconfig",
            &format!(
                "[user]\n\tname = {name}\n\temail = {name}@fleet.example\n\tsigningkey = {fingerprint}\n[gpg]\n\tformat = openpgp\n"
            ),
        );
    }

    /// The fingerprint of `NAME.pub`.
    pub(super) fn fingerprint(&self, name: &str) -> String {
        let text = self.read(&format!("{name}.pub"));
        let file = plumb_trust::policy::KeyFile::parse(text.as_bytes()).unwrap();
        file.name().to_string()
    }

    /// `plumb trust …` in the fleet.
    pub(super) fn trust(&self, args: &[&str]) -> Run {
        self.plumb("fleet", &[&["trust"][..], args].concat())
    }

    /// A fleet of alice, bob and carol, of whom two change `trust/`; its first commit.
    pub(super) fn three(&self) -> String {
        for name in ["alice", "bob", "carol"] {
            self.key(name);
        }
        self.be("alice");
        let keys: Vec<String> = ["alice", "bob", "carol"]
            .map(|name| format!("--ssh-key={name}={name}.pub"))
            .to_vec();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        self.plumb(".", &[&["init", "--minimal", "fleet"][..], &keys].concat())
            .exits(0);
        let first = self.commit("A fleet", &["-S"]);
        self.git("fleet", &["config", "plumb.introduction", &first]);
        first
    }

    /// An approval of the newest commit by somebody.
    pub(super) fn approved_by(&self, name: &str) {
        self.be(name);
        self.plumb("fleet", &["approve", "--yes", "main"]).exits(0);
        self.be("alice");
    }
}
