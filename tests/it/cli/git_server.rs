//! A git server over https: `git http-backend` behind a login, and addresses that lead elsewhere. Also the
//! other servers that a controller talks to: a proxy, and receivers of alerts.

use std::io::{BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// The folder of the servers' certificate and of the authority that made it.
fn tls() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("it/cli/tls")
}

/// The authority to believe, for `SSL_CERT_FILE`.
pub(crate) fn authority() -> PathBuf {
    tls().join("ca.pem")
}

/// A request as a server saw it.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    query: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut all = self.headers.iter();
        all.find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// Returns what the receiver shows to people: the body.
    pub(crate) fn content(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Reads a request; `None` if the peer sent none.
    fn read(from: &mut impl std::io::BufRead) -> Option<Self> {
        let mut line = String::new();
        from.read_line(&mut line).ok()?;
        let mut words = line.split_whitespace();
        let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            from.read_line(&mut line).ok()?;
            let Some((name, value)) = line.trim_end().split_once(':') else {
                break;
            };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut request = Self {
            method,
            path: path.to_owned(),
            query: query.to_owned(),
            headers,
            body: Vec::new(),
        };
        if let Some(length) = request.header("content-length") {
            request.body = vec![0; length.parse().ok()?];
            from.read_exact(&mut request.body).ok()?;
        } else if request.header("transfer-encoding") == Some("chunked") {
            loop {
                let mut line = String::new();
                from.read_line(&mut line).ok()?;
                let length = usize::from_str_radix(line.trim(), 16).ok()?;
                let mut chunk = vec![0; length + 2];
                from.read_exact(&mut chunk).ok()?;
                if length == 0 {
                    break;
                }
                request.body.extend_from_slice(&chunk[..length]);
            }
        }
        Some(request)
    }
}

/// An answer, without its length.
pub(crate) fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let mut text = format!(
        "HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n"
    )
    .into_bytes();
    text.extend_from_slice(body);
    text
}

/// A server on this machine, and what it was asked.
pub(crate) struct Server {
    pub(crate) port: u16,
    asked: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// Serves over https.
    pub(crate) fn https(serve: impl Fn(&Request) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let chain = CertificateDer::pem_file_iter(tls().join("server.pem"))
            .unwrap()
            .collect::<Result<Vec<_>, _>>()
            .unwrap();
        let key = PrivateKeyDer::from_pem_file(tls().join("server.key")).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let config = Arc::new(config);
        Self::start(serve, move |stream| {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            Box::new(StreamOwned::new(connection, stream))
        })
    }

    /// Serves without encryption.
    pub(crate) fn http(serve: impl Fn(&Request) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::start(serve, |stream| Box::new(stream))
    }

    fn start(
        serve: impl Fn(&Request) -> Vec<u8> + Send + Sync + 'static,
        wrap: impl Fn(TcpStream) -> Box<dyn ReadWrite> + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::<Mutex<Vec<Request>>>::default();
        let (serve, seen) = (Arc::new(serve), Arc::clone(&asked));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = wrap(stream.unwrap());
                let (serve, seen) = (Arc::clone(&serve), Arc::clone(&seen));
                thread::spawn(move || {
                    let mut stream = BufReader::new(stream);
                    let Some(request) = Request::read(&mut stream) else {
                        return;
                    };
                    seen.lock().unwrap().push(request.clone());
                    let answer = serve(&request);
                    let mut stream = stream.into_inner();
                    let _ = stream.write_all(&answer).and_then(|()| stream.flush());
                    stream.end();
                });
            }
        });
        Self { port, asked }
    }

    /// A proxy that wants this login and leads to any port of this machine.
    pub(crate) fn proxy(login: &str) -> Self {
        let wanted = format!("Basic {}", base64(login.as_bytes()));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::<Mutex<Vec<Request>>>::default();
        let seen = Arc::clone(&asked);
        thread::spawn(move || {
            for client in listener.incoming() {
                let (wanted, seen) = (wanted.clone(), Arc::clone(&seen));
                thread::spawn(move || {
                    let client = client.unwrap();
                    let mut reader = BufReader::new(client.try_clone().unwrap());
                    let Some(request) = Request::read(&mut reader) else {
                        return;
                    };
                    seen.lock().unwrap().push(request.clone());
                    let mut client = client;
                    if request.header("proxy-authorization") != Some(&*wanted) {
                        let refusal = answer("407 Proxy Authentication Required", "", b"");
                        let _ = client.write_all(&refusal);
                        return;
                    }
                    let port = request.path.rsplit_once(':').unwrap().1.parse().unwrap();
                    let Ok(target) = TcpStream::connect(("127.0.0.1", port)) else {
                        let _ = client.write_all(&answer("502 Bad Gateway", "", b""));
                        return;
                    };
                    client
                        .write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
                        .unwrap();
                    let mut back = (target.try_clone().unwrap(), client.try_clone().unwrap());
                    thread::spawn(move || {
                        let _ = std::io::copy(&mut back.0, &mut back.1);
                        let _ = back.1.shutdown(Shutdown::Both);
                    });
                    let mut target = target;
                    let _ = std::io::copy(&mut reader, &mut target);
                    let _ = target.shutdown(Shutdown::Write);
                });
            }
        });
        Self { port, asked }
    }

    /// Everything that it was asked.
    pub(crate) fn asked(&self) -> Vec<Request> {
        self.asked.lock().unwrap().clone()
    }
}

/// A connection of either sort.
trait ReadWrite: Read + Write + Send {
    /// Tells the peer that nothing more comes.
    fn end(&mut self);
}

impl ReadWrite for TcpStream {
    fn end(&mut self) {
        let _ = self.shutdown(Shutdown::Write);
    }
}

impl ReadWrite for StreamOwned<ServerConnection, TcpStream> {
    fn end(&mut self) {
        self.conn.send_close_notify();
        let _ = self.flush();
        let _ = self.sock.shutdown(Shutdown::Write);
    }
}

/// Serves the bare repositories below `root` at `/NAME.git`, to this login alone.
pub(crate) fn repository(root: &Path, login: &str) -> impl Fn(&Request) -> Vec<u8> + use<> {
    let wanted = format!("Basic {}", base64(login.as_bytes()));
    let root = root.to_owned();
    move |request| {
        if request.header("authorization") != Some(&*wanted) {
            return answer(
                "401 Unauthorized",
                "www-authenticate: Basic realm=\"git\"\r\n",
                b"",
            );
        }
        backend(&root, request)
    }
}

/// Runs `git http-backend` for a request.
fn backend(root: &Path, request: &Request) -> Vec<u8> {
    let header = |name| request.header(name).unwrap_or_default().to_owned();
    let mut backend = Command::new("git")
        .arg("http-backend")
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_COUNT", "1")
        .env("GIT_CONFIG_KEY_0", "safe.directory")
        .env("GIT_CONFIG_VALUE_0", "*")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REQUEST_METHOD", &request.method)
        .env("PATH_INFO", &request.path)
        .env("QUERY_STRING", &request.query)
        .env("CONTENT_TYPE", header("content-type"))
        .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
        .env("HTTP_GIT_PROTOCOL", header("git-protocol"))
        .env("GIT_PROTOCOL", header("git-protocol"))
        .env("CONTENT_LENGTH", request.body.len().to_string())
        .env("REMOTE_USER", "bob")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let mut input = backend.stdin.take().unwrap();
    let body = request.body.clone();
    let writing = thread::spawn(move || input.write_all(&body));
    let output = backend.wait_with_output().unwrap();
    let _ = writing.join();
    let end = output
        .stdout
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap();
    let head = String::from_utf8_lossy(&output.stdout[..end]).into_owned();
    let mut status = "200 OK".to_owned();
    let mut headers = String::new();
    for line in head.lines() {
        match line.split_once(": ") {
            Some(("Status", value)) => value.clone_into(&mut status),
            _ => headers.extend([line, "\r\n"]),
        }
    }
    answer(&status, &headers, &output.stdout[end + 4..])
}

/// The form of a login in a header.
pub(crate) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let all = three
            .iter()
            .chain(&[0, 0])
            .take(3)
            .fold(0_usize, |all, byte| (all << 8) | usize::from(*byte));
        for at in 0..4 {
            let digit = DIGITS[(all >> (18 - 6 * at)) & 63];
            text.push(if at > three.len() {
                '='
            } else {
                char::from(digit)
            });
        }
    }
    text
}
