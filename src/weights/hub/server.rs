//! Requests to the hub: facts on a file, and its bytes.

use std::io::{self, Read};

use ureq::config::RedirectAuthHeaders;
use ureq::http::{HeaderMap, StatusCode, Uri, header};
use ureq::tls::TlsConfig;
use ureq::typestate::WithoutBody;
use ureq::{Agent, RequestBuilder};

use super::repository::is_hex;
use super::{Error, HubOptions, Repository, environment, trust};

/// The hub redirects once for another spelling of a name and once to the store of a file.
const MAX_REDIRECTS: usize = 5;

/// One repository on the hub.
pub(super) struct Server {
    agent: Agent,
    /// Address of the repository.
    url: String,
    token: Option<String>,
}

/// What the hub reports about a file.
pub(super) struct Remote {
    /// The commit that the revision resolves to.
    pub(super) commit: String,
    /// Names the file's content: SHA-256 of a large file, git's object hash of a small one.
    pub(super) etag: String,
    /// Length in bytes.
    pub(super) bytes: u64,
    /// Address of its bytes.
    pub(super) url: String,
}

impl Remote {
    /// The file's SHA-256 in hexadecimal, if the hub reports it.
    pub(super) fn sha256(&self) -> Option<&str> {
        is_hex(&self.etag, 64).then_some(&*self.etag)
    }
}

impl Server {
    pub(super) fn new(repository: &Repository<'_>, options: &HubOptions<'_>) -> Result<Self, Error> {
        let patience = Some(options.patience);
        // A file is large and the connection may be slow, so the time-out bounds each pause, not the whole download.
        // The token goes to the hub alone, not to the stores that it redirects to.
        let agent = Agent::config_builder()
            .tls_config(TlsConfig::builder().root_certs(trust::roots()?).build())
            .timeout_resolve(patience)
            .timeout_connect(patience)
            .timeout_recv_response(patience)
            .timeout_per_read(patience)
            .http_status_as_error(false)
            .redirect_auth_headers(RedirectAuthHeaders::SameHost)
            .user_agent(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        let endpoint = options.endpoint.map_or_else(environment::endpoint, str::to_owned);
        let token = options.token.map(str::to_owned).or_else(environment::token);
        Ok(Self { agent, url: format!("{}/{}", endpoint.trim_end_matches('/'), repository.name), token })
    }

    /// Address of a file.
    pub(super) fn url(&self, revision: &str, file: &str) -> String {
        format!("{}/resolve/{}/{file}", self.url, revision.replace('/', "%2F"))
    }

    /// Asks the hub about a file at a revision.
    pub(super) fn about(&self, revision: &str, file: &str) -> Result<Remote, Error> {
        let url = self.url(revision, file);
        let mut at = url.clone();
        for _ in 0..MAX_REDIRECTS {
            let question = self.authorised(self.agent.head(&at)).config().max_redirects(0).build();
            let answer = question.call().map_err(|e| unreachable(&url, e))?;
            let to = text(answer.headers(), header::LOCATION.as_str());
            match to.filter(|to| answer.status().is_redirection() && to.starts_with('/') && !to.starts_with("//")) {
                // A redirect within the hub: the new address reports the file. A redirect to a store carries the report
                // itself.
                Some(to) => at = beside(&at, to).ok_or_else(|| odd(&url, "it redirects to nowhere"))?,
                None => {
                    refuse(&url, answer.status())?;
                    return self.remote(file, &url, answer.headers());
                }
            }
        }
        Err(odd(&url, "it redirects in circles"))
    }

    /// Reads the facts on a file from the headers of an answer. They become file names in the cache, so they are
    /// checked.
    fn remote(&self, file: &str, url: &str, headers: &HeaderMap) -> Result<Remote, Error> {
        let either = |linked, own| text(headers, linked).or_else(|| text(headers, own));
        let commit = text(headers, "x-repo-commit").filter(|commit| is_hex(commit, 40));
        let etag = either("x-linked-etag", "etag").map(|etag| etag.trim_start_matches("W/").trim_matches('"'));
        let etag = etag.filter(|etag| is_hex(etag, 40) || is_hex(etag, 64));
        let bytes = either("x-linked-size", "content-length").and_then(|bytes| bytes.parse().ok());
        let (Some(commit), Some(etag), Some(bytes)) = (commit, etag, bytes) else {
            return Err(odd(url, "it does not report commit, checksum and size"));
        };
        Ok(Remote { commit: commit.to_owned(), etag: etag.to_owned(), bytes, url: self.url(commit, file) })
    }

    /// A file's bytes from `from` on, or all of them if the server does not support ranges; also returns the index of
    /// the first byte.
    pub(super) fn read(&self, remote: &Remote, from: u64) -> Result<(u64, impl Read + use<>), Error> {
        let request = self.authorised(self.agent.get(&remote.url));
        let request = if from > 0 { request.header(header::RANGE, format!("bytes={from}-")) } else { request };
        let answer = request.call().map_err(|e| unreachable(&remote.url, e))?;
        refuse(&remote.url, answer.status())?;
        let first = if answer.status() == StatusCode::PARTIAL_CONTENT { from } else { 0 };
        let range = text(answer.headers(), header::CONTENT_RANGE.as_str());
        if first > 0 && !range.is_some_and(|range| range.starts_with(&format!("bytes {first}-"))) {
            return Err(odd(&remote.url, "it sends another part of the file than asked for"));
        }
        Ok((first, answer.into_body().into_reader()))
    }

    fn authorised(&self, request: RequestBuilder<WithoutBody>) -> RequestBuilder<WithoutBody> {
        match &self.token {
            Some(token) => request.header(header::AUTHORIZATION, format!("Bearer {token}")),
            None => request,
        }
    }
}

/// A header's text.
fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Another path at the same host.
fn beside(url: &str, path: &str) -> Option<String> {
    let url: Uri = url.parse().ok()?;
    Some(format!("{}://{}{path}", url.scheme_str()?, url.authority()?))
}

/// Turns an HTTP error status into an error.
fn refuse(url: &str, status: StatusCode) -> Result<(), Error> {
    let url = url.to_owned();
    match status.as_u16() {
        401 | 403 => Err(Error::Denied { url }),
        404 => Err(Error::NotFound { url }),
        status @ 400.. => Err(Error::Status { url, status }),
        _ => Ok(()),
    }
}

fn odd(url: &str, problem: &str) -> Error {
    Error::Answer { url: url.to_owned(), problem: problem.to_owned() }
}

fn unreachable(url: &str, error: ureq::Error) -> Error {
    let (url, source) = (url.to_owned(), in_words(error));
    // Once rustls's error has passed through ureq, only its text identifies it.
    match source.to_string().split_once("invalid peer certificate: ") {
        Some((_, problem)) => Error::Untrusted { url, problem: format!("its certificate is not valid ({problem})") },
        None => Error::Unreachable { url, source },
    }
}

/// The reason of a failure, in words if ureq only has a name for it.
pub(super) fn in_words(error: impl Into<ureq::Error>) -> io::Error {
    match error.into() {
        ureq::Error::Timeout(_) => io::Error::new(io::ErrorKind::TimedOut, "it was silent for too long"),
        error => error.into_io(),
    }
}

/// Reads the lines of `input` as headers of an answer.
#[cfg(fuzzing)]
pub(crate) fn read_headers(input: &[u8]) {
    use ureq::http::{HeaderName, HeaderValue};

    let mut headers = HeaderMap::new();
    for line in input.split(|byte| *byte == b'\n') {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let name = parts.next().and_then(|name| HeaderName::from_bytes(name).ok());
        let value = parts.next().and_then(|value| HeaderValue::from_bytes(value.trim_ascii()).ok());
        if let (Some(name), Some(value), false) = (name, value, headers.len() >= 100) {
            headers.insert(name, value);
        }
    }
    let url = "https://hub.example.org/acme/small".to_owned();
    let server = Server { agent: Agent::new_with_defaults(), url, token: None };
    if let Some(to) = text(&headers, header::LOCATION.as_str()) {
        beside(&server.url, to);
    }
    if let Ok(remote) = server.remote("model.safetensors", &server.url, &headers) {
        assert!([&remote.commit, &remote.etag].iter().all(|name| name.bytes().all(|byte| byte.is_ascii_hexdigit())));
        assert_eq!(remote.url, format!("{}/resolve/{}/model.safetensors", server.url, remote.commit));
    }
}
