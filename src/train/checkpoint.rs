//! `RUN/checkpoint/state.safetensors`: everything a bit-exact resume needs, in one file that is replaced as a whole.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    str::FromStr,
};

use super::{Error, Measure};
use crate::{
    files,
    weights::{self, HostTensor, StateDict},
};

const FORMAT: &str = "resnet-rs checkpoint";
/// Version of the file. Raise it whenever the meaning of a checkpoint's content changes.
const VERSION: u32 = 1;

/// Keys of metadata that any checkpoint may have; one more is `best_` with the goal's name.
const KEYS: [&str; 12] = [
    "format",
    "version",
    "step",
    "epoch",
    "recipe",
    "data",
    "steps_per_epoch",
    "data_from",
    "out_of_time",
    "setbacks",
    "pictures",
    "tuning",
];
const BEST: &str = "best_";
const BEST_EPOCH: &str = "best_epoch";

/// The state of a training run between two steps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Checkpoint {
    /// Steps done, which is also the index of the next one.
    pub step: u64,
    /// Epochs done, validation included, which is also the index of the next epoch.
    pub epoch: u64,
    /// The best epoch so far.
    pub best: Option<Best>,
    /// Steps of an epoch, in which the numbers above count; `None` in older files.
    pub steps_per_epoch: Option<u64>,
    /// How often the run has returned to an earlier checkpoint because it diverged; each return halves the learning
    /// rate.
    pub setbacks: u32,
    /// The run's settings, TOML.
    pub recipe: String,
    /// The data, as given to `--data`.
    pub data: String,
    /// The working folder to which its path is relative; `None` in older files.
    pub data_from: Option<PathBuf>,
    /// Whether the run ended here because its time was over.
    pub out_of_time: bool,
    /// The task's notes on the data ([`super::task::Task::notes`]).
    pub notes: BTreeMap<String, String>,
    /// Number of training pictures; `None` in older files.
    pub pictures: Option<usize>,
    /// Fingerprint of the tuning in use; `None` without one.
    pub tuning: Option<String>,
    /// Parameters and BatchNorm statistics under timm's names, momenta and averages with their own suffixes, and the
    /// loss scale of mixed precision. f32, bit for bit.
    pub tensors: BTreeMap<String, HostTensor>,
}

/// The epoch whose validation was the best.
#[derive(Clone, Debug, PartialEq)]
pub struct Best {
    /// Name of the goal's number.
    pub name: String,
    /// The number.
    pub number: f64,
    /// The epoch, counted from 0; `None` in older files.
    pub epoch: Option<u64>,
}

impl Checkpoint {
    /// Writes the checkpoint of the run in a folder. A crash at any moment leaves either the old one or the new one.
    ///
    /// # Errors
    /// A tensor holds NaN or infinity (a diverged state must not replace a good one), a note has a name that every
    /// checkpoint uses, or the file cannot be written.
    pub fn write(&self, run: &Path) -> Result<(), Error> {
        let path = path(run);
        if let Some(note) = self.notes.keys().find(|name| is_own(name)) {
            let problem = format!("a note of the task is called {note}, as a note of every checkpoint is");
            return Err(Error::Checkpoint { path, problem });
        }
        let mut metadata = BTreeMap::from(
            [
                ("format", FORMAT.to_owned()),
                ("version", VERSION.to_string()),
                ("step", self.step.to_string()),
                ("epoch", self.epoch.to_string()),
                ("recipe", self.recipe.clone()),
                ("data", self.data.clone()),
            ]
            .map(|(key, value)| (key.to_owned(), value)),
        );
        metadata.extend(self.notes.clone());
        if let Some(Best { name, number, epoch }) = &self.best {
            metadata.insert(format!("{BEST}{name}"), number.to_string());
            metadata.extend(epoch.map(|epoch| (BEST_EPOCH.to_owned(), epoch.to_string())));
        }
        metadata.extend(self.steps_per_epoch.map(|steps| ("steps_per_epoch".to_owned(), steps.to_string())));
        let from = self.data_from.as_deref().map(|from| from.to_string_lossy().into_owned());
        metadata.extend(from.map(|from| ("data_from".to_owned(), from)));
        if self.out_of_time {
            metadata.insert("out_of_time".to_owned(), true.to_string());
        }
        if self.setbacks > 0 {
            metadata.insert("setbacks".to_owned(), self.setbacks.to_string());
        }
        metadata.extend(self.pictures.map(|pictures| ("pictures".to_owned(), pictures.to_string())));
        metadata.extend(self.tuning.clone().map(|tuning| ("tuning".to_owned(), tuning)));
        files::create_folder(&folder(run))?;
        Ok(weights::write(&path, &self.tensors, &metadata)?)
    }

    /// The best epoch by this goal; `None` if another goal counted when the checkpoint was written.
    pub(super) fn best_of(&self, goal: Measure) -> Option<Best> {
        self.best.clone().filter(|best| best.name == goal.name)
    }

    /// Reads the checkpoint of the run in a folder.
    ///
    /// # Errors
    /// There is no checkpoint, or the file is truncated, of another kind, or of another version.
    pub fn read(run: &Path) -> Result<Self, Error> {
        let path = path(run);
        if !path.exists() {
            return Err(Error::NoCheckpoint { path });
        }
        let StateDict { tensors, metadata } = StateDict::read(&path)?;
        let metadata = Metadata { path: &path, entries: &metadata };
        if metadata.entries.get("format").map(String::as_str) != Some(FORMAT) {
            return Err(metadata.problem("it holds tensors, but no training state. For weights use --init".into()));
        }
        let version: u32 = metadata.required("version")?;
        if version != VERSION {
            return Err(metadata.problem(format!(
                "it is of version {version} and this program reads version {VERSION}. Resume with the program that \
                 wrote it"
            )));
        }
        Ok(Self {
            step: metadata.required("step")?,
            epoch: metadata.required("epoch")?,
            best: metadata.best()?,
            steps_per_epoch: metadata.optional("steps_per_epoch")?,
            setbacks: metadata.optional("setbacks")?.unwrap_or(0),
            recipe: metadata.required("recipe")?,
            data: metadata.required("data")?,
            data_from: metadata.optional("data_from")?,
            out_of_time: metadata.optional("out_of_time")?.unwrap_or(false),
            notes: metadata.others(),
            pictures: metadata.optional("pictures")?,
            tuning: metadata.optional("tuning")?,
            tensors,
        })
    }
}

/// The folder of a run's checkpoint.
pub(super) fn folder(run: &Path) -> PathBuf {
    run.join("checkpoint")
}

fn path(run: &Path) -> PathBuf {
    folder(run).join("state.safetensors")
}

/// Whether a key of the metadata belongs to every checkpoint; others are the task's notes.
fn is_own(key: &str) -> bool {
    KEYS.contains(&key) || key.starts_with(BEST)
}

/// The file's metadata: everything that is not a tensor.
struct Metadata<'a> {
    path: &'a Path,
    entries: &'a BTreeMap<String, String>,
}

impl Metadata<'_> {
    fn optional<T: FromStr>(&self, key: &str) -> Result<Option<T>, Error> {
        let parse = |text: &String| text.parse().map_err(|_| self.problem(format!("its {key} reads {text:?}")));
        self.entries.get(key).map(parse).transpose()
    }

    fn required<T: FromStr>(&self, key: &str) -> Result<T, Error> {
        self.optional(key)?.ok_or_else(|| self.problem(format!("it has no {key}")))
    }

    fn best(&self) -> Result<Option<Best>, Error> {
        let named = self.entries.keys().filter(|key| *key != BEST_EPOCH).find_map(|key| key.strip_prefix(BEST));
        let Some(name) = named else { return Ok(None) };
        let (number, epoch) = (self.required(&format!("{BEST}{name}"))?, self.optional(BEST_EPOCH)?);
        Ok(Some(Best { name: name.to_owned(), number, epoch }))
    }

    /// All other keys: the task's notes.
    fn others(&self) -> BTreeMap<String, String> {
        self.entries.iter().filter(|(key, _)| !is_own(key)).map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    fn problem(&self, problem: String) -> Error {
        Error::Checkpoint { path: self.path.to_owned(), problem }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;

    use super::*;

    fn sample() -> Checkpoint {
        let tensor = |data: &[f32]| HostTensor { shape: vec![data.len()], data: data.to_vec() };
        Checkpoint {
            step: (1 << 60) + 1,
            epoch: 3,
            best: Some(Best { name: "top1".into(), number: 0.1 + 0.2, epoch: Some(2) }),
            steps_per_epoch: Some(12),
            setbacks: 1,
            recipe: "model = \"small\"\n# \u{e9}\n".into(),
            data: "folder:C:\\pictures".into(),
            data_from: Some("/home/a b".into()),
            out_of_time: true,
            notes: [("words".to_owned(), "caf\u{e9}, \"b\"".to_owned())].into(),
            pictures: Some(99),
            tuning: Some("0123abcd".into()),
            tensors: [
                ("bn1.running_mean".to_owned(), tensor(&[-0.0, f32::from_bits(1), 0.1])),
                ("momentum.fc.weight".to_owned(), tensor(&[f32::MAX, -f32::MIN_POSITIVE])),
            ]
            .into(),
        }
    }

    #[test]
    fn reads_back_to_the_bit() {
        let run = tempfile::tempdir().unwrap();
        for (best, tuning) in [(None, None), (sample().best, Some("0123abcd".into()))] {
            let written = Checkpoint { best, tuning, ..sample() };
            written.write(run.path()).unwrap();
            let read = Checkpoint::read(run.path()).unwrap();
            assert_eq!(read, written);
            assert_eq!(read.tensors["bn1.running_mean"].data[0].to_bits(), (-0.0f32).to_bits());
        }
    }

    #[test]
    fn notes_of_a_task_do_not_replace_those_of_the_run() {
        let run = tempfile::tempdir().unwrap();
        for name in ["step", "best_top1"] {
            let error = Checkpoint { notes: [(name.to_owned(), "7".to_owned())].into(), ..sample() }.write(run.path());
            assert!(error.unwrap_err().to_string().contains(name));
        }
    }

    #[test]
    fn the_best_epoch_is_that_of_a_goal() {
        let goal = super::super::numbers::tests::GOAL;
        assert_eq!(sample().best_of(goal), sample().best);
        assert_eq!(sample().best_of(Measure { name: "rmse", ..goal }), None);
    }

    #[test]
    fn a_diverged_state_does_not_replace_a_good_one() {
        let run = tempfile::tempdir().unwrap();
        sample().write(run.path()).unwrap();
        let mut diverged = sample();
        diverged.tensors.get_mut("momentum.fc.weight").unwrap().data[1] = f32::NAN;
        let error = diverged.write(run.path()).unwrap_err().to_string();
        assert!(error.contains("momentum.fc.weight") && error.contains("diverged"), "{error}");
        assert_eq!(Checkpoint::read(run.path()).unwrap(), sample());
    }

    #[test]
    fn what_cannot_be_resumed_says_why() {
        let run = tempfile::tempdir().unwrap();
        let error = |run: &Path| Checkpoint::read(run).unwrap_err().to_string();
        assert!(error(run.path()).contains("nothing to resume"));

        sample().write(run.path()).unwrap();
        let path = path(run.path());
        let good = fs::read(&path).unwrap();
        for keep in [0, 7, 100, good.len() - 1] {
            fs::write(&path, &good[..keep]).unwrap();
            let error = error(run.path());
            assert!(error.contains("state.safetensors"), "{error}");
        }
        let edit = |key: &str, value: Option<&str>| {
            fs::write(&path, &good).unwrap();
            let mut dict = StateDict::read(&path).unwrap();
            match value {
                Some(value) => dict.metadata.insert(key.into(), value.into()),
                None => dict.metadata.remove(key),
            };
            dict.write(&path).unwrap();
            error(run.path())
        };
        for (key, value, expected) in [
            ("format", None, "no training state"),
            ("format", Some("pt"), "no training state"),
            ("version", Some("2"), "version 2 and this program reads version 1"),
            ("step", Some("-1"), "its step reads \"-1\""),
            ("best_top1", Some("high"), "its best_top1 reads"),
        ] {
            let error = edit(key, value);
            assert!(error.contains(expected) && error.contains("state.safetensors"), "{error}");
        }
    }
}
