//! OpenPGP certificates that couldn't sign, though their owner's gpg finds them good.

use crate::cli::environment::Environment;

impl Environment {
    /// A key whose self-signature gpg made by SHA-1; its fingerprint.
    fn sha1_key(&self, name: &str) -> String {
        let user = format!("{name} <{name}@fleet.example>");
        self.gpg(&[
            "--pinentry-mode",
            "loopback",
            "--passphrase",
            "",
            "--cert-digest-algo",
            "SHA1",
            "--quick-generate-key",
            &user,
            "rsa3072",
            "sign",
            "never",
        ]);
        let listed = self.gpg(&["--with-colons", "--list-keys", &user]);
        let line = listed.lines().find(|line| line.starts_with("fpr:"));
        line.unwrap().split(':').nth(9).unwrap().to_owned()
    }

    /// Writes a key as a keyserver gives it, without user IDs and self-signatures.
    fn export_bare(&self, key: &str, path: &str) {
        let filter = "keep-uid=uid=none";
        let text = self.gpg(&["--armor", "--export", "--export-filter", filter, key]);
        self.write(path, &text);
    }

    /// Writes bob into the policy by hand, with the key of a file.
    fn trust_by_hand(&self, key: &str, file: &str) {
        self.write("fleet/trust/keys/bob.asc", file);
        let policy = self.read("fleet/trust/policy.yaml");
        let bob = format!("    bob: {{keys: [{{openpgp: \"{key}\"}}]}}\n  groups: ");
        let policy = policy
            .replace("serial: 1", "serial: 2")
            .replace("  groups: ", &bob)
            .replace("ops: [alice]", "ops: [alice, bob]");
        assert!(
            policy.contains("ops: [alice, bob]") && policy.contains(key),
            "{policy}"
        );
        self.write("fleet/trust/policy.yaml", &policy);
    }
}

const SHA1: &str = "its self-signature is by SHA-1";
const BARE: &str = "it has no self-signature, as from a keyserver";

#[test]
fn add_says_why_a_certificate_could_not_sign_and_the_way_out() {
    let env = Environment::new();
    env.fleet();
    let old = env.sha1_key("old");
    let bare = env.gpg_key("bare", "ed25519", "1y");
    env.export_bare(&bare, "bare.asc");
    let runs = [old.as_str(), "../bare.asc"]
        .map(|key| env.trust(&["add", "bob", "--key", key, "--group", "ops"]));
    env.end_gpg();
    let [sha1, none] = runs;
    sha1.exits(1).stderr_has(&[
        SHA1,
        &format!("gpg --cert-digest-algo SHA512 --quick-set-expire {old} 2y"),
    ]);
    none.exits(1)
        .stderr_has(&[BARE, &format!("gpg --armor --export {bare}")]);
}

#[test]
fn checks_fail_for_an_identity_that_cannot_sign_and_verify_goes_on() {
    let env = Environment::new();
    env.fleet();
    let old = env.sha1_key("old");
    let bare = env.gpg_key("bare", "ed25519", "1y");
    env.export_bare(&bare, "bare.asc");
    let sha1 = env.gpg(&["--armor", "--export", &old]);
    env.end_gpg();
    let policy = env.read("fleet/trust/policy.yaml");
    for (key, file, why) in [(&old, sha1, SHA1), (&bare, env.read("bare.asc"), BARE)] {
        env.write("fleet/trust/policy.yaml", &policy);
        env.trust_by_hand(key, &file);
        let run = env.trust(&["check"]).exits(1);
        run.stdout_has(&["bob can't sign", why, "1 error"]);
        let json = env.trust(&["check", "-o", "json"]).exits(1).json();
        assert!(json["errors"][0].as_str().unwrap().contains(why), "{json}");
        let json = env.plumb("fleet", &["check", "-o", "json"]).exits(1).json();
        let message = json["diagnostics"][0]["message"].as_str().unwrap();
        assert!(
            message.contains("bob can't sign") && message.contains(why),
            "{json}"
        );
    }
    env.commit("Trust bob", &["-S"]);
    env.plumb("fleet", &["verify"]).exits(0);
}

#[test]
fn rotate_refuses_a_poorer_copy_of_a_certificate() {
    let env = Environment::new();
    env.fleet();
    let bob = env.gpg_key("bob", "ed25519", "1y");
    env.export_bare(&bob, "bare.asc");
    env.trust(&["add", "bob", "--key", &bob, "--group", "ops"])
        .exits(0);
    env.commit("Trust bob", &["-S"]);
    let before = env.read("fleet/trust/keys/bob.asc");
    env.trust(&["rotate", "bob", "--key", "../bare.asc"])
        .exits(1)
        .stderr_has(&["lacks a user ID", "gpg --import trust/keys/bob.asc"]);
    // An older copy, from before its expiry was changed.
    let quiet = ["--pinentry-mode", "loopback", "--passphrase", ""];
    env.gpg(&[&quiet[..], &["--quick-set-expire", &bob, "3y"]].concat());
    env.trust(&["rotate", "bob", "--key", &bob]).exits(0);
    let richer = env.read("fleet/trust/keys/bob.asc");
    assert_ne!(richer, before);
    env.write("older.asc", &before);
    env.trust(&["rotate", "bob", "--key", "../older.asc"])
        .exits(1)
        .stderr_has(&["lacks a self-signature"]);
    assert_eq!(env.read("fleet/trust/keys/bob.asc"), richer);
    env.end_gpg();
}
