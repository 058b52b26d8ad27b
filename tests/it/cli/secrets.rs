//! Nothing that a controller prints, logs, stores or serves holds a secret, whether all goes well or not.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
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
const IN_PATH: &str = "s3cret-in-a-path";
const CONTENT: &str = "s3cret-content";

/// A controller with secrets wherever it can have one, and everything that it ever printed.
struct Planted {
    env: Environment,
    port: u16,
    first: String,
    servers: Servers,
    controller: Option<Child>,
    /// The secrets, and the forms that headers give them.
    secrets: Vec<String>,
    seen: Vec<(String, String)>,
}

/// The servers that the controller talks to.
struct Servers {
    source: Server,
    proxy: Server,
    receiver: Server,
    refusing: Server,
    in_git: Server,
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

    fn start(&mut self, log: &str) {
        self.end();
        let file = fs::File::create(self.env.path(log)).unwrap();
        let mut command = self.env.command(binary(), ".");
        let address = format!("http://{PROXY}@127.0.0.1:{}", self.servers.proxy.port);
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

/// A fleet whose Alertmanager has a login in git, with a host in a folder and one that is away.
fn fleet(env: &Environment, in_git: u16) -> String {
    env.key("alice");
    env.be("alice");
    env.plumb(".", &["init", "--minimal", "fleet"]).exits(0);
    for folder in ["hosts", "profiles", "networks"] {
        fs::remove_dir_all(env.path("fleet").join(folder)).unwrap();
    }
    env.write(
        "fleet/fleet.yaml",
        &format!(
            "kind: Fleet\nmetadata: {{name: test}}\nspec:\n  alertmanagers: [{{url: \"http://{IN_GIT}@127.0.0.1:{in_git}/{IN_PATH}\"}}]\n  hostDefaults: {{drift: {{mode: alert}}}}\n"
        ),
    );
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
    let clone = ["clone", "--quiet", "--bare", "fleet", "group/fleet.git"];
    env.git(".", &clone);
    first
}

impl Planted {
    fn new() -> Self {
        let env = Environment::new();
        let in_git = Server::http(|_| answer("200 OK", "", b""));
        let first = fleet(&env, in_git.port);
        env.key("login");
        let mut secrets = vec![CONTENT.to_owned(), IN_PATH.to_owned()];
        for login in [SOURCE, WRONG, PROXY, RECEIVER, REFUSING, AWAY, IN_GIT] {
            secrets.push(login.split_once(':').unwrap().1.to_owned());
            secrets.push(base64(login.as_bytes()));
        }
        // Only lines of the private half.
        let key = env.read("login");
        let long = key.lines().filter(|line| line.len() > 40);
        secrets.extend(long.skip(1).map(str::to_owned));
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        Self {
            port: free.local_addr().unwrap().port(),
            first,
            servers: Servers {
                source: Server::https(repository(&env.path(""), SOURCE)),
                proxy: Server::proxy(PROXY),
                receiver: Server::http(|_| answer("200 OK", "", b"")),
                refusing: Server::http(|request| {
                    let page = format!("cannot POST {}", request.path);
                    answer("401 Unauthorized", "", page.as_bytes())
                }),
                in_git,
            },
            env,
            controller: None,
            secrets,
            seen: Vec::new(),
        }
    }

    /// A configuration with this login to the source.
    fn config(&self, source: &str) -> String {
        let folder = self.env.path("").display().to_string();
        let Servers {
            source: server,
            receiver,
            refusing,
            ..
        } = &self.servers;
        format!(
            "kind: Controller
spec:
  source: {{url: \"https://{source}@localhost:{}/group/fleet.git\", poll: 1s}}
  introduction: {{commit: \"{}\"}}
  state: {folder}/state
  socket: {folder}/plumb.sock
  listen: 127.0.0.1:{}
  ssh: {{key: {folder}/login}}
  sandbox: {{box: hosts/box}}
  alertmanagers:
    - http://{RECEIVER}@127.0.0.1:{}/{IN_PATH}
    - http://{REFUSING}@127.0.0.1:{}/{IN_PATH}
    - http://{AWAY}@127.0.0.1:1/{IN_PATH}
",
            server.port, self.first, self.port, receiver.port, refusing.port
        )
    }

    /// All goes well, but for the hosts and receivers that can't be reached.
    fn drive(&mut self) {
        self.env.write("controller.yaml", &self.config(SOURCE));
        self.start("log");
        self.until("the host is driven", "log", || {
            let hosts = self.json(&["get", "hosts", "-o", "json"]);
            hosts.contains(&self.first) && self.env.path("state/hosts/box/etc/secret").exists()
        });
        let proxied = self.servers.proxy.asked();
        assert!(!proxied.is_empty(), "the proxy wasn't used");
        let file = self.env.path("state/hosts/box/etc/secret");
        fs::write(file, format!("{CONTENT}-by-hand\n")).unwrap();
        self.keep(".", &["reconcile", "box"]);
        self.until("an alert fires", "log", || {
            let said = self.json(&["events", "-o", "json"]);
            said.contains("PlumbHostDrifted")
        });
        self.until("each receiver was asked", "log", || {
            let Servers {
                receiver,
                refusing,
                in_git,
                ..
            } = &self.servers;
            [receiver, refusing, in_git]
                .iter()
                .all(|one| !one.asked().is_empty())
        });
        let first = &self.servers.receiver.asked()[0];
        assert!(first.header("authorization").is_some(), "the login is used");
        let two = host(&format!("{CONTENT}-two"));
        self.env.write("fleet/hosts/box.yaml", &two);
        self.env.commit("Another secret", &["-S"]);
        self.look("log");
        for server in [&self.servers.receiver, &self.servers.in_git] {
            for request in server.asked() {
                self.seen.push(("an alert".to_owned(), request.content()));
            }
        }
    }

    /// The source fails for this reason.
    fn fail(&mut self, config: &str, reason: &str) {
        self.env.write("controller.yaml", config);
        let log = format!("log-of-{reason}");
        self.start(&log);
        self.until("the source fails", &log, || {
            let sources = self.json(&["get", "sources", "-o", "json"]);
            sources.contains(reason)
        });
        self.look(&log);
        self.end();
    }

    /// A configuration that is wrong is shown with its lines.
    fn refuse(&mut self) {
        let good = self.config(SOURCE);
        let url = format!("https://{WRONG}@localhost");
        let controller = ["controller", "--config", "../controller.yaml"];
        let plan = ["plan", "box", "--config", "../controller.yaml"];
        for (wrong, args) in [
            (good.replace("poll: 1s}", "pol: 1s}"), &plan[..]),
            (good.replace("- http://", "- htp://"), &plan),
            (format!("{good}  url: \"{url}\"\n"), &plan),
            (format!("{good}  runbooks: \"{url}\"\n"), &plan),
            (good.replace("https://", "hppts://"), &controller),
        ] {
            self.env.write("controller.yaml", &wrong);
            let run = self.env.plumb("fleet", args).exits(1);
            self.seen
                .push(("a wrong configuration".to_owned(), run.stderr));
        }
        // Nor does a key file that can't be used say what is in it.
        let damaged = format!("{}damaged", self.env.read("login"));
        self.env.write("login", &damaged);
        self.env.write("controller.yaml", &good);
        self.keep("fleet", &["plan", "far", "--config", "../controller.yaml"]);
    }
}

#[test]
fn nothing_secret_is_printed_logged_stored_or_served() {
    let mut planted = Planted::new();
    planted.drive();
    let refused = planted.config(WRONG);
    planted.fail(&refused, "AccessDenied");
    let port = planted.servers.source.port;
    let away = planted.config(SOURCE);
    let away = away.replace(&format!("localhost:{port}"), "localhost:1");
    planted.fail(&away, "Unreachable");
    planted.refuse();
    planted.assert_clean();
}
