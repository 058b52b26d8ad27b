//! Every form of an address, against real programs.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};

use plumb_core::ports::SourceError;

use super::super::GitSource;
use super::{Place, fetch};

/// A stand-in for ssh: keeps its arguments and runs the command that was to be run over there.
fn fake_ssh(place: &Place) -> String {
    let script = place.path("fake-ssh");
    std::fs::write(
        &script,
        format!(
            "#!/bin/sh\nfor a; do printf '%s\\n' \"$a\"; done >{}\nfor last; do :; done\nexec sh -c \"$last\"\n",
            place.path("arguments").display()
        ),
    )
    .unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    script.display().to_string()
}

fn arguments(place: &Place) -> Vec<String> {
    std::fs::read_to_string(place.path("arguments"))
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect()
}

#[test]
fn ssh_and_scp_forms_start_the_users_ssh() {
    let place = Place::new();
    let (writer, first) = place.fleet();
    let path = writer.path().display().to_string();

    let mut options = place.options(&format!("ssh://git@git.example:2222{path}"));
    options.ssh.command = Some(format!("{} -i 'a key'", fake_ssh(&place)));
    options.ssh.known_hosts = Some("/etc/plumb/known_hosts".into());
    let source = GitSource::open(options).unwrap();
    assert_eq!(fetch(&source).unwrap().head, first);
    let given = arguments(&place);
    assert_eq!(given[..2], ["-i", "a key"]);
    assert!(given.contains(&"BatchMode=yes".to_owned()));
    assert!(given.contains(&"UserKnownHostsFile=/etc/plumb/known_hosts".to_owned()));
    assert!(given.contains(&"StrictHostKeyChecking=yes".to_owned()));
    let tail: Vec<_> = given[given.len() - 5..]
        .iter()
        .map(String::as_str)
        .collect();
    assert_eq!(
        tail,
        [
            "-p",
            "2222",
            "--",
            "git@git.example",
            &format!("git-upload-pack '{path}'")
        ]
    );
    drop(source);

    let mut options = place.options(&format!("git@git.example:{path}"));
    options.ssh.command = Some(fake_ssh(&place));
    options.ssh.key = Some("/etc/plumb/id".into());
    assert_eq!(
        fetch(&GitSource::open(options).unwrap()).unwrap().head,
        first
    );
    let given = arguments(&place);
    assert!(given.windows(2).any(|pair| pair == ["-i", "/etc/plumb/id"]));
    assert!(!given.contains(&"-p".to_owned()));
    assert_eq!(given[given.len() - 2], "git@git.example");
}

#[test]
fn what_ssh_complains_of_becomes_a_kind_of_error() {
    let place = Place::new();
    let said = |text: &str| {
        let mut options = place.options("ssh://git@git.example/fleet.git");
        options.ssh.command = Some(format!("sh -c 'echo \"{text}\" >&2; exit 255' ssh"));
        fetch(&GitSource::open(options).unwrap()).unwrap_err()
    };
    let error = said("git@git.example: Permission denied (publickey).");
    assert!(
        matches!(&error, SourceError::Denied { reason, .. } if reason.contains("publickey")),
        "{error:?}"
    );
    assert!(error.hint().is_some());
    assert!(matches!(
        said("Host key verification failed."),
        SourceError::HostKey { .. }
    ));
    let error = said("ssh: connect to host git.example port 22: Connection refused");
    assert_eq!(
        error.to_string(),
        "ssh://git@git.example/fleet.git can't be reached: ssh: connect to host git.example port 22: Connection refused"
    );
    let error = said("fatal: /fleet.git does not appear to be a git repository");
    assert!(
        matches!(error, SourceError::NoRepository { .. }),
        "{error:?}"
    );
}

#[test]
fn a_program_that_isnt_there_is_named() {
    let place = Place::new();
    let mut options = place.options("ssh://git@git.example/fleet.git");
    options.ssh.command = Some("/nowhere/ssh".to_owned());
    let error = fetch(&GitSource::open(options).unwrap()).unwrap_err();
    assert!(
        matches!(
            &error,
            SourceError::Program { .. }
                | SourceError::NoRepository { .. }
                | SourceError::Unreachable { .. }
        ),
        "{error:?}"
    );
    assert!(error.to_string().contains("/nowhere/ssh"), "{error}");
}

/// A web server that hands everything to `git http-backend`, and asks for a login if told to.
fn web(place: &Place, login: Option<&'static str>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let root = place.folder.path().to_owned();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            let mut words = line.split_whitespace();
            let (Some(method), Some(target)) = (words.next(), words.next()) else {
                continue;
            };
            let (path, query) = target.split_once('?').unwrap_or((target, ""));
            let mut headers = std::collections::BTreeMap::new();
            loop {
                let mut header = String::new();
                reader.read_line(&mut header).unwrap();
                let Some((name, value)) = header.trim().split_once(": ") else {
                    break;
                };
                headers.insert(name.to_lowercase(), value.to_owned());
            }
            let mut body = Vec::new();
            if let Some(length) = headers.get("content-length") {
                body.resize(length.parse().unwrap(), 0);
                reader.read_exact(&mut body).unwrap();
            } else if headers.contains_key("transfer-encoding") {
                loop {
                    let mut size = String::new();
                    reader.read_line(&mut size).unwrap();
                    let size = usize::from_str_radix(size.trim(), 16).unwrap();
                    let mut chunk = vec![0; size + 2];
                    reader.read_exact(&mut chunk).unwrap();
                    body.extend_from_slice(&chunk[..size]);
                    if size == 0 {
                        break;
                    }
                }
            }
            if login.is_some_and(|login| {
                headers.get("authorization").map(String::as_str) != Some(login)
            }) {
                let _ = stream.write_all(b"HTTP/1.1 401 Unauthorized\r\nwww-authenticate: Basic realm=\"x\"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                continue;
            }
            let mut backend = Command::new("git")
                .arg("http-backend")
                .env("GIT_PROJECT_ROOT", &root)
                .env("GIT_HTTP_EXPORT_ALL", "1")
                .env("REQUEST_METHOD", method)
                .env("PATH_INFO", path)
                .env("QUERY_STRING", query)
                .env(
                    "CONTENT_TYPE",
                    headers.get("content-type").cloned().unwrap_or_default(),
                )
                .env("CONTENT_LENGTH", body.len().to_string())
                .env(
                    "GIT_PROTOCOL",
                    headers.get("git-protocol").cloned().unwrap_or_default(),
                )
                .env(
                    "HTTP_CONTENT_ENCODING",
                    headers.get("content-encoding").cloned().unwrap_or_default(),
                )
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            backend.stdin.take().unwrap().write_all(&body).unwrap();
            let output = backend.wait_with_output().unwrap().stdout;
            let end = output.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
            let head = String::from_utf8_lossy(&output[..end]).into_owned();
            let status = head
                .lines()
                .find_map(|line| line.strip_prefix("Status: "))
                .unwrap_or("200 OK");
            let length = output.len() - end - 4;
            let _ = write!(
                stream,
                "HTTP/1.1 {status}\r\n{head}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
            );
            let _ = stream.write_all(&output[end + 4..]);
        }
    });
    port
}

#[test]
fn http_works_and_what_it_answers_becomes_a_kind_of_error() {
    let place = Place::new();
    let (writer, first) = place.fleet();
    let port = web(&place, None);
    let source = place.source(&format!("http://127.0.0.1:{port}/fleet.git"));
    assert_eq!(fetch(&source).unwrap().head, first);
    let second = super::commit(&writer, &[first], "second", &[("fleet.yaml", "b\n")]);
    assert_eq!(fetch(&source).unwrap().head, second);
    drop(source);

    let error = fetch(&place.source(&format!("http://127.0.0.1:{port}/none.git"))).unwrap_err();
    assert!(
        matches!(error, SourceError::NoRepository { .. }),
        "{error:?}"
    );

    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let error = fetch(&place.source(&format!("http://127.0.0.1:{closed}/fleet.git"))).unwrap_err();
    assert!(
        matches!(error, SourceError::Unreachable { .. }),
        "{error:?}"
    );

    let port = web(&place, Some("Basic Ym9iOnNlY3JldA=="));
    let error = fetch(&place.source(&format!("http://127.0.0.1:{port}/fleet.git"))).unwrap_err();
    assert!(
        matches!(&error, SourceError::Denied { reason, .. } if reason == "it requires a login"),
        "{error:?}"
    );
}
