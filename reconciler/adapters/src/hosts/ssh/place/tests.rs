//! The scripts, run for real by `sh` in a folder.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use super::*;
use crate::hosts::Agents;

fn agent(text: &str) -> Arc<AgentBinary> {
    Agents::none()
        .embed("x86_64", text.as_bytes())
        .find("x86_64")
        .unwrap()
}

fn run(command: &str, input: &[u8]) -> Output {
    let mut child = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A script that ends early doesn't read: that is what some tests are about.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().unwrap().permissions().mode() & 0o7777
}

#[test]
fn an_agent_that_is_missing_is_placed_and_then_starts() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("plumb").display().to_string();
    let agent = agent("#!/bin/sh\necho hello\n");
    let begin = start(Login::Root, &state, std::slice::from_ref(&agent));

    let output = run(&begin, b"");
    let mut exit_info = ExitInfo {
        exit: Some(Exit::Status(127)),
        ..ExitInfo::default()
    };
    exit_info.stderr.push(&output.stderr);
    assert_eq!(output.status.code(), Some(127));
    assert!(is_arch(&missing(&exit_info).unwrap()));

    let output = run(&placing(Login::Root, &state, &agent), agent.bytes());
    assert!(output.status.success(), "{}", said(&output));
    let place = Path::new(&state)
        .join("agents")
        .join(agent.digest().to_string());
    assert_eq!(mode(Path::new(&state)), 0o700);
    assert_eq!(mode(&place), 0o700);
    assert_eq!(mode(&place.join("plumb-agent")), 0o700);

    assert_eq!(run(&begin, b"").stdout, b"hello\n");
    let any = start(Login::Root, &state, &[agent, self::agent("another")]);
    assert_eq!(
        run(&any, b"").stdout,
        b"hello\n",
        "by the machine's architecture"
    );
}

#[test]
fn an_upload_that_is_damaged_or_cut_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("plumb").display().to_string();
    let agent = agent("#!/bin/sh\necho hello\n");
    for input in [b"#!/bin/sh\n".as_slice(), b"", b"#!/bin/sh\necho hollo\n"] {
        let output = run(&placing(Login::Root, &state, &agent), input);
        assert_eq!(output.status.code(), Some(1));
        assert!(said(&output).contains("the agent arrived damaged"));
        let place = Path::new(&state)
            .join("agents")
            .join(agent.digest().to_string());
        assert_eq!(place.read_dir().unwrap().count(), 0);
    }
}

#[test]
fn a_folder_that_leads_elsewhere_is_not_used() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("plumb");
    std::os::unix::fs::symlink("/tmp", &state).unwrap();
    let agent = agent("x");
    let output = run(
        &placing(Login::Root, &state.display().to_string(), &agent),
        agent.bytes(),
    );
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said(&output).contains("is not a folder of root"),
        "{}",
        said(&output)
    );
    assert!(
        !Path::new("/tmp/agents")
            .join(agent.digest().to_string())
            .exists()
    );
}

#[test]
fn the_last_of_the_older_agents_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("plumb").display().to_string();
    let agents: Vec<_> = ["one", "two", "three"].map(agent).into();
    for agent in &agents {
        let output = run(&placing(Login::Root, &state, agent), agent.bytes());
        assert!(output.status.success(), "{}", said(&output));
        std::thread::sleep(Duration::from_millis(20));
    }
    let there = |agent: &AgentBinary| {
        let place = Path::new(&state).join("agents");
        place.join(agent.digest().to_string()).exists()
    };
    assert_eq!(
        [there(&agents[0]), there(&agents[1]), there(&agents[2])],
        [false, true, true]
    );
}

#[test]
fn scripts_hold_no_quote_that_would_end_them() {
    let agent = agent("x");
    for command in [
        start(Login::Sudo, STATE, std::slice::from_ref(&agent)),
        start(
            Login::Sudo,
            STATE,
            &[Arc::clone(&agent), Arc::clone(&agent)],
        ),
        placing(Login::Sudo, STATE, &agent),
    ] {
        assert_eq!(command.matches('\'').count(), 2, "{command}");
        assert!(command.starts_with("exec env LC_ALL=C sudo -n -- /bin/sh -c '"));
    }
}
