//! An agent at the other end of a pipe, that says what the test wants.

use std::io;

use plumb_api::frame::{self, Fence, Incoming as Frame, Purpose, Reveal, RevisionMark, TakeOver};
use plumb_api::report::{AgentError, ErrorCode, Retry};
use plumb_api::{ControllerId, Epoch, FleetName};
use plumb_core::ports::HostError;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex, split};

use super::*;
use crate::hosts::line::{Exit, Incoming, Outgoing};

struct To(WriteHalf<DuplexStream>);

impl Outgoing for To {
    fn send(&mut self, bytes: Vec<u8>) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async move { self.0.write_all(&bytes).await })
    }
}

struct From(ReadHalf<DuplexStream>, ExitInfo);

impl Incoming for From {
    fn receive<'a>(&'a mut self, into: &'a mut Vec<u8>) -> BoxFuture<'a, io::Result<usize>> {
        Box::pin(async move { self.0.read_buf(into).await })
    }

    fn exit_info(&mut self) -> BoxFuture<'_, ExitInfo> {
        let exit_info = self.1.clone();
        Box::pin(async move { exit_info })
    }
}

fn line(exit_info: &ExitInfo) -> (Line, DuplexStream) {
    let (ours, theirs) = duplex(4096);
    let (read, write) = split(ours);
    let line = Line {
        to: Box::new(To(write)),
        from: Box::new(From(read, exit_info.clone())),
    };
    (line, theirs)
}

/// Revives with the lines that it has, and counts what is parked.
struct Stock {
    lines: Vec<Line>,
    parked: Arc<AtomicU64>,
}

impl Origin for Stock {
    fn revive(&mut self, end: FailedStart) -> BoxFuture<'_, Result<Line, HostError>> {
        let line = self.lines.pop().ok_or_else(|| HostError::AgentFailed {
            host: host(),
            reason: end.said.unwrap_or_else(|| end.exit_info.to_string()),
        });
        Box::pin(async move { line })
    }

    fn park(self: Box<Self>, _line: Line) {
        self.parked.fetch_add(1, Ordering::Relaxed);
    }
}

fn host() -> HostName {
    "web1".parse().unwrap()
}

fn died() -> ExitInfo {
    let mut exit_info = ExitInfo {
        exit: Some(Exit::Status(101)),
        ..ExitInfo::default()
    };
    exit_info.stderr.push(b"out of cheese");
    exit_info
}

fn talk(line: Line, more: Vec<Line>) -> (Conversation, Arc<AtomicU64>) {
    let parked = Arc::<AtomicU64>::default();
    let origin = Stock {
        lines: more,
        parked: Arc::clone(&parked),
    };
    let conversation = Conversation::new(host(), AgentTimeouts::default(), line, Box::new(origin));
    (conversation, parked)
}

fn fence() -> Fence {
    Fence {
        protocol: frame::PROTOCOL,
        fleet: "home".parse::<FleetName>().unwrap(),
        host: host(),
        formerly: Vec::new(),
        controller: "c0".parse::<ControllerId>().unwrap(),
        epoch: Epoch(1),
        take_over: TakeOver::No,
    }
}

fn question() -> Observe {
    Observe {
        fence: fence(),
        base: None,
        target: Digest::of_bytes(b"target"),
        delta: frame::Delta::default(),
        purpose: Purpose::Drive,
        reveal: Reveal::Nothing,
        attendance: frame::Attendance::Unattended,
    }
}

fn plan() -> Apply {
    Apply {
        fence: fence(),
        plan: plumb_api::plan::Plan {
            target: Digest::of_bytes(b"target"),
            changes: Vec::new(),
            confirm: Vec::new(),
            forget: Vec::new(),
        },
        revision: RevisionMark("ab".repeat(20)),
        lineage: frame::Lineage::First,
        departure: plumb_api::frame::Departure::Stays,
        dead_man: None,
    }
}

fn bytes(response: &Response) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::write_message(&mut bytes, response).unwrap();
    bytes
}

fn facts(hostname: &str) -> Response {
    Response::Facts(Facts {
        hostname: hostname.to_owned(),
        ..Facts::default()
    })
}

/// Reads a frame at the agent's end.
async fn heard(end: &mut DuplexStream) -> Frame<Request> {
    let mut bytes = vec![0; 4];
    end.read_exact(&mut bytes).await.unwrap();
    let length = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    let mut rest = vec![0; length as usize];
    end.read_exact(&mut rest).await.unwrap();
    bytes.extend(rest);
    frame::read(&mut bytes.as_slice()).unwrap()
}

#[tokio::test]
async fn a_question_is_answered_and_the_line_kept() {
    let (line, mut end) = line(&died());
    let (mut conversation, parked) = talk(line, Vec::new());
    let agent = tokio::spawn(async move {
        assert!(matches!(
            heard(&mut end).await,
            Frame::Message(Request::Facts)
        ));
        for byte in bytes(&facts("w\u{1b}[2Jeb1")) {
            end.write_all(&[byte]).await.unwrap();
        }
        end
    });
    let told = conversation.facts().await.unwrap();
    assert_eq!(
        told.hostname, "w\u{fffd}[2Jeb1",
        "a terminal is safe from it"
    );
    drop(conversation);
    assert_eq!(parked.load(Ordering::Relaxed), 1);
    drop(agent.await.unwrap());
}

#[tokio::test]
async fn what_an_agent_answers_must_be_what_was_asked() {
    for (answer, says) in [
        (facts("web1"), "facts, which wasn't requested"),
        (Response::NeedState, "request for the full state"),
    ] {
        let (line, mut end) = line(&died());
        let (mut conversation, parked) = talk(line, Vec::new());
        end.write_all(&bytes(&answer)).await.unwrap();
        let error = conversation.observe(question()).await.unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
        assert_eq!(error.reason().retry(), Some(Retry::Transient));
        let next = conversation.facts().await.unwrap_err();
        assert!(matches!(next, HostError::Broken { .. }));
        drop(conversation);
        assert_eq!(parked.load(Ordering::Relaxed), 0, "such a line isn't kept");
    }
}

#[tokio::test]
async fn an_agents_error_is_an_answer() {
    let (line, mut end) = line(&died());
    let (mut conversation, parked) = talk(line, Vec::new());
    let agent = tokio::spawn(async move {
        heard(&mut end).await;
        let error = AgentError::new(ErrorCode::Locked, "another run holds the lock\u{7}");
        end.write_all(&bytes(&Response::Error(error)))
            .await
            .unwrap();
        end
    });
    let error = conversation.observe(question()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "web1: another run holds the lock\u{fffd}"
    );
    assert_eq!(error.reason().retry(), Some(Retry::Waiting));
    drop(conversation);
    assert_eq!(parked.load(Ordering::Relaxed), 1);
    drop(agent.await.unwrap());
}

#[tokio::test]
async fn an_agent_that_was_not_there_is_asked_again_in_full() {
    let (first, end) = line(&died());
    drop(end);
    let (second, mut end) = line(&died());
    let (mut conversation, _) = talk(first, vec![second]);
    let agent = tokio::spawn(async move {
        assert!(matches!(
            heard(&mut end).await,
            Frame::Message(Request::Facts)
        ));
        end.write_all(&bytes(&facts("web1"))).await.unwrap();
        end
    });
    assert_eq!(conversation.facts().await.unwrap().hostname, "web1");
    drop(agent.await.unwrap());
}

#[tokio::test]
async fn a_death_tells_its_last_words() {
    let (line, mut end) = line(&died());
    let (mut conversation, _) = talk(line, Vec::new());
    let agent = tokio::spawn(async move {
        heard(&mut end).await;
        end.write_all(&bytes(&facts("web1"))).await.unwrap();
        heard(&mut end).await;
    });
    conversation.facts().await.unwrap();
    let error = conversation.facts().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the connection to web1 broke: the agent is gone: it ended with status 101: out of cheese"
    );
    agent.await.unwrap();
}

#[tokio::test]
async fn what_is_no_frame_is_shown() {
    let (line, mut end) = line(&died());
    let (mut conversation, _) = talk(line, Vec::new());
    end.write_all(b"This account is currently not available.\n")
        .await
        .unwrap();
    let error = conversation.facts().await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("This account is currently not available."),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn silence_ends_a_session_and_signs_of_life_keep_it() {
    let (line, mut end) = line(&died());
    let (mut conversation, parked) = talk(line, Vec::new());
    let agent = tokio::spawn(async move {
        heard(&mut end).await;
        tokio::time::sleep(Duration::from_mins(10)).await;
        drop(end);
    });
    let start = Instant::now();
    let mut progress = |_| {};
    let error = conversation.apply(plan(), Vec::new(), &mut progress).await;
    assert_eq!(
        error,
        Err(HostError::Silent {
            host: host(),
            seconds: 30
        })
    );
    assert!(start.elapsed() < Duration::from_secs(31));
    drop(conversation);
    assert_eq!(parked.load(Ordering::Relaxed), 0);
    agent.abort();
}

#[tokio::test(start_paused = true)]
async fn a_slow_upload_is_no_silence_and_contents_come_first() {
    let (line, mut end) = line(&died());
    let (mut conversation, _) = talk(line, Vec::new());
    let content: Arc<[u8]> = vec![1; 2 << 20].into();
    let digest = Digest::of_bytes(&content);
    let agent = tokio::spawn(async move {
        let mut all = Vec::new();
        let mut buffer = [0; 4096];
        // Four minutes for all of it, never a second without a byte.
        while all.len() < (2 << 20) + 100 {
            let count = end.read(&mut buffer).await.unwrap();
            all.extend_from_slice(&buffer[..count]);
            tokio::time::sleep(Duration::from_millis(450)).await;
        }
        let mut input = all.as_slice();
        assert!(matches!(frame::read::<Request>(&mut input), Ok(Frame::Blob(d, _)) if d == digest));
        end.write_all(&bytes(&Response::Error(AgentError::new(
            ErrorCode::NoSpace,
            "full",
        ))))
        .await
        .unwrap();
        end
    });
    let mut progress = |_| {};
    let error = conversation
        .apply(plan(), vec![(digest, content)], &mut progress)
        .await
        .unwrap_err();
    assert!(matches!(error, HostError::Agent { .. }), "{error}");
    drop(agent.await.unwrap());
}

#[tokio::test]
async fn an_answer_to_half_a_request_ends_the_line() {
    let (line, mut end) = line(&died());
    let (mut conversation, parked) = talk(line, Vec::new());
    let content: Arc<[u8]> = vec![1; 1 << 20].into();
    end.write_all(&bytes(&Response::Error(AgentError::new(
        ErrorCode::NoSpace,
        "full",
    ))))
    .await
    .unwrap();
    let mut progress = |_| {};
    let digest = Digest::of_bytes(&content);
    let error = conversation
        .apply(plan(), vec![(digest, content)], &mut progress)
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "web1: full");
    drop(conversation);
    assert_eq!(parked.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_request_that_was_given_up_poisons_the_line() {
    let (line, _end) = line(&died());
    let (mut conversation, parked) = talk(line, Vec::new());
    let given_up = tokio::time::timeout(Duration::from_millis(20), conversation.facts()).await;
    assert!(given_up.is_err());
    assert!(conversation.facts().await.is_err());
    drop(conversation);
    assert_eq!(parked.load(Ordering::Relaxed), 0);
}
