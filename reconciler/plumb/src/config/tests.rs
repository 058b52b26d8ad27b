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
        ("resync: 30m", "resync: 30", "controller.yaml:11:", "quotes"),
        (
            "resync: 30m",
            "resync: soon",
            "controller.yaml:11:11",
            "isn't a length of time",
        ),
        (
            "refs/heads/main",
            "main",
            "controller.yaml:4:",
            "isn't a branch",
        ),
        (
            "4f1d5e0b",
            "4g",
            "controller.yaml:5:",
            "isn't a whole commit id",
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
            "both local and a sandbox",
        ),
        (
            "builders: []",
            "builders: [a]",
            "controller.yaml:14:",
            "isn't built yet",
        ),
        (
            "http://127.0.0.1:9093",
            "am:9093",
            "controller.yaml:10:",
            "Alertmanager's address",
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
