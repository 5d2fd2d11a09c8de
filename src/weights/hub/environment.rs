//! The variables that Python's `huggingface_hub` reads, by the same rules, so that both find the same files.

use std::env;
use std::path::PathBuf;

/// A variable that says something.
fn variable(name: &str) -> Option<String> {
    env::var(name).ok().map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
}

/// Where everything of the hub lies.
fn home() -> Option<PathBuf> {
    let caches = || variable("XDG_CACHE_HOME").map(PathBuf::from).or_else(|| Some(env::home_dir()?.join(".cache")));
    variable("HF_HOME").map(PathBuf::from).or_else(|| Some(caches()?.join("huggingface")))
}

/// The folder of the cache, unless this user has no home.
pub(super) fn cache() -> Option<PathBuf> {
    variable("HF_HUB_CACHE").map(PathBuf::from).or_else(|| Some(home()?.join("hub")))
}

/// The user's token: from the variable, else from the file that `hf auth login` writes.
pub(super) fn token() -> Option<String> {
    variable("HF_TOKEN").or_else(|| hf_hub::Cache::new(home()?.join("hub")).token())
}

/// Address of the hub.
pub(super) fn endpoint() -> String {
    variable("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".to_owned())
}

/// Whether nobody is to be asked.
pub(super) fn offline() -> bool {
    variable("HF_HUB_OFFLINE").is_some_and(|value| ["1", "ON", "YES", "TRUE"].contains(&&*value.to_uppercase()))
}

/// Files and folders of the certificates that alone are trusted, as a company's network wants it; none for the system's.
/// OpenSSL and httpx read the first two, requests and curl the others.
pub(super) fn certificates() -> Vec<PathBuf> {
    let names = ["SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"];
    names.into_iter().filter_map(variable).flat_map(|paths| env::split_paths(&paths).collect::<Vec<_>>()).collect()
}
