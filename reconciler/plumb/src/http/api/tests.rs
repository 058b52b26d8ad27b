use futures::FutureExt as _;
use futures::future::BoxFuture;
use plumb_core::fleet::MetricsSnapshot;
use plumb_core::reason::ConditionReason;
use plumb_core::status::{Condition, ConditionStatus, ConditionType, Conditions, HostStatus};
use plumb_core::view::CommitVerdict;

use super::*;
use crate::http::view::{AlertState, CommandResult, EventKind, Held, Rollout, Source};

/// A controller that says what it is told to say.
struct Scripted;

impl ControllerApi for Scripted {
    fn fleet(&self) -> BoxFuture<'_, Fleet> {
        async { fleet() }.boxed()
    }

    fn events(&self, host: Option<HostName>) -> BoxFuture<'_, Vec<Event>> {
        async move {
            vec![Event {
                time: "2026-11-24T02:00:00Z".parse().unwrap(),
                kind: EventKind::Warning,
                host,
                reason: ConditionReason::DriftFound,
                message: "<script>alert(1)</script>".to_owned(),
                revision: None,
            }]
        }
        .boxed()
    }

    fn metrics(&self) -> MetricsSnapshot {
        crate::http::metrics::tests::snapshot()
    }

    fn ready(&self) -> bool {
        false
    }

    fn execute(
        &self,
        command: ControllerCommand,
    ) -> BoxFuture<'_, Result<CommandResult, CommandRefusal>> {
        async move {
            match command {
                ControllerCommand::Notify => Ok(CommandResult {
                    message: "fetching".to_owned(),
                    hosts: Vec::new(),
                }),
                _ => Err(CommandRefusal {
                    message: "no".to_owned(),
                    hint: None,
                }),
            }
        }
        .boxed()
    }
}

fn host(name: &str, reachable: ConditionStatus) -> HostObject {
    let mut conditions = Conditions::default();
    let mut set = |kind, status, reason| {
        conditions.set(Condition {
            kind,
            status,
            reason,
            message: "as it is & was".to_owned(),
            detail: None,
            observed_generation: None,
            last_transition_time: "2026-11-24T01:00:00Z".parse().unwrap(),
        });
    };
    set(
        ConditionType::Reachable,
        reachable,
        ConditionReason::Connected,
    );
    set(ConditionType::Ready, reachable, ConditionReason::Settled);
    HostObject::new(
        Arc::new([("site".to_owned(), "home".to_owned())].into()),
        HostStatus {
            revision: Some("a".repeat(40)),
            conditions,
            last_success: Some("2026-11-24T01:59:00Z".parse().unwrap()),
            resources: 12,
            ..HostStatus::new(name.parse().unwrap())
        },
    )
}

pub(in crate::http) fn fleet() -> Fleet {
    Fleet {
        name: Some("home".to_owned()),
        version: "0.1.0".to_owned(),
        now: "2026-11-24T02:00:00Z".parse().unwrap(),
        source: Source {
            revoked: vec!["SHA256:revoked".to_owned()],
            revoked_by_tags: vec!["SHA256:stolen".to_owned()],
            url: "/srv/fleet.git".to_owned(),
            reference: "refs/heads/main".to_owned(),
            head: Some("b".repeat(40)),
            accepted: Some("a".repeat(40)),
            held: Some(Held {
                commit: "b".repeat(40),
                verdict: CommitVerdict::Pending,
                behind: 0,
                reasons: vec!["<b>2 of ops</b> are needed".to_owned()],
                codes: vec!["approvals-missing".to_owned()],
            }),
            ..Source::default()
        },
        hosts: [
            host("cloud", ConditionStatus::False),
            host("linda", ConditionStatus::True),
        ]
        .map(Arc::new)
        .into_iter()
        .collect(),
        revisions: Vec::new(),
        alerts: vec![AlertState {
            labels: [("alertname".to_owned(), "PlumbHostUnreachable".to_owned())].into(),
            summary: "cloud can't be reached".to_owned(),
            since: "2026-11-24T01:00:00Z".parse().unwrap(),
        }]
        .into(),
        rollout: Rollout::default(),
        rollouts: Vec::new(),
        epoch: 1,
        ready: false,
        queue: plumb_core::view::QueueView::default(),
        records: Arc::default(),
        counters: Arc::default(),
    }
}

/// Both routers behind real sockets, as a browser and the CLI meet them.
async fn running() -> (tempfile::TempDir, String, crate::http::Client) {
    plumb_adapters::tls::install_provider();
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("plumb.sock");
    let listen = Some("127.0.0.1:0".parse().unwrap());
    let listeners = crate::http::Listeners::open(&socket, listen, Some("http://plumb.example/"))
        .await
        .unwrap();
    let url = format!("http://{}", listeners.address().unwrap());
    let (stop, stopped) = tokio::sync::watch::channel(false);
    tokio::spawn(async move {
        let _stop = stop;
        crate::http::serve(listeners, Arc::new(Scripted), stopped).await
    });
    let client = crate::http::Client::new(&socket).unwrap();
    (folder, url, client)
}

#[tokio::test]
async fn the_cli_reads_and_tells_over_the_socket() {
    let (_folder, _, client) = running().await;
    assert_eq!(client.fleet().await.unwrap().hosts.len(), 2);
    let linda: HostName = "linda".parse().unwrap();
    assert_eq!(
        client.events(Some(&linda)).await.unwrap()[0].host,
        Some(linda.clone())
    );
    assert_eq!(
        client
            .execute(&ControllerCommand::Notify)
            .await
            .unwrap()
            .message,
        "fetching"
    );
    let refused = client
        .execute(&ControllerCommand::Forget {
            host: linda,
            address: None,
        })
        .await
        .unwrap_err();
    assert!(
        refused
            .render(crate::output::Palette::plain())
            .contains("error: no")
    );
}

#[tokio::test]
async fn the_page_escapes_and_is_hardened() {
    let (_folder, url, _client) = running().await;
    let response = reqwest::get(&url).await.unwrap();
    assert_eq!(response.status(), 200);
    let policy = response.headers()["content-security-policy"]
        .to_str()
        .unwrap()
        .to_owned();
    assert!(policy.contains("default-src 'none'"), "{policy}");
    let text = response.text().await.unwrap();
    for part in [
        "linda",
        "cloud",
        "aaaaaaaaaaaa",
        "bbbbbbbbbbbb",
        "PlumbHostUnreachable",
        "SHA256:revoked",
        "SHA256:stolen",
    ] {
        assert!(text.contains(part), "{part} is missing in:\n{text}");
    }
    assert!(
        !text.contains("<script") && !text.contains("<b>2"),
        "{text}"
    );
}

#[tokio::test]
async fn the_network_may_look_but_not_touch() {
    let (_folder, url, _client) = running().await;
    for path in ["api/v1/fleet", "api/v1/commands", "api/v1/events"] {
        assert_eq!(
            reqwest::get(format!("{url}/{path}"))
                .await
                .unwrap()
                .status(),
            404,
            "{path}"
        );
    }
    assert_eq!(
        reqwest::get(format!("{url}/healthz"))
            .await
            .unwrap()
            .status(),
        200
    );
    assert_eq!(
        reqwest::get(format!("{url}/readyz"))
            .await
            .unwrap()
            .status(),
        503
    );
}

#[tokio::test]
async fn the_socket_is_private_and_not_stolen_from_the_living() {
    use std::os::unix::fs::PermissionsExt as _;
    let (folder, _, _client) = running().await;
    let socket = folder.path().join("plumb.sock");
    let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    let error = crate::http::Listeners::open(&socket, None, None)
        .await
        .err()
        .unwrap();
    assert!(
        error
            .render(crate::output::Palette::plain())
            .contains("another controller listens")
    );
}

#[tokio::test]
async fn a_dead_controllers_socket_is_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("plumb.sock");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    assert!(socket.exists());
    assert!(
        crate::http::Listeners::open(&socket, None, None)
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn a_name_that_was_pointed_here_is_refused_on_the_network_and_not_on_the_socket() {
    let (_folder, url, client) = running().await;
    let http = reqwest::Client::new();
    let ask = async |host: &str, path: &str| {
        let request = http.get(format!("{url}/{path}")).header("host", host);
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    for path in ["", "metrics", "healthz", "readyz", "nothing"] {
        let (status, text) = ask("evil.example", path).await;
        assert_eq!(status, 421, "{path}");
        assert!(
            text.contains("\"evil.example\"") && text.contains("`url`"),
            "{text}"
        );
    }
    assert_eq!(ask("plumb.example:80", "healthz").await.0, 200);
    assert_eq!(ask("localhost", "healthz").await.0, 200);
    assert!(client.fleet().await.is_ok(), "the CLI calls it `plumb`");
}
