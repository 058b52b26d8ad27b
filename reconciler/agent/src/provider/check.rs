//! `check`: a condition that must hold, tested from the host itself.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::thread;
use std::time::{Duration, Instant};

use plumb_api::period::Period;
use plumb_api::report::{AgentError, ErrorCode};
use plumb_api::resource::{
    CheckObserved, CheckResult, CheckSpec, HttpCheck, ProgramCheck, ServiceSpec, host_and_port,
};
use plumb_api::{Observed, Spec};

use super::certificate;
use super::{
    ApplyContext, Batch, Effect, GiveBack, Inquiry, Item, ItemChange, Lane, ObserveContext,
    Provider, Sandbox, not_in_a_sandbox, systemd, wrong_type,
};
use crate::error::{Result, fail};
use crate::sys::{Accounts, Program, Sys};

/// Time limit of one attempt over the network.
const NETWORK_LIMIT: Duration = Duration::from_secs(5);

/// Time limit of one attempt with a program.
const PROGRAM_LIMIT: Duration = Duration::from_secs(10);

/// Time within which a check must pass after changes, unless its spec sets another.
const WITHIN: Duration = Duration::from_secs(30);

/// Delay between two attempts.
const PAUSE: Duration = Duration::from_millis(500);

/// Maximum number of bytes that are read of an HTTP answer. The status is in its first line.
const MAX_ANSWER: u64 = 4096;

pub(crate) struct Checks;

impl Provider for Checks {
    fn sandbox(&self) -> Sandbox {
        Sandbox::Supported
    }

    fn inquiry(&self) -> Inquiry {
        Inquiry::Programs("check")
    }

    fn lane(&self) -> Lane {
        Lane::Last(1)
    }

    fn batch(&self) -> Batch {
        Batch::Whole
    }

    fn observe(&self, cx: &ObserveContext<'_>, items: &[Item<'_>]) -> Vec<Result<Observed>> {
        side_by_side(items, |item| {
            let Spec::Check(spec) = item.spec else {
                return wrong_type(item.address);
            };
            let result = match attempt(cx.sys, spec) {
                Ok(()) => CheckResult::Passed,
                Err(error) if error.code == ErrorCode::CheckFailed => CheckResult::Failed,
                Err(error) => return Err(error),
            };
            Ok(Observed::Check(CheckObserved { result }))
        })
    }

    fn apply(&self, cx: &mut ApplyContext<'_>, work: &[ItemChange<'_>]) -> Vec<Result<Effect>> {
        let sys = cx.sys;
        side_by_side(work, |change| {
            let Spec::Check(spec) = change.spec else {
                return wrong_type(change.address);
            };
            until_it_holds(sys, spec)
        })
    }

    fn give_back(&self) -> Option<&dyn GiveBack> {
        None
    }
}

/// Runs each item on its own thread, so that a slow item doesn't delay the others.
fn side_by_side<T: Sync, U: Send>(
    items: &[T],
    one: impl Fn(&T) -> Result<U> + Sync,
) -> Vec<Result<U>> {
    let one = &one;
    thread::scope(|scope| {
        let threads: Vec<_> = items
            .iter()
            .map(|item| scope.spawn(move || one(item)))
            .collect();
        threads
            .into_iter()
            .map(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|_| fail(ErrorCode::Internal, "a check crashed"))
            })
            .collect()
    })
}

fn until_it_holds(sys: &Sys, spec: &CheckSpec) -> Result<Effect> {
    // A program doesn't appear by waiting.
    let usual = if spec.program.is_some() {
        Duration::ZERO
    } else {
        WITHIN
    };
    let deadline = Instant::now() + spec.within.map_or(usual, Period::duration);
    loop {
        match attempt(sys, spec) {
            Ok(()) => return Ok(Effect::Done),
            Err(error) if Instant::now() + PAUSE >= deadline => return Err(error),
            Err(_) => thread::sleep(PAUSE),
        }
    }
}

/// Tests the condition once.
fn attempt(sys: &Sys, spec: &CheckSpec) -> Result<()> {
    if let Some(check) = &spec.program {
        return executable(sys, check);
    }
    if sys.is_sandbox() {
        return Err(not_in_a_sandbox("`check` resources"));
    }
    if let Some(http) = &spec.http {
        return request(sys, http);
    }
    if let Some(tcp) = &spec.tcp {
        let Some((host, port)) = host_and_port(tcp) else {
            return fail(ErrorCode::Protocol, format!("`{tcp}` isn't HOST:PORT"));
        };
        return connect(sys, host, port).map(drop);
    }
    if let Some(unit) = &spec.unit {
        return is_active(sys, &ServiceSpec::unit(unit));
    }
    if let Some(check) = &spec.certificate {
        return certificate::verify(sys, check);
    }
    program(sys, &spec.run)
}

fn failed<T>(message: String) -> Result<T> {
    fail(ErrorCode::CheckFailed, message)
}

/// Resolves a host name with the host's own resolver (`getent`).
fn addresses(sys: &Sys, host: &str) -> Result<Vec<IpAddr>> {
    if let Ok(address) = host.parse() {
        return Ok(vec![address]);
    }
    if host == "localhost" {
        return Ok(vec![Ipv4Addr::LOCALHOST.into()]);
    }
    let output = Program::new("getent", ["ahosts", host])
        .limit(NETWORK_LIMIT)
        .run(sys)?;
    let mut all: Vec<IpAddr> = output
        .stdout
        .lines()
        .filter_map(|line| line.split_whitespace().next()?.parse().ok())
        .collect();
    all.dedup();
    if all.is_empty() {
        return failed(format!("the name {host} has no address"));
    }
    Ok(all)
}

fn connect(sys: &Sys, host: &str, port: u16) -> Result<TcpStream> {
    let mut last = String::new();
    for address in addresses(sys, host)? {
        match TcpStream::connect_timeout(&SocketAddr::new(address, port), NETWORK_LIMIT) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error.to_string(),
        }
    }
    failed(format!("can't connect to {host} port {port}: {last}"))
}

fn request(sys: &Sys, http: &HttpCheck) -> Result<()> {
    let Some(url) = http.parts() else {
        return fail(
            ErrorCode::Protocol,
            format!("`{}` isn't an address", http.url),
        );
    };
    let stream = connect(sys, url.host, url.port)?;
    let status = match ask(stream, url.host, url.path) {
        Ok(status) => status,
        Err(error) => return failed(format!("{} doesn't answer: {error}", http.url)),
    };
    let wanted = http.status.unwrap_or(200);
    if status == Some(wanted) {
        return Ok(());
    }
    match status {
        Some(status) => failed(format!(
            "{} answers with status {status}, not {wanted}",
            http.url
        )),
        None => failed(format!("{} doesn't answer in HTTP", http.url)),
    }
}

/// Sends an HTTP request and returns the status code of the answer, or `None` if the answer isn't HTTP.
fn ask(mut stream: TcpStream, host: &str, path: &str) -> std::io::Result<Option<u16>> {
    stream.set_read_timeout(Some(NETWORK_LIMIT))?;
    stream.set_write_timeout(Some(NETWORK_LIMIT))?;
    let host = if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    };
    let head = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: plumb\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    let mut answer = Vec::new();
    let mut bytes = [0; 512];
    let mut limited = stream.take(MAX_ANSWER);
    while !answer.contains(&b'\n') {
        match limited.read(&mut bytes)? {
            0 => break,
            count => answer.extend_from_slice(&bytes[..count]),
        }
    }
    let text = String::from_utf8_lossy(&answer);
    let mut words = text.split_whitespace();
    let is_http = words.next().is_some_and(|word| word.starts_with("HTTP/1."));
    Ok(words
        .next()
        .filter(|_| is_http)
        .and_then(|status| status.parse().ok()))
}

fn program(sys: &Sys, words: &[String]) -> Result<()> {
    let Some((name, args)) = words.split_first() else {
        return fail(ErrorCode::Protocol, "a check without a form");
    };
    let output = Program::new(name, args.iter().map(String::as_str))
        .limit(PROGRAM_LIMIT)
        .run(sys);
    match output {
        Ok(output) if output.status == 0 => Ok(()),
        Ok(output) => failed(format!(
            "`{}` exited with status {}: {}",
            words.join(" "),
            output.status,
            output.complaint()
        )),
        Err(error) if error.code == ErrorCode::TimedOut => failed(error.message),
        Err(error) => Err(error),
    }
}

/// Fails if a program isn't there, or can't be executed, or if the user that runs it doesn't exist.
fn executable(sys: &Sys, check: &ProgramCheck) -> Result<()> {
    if sys.is_sandbox() {
        return Ok(());
    }
    let path = &check.path;
    match std::fs::metadata(path) {
        Ok(found) if found.is_file() && found.permissions().mode() & 0o111 != 0 => {}
        Ok(_) => return failed(format!("{path} is no executable file")),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(AgentError::new(
                ErrorCode::CheckFailed,
                format!("the program {path} isn't on the host"),
            )
            .hint("correct the path, or add the file or package that brings it"));
        }
        Err(error) => return failed(format!("can't look at {path}: {error}")),
    }
    let Some(user) = &check.user else {
        return Ok(());
    };
    let mut accounts = Accounts::load(sys);
    accounts.ask(sys, user.name().into_iter().collect(), BTreeSet::new());
    if accounts.uid_of(user).is_some() {
        return Ok(());
    }
    Err(AgentError::new(
        ErrorCode::CheckFailed,
        format!("the host doesn't have the user {user}, who is to run {path}"),
    )
    .hint(format!("add `user: {{{user}: {{}}}}`, or correct its name")))
}

fn is_active(sys: &Sys, unit: &str) -> Result<()> {
    let shown = systemd::show(sys, &[unit.to_owned()])?;
    let Some(shown) = shown.get(unit) else {
        return failed(format!("{unit} is a template: it can't be active"));
    };
    if shown.is("ActiveState", "active") {
        return Ok(());
    }
    if shown.is("LoadState", "not-found") {
        return failed(format!("systemd knows no unit {unit}"));
    }
    let (state, sub) = (shown.get("ActiveState"), shown.get("SubState"));
    Err(AgentError::new(
        ErrorCode::CheckFailed,
        format!("{unit} is {state} ({sub}), not active"),
    )
    .hint(format!("`systemctl status {unit}` on the host says more")))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// Answers one connection with these bytes and returns the port.
    fn server(answer: &'static str) -> u16 {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut bytes = [0; 1024];
            let _ = stream.read(&mut bytes);
            let _ = stream.write_all(answer.as_bytes());
        });
        port
    }

    fn status(answer: &'static str) -> Option<u16> {
        let stream = TcpStream::connect(("127.0.0.1", server(answer))).unwrap();
        ask(stream, "localhost", "/").unwrap()
    }

    #[test]
    fn reads_status_of_http_answers_only() {
        assert_eq!(status("HTTP/1.1 200 OK\r\n\r\nhello"), Some(200));
        assert_eq!(status("HTTP/1.0 503 Busy\r\n\r\n"), Some(503));
        assert_eq!(status("SSH-2.0-OpenSSH_9.2\r\n"), None);
        assert_eq!(status(""), None);
    }

    #[test]
    fn check_fails_with_its_reason() {
        let sys = Sys::host().unwrap();
        let check = |url: String| {
            attempt(
                &sys,
                &CheckSpec {
                    http: Some(HttpCheck { url, status: None }),
                    ..CheckSpec::default()
                },
            )
        };
        let port = server("HTTP/1.1 204 No Content\r\n\r\n");
        let error = check(format!("http://127.0.0.1:{port}/x")).unwrap_err();
        assert_eq!(error.code, ErrorCode::CheckFailed);
        assert!(
            error.message.ends_with("answers with status 204, not 200"),
            "{error}"
        );
        let closed = TcpListener::bind(("127.0.0.1", 0))
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let error = check(format!("http://localhost:{closed}/")).unwrap_err();
        assert_eq!(error.code, ErrorCode::CheckFailed);
        let port = server("HTTP/1.1 200 OK\r\n\r\n");
        assert_eq!(check(format!("http://127.0.0.1:{port}/x")), Ok(()));
    }
}
