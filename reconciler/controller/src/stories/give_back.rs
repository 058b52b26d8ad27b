//! Give-backs that fail, failures that are told, and hosts that are left.

use plumb_api::report::{AgentError, ErrorCode};
use plumb_core::status::ConditionType::{Ready, Stalled};

use super::fixture::{Fleet, host, is};

/// A host's manifest with the usual file and these ones.
fn with_files(name: &str, paths: &[&str]) -> String {
    let text = host(name, "one", "");
    let files = paths
        .iter()
        .map(|path| format!(", {path}: {{content: \"x\"}}"));
    let more = files.collect::<Vec<_>>().concat();
    text.replace("\"one\"}}", &format!("\"one\"}}{more}}}"))
}

fn gone() -> AgentError {
    AgentError::new(ErrorCode::NotFound, "systemd knows no unit gone.service").hint("make it again")
}

fn push(fleet: &Fleet, name: &str, paths: &[&str]) {
    let text = with_files(name, paths);
    fleet
        .repository
        .push(&[(&format!("hosts/{name}.yaml"), &text)]);
    fleet.handle().notify().unwrap();
}

/// Returns the messages of the events with this reason.
fn messages(fleet: &Fleet, reason: &str) -> Vec<String> {
    let events = fleet.handle().events(None, 200);
    let events = events
        .into_iter()
        .filter(|event| event.reason.as_str() == reason);
    events.map(|event| event.message.full_text()).collect()
}

/// A fleet in which `/etc/gone` of host a was dropped and can't be given back.
async fn stuck() -> Fleet {
    let fleet = Fleet::settled(&["a", "b"]).await;
    push(&fleet, "a", &["/etc/gone"]);
    fleet
        .until("a", "ready with two files", |status| {
            is(status, Ready) && status.resources == 2
        })
        .await;
    fleet.machines.refuse("a", "/etc/gone", gone());
    push(&fleet, "a", &[]);
    fleet
        .until("a", "not giving back", |status| {
            !status.give_backs.is_empty()
        })
        .await;
    fleet
}

#[tokio::test(start_paused = true)]
async fn a_give_back_that_fails_is_told_once_and_holds_nothing_up() {
    let fleet = stuck().await;
    let status = fleet.status("a");
    assert!(is(&status, Ready) && status.failures == 0, "{status:#?}");
    assert!(
        status.failing.is_empty() && status.differing.is_empty(),
        "{status:#?}"
    );
    assert_eq!(status.give_backs[0].resource.to_string(), "file:/etc/gone");
    let message = status.conditions.get(Ready).unwrap().message.headline();
    assert!(
        message.ends_with("; not given back yet: file:/etc/gone"),
        "{message}"
    );
    // Other hosts and later commits go on, and time passes.
    fleet.push(&["b"], "two");
    push(&fleet, "a", &["/etc/new"]);
    fleet.rest(4 * 3600).await;
    assert_eq!(fleet.motd("b").as_deref(), Some("two"));
    assert!(fleet.machines.file("a", "/etc/new").is_some());
    assert_eq!(fleet.alerts(), Vec::<String>::new());
    assert_eq!(
        messages(&fleet, "GiveBackFailed"),
        [
            "file:/etc/gone can't be given back: systemd knows no unit gone.service\nmake it again\nit is tried again at each resync; run `plumb forget a file:/etc/gone` to drop it"
        ]
    );
    // It is still tried.
    fleet.machines.give_in("a");
    fleet.rest(4 * 3600).await;
    assert!(fleet.status("a").give_backs.is_empty());
    assert!(fleet.machines.file("a", "/etc/gone").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_give_back_that_fails_is_dropped_on_request() {
    let mut fleet = stuck().await;
    let a = || "a".parse().unwrap();
    let forget = |fleet: &Fleet, address: &str| {
        let handle = fleet.handle().clone();
        let address = address.parse().unwrap();
        async move { handle.let_go(a(), address).await }
    };
    let error = forget(&fleet, "file:/etc/motd").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "a has no file:/etc/motd whose original waits to be restored"
    );
    forget(&fleet, "file:/etc/gone").await.unwrap();
    // The request survives the controller.
    fleet.kill().await;
    fleet.start().await;
    fleet
        .until("a", "let go", |status| {
            is(status, Ready) && status.give_backs.is_empty()
        })
        .await;
    fleet.rest(4 * 3600).await;
    assert!(fleet.status("a").give_backs.is_empty());
    assert!(
        fleet.machines.file("a", "/etc/gone").is_some(),
        "it stays as it is"
    );
    assert!(
        messages(&fleet, "Forgotten")
            .iter()
            .any(|message| message.starts_with("file:/etc/gone is dropped")),
    );
}

#[tokio::test(start_paused = true)]
async fn every_failure_of_a_run_is_told() {
    let fleet = Fleet::settled(&["a"]).await;
    let broken = |what: &str| AgentError::new(ErrorCode::Refused, what);
    fleet
        .machines
        .refuse("a", "/etc/x", broken("a directory is in the way"));
    fleet
        .machines
        .refuse("a", "/etc/y", broken("a device is in the way"));
    push(&fleet, "a", &["/etc/x", "/etc/y", "/etc/z"]);
    fleet
        .until("a", "stalled", |status| is(status, Stalled))
        .await;
    let status = fleet.status("a");
    let told: Vec<_> = status
        .failing
        .iter()
        .map(|one| (one.resources[0].as_str(), one.message.headline()))
        .collect();
    assert_eq!(
        told,
        [
            ("file:/etc/x", "a directory is in the way"),
            ("file:/etc/y", "a device is in the way"),
        ]
    );
    assert!(status.next_run.is_some());
    let message = &status.conditions.get(Ready).unwrap().message;
    assert_eq!(
        message.full_text(),
        "file:/etc/x: a directory is in the way\n1 more fails: file:/etc/y"
    );
    assert_eq!(
        messages(&fleet, "Refused"),
        [
            "file:/etc/x: a directory is in the way",
            "file:/etc/y: a device is in the way"
        ]
    );
    fleet.machines.give_in("a");
    fleet.look("a").await;
    assert!(fleet.status("a").failing.is_empty());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_left_on_a_retired_host() {
    let fleet = Fleet::settled(&["a"]).await;
    let retired = host("a", "one", "  state: retired\n");
    fleet.repository.push(&[("hosts/a.yaml", &retired)]);
    fleet.handle().notify().unwrap();
    fleet
        .until("a", "taken back", |status| {
            is(status, Ready) && fleet.motd("a").is_none()
        })
        .await;
    let left = || fleet.machines.host("a").lock().unwrap().left;
    assert!(left());
    // It isn't contacted any more, so that no agent is put there.
    let exchanges = fleet.machines.host("a").lock().unwrap().exchanges;
    fleet.rest(4 * 3600).await;
    assert_eq!(
        fleet.machines.host("a").lock().unwrap().exchanges,
        exchanges
    );
    assert!(is(&fleet.status("a"), Ready));
    // It may come back.
    fleet.push(&["a"], "two");
    fleet
        .until("a", "driven again", |_| {
            fleet.motd("a").as_deref() == Some("two")
        })
        .await;
}
