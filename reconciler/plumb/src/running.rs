//! Implements the HTTP server's [`View`] for a running controller.

use futures::FutureExt as _;
use futures::future::BoxFuture;
use plumb_api::HostName;
use plumb_controller::{CommandError, Handle};
use plumb_core::fleet::MetricsSnapshot;

use crate::http::{Command, Done, Event, Fleet, Refused, View};

/// The largest number of events in an answer.
const EVENTS: usize = 200;

/// A running controller, behind the [`View`] that HTTP serves.
pub(crate) struct Running {
    handle: Handle,
}

impl Running {
    /// Wraps the handle of a running controller.
    pub(crate) fn new(handle: Handle) -> Self {
        Self { handle }
    }
}

impl View for Running {
    fn fleet(&self) -> BoxFuture<'_, Fleet> {
        std::future::ready(self.handle.fleet()).boxed()
    }

    fn events(&self, host: Option<HostName>) -> BoxFuture<'_, Vec<Event>> {
        std::future::ready(self.handle.events(host.as_ref(), EVENTS)).boxed()
    }

    fn metrics(&self) -> MetricsSnapshot {
        self.handle.view().metrics()
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
                Command::Forget {
                    host,
                    address: Some(address),
                } => {
                    let letting = self.handle.let_go(host.clone(), address.clone());
                    letting.await.map_err(refused)?;
                    Ok(Done {
                        message: format!("{host} drops {address} from its ledger at a run that begins now; it stays as it is"),
                        hosts: vec![host],
                    })
                }
                Command::Forget {
                    host,
                    address: None,
                } => {
                    self.handle.forget(host.clone()).await.map_err(refused)?;
                    // A host that git still has isn't removed; only the record of its ledger is dropped.
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

/// Removes the login from an address, which everyone who may open the page can see.
pub(crate) fn without_login(url: &str) -> String {
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
