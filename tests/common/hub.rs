//! A local Hugging Face hub with one repository: it answers as the real one does, or with a fault that a test sets.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use sha2::{Digest, Sha256};

/// The one repository's newest commit.
pub(crate) const COMMIT: &str = "1234567890abcdef1234567890abcdef12345678";
/// Git's object hash of the small file, which is not checked.
const GIT_NUMBER: &str = "00000000000000000000000000000000000000aa";

/// A fault of the hub.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Fault {
    None,
    /// Every request gets this status.
    Status(u16),
    /// Requests get no answer.
    Silent,
    /// After this many bytes of the weights the hub stalls until another fault is set, and then sends the rest.
    Stalls(usize),
    /// The connection ends after this many bytes of the weights.
    Cut(usize),
    /// One bit of the weights is flipped.
    Damaged,
    /// A request for a range gets the whole file.
    NoRanges,
    /// The answers have no headers of the hub.
    NoHub,
    /// The content's name leads out of the cache.
    Traversal,
}

/// A request that arrived.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) range: Option<String>,
    pub(crate) authorization: Option<String>,
}

struct State {
    weights: Vec<u8>,
    sha256: String,
    config: Option<String>,
    fault: Mutex<Fault>,
    /// Wakes stalled connections when the fault changes.
    mended: Condvar,
    requests: Mutex<Vec<Request>>,
    url: String,
    /// Address of large files: by its name it is another host.
    store: String,
}

/// Serves `acme/small` until the process ends.
pub(crate) struct Hub(Arc<State>);

impl Hub {
    pub(crate) fn new(weights: Vec<u8>, config: Option<&str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (url, store) = (format!("http://{address}"), format!("http://localhost:{}", address.port()));
        let (fault, mended, requests) = (Mutex::new(Fault::None), Condvar::new(), Mutex::default());
        let sha256 = Sha256::digest(&weights).iter().map(|byte| format!("{byte:02x}")).collect();
        let state =
            Arc::new(State { weights, sha256, config: config.map(str::to_owned), fault, mended, requests, url, store });
        let theirs = state.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let state = theirs.clone();
                // Some tests' clients hang up.
                thread::spawn(move || drop(state.answer(&stream.unwrap())));
            }
        });
        Self(state)
    }

    pub(crate) fn url(&self) -> &str {
        &self.0.url
    }

    /// Address of the same hub over HTTPS, with a certificate signed by an unknown authority.
    pub(crate) fn secure_url(&self) -> String {
        let pem = |name: &str| format!("{}/tests/tls/{name}", env!("CARGO_MANIFEST_DIR"));
        let certificate = CertificateDer::from_pem_file(pem("server.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_file(pem("server.key")).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = Arc::new(config.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let hub = self.url().trim_start_matches("http://").to_owned();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (config, hub) = (config.clone(), hub.clone());
                // Clients that do not trust the certificate hang up.
                thread::spawn(move || drop(hand_on(config, stream.unwrap(), &hub)));
            }
        });
        url
    }

    /// Sets the fault from now on.
    pub(crate) fn set(&self, fault: Fault) {
        *self.0.fault.lock().unwrap() = fault;
        self.0.mended.notify_all();
    }

    /// The requests since the last call.
    pub(crate) fn requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.0.requests.lock().unwrap())
    }

    /// SHA-256 of the weights.
    pub(crate) fn sha256(&self) -> &str {
        &self.0.sha256
    }
}

impl State {
    fn answer(&self, stream: &TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(stream).lines();
        let first = lines.next().unwrap_or_else(|| Ok(String::new()))?;
        let [method, path, ..] = first.split(' ').collect::<Vec<_>>()[..] else { return Ok(()) };
        let mut request = Request { method: method.into(), path: path.into(), range: None, authorization: None };
        for line in lines.map_while(Result::ok).take_while(|line| !line.is_empty()) {
            match line.split_once(": ") {
                Some((name, value)) if name.eq_ignore_ascii_case("range") => request.range = Some(value.into()),
                Some((name, value)) if name.eq_ignore_ascii_case("authorization") => {
                    request.authorization = Some(value.into());
                }
                _ => {}
            }
        }
        self.requests.lock().unwrap().push(request.clone());
        let fault = *self.fault.lock().unwrap();
        if fault == Fault::Silent {
            self.wait(fault);
            return Ok(());
        }
        self.reply(stream, &request, fault)
    }

    /// Waits until another fault is set.
    fn wait(&self, fault: Fault) {
        let now = self.fault.lock().unwrap();
        drop(self.mended.wait_while(now, |now| *now == fault).unwrap());
    }

    fn reply(&self, mut stream: &TcpStream, request: &Request, fault: Fault) -> std::io::Result<()> {
        let commit = format!("X-Repo-Commit: {COMMIT}\r\n");
        let small = format!("/api/resolve-cache/models/acme/small/{COMMIT}/config.json");
        let large = format!("/cdn/{}", self.sha256);
        let of_repository = request.path.strip_prefix("/acme/small/resolve/").and_then(|rest| rest.split_once('/'));
        let known = of_repository.filter(|(revision, _)| ["main", "refs%2Fpr%2F1", COMMIT].contains(revision));
        if let Fault::Status(status) = fault {
            return head(stream, status, "Content-Length: 0\r\n");
        }
        match (known.map(|(_, file)| file), &self.config) {
            (Some("model.safetensors"), _) => {
                let etag = if fault == Fault::Traversal { "../../../gone" } else { &*self.sha256 };
                let mut headers = format!("Location: {}{large}\r\nContent-Length: 0\r\n", self.store);
                if fault != Fault::NoHub {
                    write!(headers, "{commit}X-Linked-Etag: \"{etag}\"\r\nX-Linked-Size: {}\r\n", self.weights.len())
                        .unwrap();
                }
                head(stream, 302, &headers)
            }
            (Some("config.json"), Some(_)) => head(stream, 307, &format!("Location: {small}\r\nContent-Length: 0\r\n")),
            (_, Some(config)) if request.path == small => {
                head(stream, 200, &format!("{commit}ETag: \"{GIT_NUMBER}\"\r\nContent-Length: {}\r\n", config.len()))?;
                if request.method == "HEAD" { Ok(()) } else { stream.write_all(config.as_bytes()) }
            }
            _ if request.path == large => self.send(stream, request, fault),
            _ => head(stream, 404, "X-Error-Code: EntryNotFound\r\nContent-Length: 0\r\n"),
        }
    }

    /// Sends the weights as a store of large files does.
    fn send(&self, mut stream: &TcpStream, request: &Request, fault: Fault) -> std::io::Result<()> {
        let total = self.weights.len();
        let range = request.range.as_deref().filter(|_| fault != Fault::NoRanges);
        let from = range.map(|range| range.trim_start_matches("bytes=").trim_end_matches('-').parse().unwrap());
        let first: usize = from.unwrap_or(0);
        let mut bytes = self.weights[first..].to_vec();
        if fault == Fault::Damaged {
            bytes[total / 2] ^= 1;
        }
        let mut headers = format!("Accept-Ranges: bytes\r\nContent-Length: {}\r\n", total - first);
        if from.is_some() {
            write!(headers, "Content-Range: bytes {first}-{}/{total}\r\n", total - 1).unwrap();
        }
        head(stream, if from.is_some() { 206 } else { 200 }, &headers)?;
        let (Fault::Cut(sent) | Fault::Stalls(sent)) = fault else { return stream.write_all(&bytes) };
        stream.write_all(&bytes[..sent])?;
        stream.flush()?;
        if matches!(fault, Fault::Cut(_)) {
            return Ok(());
        }
        self.wait(fault);
        stream.write_all(&bytes[sent..])
    }
}

/// Forwards one request to the hub, and its answer back.
fn hand_on(config: Arc<ServerConfig>, stream: TcpStream, hub: &str) -> std::io::Result<()> {
    let mut client = StreamOwned::new(ServerConnection::new(config).map_err(std::io::Error::other)?, stream);
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte)?;
        request.push(byte[0]);
    }
    let mut hub = TcpStream::connect(hub)?;
    hub.write_all(&request)?;
    std::io::copy(&mut hub, &mut client)?;
    client.conn.send_close_notify();
    client.flush()
}

fn head(mut stream: &TcpStream, status: u16, headers: &str) -> std::io::Result<()> {
    stream.write_all(format!("HTTP/1.1 {status} Status\r\nConnection: close\r\n{headers}\r\n").as_bytes())
}
