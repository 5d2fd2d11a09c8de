//! Weights from the Hugging Face hub, in the cache that Python's `huggingface_hub` keeps.
//!
//! The hub is asked for the newest commit of a repository, and files that the cache lacks are downloaded. A file counts
//! as cached once its bytes have the checksum that the hub reports. Until then it has another name, and a later call
//! resumes the download.

mod cache;
mod download;
mod environment;
mod error;
mod repository;
mod server;
mod trust;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Told, TrainedNetwork};

use cache::Cache;
#[cfg(feature = "program")]
pub(crate) use download::sha256;
pub use error::Error;
use repository::Repository;
use server::Server;
#[cfg(fuzzing)]
pub(crate) use server::read_headers;

/// Name of the weights in timm's repositories.
const WEIGHTS: &str = "model.safetensors";
/// Name of timm's description of them.
const CONFIG: &str = "config.json";

/// Where to look for weights, and how long to wait. Fields that are not set are taken from the environment variables of
/// Python's `huggingface_hub`.
///
/// ```
/// use resnet_rs::weights::hub::HubOptions;
///
/// let progress = |there: u64, all: u64| eprint!("\r{there} of {all} bytes");
/// let endpoint = Some("https://hub.example.org");
/// let mirror = HubOptions { endpoint, progress: Some(&progress), ..HubOptions::default() };
/// ```
#[derive(Clone)]
pub struct HubOptions<'a> {
    /// Address of the hub or of a mirror [`HF_ENDPOINT`, else `https://huggingface.co`].
    pub endpoint: Option<&'a str>,
    /// Folder of the cache [`HF_HUB_CACHE`, else `hub` in `HF_HOME`, else in `.cache/huggingface` of the home folder].
    pub cache: Option<&'a Path>,
    /// Token for private and gated repositories [`HF_TOKEN`, else the file that `hf auth login` writes].
    pub token: Option<&'a str>,
    /// Do not use the network; take cached weights. `HF_HUB_OFFLINE=1` does the same.
    pub offline: bool,
    /// How long the hub may be silent before it counts as unreachable.
    pub patience: Duration,
    /// Called during the download with the bytes done and the total.
    pub progress: Option<&'a (dyn Fn(u64, u64) + Sync)>,
}

impl Default for HubOptions<'_> {
    fn default() -> Self {
        // Python gives up after 10 s; mirrors that fetch from the hub themselves take longer.
        let patience = Duration::from_secs(30);
        Self { endpoint: None, cache: None, token: None, offline: false, patience, progress: None }
    }
}

impl fmt::Debug for HubOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { endpoint, cache, token, offline, patience, progress: _ } = self;
        let mut options = f.debug_struct("HubOptions");
        options.field("endpoint", endpoint).field("cache", cache);
        // A secret must not appear in logs.
        options.field("token", &token.map(|_| "secret")).field("offline", offline).field("patience", patience);
        options.finish_non_exhaustive()
    }
}

/// Fetches the weights of `OWNER/NAME` or `OWNER/NAME@REVISION`. A revision is a branch, a tag or a commit; the default
/// is `main`. If the hub does not answer, cached weights are used, with a warning in the log.
///
/// ```no_run
/// use resnet_rs::weights::hub::{self, HubOptions};
///
/// let found = hub::fetch("timm/resnetrs50.tf_in1k", &HubOptions::default())?;
/// println!("{} classes, {} px, in {}", found.card.config.classes, found.card.res, found.path.display());
/// # Ok::<(), hub::Error>(())
/// ```
///
/// # Errors
/// An invalid name, a repository without `model.safetensors` or without read access, no answer and nothing cached, a
/// download that broke off or is not what the hub announced, or weights of a network that this crate does not know.
pub fn fetch(repository: &str, options: &HubOptions<'_>) -> Result<TrainedNetwork, Error> {
    fetch_as(repository, options, Told::default())
}

/// [`fetch`] for a caller who knows some things better.
pub(crate) fn fetch_as(repository: &str, options: &HubOptions<'_>, told: Told) -> Result<TrainedNetwork, Error> {
    Ok(TrainedNetwork::read_as(&fetch_file(repository, options)?, told)?)
}

/// The path of a repository's weights, downloaded if need be. They are not read.
pub(crate) fn fetch_file(repository: &str, options: &HubOptions<'_>) -> Result<PathBuf, Error> {
    let repository = Repository::parse(repository)?;
    let cache = Cache::new(&repository, options.cache)?;
    let offline = options.offline || environment::offline();
    let folder = match cache.snapshot(&repository) {
        // The content of a commit does not change.
        Some(folder) if offline || repository.is_commit() => folder,
        None if offline => return Err(Error::NotCached { repository: repository.to_string(), cache: cache.folder }),
        cached => match (update(&repository, &cache, options), cached) {
            (Err(silence), Some(folder)) if silence.may_pass() => {
                log::warn!("{silence}. Going on with the weights of {repository} that are in the cache");
                folder
            }
            (folder, _) => folder?,
        },
    };
    if offline && !folder.join(CONFIG).exists() {
        log::warn!(
            "{CONFIG} of {repository} is not in the cache: how pictures are prepared is guessed from the tensors"
        );
    }
    Ok(folder.join(WEIGHTS))
}

/// Brings the cache up to date and returns the folder of the newest commit.
fn update(repository: &Repository<'_>, cache: &Cache, options: &HubOptions<'_>) -> Result<PathBuf, Error> {
    let server = Server::new(repository, options)?;
    let weights = server.about(repository.revision, WEIGHTS)?;
    let commit = &weights.commit;
    let path = cache.path(commit, WEIGHTS);
    // The description comes first, so that a process that finds the weights finds the description too.
    if !cache.path(commit, CONFIG).exists() {
        match server.about(commit, CONFIG) {
            Ok(config) => cache.add(&server, &config, CONFIG, &|_, _| ())?,
            Err(Error::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    if !path.exists() {
        if weights.sha256().is_none() {
            let problem = format!("no checksum of {WEIGHTS}");
            return Err(Error::Answer { url: server.url(commit, WEIGHTS), problem });
        }
        cache.add(&server, &weights, WEIGHTS, options.progress.unwrap_or(&|_, _| ()))?;
    }
    cache.remember(repository, commit);
    Ok(cache.folder_of(commit))
}
