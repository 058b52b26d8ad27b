use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use plumb_api::AlertmanagerUrl;
use plumb_core::alert::Alert;
use plumb_core::ports::{AlertError, AlertSink, Posted};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::{Alertmanager, AlertmanagerAddressError, Credentials};

struct Request {
    head: String,
    body: serde_json::Value,
}

/// Answers each request on its own connection with the next of these answers.
async fn server(answers: Vec<String>) -> (String, mpsc::UnboundedReceiver<Request>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (seen, requests) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut bytes = Vec::new();
            let (head, body) = loop {
                let mut chunk = [0; 8192];
                let n = stream.read(&mut chunk).await.unwrap();
                assert!(n > 0, "the request ended early");
                bytes.extend_from_slice(&chunk[..n]);
                let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else {
                    continue;
                };
                let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
                let length: usize = head
                    .lines()
                    .find_map(|line| {
                        line.to_lowercase()
                            .strip_prefix("content-length: ")
                            .map(|n| n.parse().unwrap())
                    })
                    .unwrap();
                if bytes.len() >= end + 4 + length {
                    break (head, bytes[end + 4..].to_vec());
                }
            };
            seen.send(Request {
                head,
                body: serde_json::from_slice(&body).unwrap(),
            })
            .unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (address, requests)
}

fn answer(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

fn dated(at: Timestamp) -> String {
    let date = jiff::fmt::rfc2822::DateTimePrinter::new();
    let date = date.timestamp_to_rfc9110_string(&at).unwrap();
    format!("HTTP/1.1 200 OK\r\ndate: {date}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
}

/// The time at which the tests' alerts are posted.
fn now() -> Timestamp {
    "2026-01-02T03:04:05Z".parse().unwrap()
}

fn alert(host: &str) -> Alert {
    Alert {
        labels: BTreeMap::from([
            ("alertname".to_owned(), "PlumbHostDrifted".to_owned()),
            ("host".to_owned(), host.to_owned()),
        ]),
        annotations: BTreeMap::from([("summary".to_owned(), "it drifted".to_owned())]),
        starts_at: "2026-01-02T03:04:05Z".parse().unwrap(),
        ends_at: "2026-01-02T03:08:05.5Z".parse().unwrap(),
        generator_url: String::new(),
    }
}

#[tokio::test]
async fn alerts_travel_as_alertmanager_takes_them() {
    let (address, mut requests) = server(vec![answer("200 OK", "")]).await;
    let sink = Alertmanager::new(AlertmanagerUrl::new(format!("http://{address}/"))).unwrap();
    assert_eq!(sink.address().to_string(), format!("http://{address}"));
    let mut with_url = alert("linda");
    with_url.generator_url = "http://plumb/hosts/linda".to_owned();
    sink.post(&[with_url, alert("beta")], now()).await.unwrap();

    let request = requests.recv().await.unwrap();
    assert!(request.head.starts_with("POST /api/v2/alerts HTTP/1.1"));
    assert!(
        request
            .head
            .to_lowercase()
            .contains("content-type: application/json")
    );
    assert_eq!(
        request.body,
        serde_json::json!([
            {
                "labels": {"alertname": "PlumbHostDrifted", "host": "linda"},
                "annotations": {"summary": "it drifted"},
                "startsAt": "2026-01-02T03:04:05Z",
                "endsAt": "2026-01-02T03:08:05.5Z",
                "generatorURL": "http://plumb/hosts/linda",
            },
            {
                "labels": {"alertname": "PlumbHostDrifted", "host": "beta"},
                "annotations": {"summary": "it drifted"},
                "startsAt": "2026-01-02T03:04:05Z",
                "endsAt": "2026-01-02T03:08:05.5Z",
            },
        ])
    );
}

#[tokio::test]
async fn a_prefix_is_kept_and_a_login_is_sent_but_never_shown() {
    let (address, mut requests) = server(vec![answer("200 OK", ""), answer("200 OK", "")]).await;
    let sink = Alertmanager::new(AlertmanagerUrl::new(format!(
        "http://bob:s%40cret@{address}/monitoring/am/"
    )))
    .unwrap();
    assert_eq!(sink.address().to_string(), format!("http://{address}"));
    sink.post(&[alert("linda")], now()).await.unwrap();
    let request = requests.recv().await.unwrap();
    assert!(
        request
            .head
            .starts_with("POST /monitoring/am/api/v2/alerts ")
    );
    // bob:s@cret
    assert!(
        request.head.contains("Basic Ym9iOnNAY3JldA=="),
        "{}",
        request.head
    );

    let sink = sink.with_login(Credentials::Bearer("token-1".to_owned()));
    sink.post(&[alert("linda")], now()).await.unwrap();
    let request = requests.recv().await.unwrap();
    assert!(request.head.contains("Bearer token-1"));
    assert!(!request.head.contains("Basic"));
    assert!(!format!("{sink:?}").contains("token-1"));
}

#[tokio::test]
async fn large_sets_go_in_batches_and_a_refused_one_stops_none() {
    let (address, mut requests) = server(vec![
        answer(
            "400 Bad Request",
            &"label \"a-b\" is\nno label ".repeat(100),
        ),
        answer("200 OK", ""),
        answer("200 OK", ""),
    ])
    .await;
    let sink = Alertmanager::new(AlertmanagerUrl::new(format!("http://{address}"))).unwrap();
    let alerts: Vec<_> = (0..600).map(|n| alert(&format!("host-{n}"))).collect();
    let error = sink.post(&alerts, now()).await.unwrap_err();
    let AlertError::Refused { status: 400, body } = error else {
        panic!("{error:?}")
    };
    assert!(body.starts_with("label \"a-b\" is no label"), "{body}");
    assert!(body.len() < 600 && body.ends_with('…'), "{body}");
    let mut sizes = Vec::new();
    for _ in 0..3 {
        let request = requests.recv().await.unwrap();
        sizes.push(request.body.as_array().unwrap().len());
    }
    assert_eq!(sizes, [256, 256, 88]);
}

#[tokio::test]
async fn what_may_pass_is_told_from_what_never_will() {
    let (address, _requests) = server(vec![
        answer("503 Service Unavailable", "starting"),
        answer("503 Service Unavailable", "starting"),
        answer("503 Service Unavailable", "starting"),
        answer("429 Too Many Requests", ""),
        answer("200 OK", ""),
        answer("302 Found", ""),
        answer("401 Unauthorized", "no"),
    ])
    .await;
    let sink = Alertmanager::new(AlertmanagerUrl::new(format!("http://{address}"))).unwrap();
    let one = [alert("linda")];
    let error = sink.post(&one, now()).await.unwrap_err();
    assert_eq!(
        error,
        AlertError::Unreachable("it answered 503 Service Unavailable: starting".to_owned())
    );
    assert_eq!(
        sink.post(&one, now()).await,
        Ok(Posted::default()),
        "a blip is bridged"
    );
    assert!(matches!(
        sink.post(&one, now()).await,
        Err(AlertError::Refused { status: 302, .. })
    ));
    assert_eq!(
        sink.post(&one, now()).await,
        Err(AlertError::Refused {
            status: 401,
            body: "no".to_owned()
        })
    );
}

#[tokio::test]
async fn a_server_that_is_off_is_unreachable_and_its_error_has_no_password() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let sink =
        Alertmanager::new(AlertmanagerUrl::new(format!("http://bob:secret@{address}"))).unwrap();
    let error = sink.post(&[alert("linda")], now()).await.unwrap_err();
    let AlertError::Unreachable(reason) = &error else {
        panic!("{error:?}")
    };
    assert!(reason.contains("refused"), "{reason}");
    assert!(!error.to_string().contains("secret"));
}

#[test]
fn addresses_that_cant_be_are_refused() {
    assert!(matches!(
        Alertmanager::new(AlertmanagerUrl::new("127.0.0.1:9093")),
        Err(AlertmanagerAddressError::NotUrl(_) | AlertmanagerAddressError::Scheme(_))
    ));
    assert!(matches!(
        Alertmanager::new(AlertmanagerUrl::new("ftp://127.0.0.1")),
        Err(AlertmanagerAddressError::Scheme(_))
    ));
}

/// The Alertmanager's clock is eight minutes ahead: by it, alerts that end in four minutes are over.
#[tokio::test]
async fn sends_times_by_the_alertmanagers_clock() {
    let ahead = SignedDuration::from_mins(8);
    let theirs = now() + ahead;
    let answers = vec![
        dated(theirs),
        dated(theirs),
        dated(theirs),
        dated(now()),
        dated(now()),
    ];
    let (address, mut requests) = server(answers).await;
    let sink = Alertmanager::new(AlertmanagerUrl::new(format!("http://{address}"))).unwrap();
    let mut ends = async || requests.recv().await.unwrap().body[0]["endsAt"].clone();

    // It doesn't know yet: the answer shows the clock, and the alerts are sent once more.
    let posted = sink.post(&[alert("linda")], now()).await.unwrap();
    let offset = posted.clock_offset.unwrap();
    assert!(
        (offset - ahead).abs() < SignedDuration::from_secs(2),
        "{offset:?}"
    );
    assert_eq!(ends().await, "2026-01-02T03:08:05.5Z");
    let shifted: Timestamp = ends().await.as_str().unwrap().parse().unwrap();
    let wanted = alert("linda").ends_at + ahead;
    assert!(
        shifted.duration_since(wanted).abs() < SignedDuration::from_secs(2),
        "{shifted}"
    );

    // From now on once is enough, until one of the clocks is put right.
    sink.post(&[alert("linda")], now()).await.unwrap();
    assert_ne!(ends().await, "2026-01-02T03:08:05.5Z");
    sink.post(&[alert("linda")], now()).await.unwrap();
    assert_ne!(ends().await, "2026-01-02T03:08:05.5Z");
    assert_eq!(ends().await, "2026-01-02T03:08:05.5Z");
}
