//! Secrets: what is delivered, and what a host refuses.

use plumb_agent::age::{Identity, Recipient, encrypt};
use plumb_api::Digest;
use plumb_api::frame::{DifferenceState, Request, Response};
use plumb_api::report::{AgentError, ErrorCode};
use plumb_api::resource::{SecretFile, SecretSpec};
use plumb_api::secret::{SecretBinding, SecretEnvelope, placeholder};
use serde_json::{Value, json};

use crate::Root;
use crate::driver::{Driver, State};

type Edit = fn(&mut SecretBinding);

const NAME: &str = "secret:app/token";
const FILE: &str = "/run/plumb/secrets/token";

pub(crate) fn host_key(driver: &mut Driver) -> Recipient {
    match driver.ask(&Request::Facts) {
        Response::Facts(facts) => facts.age_key.unwrap().parse().unwrap(),
        other => panic!("{other:?}"),
    }
}

fn file() -> SecretFile {
    SecretFile {
        path: FILE.to_owned(),
        owner: "alice".parse().ok(),
        group: None,
        mode: None,
    }
}

pub(crate) fn binding(version: u64) -> SecretBinding {
    SecretBinding {
        repository: "r1".to_owned(),
        name: "app".to_owned(),
        key: "token".to_owned(),
        version,
        hosts: Digest::of_bytes(b"hosts"),
        deliver: SecretSpec::digest_of_delivery(&[file()]).unwrap(),
    }
}

pub(crate) fn seal(binding: SecretBinding, value: &str, reader: Recipient) -> String {
    let value = value.as_bytes();
    let plaintext = SecretEnvelope { binding, value }.to_plaintext().unwrap();
    encrypt(&plaintext, &[reader]).unwrap()
}

pub(crate) fn spec(version: u64, ciphertext: &str) -> Value {
    json!({
        "repository": "r1", "version": version, "hosts": Digest::of_bytes(b"hosts"),
        "ciphertext": ciphertext, "deliver": [file()],
    })
}

/// A state with a secret, and a file so that it is never empty.
pub(crate) fn state(secret: Option<Value>) -> State {
    let state = State::new().with("file:/etc/hostname", json!({"content": "h1\n"}));
    match secret {
        Some(secret) => state.with(NAME, secret),
        None => state,
    }
}

fn refusal(driver: &mut Driver, secret: Value) -> AgentError {
    let report = driver.observe(&state(Some(secret)));
    let mut differences = report.differences.into_iter();
    match differences
        .find(|one| one.address.to_string() == NAME)
        .unwrap()
        .state
    {
        DifferenceState::Unobservable(error) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn value_is_delivered_replaced_and_taken_away() {
    let root = Root::new();
    let mut driver = root.driver();
    let key = host_key(&mut driver);
    assert_eq!(host_key(&mut driver), key, "the key is made once");
    assert_eq!(root.mode("/var/lib/plumb/age-key"), 0o600);
    let first = spec(1, &seal(binding(1), "hunter1", key));
    driver.converge(&state(Some(first.clone())));
    assert_eq!(
        (root.read(FILE).as_str(), root.mode(FILE)),
        ("hunter1", 0o400)
    );
    root.write(FILE, "changed by somebody");
    assert_eq!(driver.converge(&state(Some(first))), 1);
    assert_eq!(root.read(FILE), "hunter1");
    driver.converge(&state(Some(spec(2, &seal(binding(2), "hunter2", key)))));
    assert_eq!(root.read(FILE), "hunter2");
    let again = spec(2, &seal(binding(2), "hunter2", key));
    assert_eq!(
        driver.converge(&state(Some(again))),
        0,
        "no change, only other bytes in git"
    );
    driver.converge(&state(None));
    assert!(
        !root.has("/run/plumb"),
        "the folders go with the last secret"
    );
}

#[test]
fn ciphertext_of_another_place_version_or_reader_is_refused() {
    let root = Root::new();
    let mut driver = root.driver();
    let key = host_key(&mut driver);
    driver.converge(&state(Some(spec(2, &seal(binding(2), "hunter2", key)))));
    let edits: [(Edit, &str); 5] = [
        (|one| one.repository.push('x'), "for another repository"),
        (|one| one.name.push('x'), "as another secret"),
        (|one| one.key.push('x'), "as another key"),
        (|one| one.version = 9, "as another version"),
        (
            |one| one.deliver = Digest::of_bytes(b"x"),
            "for another delivery",
        ),
    ];
    for (edit, says) in edits {
        let mut other = binding(3);
        edit(&mut other);
        let error = refusal(&mut driver, spec(3, &seal(other, "hunter3", key)));
        assert_eq!(error.code, ErrorCode::SecretRefused);
        assert!(error.message.contains(says), "{}", error.message);
    }
    let old = refusal(&mut driver, spec(1, &seal(binding(1), "hunter1", key)));
    assert_eq!(
        old.message,
        "it is version 1, and this host has had version 2"
    );
    let stranger = Identity::generate().unwrap().recipient();
    let lost = refusal(&mut driver, spec(3, &seal(binding(3), "hunter3", stranger)));
    assert!(lost.message.contains(&key.to_string()), "{}", lost.message);
    assert_eq!(root.read(FILE), "hunter2", "what was there stays");
}

#[test]
fn file_of_others_is_not_replaced() {
    let root = Root::new();
    let mut driver = root.driver();
    let key = host_key(&mut driver);
    root.write(FILE, "somebody's");
    let wanted = state(Some(spec(1, &seal(binding(1), "hunter1", key))));
    let report = driver.observe(&wanted);
    let found = report
        .differences
        .iter()
        .find(|one| one.address.to_string() == NAME);
    let refusal = found.unwrap().refusal.clone().unwrap();
    assert_eq!(refusal.code, ErrorCode::Refused);
    assert_eq!(root.read(FILE), "somebody's");
}

#[test]
fn values_are_in_no_file_of_the_agent_and_in_no_message() {
    let root = Root::new();
    let mut driver = root.driver();
    let key = host_key(&mut driver);
    let wanted = state(Some(spec(1, &seal(binding(1), "hunter-secret", key))));
    driver.converge(&wanted);
    root.write(FILE, "hunter-other");
    let report = serde_json::to_string(&driver.observe(&wanted)).unwrap();
    assert!(!report.contains("hunter"), "{report}");
    let mut folders = vec![root.path("/var/lib/plumb")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let bytes = std::fs::read(&path).unwrap();
            let found = bytes.windows(6).any(|window| window == b"hunter");
            assert!(!found, "{}", path.display());
        }
    }
}

#[test]
fn placeholders_in_a_file_are_filled_and_follow_the_value() {
    let root = Root::new();
    let mut driver = root.driver();
    let key = host_key(&mut driver);
    let text = format!("psk={}\n", placeholder("app/token"));
    let with = |version, value: &str| {
        let secret = spec(version, &seal(binding(version), value, key));
        let file = json!({"content": text, "mode": "0600", "secrets": [NAME]});
        state(Some(secret)).with("file:/etc/wifi", file)
    };
    let first = with(1, "hunter1");
    driver.converge(&first);
    assert_eq!(
        (root.read("/etc/wifi").as_str(), root.mode("/etc/wifi")),
        ("psk=hunter1\n", 0o600)
    );
    root.write("/etc/wifi", "psk=hunter0\n");
    let report = serde_json::to_string(&driver.observe(&first)).unwrap();
    let digest = Digest::of_bytes(b"psk=hunter0\n").to_string();
    assert!(
        !report.contains("hunter") && !report.contains(&digest),
        "{report}"
    );
    assert_eq!(driver.converge(&first), 1);
    driver.converge(&with(2, "hunter2"));
    assert_eq!(root.read("/etc/wifi"), "psk=hunter2\n");
    driver.converge(&state(None));
    assert!(!root.has("/etc/wifi"));
}
