//! The HTTP listeners: a Unix socket for the CLI, and a TCP address for everyone.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;

use super::api;
use super::names::{self, AllowedHosts};
use super::view::ControllerApi;
use crate::report::{Failure, OrFail as _};

/// The open sockets, before anything is served on them. The controller opens them before it starts to work,
/// so that a second controller fails early.
pub struct Listeners {
    unix: UnixListener,
    path: PathBuf,
    tcp: Option<(TcpListener, AllowedHosts)>,
}

impl Listeners {
    /// Opens both sockets. `url` is the page's public address: on TCP, requests for any other host name are
    /// refused, except `localhost` and addresses of this machine.
    ///
    /// # Errors
    /// Fails if a socket is in use or can't be opened.
    pub async fn open(
        socket: &Path,
        listen: Option<SocketAddr>,
        url: Option<&str>,
    ) -> Result<Self, Failure> {
        let unix = open_unix(socket).await?;
        let tcp = match listen {
            Some(at) => {
                let tcp = TcpListener::bind(at).await.map_err(|error| {
                    Failure::new(format!("cannot listen on {at}"))
                        .because(&error)
                        .hint("set `listen` in the controller's configuration to another address")
                })?;
                Some((tcp, AllowedHosts::new(at, url)))
            }
            None => None,
        };
        Ok(Self {
            unix,
            path: socket.to_owned(),
            tcp,
        })
    }

    /// Returns the TCP address. If port 0 was configured, it has the port that the system chose.
    pub fn address(&self) -> Option<SocketAddr> {
        self.tcp.as_ref().and_then(|(tcp, _)| tcp.local_addr().ok())
    }
}

const SOCKET_HINT: &str = "set `socket` in the controller's configuration to another path; packaging/plumb-controller.service makes systemd create the default folder";

async fn open_unix(path: &Path) -> Result<UnixListener, Failure> {
    let shown = path.display();
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)
            .or_fail(|| format!("cannot create the socket's folder {}", folder.display()))
            .map_err(|failure| failure.hint(SOCKET_HINT))?;
    }
    // The socket file remains after a controller was killed. If something answers on it, another controller
    // is running.
    if tokio::net::UnixStream::connect(path).await.is_ok() {
        return Err(
            Failure::new(format!("another controller listens on {shown}"))
                .hint("stop it first, or give this one another `socket`"),
        );
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(
                Failure::new(format!("cannot remove the old socket {shown}")).because(&error),
            );
        }
        _ => {}
    }
    let listener = UnixListener::bind(path)
        .or_fail(|| format!("cannot open the socket {shown}"))
        .map_err(|failure| failure.hint(SOCKET_HINT))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))
        .or_fail(|| format!("cannot restrict the permissions of the socket {shown}"))?;
    Ok(listener)
}

/// Serves until `stop` becomes true, and then finishes the open requests.
///
/// # Errors
/// Fails if a listener fails.
pub async fn serve(
    listeners: Listeners,
    view: Arc<dyn ControllerApi>,
    stop: watch::Receiver<bool>,
) -> io::Result<()> {
    let until = |mut stop: watch::Receiver<bool>| async move {
        // A dropped sender also means to stop.
        let _ = stop.wait_for(|stop| *stop).await;
    };
    let unix = axum::serve(listeners.unix, api::private(view.clone()))
        .with_graceful_shutdown(until(stop.clone()));
    let result = match listeners.tcp {
        Some((tcp, names)) => {
            let guard = axum::middleware::from_fn_with_state(names, names::check);
            let router = api::public(view).layer(guard);
            let tcp = axum::serve(tcp, router).with_graceful_shutdown(until(stop));
            tokio::try_join!(async { unix.await }, async { tcp.await }).map(|_| ())
        }
        None => unix.await,
    };
    // Without the file, the CLI can tell that no controller is running. The next controller would remove it
    // too.
    let _ = std::fs::remove_file(listeners.path);
    result
}
