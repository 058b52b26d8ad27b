//! A controller over https: a login, redirects, and a page to sign in.

use std::fs;
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::environment::{Environment, binary};
use super::git_server::{Request, Server, answer, authority, repository};

const LOGIN: &str = "bob:s3cret/@x";
/// The login as an address holds it.
const ESCAPED: &str = "bob:s3cret%2F%40x";

/// A controller that polls an address.
struct Polling {
    env: Environment,
    controller: Child,
}

impl Drop for Polling {
    fn drop(&mut self) {
        let _ = self.controller.kill();
        let _ = self.controller.wait();
    }
}

/// A fleet of one dormant host, and its bare repository `group/fleet.git`.
fn fleet() -> (Environment, String) {
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
    env.write(
        "fleet/hosts/box.yaml",
        "kind: Host\nmetadata: {name: box}\nspec: {arch: x86_64, state: dormant}\n",
    );
    let first = env.commit("A fleet", &["-S"]);
    fs::create_dir(env.path("group")).unwrap();
    env.git(
        ".",
        &["clone", "--quiet", "--bare", "fleet", "group/fleet.git"],
    );
    (env, first)
}

impl Polling {
    fn new(env: Environment, first: &str, url: &str) -> Self {
        let folder = env.path("").display().to_string();
        env.write(
            "controller.yaml",
            &format!(
                "kind: Controller\nspec:\n  source: {{url: \"{url}\", poll: 1s}}\n  introduction: {{commit: \"{first}\"}}\n  state: {folder}/state\n  socket: {folder}/plumb.sock\n"
            ),
        );
        let log = fs::File::create(env.path("log")).unwrap();
        let controller = env
            .command(binary(), ".")
            .args(["controller", "--config", "controller.yaml"])
            .env("SSL_CERT_FILE", authority())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { env, controller }
    }

    /// The condition `Ready` of the source, once it is known.
    fn ready(&self) -> Value {
        let begun = Instant::now();
        loop {
            let run = self.env.plumb(".", &["get", "sources", "-o", "json"]);
            if run.code == 0 {
                let source = run.json()["items"][0].clone();
                let conditions = source["conditions"].as_array().cloned().unwrap_or_default();
                if let Some(ready) = conditions.into_iter().find(|one| one["type"] == "Ready") {
                    return ready;
                }
            }
            assert!(
                begun.elapsed() < Duration::from_secs(30),
                "{}",
                self.env.read("log")
            );
            sleep(Duration::from_millis(50));
        }
    }

    #[track_caller]
    fn fails(&self, reason: &str, message: &[&str]) {
        let ready = self.ready();
        let part = |name: &str| ready[name].as_str().unwrap_or_default();
        let said = format!("{}\n{}", part("message"), part("hint"));
        assert_eq!(
            (ready["status"].as_str(), ready["reason"].as_str()),
            (Some("False"), Some(reason)),
            "{said}"
        );
        for part in message {
            assert!(said.contains(part), "`{part}` is missing in: {said}");
        }
        assert!(!said.contains("s3cret"), "{said}");
    }
}

fn redirect(to: &str) -> Vec<u8> {
    answer("301 Moved Permanently", &format!("location: {to}\r\n"), b"")
}

/// Serves a repository at `/group/fleet.git`, as a forge does that people copy an address without `.git` from.
fn forge(env: &Environment) -> Server {
    let serve = repository(&env.path(""), LOGIN);
    Server::https(
        move |request: &Request| match request.path.strip_prefix("/group/fleet/") {
            Some(rest) if request.method == "GET" => {
                redirect(&format!("/group/fleet.git/{rest}?service=git-upload-pack"))
            }
            Some(_) => answer("404 Not Found", "", b""),
            None => serve(request),
        },
    )
}

#[test]
fn redirect_within_the_server_is_followed_with_the_login() {
    let (env, first) = fleet();
    let server = forge(&env);
    let url = format!("https://{ESCAPED}@127.0.0.1:{}/group/fleet", server.port);
    let polling = Polling::new(env, &first, &url);
    let ready = polling.ready();
    assert_eq!(
        ready["status"],
        "True",
        "{ready}\n{}",
        polling.env.read("log")
    );
    let fetched = server.asked();
    assert!(
        fetched.iter().any(|request| request.method == "POST"
            && request.path == "/group/fleet.git/git-upload-pack"
            && request.header("authorization").is_some()),
        "{fetched:?}"
    );
    assert!(!polling.env.read("log").contains("s3cret"));
}

#[test]
fn redirect_to_another_server_is_told_and_gets_no_login() {
    let (env, first) = fleet();
    let other = forge(&env);
    let to = format!("https://localhost:{}/group/fleet.git", other.port);
    let there = to.clone();
    let server = Server::https(move |request| {
        let rest = request.path.strip_prefix("/group/fleet.git").unwrap();
        redirect(&format!("{there}{rest}?service=git-upload-pack"))
    });
    let url = format!(
        "https://{ESCAPED}@127.0.0.1:{}/group/fleet.git",
        server.port
    );
    let polling = Polling::new(env, &first, &url);
    polling.fails(
        "Redirected",
        &[
            &format!("redirects to {to}"),
            &format!("set `source.url` to {to}"),
        ],
    );
    assert!(server.asked()[0].header("authorization").is_some());
    let asked = other.asked();
    assert!(
        asked
            .iter()
            .all(|request| request.header("authorization").is_none()),
        "{asked:?}"
    );
}

#[test]
fn sign_in_page_is_a_refused_login() {
    let (env, first) = fleet();
    let server = Server::https(|request| {
        if request.path == "/users/sign_in" {
            let html = "content-type: text/html; charset=utf-8\r\n";
            answer("200 OK", html, b"<html>Sign in</html>")
        } else {
            redirect("/users/sign_in")
        }
    });
    let url = format!(
        "https://{ESCAPED}@127.0.0.1:{}/group/fleet.git",
        server.port
    );
    Polling::new(env, &first, &url).fails("AccessDenied", &["/users/sign_in"]);
}

#[test]
fn refused_login_is_told_without_it() {
    let (env, first) = fleet();
    let server = forge(&env);
    let url = format!(
        "https://eve:s3cret@127.0.0.1:{}/group/fleet.git",
        server.port
    );
    Polling::new(env, &first, &url).fails("AccessDenied", &["login"]);
}

#[test]
fn redirects_in_a_circle_end() {
    let (env, first) = fleet();
    let server = Server::https(|request| redirect(&format!("{}?again", request.path)));
    let url = format!(
        "https://{ESCAPED}@127.0.0.1:{}/group/fleet.git",
        server.port
    );
    Polling::new(env, &first, &url).fails("Garbled", &["redirect"]);
}
