//! Nothing that a controller prints, logs, stores or serves holds a secret, whether all goes well or not.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::environment::{Environment, binary};
use super::git_server::{Server, answer, authority, base64, repository};

/// Each planted secret, by where it is planted.
const SOURCE: &str = "bob:s3cret-of-the-source";
const WRONG: &str = "bob:s3cret-that-is-refused";
const PROXY: &str = "carl:s3cret-of-the-proxy";
const RECEIVER: &str = "dora:s3cret-of-the-receiver";
const REFUSING: &str = "emil:s3cret-that-it-refuses";
const AWAY: &str = "fred:s3cret-of-one-that-is-away";
const IN_GIT: &str = "gina:s3cret-in-the-fleet";
const CONTENT: &str = "s3cret-content";

/// A controller with secrets wherever it can have one, and everything that it ever printed.
struct Planted {
    env: Environment,
    port: u16,
    controller: Option<Child>,
    /// The secrets, and the forms that headers give them.
    secrets: Vec<String>,
    seen: Vec<(String, String)>,
}

impl Drop for Planted {
    fn drop(&mut self) {
        self.end();
    }
}

impl Planted {
    fn end(&mut self) {
        if let Some(mut controller) = self.controller.take() {
            let _ = controller.kill();
            let _ = controller.wait();
        }
    }

    fn start(&mut self, proxy: &Server, log: &str) {
        self.end();
        let file = fs::File::create(self.env.path(log)).unwrap();
        let mut command = self.env.command(binary(), ".");
        let address = format!("http://{PROXY}@127.0.0.1:{}", proxy.port);
        command
            .args(["controller", "--config", "controller.yaml"])
            .env("PLUMB_LOG", "trace")
            .env("SSL_CERT_FILE", authority())
            .env("https_proxy", &address)
            .env("HTTPS_PROXY", &address)
            .stdout(Stdio::null())
            .stderr(file);
        self.controller = Some(command.spawn().unwrap());
    }

    fn until(&self, what: &str, log: &str, is: impl Fn() -> bool) {
        let begun = Instant::now();
        while !is() {
            assert!(
                begun.elapsed() < Duration::from_secs(40),
                "{what}: {}",
                self.env.read(log)
            );
            sleep(Duration::from_millis(50));
        }
    }

    fn json(&self, args: &[&str]) -> String {
        self.env.plumb(".", args).stdout
    }

    /// Runs a command and keeps what it prints.
    fn keep(&mut self, folder: &str, args: &[&str]) {
        let run = self.env.plumb(folder, args);
        self.seen.push((
            format!("plumb {}", args.join(" ")),
            format!("{}{}", run.stdout, run.stderr),
        ));
    }

    fn keep_http(&mut self, path: &str) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        assert!(text.starts_with("HTTP/1.1 "), "{text}");
        self.seen.push((path.to_owned(), text));
    }

    /// Keeps all that is printed, served and stored at this moment.
    fn look(&mut self, log: &str) {
        for args in [
            &["get", "hosts"][..],
            &["get", "hosts", "-o", "json"],
            &["get", "sources"],
            &["get", "sources", "-o", "json"],
            &["get", "revisions", "-o", "json"],
            &["get", "alerts"],
            &["get", "alerts", "-o", "json"],
            &["describe", "source"],
            &["describe", "host", "box"],
            &["describe", "host", "far"],
            &["events"],
            &["events", "-o", "json"],
        ] {
            self.keep(".", args);
        }
        for args in [
            &["plan", "--config", "../controller.yaml"][..],
            &["plan", "--config", "../controller.yaml", "-o", "json"],
            &["check"],
        ] {
            self.keep("fleet", args);
        }
        for path in ["/", "/metrics", "/healthz", "/readyz"] {
            self.keep_http(path);
        }
        let log = (log.to_owned(), self.env.read(log));
        self.seen.push(log);
        // The store may be written at this moment, so the bytes are read as they are.
        for entry in fs::read_dir(self.env.path("state")).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                let bytes = fs::read(&path).unwrap();
                let text = String::from_utf8_lossy(&bytes).into_owned();
                self.seen.push((path.display().to_string(), text));
            }
        }
    }

    fn assert_clean(&self) {
        for (place, text) in &self.seen {
            for secret in &self.secrets {
                let Some(at) = text.find(secret.as_str()) else {
                    continue;
                };
                let around: String = text[..at].chars().rev().take(300).collect();
                let before: String = around.chars().rev().collect();
                panic!("{place} shows `{secret}` after: {before}");
            }
        }
    }
}

fn host(content: &str) -> String {
    format!(
        "kind: Host\nmetadata: {{name: box}}\nspec:\n  arch: x86_64\n  resources: {{file: {{/etc/secret: {{content: \"{content}\\n\", mode: \"0600\"}}}}}}\n"
    )
}

#[test]
fn nothing_secret_is_printed_logged_stored_or_served() {
    let env = Environment::new();
    env.key("alice");
    env.be("alice");
    env.plumb(".", &["init", "fleet"]).exits(0);
    for folder in ["hosts", "profiles", "networks"] {
        fs::remove_dir_all(env.path("fleet").join(folder)).unwrap();
    }
    let fleet = |receiver: u16| {
        format!(
            "kind: Fleet\nmetadata: {{name: test}}\nspec:\n  alertmanagers: [{{url: \"http://{IN_GIT}@127.0.0.1:{receiver}\"}}]\n  hostDefaults: {{drift: {{mode: alert}}}}\n"
        )
    };
    let receiver = Server::http(|_| answer("200 OK", "", b""));
    let refusing = Server::http(|_| answer("401 Unauthorized", "", b"who are you?"));
    let in_git = Server::http(|_| answer("200 OK", "", b""));
    env.write("fleet/fleet.yaml", &fleet(in_git.port));
    env.write("fleet/hosts/box.yaml", &host(&format!("{CONTENT}-one")));
    // Nobody listens at its address, and its key is that of alice.
    let alice = env.read("alice.pub");
    let pin = alice
        .split_whitespace()
        .take(2)
        .collect::<Vec<_>>()
        .join(" ");
    env.write(
        "fleet/hosts/far.yaml",
        &format!(
            "kind: Host\nmetadata: {{name: far}}\nspec:\n  arch: x86_64\n  connect: [{{address: 127.0.0.1, port: 1}}]\n  hostKeys: [\"{pin}\"]\n"
        ),
    );
    let first = env.commit("A fleet", &["-S"]);
    fs::create_dir(env.path("group")).unwrap();
    env.git(
        ".",
        &["clone", "--quiet", "--bare", "fleet", "group/fleet.git"],
    );
    env.git(
        "fleet",
        &[
            "remote",
            "add",
            "origin",
            &env.path("group/fleet.git").display().to_string(),
        ],
    );
    let server = Server::https(repository(&env.path(""), SOURCE));
    let proxy = Server::proxy(PROXY);
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let folder = env.path("").display().to_string();
    env.key("login");
    let config = |source: &str| {
        format!(
            "kind: Controller
spec:
  source: {{url: \"https://{source}@localhost:{}/group/fleet.git\", poll: 1s}}
  introduction: {{commit: \"{first}\"}}
  state: {folder}/state
  socket: {folder}/plumb.sock
  listen: 127.0.0.1:{port}
  ssh: {{key: {folder}/login}}
  sandbox: {{box: hosts/box}}
  alertmanagers:
    - http://{RECEIVER}@127.0.0.1:{}
    - http://{REFUSING}@127.0.0.1:{}
    - http://{AWAY}@127.0.0.1:1
",
            server.port, receiver.port, refusing.port
        )
    };
    env.write("controller.yaml", &config(SOURCE));
    let mut secrets: Vec<String> = Vec::new();
    for login in [SOURCE, WRONG, PROXY, RECEIVER, REFUSING, AWAY, IN_GIT] {
        secrets.push(login.split_once(':').unwrap().1.to_owned());
        secrets.push(base64(login.as_bytes()));
    }
    secrets.push(CONTENT.to_owned());
    let key = env.read("login");
    secrets.extend(
        key.lines()
            .filter(|line| line.len() > 40)
            .skip(1)
            .map(str::to_owned),
    );
    let mut planted = Planted {
        env,
        port,
        controller: None,
        secrets,
        seen: Vec::new(),
    };

    // All goes well, but for the hosts and receivers that can't be reached.
    planted.start(&proxy, "log");
    planted.until("the host is driven", "log", || {
        planted
            .json(&["get", "hosts", "-o", "json"])
            .contains(&first)
            && planted.env.path("state/hosts/box/etc/secret").exists()
    });
    assert!(!proxy.asked().is_empty(), "the proxy wasn't used");
    fs::write(
        planted.env.path("state/hosts/box/etc/secret"),
        format!("{CONTENT}-by-hand\n"),
    )
    .unwrap();
    planted.keep(".", &["reconcile", "box"]);
    planted.until("alerts arrive everywhere", "log", || {
        let said = planted.json(&["events", "-o", "json"]);
        said.contains("DriftHeld") || said.contains("PlumbHostDrifted")
    });
    planted.until("each receiver was asked", "log", || {
        [&receiver, &refusing, &in_git]
            .iter()
            .all(|one| !one.asked().is_empty())
    });
    assert!(
        receiver.asked()[0].header("authorization").is_some(),
        "the login is used"
    );
    planted
        .env
        .write("fleet/hosts/box.yaml", &host(&format!("{CONTENT}-two")));
    planted.env.commit("Another secret", &["-S"]);
    planted.look("log");
    for server in [&receiver, &in_git] {
        for request in server.asked() {
            planted.seen.push(("an alert".to_owned(), request.text()));
        }
    }

    // The login is refused, and then the server is away.
    let url = format!("https://{WRONG}@localhost:{}", server.port);
    planted.env.write("controller.yaml", &config(WRONG));
    planted.start(&proxy, "log-of-refused");
    planted.until("the login is refused", "log-of-refused", || {
        planted
            .json(&["get", "sources", "-o", "json"])
            .contains("AccessDenied")
    });
    planted.look("log-of-refused");
    let away = config(SOURCE).replace(&format!("localhost:{}", server.port), "localhost:1");
    planted.env.write("controller.yaml", &away);
    planted.start(&proxy, "log-of-away");
    planted.until("the server is away", "log-of-away", || {
        planted
            .json(&["get", "sources", "-o", "json"])
            .contains("Unreachable")
    });
    planted.look("log-of-away");
    planted.end();

    // A configuration that is wrong is shown with its lines.
    let controller = ["controller", "--config", "../controller.yaml"];
    let plan = ["plan", "box", "--config", "../controller.yaml"];
    for (wrong, args) in [
        (config(SOURCE).replace("poll: 1s}", "pol: 1s}"), &plan[..]),
        (config(SOURCE).replace("- http://", "- htp://"), &plan),
        (format!("{}  url: \"{url}\"\n", config(SOURCE)), &plan),
        (format!("{}  runbooks: \"{url}\"\n", config(SOURCE)), &plan),
        (config(SOURCE).replace("https://", "hppts://"), &controller),
    ] {
        planted.env.write("controller.yaml", &wrong);
        let run = planted.env.plumb("fleet", args).exits(1);
        let place = "a wrong configuration".to_owned();
        planted.seen.push((place, run.stderr));
    }
    // Nor does a key file that can't be used say what is in it.
    let damaged = format!("{key}damaged");
    planted.env.write("login", &damaged);
    planted.env.write("controller.yaml", &config(SOURCE));
    fs::set_permissions(planted.env.path("login"), fs::Permissions::from_mode(0o600)).unwrap();
    planted.keep("fleet", &["plan", "far", "--config", "../controller.yaml"]);
    planted.assert_clean();
}
