//! A running controller over a repository and a sandbox host.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::environment::{Environment, Run, binary};

/// A fleet of one host, its bare repository, and a controller over it.
struct Running {
    env: Environment,
    port: u16,
    controller: Child,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.controller.kill();
        let _ = self.controller.wait();
    }
}

impl Running {
    fn new() -> Self {
        let env = Environment::new();
        env.key("alice");
        env.be("alice");
        env.plumb(".", &["init", "--minimal", "fleet"]).exits(0);
        for folder in ["hosts", "profiles", "networks"] {
            fs::remove_dir_all(env.path("fleet").join(folder)).unwrap();
        }
        env.write(
            "fleet/fleet.yaml",
            "kind: Fleet\nmetadata: {name: test}\nspec: {}\n",
        );
        env.write("fleet/hosts/box.yaml", &host("one"));
        let first = env.commit("A fleet", &["-S"]);
        env.git(".", &["clone", "--quiet", "--bare", "fleet", "server.git"]);
        let server = env.path("server.git").display().to_string();
        env.git("fleet", &["remote", "add", "origin", &server]);
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let folder = env.path("").display().to_string();
        env.write(
            "controller.yaml",
            &format!(
                "kind: Controller
spec:
  source: {{url: \"{server}\", poll: 1h}}
  introduction: {{commit: \"{first}\"}}
  state: {folder}/state
  socket: {folder}/plumb.sock
  listen: 127.0.0.1:{port}
  resync: 1h
  sandbox: {{box: hosts/box}}
"
            ),
        );
        let controller = start(&env);
        let running = Self {
            env,
            port,
            controller,
        };
        running.until("the host is ready", |running| running.is_ready(&first));
        running
    }

    fn plumb(&self, args: &[&str]) -> Run {
        self.env.plumb(".", args)
    }

    fn host(&self) -> Value {
        let json = self.plumb(&["get", "hosts", "-o", "json"]).json();
        json["items"]
            .as_array()
            .and_then(|items| items.first())
            .cloned()
            .unwrap_or_default()
    }

    fn is_ready(&self, revision: &str) -> bool {
        let run = self.plumb(&["get", "hosts", "-o", "json"]);
        run.code == 0 && {
            let host = self.host();
            host["status"]["revision"] == revision && condition(&host, "Ready") == "True"
        }
    }

    #[track_caller]
    fn until(&self, what: &str, is: impl Fn(&Self) -> bool) {
        let begun = Instant::now();
        while !is(self) {
            assert!(
                begun.elapsed() < Duration::from_secs(30),
                "{what}: {:?}",
                self.plumb(&["events"])
            );
            sleep(Duration::from_millis(50));
        }
    }

    fn http(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }

    fn file(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.env.path("state/hosts/box").join(path)).ok()
    }
}

fn host(text: &str) -> String {
    format!(
        "kind: Host\nmetadata: {{name: box, labels: {{site: home}}}}\nspec:\n  arch: x86_64\n  resources: {{file: {{/etc/motd: {{content: \"{text}\\n\"}}}}}}\n"
    )
}

fn start(env: &Environment) -> Child {
    let log = fs::File::create(env.path("log")).unwrap();
    env.command(binary(), ".")
        .args([
            "controller",
            "--config",
            "controller.yaml",
            "--log-format",
            "json",
        ])
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap()
}

fn condition(host: &Value, kind: &str) -> String {
    let all = host["status"]["conditions"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let found = all.into_iter().find(|condition| condition["type"] == kind);
    found
        .map(|condition| condition["status"].as_str().unwrap().to_owned())
        .unwrap_or_default()
}

#[track_caller]
fn shows_its_source(running: &Running) {
    running
        .plumb(&["get", "sources"])
        .exits(0)
        .stdout_has(&["refs/heads/main", "True"]);
    let source = running.plumb(&["get", "sources", "-o", "json"]).json();
    assert_eq!(
        condition(&serde_json::json!({"status": source["items"][0]}), "Ready"),
        "True"
    );
    running
        .plumb(&["describe", "source"])
        .exits(0)
        .stdout_has(&["Accepted", "SourceVerified", "RevisionAccepted"]);
    running
        .plumb(&["get", "alerts"])
        .exits(0)
        .stdout_has(&["no alert fires"]);
}

#[test]
fn commits_of_one_push_are_known_by_author_signer_and_summary() {
    let running = Running::new();
    let mut commits = Vec::new();
    for text in ["two", "three"] {
        running.env.write("fleet/hosts/box.yaml", &host(text));
        commits.push(running.env.commit(&format!("Say {text}"), &["-S"]));
    }
    let git = |args: &[&str]| running.env.git("fleet", args);
    git(&["push", "--quiet", "origin", "main"]);
    running.plumb(&["notify"]).exits(0);
    running.until("the newest", |running| running.is_ready(&commits[1]));
    let json = running.plumb(&["get", "revisions", "-o", "json"]).json();
    for (at, summary) in [(0, "Say three"), (1, "Say two")] {
        let revision = &json["items"][at];
        assert_eq!(revision["commit"], commits[1 - at].as_str(), "{json}");
        assert_eq!(revision["summary"], summary, "{json}");
        assert_eq!(revision["author"], "alice", "{json}");
        assert_eq!(revision["signers"], serde_json::json!(["alice"]), "{json}");
        assert!(revision["committed"].is_string(), "{json}");
    }
    running
        .plumb(&["get", "revisions", "-o", "wide"])
        .exits(0)
        .stdout_has(&["SIGNERS", &commits[0], "Say two", "alice"]);
    running
        .plumb(&["get", "hosts", "-o", "wide"])
        .exits(0)
        .stdout_has(&["WAY OUT", "site=home"]);
    running
        .plumb(&["events", "h99"])
        .exits(1)
        .stderr_has(&["the fleet has no host h99"]);
    let page = running.http("/hosts/box");
    for part in ["file:/etc/motd", "in sync", "href=\"/#"] {
        assert!(page.contains(part), "{part} is missing in:\n{page}");
    }
    let page = running.http("/?state=drifted");
    assert!(!page.contains("<strong>box</strong>"), "{page}");
}

#[test]
fn apply_fails_where_only_a_person_can_help() {
    let running = Running::new();
    let manifest = host("two").replace("arch: x86_64", "arch: x86_64\n  drift: {mode: alert}");
    running.env.write("fleet/hosts/box.yaml", &manifest);
    let second = running.env.commit("Only tell of drift", &["-S"]);
    let git = |args: &[&str]| running.env.git("fleet", args);
    git(&["push", "--quiet", "origin", "main"]);
    running.plumb(&["notify"]).exits(0);
    running.until("the second", |running| running.is_ready(&second));
    running.env.write("state/hosts/box/etc/motd", "by hand\n");
    running.plumb(&["reconcile", "box"]).exits(0);
    running.until("the drift is seen", |running| {
        condition(&running.host(), "Ready") == "False"
    });
    running.plumb(&["apply"]).exits(1).stderr_has(&[
        &format!("applying {}", &second[..12]),
        "box can't make progress until somebody changes something",
    ]);
    running
        .plumb(&["describe", "host", "box"])
        .exits(0)
        .stdout_has(&["Drifted: - on the host, + in git", "-by hand", "+two"]);
}

#[test]
fn a_push_and_a_notify_reach_the_host_and_are_told_everywhere() {
    let running = Running::new();
    assert_eq!(running.file("etc/motd").as_deref(), Some("one\n"));
    let object = running.host();
    assert_eq!(object["kind"], "Host");
    assert_eq!(object["metadata"]["name"], "box");
    assert_eq!(object["metadata"]["labels"]["site"], "home");
    assert_eq!(condition(&object, "Reachable"), "True");
    assert_eq!(condition(&object, "Synced"), "True");

    running.env.write("fleet/hosts/box.yaml", &host("two"));
    let second = running.env.commit("Two", &["-S"]);
    // What would change is seen before, on the host as it is.
    let plan = running
        .env
        .plumb(
            "fleet",
            &["plan", "--config", "../controller.yaml", "-o", "json"],
        )
        .exits(0)
        .json();
    let change = &plan["hosts"]["box"]["changes"][0];
    assert_eq!(change["resource"], "file:/etc/motd");
    assert_eq!(
        (&change["op"], &change["cause"], &change["certainty"]),
        (&"update".into(), &"intent".into(), &"exact".into())
    );
    assert_eq!(change["diff"]["lines"], "@@ -1 +1 @@\n-one\n+two\n");
    assert_eq!(
        running.file("etc/motd").as_deref(),
        Some("one\n"),
        "a plan changed the host"
    );

    running
        .env
        .git("fleet", &["push", "--quiet", "origin", "main"]);
    running.plumb(&["notify"]).exits(0);
    running.until("the second revision", |running| running.is_ready(&second));
    assert_eq!(running.file("etc/motd").as_deref(), Some("two\n"));
    let plan = running
        .env
        .plumb(
            "fleet",
            &["plan", "--config", "../controller.yaml", "-o", "json"],
        )
        .exits(0)
        .json();
    assert_eq!(plan["hosts"]["box"]["changes"], serde_json::json!([]));
    running
        .plumb(&["get", "revisions"])
        .exits(0)
        .stdout_has(&[&second[..12], "accept"]);
    shows_its_source(&running);
    running
        .plumb(&["describe", "host", "box"])
        .exits(0)
        .stdout_has(&["site=home", &second, "Reachable"]);
    running
        .plumb(&["apply"])
        .exits(0)
        .stdout_has(&["box", "ready"]);
    running
        .plumb(&["apply", "boxx"])
        .exits(1)
        .stderr_has(&["did you mean box?"]);

    let page = running.http("/");
    assert!(
        page.contains("Content-Security-Policy: default-src 'none'")
            || page.contains("content-security-policy: default-src 'none'"),
        "{page}"
    );
    assert!(page.contains("box") && page.contains(&second), "{page}");
    assert!(running.http("/readyz").starts_with("HTTP/1.1 200"));
    let metrics = running.http("/metrics");
    for line in [
        "plumb_hosts{state=\"ready\"} 1",
        "plumb_build_info{",
        "plumb_host_reachable{host=\"box\"} 1",
        "# EOF",
    ] {
        assert!(metrics.contains(line), "{line} is missing in:\n{metrics}");
    }
    for name in metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# HELP "))
    {
        let (name, help) = name.split_once(' ').unwrap_or((name, ""));
        assert!(
            !help.trim_matches(['.', ' ']).is_empty(),
            "{name} has no help"
        );
    }
    assert!(running.http("/api/v1/fleet").starts_with("HTTP/1.1 404"));
}

#[test]
fn what_isnt_accepted_is_held_and_told() {
    let running = Running::new();
    running.env.write("fleet/hosts/box.yaml", &host("mine"));
    let bad = running.env.commit("Unsigned", &["--no-gpg-sign"]);
    running
        .env
        .git("fleet", &["push", "--quiet", "origin", "main"]);
    running.plumb(&["notify"]).exits(0);
    running.until("it is held", |running| {
        let run = running.plumb(&["get", "revisions", "-o", "json"]);
        run.json()["items"]
            .as_array()
            .unwrap()
            .iter()
            .any(|revision| revision["commit"] == bad.as_str())
    });
    running.plumb(&["get", "revisions"]).exits(0).stdout_has(&[
        &bad[..12],
        "pending",
        "0 of 1",
        "hint:",
        "git commit --amend --no-edit -S",
        &format!("plumb approve {}", &bad[..12]),
        &format!("`plumb explain {}` in a clone to see who", &bad[..12]),
    ]);
    assert_eq!(running.file("etc/motd").as_deref(), Some("one\n"));
    running
        .plumb(&["apply"])
        .exits(0)
        .stderr_has(&["isn't accepted"]);
    let page = running.http("/");
    assert!(
        page.contains(&bad[..12]) && page.contains("waiting"),
        "{page}"
    );
}

#[test]
fn large_file_stops_only_the_host_that_uses_it() {
    let running = Running::new();
    fs::create_dir_all(running.env.path("fleet/files")).unwrap();
    let large = fs::File::create(running.env.path("fleet/files/backup.tar")).unwrap();
    large.set_len(17 << 20).unwrap();
    running.env.write("fleet/hosts/box.yaml", &host("two"));
    let push = |message: &str| {
        let commit = running.env.commit(message, &["-S"]);
        let git = ["push", "--quiet", "origin", "main"];
        running.env.git("fleet", &git);
        running.plumb(&["notify"]).exits(0);
        commit
    };
    let second = push("A backup that nobody uses");
    running.until("the host goes on", |running| running.is_ready(&second));
    assert_eq!(running.file("etc/motd").as_deref(), Some("two\n"));
    let uses = host("three").replace(
        "{content: \"three\\n\"}",
        "{content: {file: files/backup.tar}}",
    );
    running.env.write("fleet/hosts/box.yaml", &uses);
    push("A host uses it");
    let message = |running: &Running| {
        let conditions = running.host()["status"]["conditions"].clone();
        let all = conditions.as_array().cloned().unwrap_or_default();
        let held = all.iter().find(|one| one["reason"] == "ManifestInvalid");
        held.map(ToString::to_string)
    };
    running.until("it is held", |running| message(running).is_some());
    let told = message(&running).unwrap();
    for part in [
        "files/backup.tar has 17825792 bytes; the limit is 16777216",
        "hosts/box.yaml:5:",
        "make the file smaller",
    ] {
        assert!(told.contains(part), "`{part}` is missing in: {told}");
    }
    assert_eq!(running.file("etc/motd").as_deref(), Some("two\n"));
}

#[test]
fn apply_waits_for_what_was_pushed_and_for_nobody_who_isnt_driven() {
    let running = Running::new();
    running
        .plumb(&["get", "hosts", "-l", "a==b==c"])
        .exits(1)
        .stderr_has(&["isn't a selector"]);
    // A push that nobody told the controller of; it polls once an hour.
    running.env.write("fleet/hosts/box.yaml", &host("two"));
    running.env.write(
        "fleet/hosts/asleep.yaml",
        "kind: Host\nmetadata: {name: asleep}\nspec: {arch: x86_64, state: dormant}\n",
    );
    let second = running.env.commit("Two", &["-S"]);
    running
        .env
        .git("fleet", &["push", "--quiet", "origin", "main"]);
    let json = running.plumb(&["apply", "-o", "json"]).exits(0).json();
    assert_eq!(json["revision"], second.as_str());
    assert_eq!(json["ready"], serde_json::json!(["box"]));
    assert_eq!(json["leftOut"][0]["host"], "asleep");
    assert_eq!(running.file("etc/motd").as_deref(), Some("two\n"));
    // Its file is gone: it is released, and nobody waits for it.
    fs::remove_file(running.env.path("fleet/hosts/asleep.yaml")).unwrap();
    running.env.commit("Let go", &["-S"]);
    running
        .env
        .git("fleet", &["push", "--quiet", "origin", "main"]);
    running
        .plumb(&["apply"])
        .exits(0)
        .stdout_has(&["asleep", "skipped: removed from git"]);
}

#[test]
fn apply_fails_where_the_repository_cant_be_fetched() {
    let running = Running::new();
    let head = running.env.git("fleet", &["rev-parse", "HEAD"]);
    fs::rename(running.env.path("server.git"), running.env.path("away.git")).unwrap();
    running.plumb(&["apply"]).exits(1).stderr_has(&[
        "warning: cannot fetch the repository (",
        &format!("{}, accepted before, is applied", &head[..12]),
    ]);
    fs::rename(running.env.path("away.git"), running.env.path("server.git")).unwrap();
    running.plumb(&["apply"]).exits(0);
}

#[test]
fn apply_doesnt_wait_for_what_only_a_person_can_mend() {
    let running = Running::new();
    running.env.write(
        "fleet/hosts/unpinned.yaml",
        "kind: Host\nmetadata: {name: unpinned}\nspec: {arch: x86_64, connect: [{address: 127.0.0.1, port: 1}]}\n",
    );
    running.env.commit("One without a key", &["-S"]);
    running
        .env
        .git("fleet", &["push", "--quiet", "origin", "main"]);
    // Its patience, which is ten minutes, would be told in other words.
    running.plumb(&["apply", "unpinned"]).exits(1).stderr_has(&[
        "unpinned can't make progress until somebody changes something",
        "no host key is pinned",
    ]);
}

#[test]
fn drift_is_put_right_when_asked_for() {
    let running = Running::new();
    fs::write(running.env.path("state/hosts/box/etc/motd"), "by hand\n").unwrap();
    running
        .plumb(&["reconcile", "box"])
        .exits(0)
        .stdout_has(&["reconciling box"]);
    running.until("it is put back", |running| {
        running.file("etc/motd").as_deref() == Some("one\n")
    });
    running
        .plumb(&["reconcile", "-l", "site=nowhere"])
        .exits(1)
        .stderr_has(&["no host matches"]);
}

#[test]
fn a_host_is_forgotten_only_when_git_has_let_go_of_it() {
    let running = Running::new();
    running
        .plumb(&["forget", "box"])
        .exits(0)
        .stdout_has(&["forgot the ledger of box; the host is in git"]);
    running
        .plumb(&["forget", "nobody"])
        .exits(1)
        .stderr_has(&["no host nobody"]);
    fs::remove_file(running.env.path("fleet/hosts/box.yaml")).unwrap();
    running.env.commit("Let go", &["-S"]);
    running
        .env
        .git("fleet", &["push", "--quiet", "origin", "main"]);
    running.plumb(&["notify"]).exits(0);
    running.until("it is released", |running| {
        condition(&running.host(), "Synced") == "False"
    });
    assert_eq!(
        running.file("etc/motd").as_deref(),
        Some("one\n"),
        "a released host was touched"
    );
    running
        .plumb(&["forget", "box"])
        .exits(0)
        .stdout_has(&["forgot box"]);
    running.until("it is gone", |running| running.host().is_null());
}

#[test]
fn a_second_controller_is_refused_and_a_signal_ends_the_first() {
    let mut running = Running::new();
    running
        .plumb(&["controller", "--config", "controller.yaml"])
        .exits(1)
        .stderr_has(&["another controller"]);
    let id = running.controller.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &id])
            .status()
            .unwrap()
            .success()
    );
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = running.controller.try_wait().unwrap() {
            break status;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "it doesn't end");
        sleep(Duration::from_millis(50));
    };
    assert!(status.success(), "{status}");
    assert!(!running.env.path("plumb.sock").exists());
    // The log is JSON, a line each.
    for line in running.env.read("log").lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        assert!(line["level"].is_string(), "{line}");
    }
    // A new start goes on where it was.
    running.controller = start(&running.env);
    let head = running.env.git("fleet", &["rev-parse", "HEAD"]);
    running.until("it goes on", |running| running.is_ready(&head));
}

#[test]
fn a_key_that_this_machine_revokes_counts_for_nothing_at_once() {
    let running = Running::new();
    let keys = fs::read_dir(running.env.path("fleet/trust/keys")).unwrap();
    let key = keys.map(|entry| entry.unwrap().path()).next().unwrap();
    let revoked = running.env.path("revoked.d");
    fs::create_dir(&revoked).unwrap();
    fs::copy(&key, revoked.join("stolen.pub")).unwrap();
    running.env.write("fleet/hosts/box.yaml", &host("theirs"));
    let bad = running.env.commit("By a thief", &["-S"]);
    running
        .env
        .git("fleet", &["push", "--quiet", "origin", "main"]);
    running.plumb(&["notify"]).exits(0);
    running.until("it is held", |running| {
        let page = running.http("/");
        page.contains("revoked here") && page.contains("Held at") && page.contains(&bad[..12])
    });
    assert_eq!(running.file("etc/motd").as_deref(), Some("one\n"));
    // Taken back on this machine, the commit is good again: nothing of it was remembered.
    fs::remove_file(revoked.join("stolen.pub")).unwrap();
    running.plumb(&["notify"]).exits(0);
    running.until("it is accepted", |running| running.is_ready(&bad));
}

#[test]
fn a_controller_doesnt_start_with_revocations_that_it_cant_read() {
    let mut running = Running::new();
    running.controller.kill().unwrap();
    running.controller.wait().unwrap();
    running.env.write("revoked.d/thief", "mallory\n");
    running
        .plumb(&["controller", "--config", "controller.yaml"])
        .exits(1)
        .stderr_has(&[
            "revoked.d/thief",
            "line 1 is no fingerprint",
            "docs/trust.md",
        ]);
}
