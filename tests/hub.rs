//! Weights from the Hugging Face hub, tested with a local hub that fails in every way that a hub can.
#![allow(clippy::unwrap_used)]

#[path = "common/program.rs"]
mod program;
#[path = "common/hub.rs"]
mod server;
#[path = "common/synth.rs"]
#[allow(dead_code, reason = "weights alone are of use here")]
mod synth;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use program::{program, said, words};
use resnet_rs::models::{Config, Input, Mode, Network, Preset};
use resnet_rs::weights::hub::{Error, HubOptions, fetch};
use resnet_rs::weights::{HostTensor, ModelCard, StateDict, TrainedNetwork, timm};
use serde_json::json;
use server::{COMMIT, Fault, Hub};
use tempfile::TempDir;

/// A hub and an empty cache.
struct Fixture {
    hub: Hub,
    folder: TempDir,
}

impl Fixture {
    fn new(config: Option<&str>) -> Self {
        Self::of(small(&ModelCard::for_preset_of(preset("small", 10))), config)
    }

    fn of(weights: Vec<u8>, config: Option<&str>) -> Self {
        Self { hub: Hub::new(weights, config), folder: tempfile::tempdir().unwrap() }
    }

    fn cache(&self) -> PathBuf {
        self.folder.path().join("hub")
    }

    fn fetch(&self, repository: &str) -> Result<TrainedNetwork, Error> {
        self.fetch_with(repository, |_| ())
    }

    fn fetch_with<'a>(&'a self, name: &str, set: impl FnOnce(&mut HubOptions<'a>)) -> Result<TrainedNetwork, Error> {
        let cache = self.cache();
        let mut options = HubOptions { endpoint: Some(self.hub.url()), token: Some("secret"), ..HubOptions::default() };
        set(&mut options);
        fetch(name, &HubOptions { cache: Some(&cache), ..options })
    }

    /// Fetches with little patience, for hubs that do not answer.
    fn fetch_impatiently(&self) -> Result<TrainedNetwork, Error> {
        self.fetch_with("acme/small", |options| options.patience = Duration::from_millis(500))
    }

    /// Asserts that fetching fails with a message that contains `expected`.
    fn refuses(&self, name: &str, expected: &str) -> Error {
        let error = self.fetch(name).unwrap_err();
        assert!(error.to_string().contains(expected), "{name}: no word of {expected} in: {error}");
        error
    }

    /// The files of the repository's `blobs`, without locks.
    fn blobs(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(self.cache().join("models--acme--small/blobs")) else { return Vec::new() };
        let paths = entries.map(|entry| entry.unwrap().path());
        paths.filter(|path| path.extension().is_none_or(|e| e != "lock")).collect()
    }

    fn snapshot(&self) -> PathBuf {
        self.cache().join("models--acme--small/snapshots").join(COMMIT)
    }

    /// Asserts that nothing counts as cached.
    fn assert_not_cached(&self) {
        assert!(!self.snapshot().join("model.safetensors").exists());
        assert!(!self.cache().join("models--acme--small/refs/main").exists());
    }
}

fn preset(name: &str, classes: usize) -> Config {
    Preset::find(name).unwrap().config(classes)
}

/// Synthetic weights without the card.
fn weights(config: &Config) -> StateDict {
    let graph = Network::build(config, 1, [64; 2], Input::Tensor, Mode::Inference).unwrap().graph;
    let tensors = graph.persistent().map(|id| graph.tensor(id)).map(|tensor| {
        let shape = timm::torch_shape(&tensor.spec);
        let data = synth::fill(&tensor.name, &shape, 1, 0.2);
        (tensor.name.clone(), HostTensor { shape, data })
    });
    StateDict { tensors: tensors.collect(), ..StateDict::default() }
}

fn bytes(weights: &StateDict) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    weights.write(&path).unwrap();
    fs::read(path).unwrap()
}

/// A file as this program writes it.
fn small(card: &ModelCard) -> Vec<u8> {
    bytes(&StateDict { metadata: card.to_metadata(), ..weights(&card.config) })
}

/// A file in timm's form, with its description.
fn timms(model: &str, classes: usize, config: &serde_json::Value) -> Fixture {
    Fixture::of(bytes(&weights(&preset(model, classes))), Some(&config.to_string()))
}

#[test]
fn what_is_fetched_is_cached_as_other_clients_cache_it() {
    let f = Fixture::new(Some("{}"));
    let seen = Mutex::new(Vec::new());
    let progress = |done, total| seen.lock().unwrap().push((done, total));
    let cache = f.cache();
    let options = HubOptions { endpoint: Some(f.hub.url()), cache: Some(&cache), ..HubOptions::default() };
    let found =
        fetch("acme/small", &HubOptions { progress: Some(&progress), token: Some("secret"), ..options }).unwrap();

    assert_eq!(found.card, ModelCard::for_preset_of(preset("small", 10)));
    assert_eq!(found.path, f.snapshot().join("model.safetensors"));
    let content = fs::read(&found.path).unwrap();
    let total = content.len() as u64;
    let seen = seen.into_inner().unwrap();
    assert!(seen.first() == Some(&(0, total)) && seen.last() == Some(&(total, total)) && seen.is_sorted());
    let repository = cache.join("models--acme--small");
    assert_eq!(fs::read(repository.join("blobs").join(f.hub.sha256())).unwrap(), content);
    assert_eq!(fs::read_to_string(repository.join("refs/main")).unwrap(), COMMIT);
    assert_eq!(fs::read_to_string(f.snapshot().join("config.json")).unwrap(), "{}");

    // Only the hub sees the token, not the store of large files.
    for request in f.hub.requests() {
        assert_eq!(request.authorization.is_none(), request.path.starts_with("/cdn/"), "{request:?}");
    }

    // A second call asks for the newest commit, and downloads nothing.
    f.fetch("acme/small").unwrap();
    let asked: Vec<_> = f.hub.requests().into_iter().map(|request| request.method).collect();
    assert_eq!(asked, ["HEAD"]);
    // A commit does not change.
    f.fetch(&format!("acme/small@{COMMIT}")).unwrap();
    assert_eq!(f.hub.requests().len(), 0);
    // Another branch of the same commit needs no bytes.
    f.fetch("acme/small@refs/pr/1").unwrap();
    assert!(f.hub.requests().iter().all(|request| request.method == "HEAD"));
    assert_eq!(fs::read_to_string(repository.join("refs/refs/pr/1")).unwrap(), COMMIT);
}

#[test]
fn names_that_are_none_and_repositories_that_are_not_there() {
    let f = Fixture::new(None);
    for name in ["small", "acme/small/x", "../small", "acme/small@", "https://huggingface.co/acme/small"] {
        f.refuses(name, "OWNER/NAME");
    }
    assert_eq!(f.hub.requests().len(), 0);
    f.refuses("acme/large", "acme/large/resolve/main/model.safetensors does not exist");
    f.refuses("acme/small@v9", "acme/small/resolve/v9/model.safetensors does not exist");
    assert!(f.fetch("acme/small").is_ok(), "a repository needs no config.json");
}

#[test]
fn hubs_that_fail() {
    let f = Fixture::new(None);
    for (fault, expected) in [
        (Fault::Status(404), "does not exist"),
        (Fault::Status(401), "HF_TOKEN"),
        (Fault::Status(403), "HF_TOKEN"),
        (Fault::Status(500), "status 500"),
        (Fault::Status(429), "status 429"),
        (Fault::NoHub, "unlike the Hugging Face hub"),
        (Fault::Traversal, "unlike the Hugging Face hub"),
    ] {
        f.hub.set(fault);
        f.refuses("acme/small", expected);
        f.assert_not_cached();
    }
    assert!(f.blobs().is_empty());

    // No server listens there.
    let error = f.fetch_with("acme/small", |options| options.endpoint = Some("http://127.0.0.1:1")).unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
}

#[test]
fn silence_ends() {
    let f = Fixture::new(None);
    let silent = || {
        let error = f.fetch_impatiently().unwrap_err();
        assert!(error.to_string().contains("silent for too long"), "{error}");
        error
    };
    f.hub.set(Fault::Silent);
    assert!(matches!(silent(), Error::Unreachable { .. }));
    f.hub.set(Fault::Stalls(5000));
    assert!(matches!(silent(), Error::Broken { done: 5000, .. }));
    f.assert_not_cached();

    f.hub.set(Fault::None);
    f.fetch("acme/small").unwrap();
}

#[test]
fn broken_downloads_go_on_where_they_stopped() {
    let f = Fixture::new(None);
    f.hub.set(Fault::Cut(40_000));
    f.refuses("acme/small", "ended at 40000 of");
    f.assert_not_cached();
    f.hub.requests();

    f.hub.set(Fault::Cut(1000));
    f.refuses("acme/small", "ended at 41000 of");
    f.hub.set(Fault::None);
    let found = f.fetch("acme/small").unwrap();
    let ranges: Vec<_> =
        f.hub.requests().into_iter().filter(|r| r.path.starts_with("/cdn/")).map(|r| r.range).collect();
    assert_eq!(ranges, [Some("bytes=40000-".to_owned()), Some("bytes=41000-".to_owned())]);
    assert_eq!(found.card, ModelCard::for_preset_of(preset("small", 10)));

    // If the store does not support ranges, the download starts anew.
    let f = Fixture::new(None);
    f.hub.set(Fault::Cut(40_000));
    f.refuses("acme/small", "ended at 40000 of");
    f.hub.set(Fault::NoRanges);
    f.fetch("acme/small").unwrap();
}

#[test]
fn two_at_once_share_a_download() {
    let f = Fixture::new(None);
    f.hub.set(Fault::Stalls(5000));
    let (mut requests, since) = (Vec::new(), Instant::now());
    thread::scope(|scope| {
        let both = [(); 2].map(|()| scope.spawn(|| f.fetch("acme/small").unwrap().path));
        // Both calls ask for two files, and one downloads from the redirected address.
        while requests.len() < 6 {
            assert!(since.elapsed() < Duration::from_secs(20), "{requests:?}");
            thread::sleep(Duration::from_millis(10));
            requests.extend(f.hub.requests());
        }
        // By now the other call waits at the lock, or soon will: it has no more requests to make.
        thread::sleep(Duration::from_millis(200));
        f.hub.set(Fault::None);
        let paths = both.map(|fetch| fetch.join().unwrap());
        assert!(paths.iter().all(|path| *path == f.snapshot().join("model.safetensors")));
    });
    requests.extend(f.hub.requests());
    assert_eq!(requests.iter().filter(|request| request.path.starts_with("/cdn/")).count(), 1, "{requests:?}");
}

#[test]
fn what_is_logged_of_options_has_no_token_in_it() {
    let said = format!("{:?}", HubOptions { token: Some("hf_abc"), offline: true, ..HubOptions::default() });
    assert!(said.contains("offline: true") && !said.contains("hf_abc"), "{said}");
}

#[test]
fn leftovers_of_any_length_do_no_harm() {
    let f = Fixture::new(None);
    let size = fs::metadata(f.fetch("acme/small").unwrap().path).unwrap().len() as usize;
    let part = format!("models--acme--small/blobs/{}.part", f.hub.sha256());
    for (length, damaged) in [(size, true), (size + 1, false), (100, true)] {
        fs::remove_dir_all(f.cache()).unwrap();
        fs::create_dir_all(f.cache().join("models--acme--small/blobs")).unwrap();
        fs::write(f.cache().join(&part), vec![7; length]).unwrap();
        if damaged {
            f.refuses("acme/small", "was damaged on its way");
        }
        f.fetch("acme/small").unwrap();
    }
}

#[test]
fn another_file_is_not_kept() {
    let f = Fixture::new(None);
    f.hub.set(Fault::Damaged);
    let error = f.refuses("acme/small", f.hub.sha256());
    assert!(matches!(error, Error::Checksum { .. }), "{error}");
    f.assert_not_cached();
    assert!(f.blobs().is_empty(), "{:?}", f.blobs());
    f.hub.set(Fault::None);
    f.fetch("acme/small").unwrap();

    let f = Fixture::of(b"no safetensors file, but the one that the hub has".to_vec(), None);
    f.refuses("acme/small", "not a usable safetensors file");
}

#[test]
fn cached_weights_need_no_hub() {
    let f = Fixture::new(None);
    let offline = |f: &Fixture| f.fetch_with("acme/small", |options| options.offline = true);
    let error = offline(&f).unwrap_err();
    assert!(matches!(error, Error::NotCached { .. }) && error.to_string().contains("HF_HUB_OFFLINE"), "{error}");
    assert_eq!(f.hub.requests().len(), 0);

    let fetched = f.fetch("acme/small").unwrap();
    f.hub.requests();
    assert_eq!(offline(&f).unwrap().path, fetched.path);
    assert_eq!(f.hub.requests().len(), 0);

    for fault in [Fault::Silent, Fault::Status(503)] {
        f.hub.set(fault);
        assert_eq!(f.fetch_impatiently().unwrap().path, fetched.path);
    }
    let unreachable = f.fetch_with("acme/small", |options| options.endpoint = Some("http://127.0.0.1:1"));
    assert_eq!(unreachable.unwrap().path, fetched.path);
    // A missing repository is an answer, not an outage.
    f.hub.set(Fault::Status(404));
    f.refuses("acme/small", "does not exist");
}

/// As in a container with a read-only file system.
#[test]
fn what_is_cached_is_not_written_again() {
    let f = Fixture::new(Some("{}"));
    let fetched = f.fetch("acme/small").unwrap();
    let noted = f.cache().join("models--acme--small/refs/main");
    let past = std::time::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    fs::File::options().write(true).open(&noted).unwrap().set_modified(past).unwrap();
    assert_eq!(f.fetch("acme/small").unwrap().path, fetched.path);
    assert_eq!(fs::metadata(&noted).unwrap().modified().unwrap(), past);
}

/// A newer commit cannot be cached in a folder without write access, here /sys, which refuses even root.
#[cfg(target_os = "linux")]
#[test]
fn what_cannot_be_brought_up_to_date_serves_as_it_is() {
    let f = Fixture::new(None);
    f.fetch("acme/small").unwrap();
    let old = f.snapshot().with_file_name("f".repeat(40));
    fs::rename(f.snapshot(), &old).unwrap();
    std::os::unix::fs::symlink("/sys/kernel", f.snapshot()).unwrap();
    fs::write(f.cache().join("models--acme--small/refs/main"), "f".repeat(40)).unwrap();
    assert_eq!(f.fetch("acme/small").unwrap().path, old.join("model.safetensors"));
    fs::remove_dir_all(old).unwrap();
    f.refuses("acme/small", "set HF_HUB_CACHE to a folder where you may write");
}

#[test]
fn private_authorities_are_trusted_if_the_environment_says_so() {
    let f = Fixture::new(None);
    let url = f.hub.secure_url();
    let error = f.fetch_with("acme/small", |options| options.endpoint = Some(&url)).unwrap_err();
    assert!(matches!(error, Error::Untrusted { .. }) && error.to_string().contains("SSL_CERT_FILE"), "{error}");

    let tls = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tls");
    let ca = format!("{tls}/ca.pem");
    let fetch = |name: &str, value: &str| {
        fs::remove_dir_all(f.folder.path().join("hub")).ok();
        let export = format!("export {} --weights hf:acme/small", f.folder.path().join("out.safetensors").display());
        run(&f, &export, &[("HF_ENDPOINT", &url), (name, value)])
    };
    let missing_first = std::env::join_paths(["/missing", tls]).unwrap().into_string().unwrap();
    for (name, value) in [
        ("SSL_CERT_FILE", &*ca),
        ("SSL_CERT_DIR", &*missing_first),
        ("REQUESTS_CA_BUNDLE", &*ca),
        ("CURL_CA_BUNDLE", &*ca),
    ] {
        let output = fetch(name, value);
        assert_eq!(output.status.code(), Some(0), "{name}: {}", said(&output));
    }
    for (value, expected) in
        [("", "cannot be trusted"), ("/missing.pem", "cannot read certificates from [\"/missing.pem\"]")]
    {
        let output = fetch("SSL_CERT_FILE", value);
        assert!(output.status.code() == Some(1) && said(&output).contains(expected), "{value}: {}", said(&output));
    }
}

#[test]
fn the_description_completes_the_card() {
    let (mean, std) = ([0.5, 0.25, 0.125], [0.25, 0.5, 1.0]);
    let pretrained = json!({ "input_size": [3, 288, 288], "crop_pct": 0.95, "mean": mean, "std": std });
    let described = json!({ "architecture": "small", "num_classes": 1000, "pretrained_cfg": pretrained });
    let card = timms("small", 1000, &described).fetch("acme/small").unwrap().card;
    let expected = ModelCard::for_preset_of(preset("small", 1000));
    assert_eq!(expected.classes[281], "tabby");
    assert_eq!(card, ModelCard { res: 288, crop_pct: 0.95, mean, std, ..expected });

    let named = json!({
        "architecture": "small",
        "label_names": ["cat", "dog"],
        "pretrained_cfg": { "label_names": ["a", "b"] },
    });
    assert_eq!(timms("small", 2, &named).fetch("acme/small").unwrap().card.classes, ["cat", "dog"]);
    // The weights' own card takes precedence.
    let f = Fixture::new(Some(r#"{"num_classes": 5, "pretrained_cfg": {"crop_pct": 0.5}}"#));
    assert_eq!(f.fetch("acme/small").unwrap().card.crop_pct, 1.0);
}

#[test]
fn descriptions_that_cannot_be() {
    let pretrained = |key: &str, value: serde_json::Value| json!({ "pretrained_cfg": { key: value } });
    for (config, expected) in [
        (json!([1]), "cannot be understood"),
        (pretrained("std", json!([0.0, 1.0, 1.0])), "out of range"),
        (pretrained("mean", json!([1.0, 1.0])), "cannot be understood"),
        (pretrained("crop_pct", json!(1.5)), "out of range"),
        (pretrained("input_size", json!([3, 224, 192])), "square"),
        (pretrained("input_size", json!([3, 5000, 5000])), "out of range"),
        (json!({ "architecture": "small", "label_names": ["cat"] }), "out of range"),
        (json!({ "architecture": "small", "num_classes": 1000 }), "not the 2 of the weights"),
        (json!({ "architecture": "resnetrs50" }), "those of another network"),
    ] {
        let f = timms("small", 2, &config);
        f.refuses("acme/small", expected);
    }
    // TensorFlow's EfficientNet and timm's own have the same tensors.
    let b0 = |architecture: &str| timms("efficientnet-b0", 2, &json!({ "architecture": architecture }));
    b0("efficientnet_b0").refuses("acme/small", "Take weights of tf_efficientnet_b0");
    assert_eq!(b0("tf_efficientnet_b0").fetch("acme/small").unwrap().card.res, 224);
    b0("tf_efficientnet_b1").refuses("acme/small", "those of another network");
}

/// Runs the program with a separate cache.
fn run(f: &Fixture, line: &str, environment: &[(&str, &str)]) -> std::process::Output {
    let mut command = program(&words(line));
    command.env("HF_ENDPOINT", f.hub.url()).env("HF_HOME", f.folder.path()).env_remove("HF_HUB_CACHE");
    let others =
        ["HF_HUB_OFFLINE", "HF_TOKEN", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"];
    others.iter().for_each(|name| _ = command.env_remove(name));
    command.envs(environment.iter().copied()).output().unwrap()
}

#[test]
fn the_program_takes_names_for_files() {
    let f = Fixture::new(None);
    let path = |name: &str| f.folder.path().join(name);
    image::RgbImage::from_fn(40, 30, |x, y| image::Rgb([x as u8 * 6, y as u8 * 8, 90])).save(path("a.png")).unwrap();
    let predict = format!("predict {} --json --weights", path("a.png").display());
    let succeed = |line: &str, environment: &[(&str, &str)]| {
        let output = run(&f, line, environment);
        assert_eq!(output.status.code(), Some(0), "{line}: {}", said(&output));
        output
    };
    let fetched = succeed(&format!("{predict} hf:acme/small"), &[]).stdout;
    let file = f.snapshot().join("model.safetensors");
    assert_eq!(succeed(&format!("{predict} {}", file.display()), &[]).stdout, fetched);
    assert_eq!(succeed(&format!("{predict} hf:acme/small@{COMMIT}"), &[("HF_HUB_OFFLINE", "1")]).stdout, fetched);
    // A dead hub with cached weights: a warning and the same answer.
    let silent = succeed(&format!("{predict} hf:acme/small"), &[("HF_ENDPOINT", "http://127.0.0.1:1")]);
    assert!(silent.stdout == fetched && said(&silent).contains("warning: cannot reach"), "{}", said(&silent));

    let export = format!("export {} --weights hf:acme/small", path("out.safetensors").display());
    succeed(&export, &[]);
    assert_eq!(read(&path("out.safetensors")), read(&file));
    let train = format!("train --data shapes --max-steps 1 --batch 8 --out {}", path("run").display());
    succeed(&format!("{train} --init hf:acme/small"), &[]);

    let home = f.folder.path().to_str().unwrap();
    let in_home = path("weights/hub").display().to_string();
    for (name, environment, expected) in [
        ("hf:small", &[][..], "OWNER/NAME"),
        ("hf:acme/large", &[], "does not exist"),
        ("hf:acme/large", &[("HF_HUB_OFFLINE", "1")], "while offline"),
        ("hf:acme/large", &[("TRANSFORMERS_OFFLINE", "1")], "while offline"),
        ("hf:acme/large", &[("HF_HUB_OFFLINE", "1"), ("HOME", home), ("HF_HOME", "~/weights")], &in_home),
    ] {
        let output = run(&f, &format!("{predict} {name}"), environment);
        assert!(output.status.code() == Some(1) && said(&output).contains(expected), "{name}: {}", said(&output));
    }
}

fn read(path: &Path) -> Vec<(String, HostTensor)> {
    StateDict::read(path).unwrap().tensors.into_iter().collect()
}
