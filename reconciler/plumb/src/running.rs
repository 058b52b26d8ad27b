//! A running controller as HTTP shows it.

use std::collections::BTreeMap;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use plumb_api::HostName;
use plumb_controller::{CommandError, FleetView, Handle, HeldView, MetricsSnapshot};
use plumb_trust::Reason;

use crate::http::{
    AlertState, Command, Done, Event, EventKind, Fleet, Held, HostObject, Metadata, Refused,
    Revision, Rollout, Source, View,
};

/// How many events are shown at once.
const EVENTS: usize = 200;

/// A running controller, and what it can't know of itself.
pub(crate) struct Running {
    handle: Handle,
    url: String,
    reference: String,
}

impl Running {
    /// The view of a controller that follows this branch of this repository.
    pub(crate) fn new(handle: Handle, url: &str, reference: &str) -> Self {
        Self {
            handle,
            url: without_login(url),
            reference: reference.to_owned(),
        }
    }

    fn show(&self, view: FleetView) -> Fleet {
        let on = |commit: &str| {
            let hosts = view
                .hosts
                .iter()
                .filter(|host| host.status.revision.as_deref() == Some(commit));
            u32::try_from(hosts.count()).unwrap_or(u32::MAX)
        };
        let revisions = view
            .revisions
            .iter()
            .map(|revision| Revision {
                commit: revision.commit.clone(),
                verdict: revision.verdict.clone(),
                time: revision.time,
                summary: revision.summary.clone(),
                reasons: revision.reasons.clone(),
                hosts: on(&revision.commit),
            })
            .collect();
        let failed = view.rollout.failed.iter();
        let failed: BTreeMap<_, _> = failed
            .map(|(host, why)| (host.clone(), format!("{why:?}")))
            .collect();
        Fleet {
            name: view.name,
            version: view.version,
            now: view.now,
            source: Source {
                url: self.url.clone(),
                reference: self.reference.clone(),
                head: view.source.head,
                accepted: view.source.accepted,
                held: view.source.held.map(held),
                last_fetch: view.source.last_fetch,
                last_look: view.source.last_look,
                revoked: view.source.revoked,
                revoked_by_tags: view.source.revoked_by_tags,
                conditions: view.source.conditions,
            },
            hosts: view
                .hosts
                .into_iter()
                .map(|host| HostObject {
                    api_version: "plumb.dev/v1alpha1".to_owned(),
                    kind: "Host".to_owned(),
                    metadata: Metadata {
                        name: host.status.host.clone(),
                        labels: host.labels,
                    },
                    status: host.status,
                })
                .collect(),
            revisions,
            alerts: view
                .alerts
                .into_iter()
                .map(|alert| AlertState {
                    summary: alert
                        .annotations
                        .get("summary")
                        .cloned()
                        .unwrap_or_default(),
                    labels: alert.labels,
                    since: alert.since,
                })
                .collect(),
            rollout: Rollout {
                revision: view.rollout.revision,
                halted: view.rollout.halted,
                on_their_way: view.rollout.on_their_way,
                failed,
            },
        }
    }
}

impl View for Running {
    fn fleet(&self) -> BoxFuture<'_, Fleet> {
        async { self.show(self.handle.fleet()) }.boxed()
    }

    fn events(&self, host: Option<HostName>) -> BoxFuture<'_, Vec<Event>> {
        async move {
            let events = self.handle.events(host.as_ref(), EVENTS);
            events.into_iter().map(shown).collect()
        }
        .boxed()
    }

    fn metrics(&self) -> MetricsSnapshot {
        self.handle.metrics()
    }

    fn ready(&self) -> bool {
        self.handle.is_ready()
    }

    fn tell(&self, command: Command) -> BoxFuture<'_, Result<Done, Refused>> {
        async move {
            let refused = |error: CommandError| Refused {
                hint: error.hint().map(str::to_owned),
                message: error.to_string(),
            };
            match command {
                Command::Notify => self.handle.notify().map_err(refused).map(|()| Done {
                    message: "fetching".to_owned(),
                    hosts: Vec::new(),
                }),
                Command::Reconcile { hosts } => {
                    let hosts = self.handle.reconcile(hosts).await.map_err(refused)?;
                    let message = match hosts.as_slice() {
                        [] => "there are no hosts to look at".to_owned(),
                        [one] => format!("looking at {one}"),
                        many => format!("looking at {} hosts", many.len()),
                    };
                    Ok(Done { message, hosts })
                }
                Command::Forget { host } => {
                    self.handle.forget(host.clone()).await.map_err(refused)?;
                    // One that git still has stays, and is met as if for the first time.
                    let message = match self.handle.host(&host) {
                        None => format!("{host} is forgotten"),
                        Some(_) => format!("{host} is in git and stays; what was known of it is forgotten, and it is met anew"),
                    };
                    Ok(Done {
                        message,
                        hosts: vec![host],
                    })
                }
            }
        }
        .boxed()
    }
}

fn shown(event: plumb_controller::Event) -> Event {
    Event {
        time: event.time,
        kind: match event.kind {
            plumb_controller::EventKind::Normal => EventKind::Normal,
            plumb_controller::EventKind::Warning => EventKind::Warning,
        },
        host: event.host,
        reason: event.reason,
        message: event.message,
        revision: event.revision,
    }
}

fn held(view: HeldView) -> Held {
    Held {
        commit: view.commit,
        verdict: view.verdict,
        reasons: view.reasons.iter().map(sentence).collect(),
        codes: view
            .reasons
            .iter()
            .map(|reason| reason.code.to_string())
            .collect(),
    }
}

/// A reason for those who may look at the page: what is missing, and not who could give it.
fn sentence(reason: &Reason) -> String {
    format!("{reason} [{}]", reason.code)
}

/// An address without what logs in: it is shown to everyone who may look at the page.
fn without_login(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
            format!("{scheme}://{host}{path}")
        }
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_arent_shown() {
        for (url, shown) in [
            (
                "https://user:secret@git.example/a@b.git",
                "https://git.example/a@b.git",
            ),
            (
                "ssh://git@git.example/fleet.git",
                "ssh://git.example/fleet.git",
            ),
            ("git@git.example:fleet.git", "git@git.example:fleet.git"),
            ("/srv/fleet.git", "/srv/fleet.git"),
        ] {
            assert_eq!(without_login(url), shown);
        }
    }
}
