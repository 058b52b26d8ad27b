use super::*;

const WHOLE: &str = r#"
kind: Controller
spec:
  source: {url: "ssh://git@git.fleet.example/fleet.git", ref: refs/heads/main, poll: 60s}
  introduction: {commit: "4f1d5e0b0a7c4f1d5e0b0a7c4f1d5e0b0a7c4f1d"}
  state: /var/lib/plumb-controller
  socket: /run/plumb/plumb.sock
  listen: 127.0.0.1:9180
  ssh: {key: /etc/plumb/id_ed25519, agent: true}
  alertmanagers: ["http://127.0.0.1:9093"]
  resync: 30m
  local: [laptop]
  sandbox: {demo-1: hosts/demo-1}
  builders: []
"#;

fn wrong(text: &str) -> Vec<String> {
    Config::parse("controller.yaml", text.as_bytes())
        .unwrap_err()
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn the_documented_form_is_read() {
    let config = Config::parse("controller.yaml", WHOLE.as_bytes()).unwrap();
    assert_eq!(config.source.poll, Period::minutes(1));
    assert_eq!(config.page().as_deref(), Some("http://127.0.0.1:9180"));
    assert_eq!(
        config.sandboxes().next().map(|(_, folder)| folder),
        Some(PathBuf::from("/var/lib/plumb-controller/hosts/demo-1"))
    );
    assert!(config.ssh.agent);
}

#[test]
fn errors_have_their_place() {
    for (from, to, place, says) in [
        (
            "resync: 30m",
            "resync: 30",
            "controller.yaml:11:",
            "with its unit",
        ),
        (
            "resync: 30m",
            "resync: soon",
            "controller.yaml:11:11",
            "isn't a duration",
        ),
        (
            "refs/heads/main",
            "main",
            "controller.yaml:4:",
            "isn't a full branch name",
        ),
        (
            "4f1d5e0b",
            "4g",
            "controller.yaml:5:",
            "isn't a full commit id",
        ),
        (
            "hosts/demo-1",
            "../demo-1",
            "controller.yaml:13:",
            "isn't inside",
        ),
        (
            "local: [laptop]",
            "local: [demo-1]",
            "controller.yaml:13:",
            "both `local` and `sandbox`",
        ),
        (
            "builders: []",
            "builders: [a]",
            "controller.yaml:14:",
            "isn't supported yet",
        ),
        (
            "http://127.0.0.1:9093",
            "am:9093",
            "controller.yaml:10:",
            "address of an Alertmanager",
        ),
        (
            "kind: Controller",
            "kind: Fleet",
            "controller.yaml:2:7",
            "Fleet",
        ),
        ("listen:", "lisen:", "controller.yaml:8:", "lisen"),
    ] {
        let text = WHOLE.replace(from, to);
        assert_ne!(text, WHOLE);
        let all = wrong(&text).join("\n");
        assert!(all.contains(place) && all.contains(says), "{to}: {all}");
    }
}

#[test]
fn several_errors_are_told_at_once() {
    let text = WHOLE
        .replace("refs/heads/main", "main")
        .replace("4f1d5e0b", "HEAD");
    assert_eq!(wrong(&text).len(), 2);
}

#[test]
fn another_form_of_a_field_is_told_the_right_one() {
    let sandbox = "sandbox: {demo-1: hosts/demo-1}";
    for (from, to, says) in [
        (sandbox, "sandbox: [demo-1]", "sandbox: {NAME: FOLDER}"),
        (sandbox, "sandbox: demo-1", "sandbox: {NAME: FOLDER}"),
        (sandbox, "sandbox: true", "sandbox: {NAME: FOLDER}"),
        (sandbox, "sandbox: {demo-1}", "sandbox: {NAME: FOLDER}"),
        (
            sandbox,
            "sandbox: {demo-1: {root: hosts/demo-1}}",
            "sandbox: {NAME: FOLDER}",
        ),
        (sandbox, "sandbox: {demo-1: \"\"}", "such as hosts/demo-1"),
        (sandbox, "sandbox: {demo-1: .}", "such as hosts/demo-1"),
        ("listen: 127.0.0.1:9180", "listen: 9180", "127.0.0.1:9180"),
        (
            "listen: 127.0.0.1:9180",
            "listen: localhost:9180",
            "127.0.0.1:9180",
        ),
        ("local: [laptop]", "local: laptop", "local: [NAME]"),
        (
            "alertmanagers: [\"http://127.0.0.1:9093\"]",
            "alertmanagers: [{to: nas/am.api}]",
            "fleet.yaml",
        ),
        (
            "introduction: {commit: \"4f1d5e0b0a7c4f1d5e0b0a7c4f1d5e0b0a7c4f1d\"}",
            "introduction: 4f1d5e0b",
            "introduction: {commit:",
        ),
        (
            "ssh: {key: /etc/plumb/id_ed25519, agent: true}",
            "ssh: /etc/plumb/id_ed25519",
            "ssh: {key:",
        ),
    ] {
        let text = WHOLE.replace(from, to);
        assert_ne!(text, WHOLE, "{to}");
        let all = wrong(&text).join("\n");
        let hints = all.lines().filter(|line| line.contains("hint:"));
        assert!(
            hints.clone().count() == 1 && hints.clone().all(|hint| hint.contains(says)),
            "{to}: {all}"
        );
    }
}

#[test]
fn revoked_keys_are_beside_the_configuration_unless_said() {
    let read = |text: &str| {
        let config = Config::parse("controller.yaml", text.as_bytes()).unwrap();
        config.revoked(Path::new("/etc/plumb/controller.yaml"))
    };
    assert_eq!(
        read(WHOLE),
        RevokedFolder::Usual("/etc/plumb/revoked.d".into())
    );
    let said = |folder: &str| WHOLE.replace("  state:", &format!("  revoked: {folder}\n  state:"));
    assert_eq!(
        read(&said("/srv/revoked")),
        RevokedFolder::Named("/srv/revoked".into())
    );
    assert_eq!(
        read(&said("gone")),
        RevokedFolder::Named("/etc/plumb/gone".into())
    );
}

#[test]
fn the_example_of_the_documentation_is_read() {
    let page = include_str!("../../../../docs/controller.md");
    let example = page.split("```yaml\n").nth(1).unwrap();
    let example = example.split("```").next().unwrap();
    let config = Config::parse("controller.yaml", example.as_bytes()).unwrap();
    assert_eq!(config.sandboxes().count(), 1);
}

fn hints(text: &str) -> Vec<String> {
    Config::parse("controller.yaml", text.as_bytes())
        .unwrap_err()
        .into_iter()
        .filter_map(|diagnostic| diagnostic.hint)
        .collect()
}

#[test]
fn a_length_without_a_unit_and_a_missing_introduction_are_told_by_their_own_form() {
    assert_eq!(
        hints(&WHOLE.replace("poll: 60s", "poll: 2")),
        ["write a number and its unit, such as poll: 2s"]
    );
    let without: String = WHOLE
        .split_inclusive('\n')
        .filter(|line| !line.contains("introduction"))
        .collect();
    assert_eq!(
        hints(&without),
        ["write introduction: {commit: \"COMMIT\"}"]
    );
}
