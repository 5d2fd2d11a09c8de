//! The environment variables of Python's `huggingface_hub`, read by the same rules, so that both find the same files.

use std::env;
use std::path::PathBuf;

/// The value of a variable, unless it is empty.
fn variable(name: &str) -> Option<String> {
    env::var(name).ok().map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
}

/// The first variable that names a folder. Replaces `~`, which no shell expands in a settings file.
fn folder(names: &[&str]) -> Option<PathBuf> {
    let path = PathBuf::from(names.iter().find_map(|name| variable(name))?);
    match (path.strip_prefix("~"), env::home_dir()) {
        (Ok(rest), Some(home)) => Some(home.join(rest)),
        _ => Some(path),
    }
}

/// Folder of all the hub's files.
fn home() -> Option<PathBuf> {
    let caches = || folder(&["XDG_CACHE_HOME"]).or_else(|| Some(env::home_dir()?.join(".cache")));
    folder(&["HF_HOME"]).or_else(|| Some(caches()?.join("huggingface")))
}

/// The folder of the cache; `None` for a user without a home folder.
pub(super) fn cache() -> Option<PathBuf> {
    folder(&["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"]).or_else(|| Some(home()?.join("hub")))
}

/// The user's token: from the variable, else from the file that `hf auth login` writes.
pub(super) fn token() -> Option<String> {
    let named = variable("HF_TOKEN").or_else(|| variable("HUGGING_FACE_HUB_TOKEN"));
    named.or_else(|| hf_hub::Cache::new(home()?.join("hub")).token())
}

/// Address of the hub.
pub(super) fn endpoint() -> String {
    variable("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".to_owned())
}

/// Whether the network must not be used.
pub(super) fn offline() -> bool {
    let said = variable("HF_HUB_OFFLINE").or_else(|| variable("TRANSFORMERS_OFFLINE"));
    said.is_some_and(|value| ["1", "ON", "YES", "TRUE"].contains(&&*value.to_uppercase()))
}

/// Files and folders of trusted certificates, as a company's network needs them; empty for the system's certificates.
/// OpenSSL and httpx read the first two variables, requests and curl the last two.
pub(super) fn certificates() -> Vec<PathBuf> {
    let names = ["SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"];
    names.into_iter().filter_map(variable).flat_map(|paths| env::split_paths(&paths).collect::<Vec<_>>()).collect()
}
