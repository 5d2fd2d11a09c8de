//! What can go wrong around training.

use std::path::PathBuf;

use crate::models::Purpose;
use crate::{files, weights};

/// Why a training run cannot start, continue or be recorded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] files::Error),
    /// A file of tensors cannot be read or written.
    #[error(transparent)]
    Weights(#[from] weights::Error),
    /// The given recipe is neither a built-in name nor a file.
    #[error(
        "no recipe {name}: give the path of a TOML file, or one of the built-in recipes small, paper, tpu, tfm, \
         timm, efficientnet-rs, detect, segment and depth"
    )]
    UnknownRecipe {
        /// What was given.
        name: String,
    },
    /// A recipe is not valid TOML, or a value in it has the wrong type.
    #[error("recipe {name}: {problem}")]
    Toml {
        /// The file or built-in name.
        name: String,
        /// The parser's message, with line and column.
        problem: String,
    },
    /// A recipe sets an unknown key.
    #[error("recipe {name}: there is no setting {key}; did you mean {nearest}?")]
    UnknownKey {
        /// The file or built-in name.
        name: String,
        /// The key found.
        key: String,
        /// The existing key that resembles it most.
        nearest: String,
    },
    /// A setting is out of its range.
    #[error("--{setting} is {value}; it must be {range}")]
    Range {
        /// The flag, which is also the key in a recipe.
        setting: &'static str,
        /// Its value.
        value: String,
        /// The values allowed.
        range: &'static str,
    },
    /// The task does not measure the goal.
    #[error("--goal is {goal}, which --task {task} does not measure: choose one of {measured}")]
    Goal {
        /// The goal.
        goal: String,
        /// The task.
        task: Purpose,
        /// Names of what it measures.
        measured: String,
    },
    /// A setting names a part that the network does not have.
    #[error("--{setting} is {value}; it must be {parts}")]
    Part {
        /// The flag, which is also the key in a recipe.
        setting: &'static str,
        /// Its value.
        value: String,
        /// The parts, and how to name them.
        parts: String,
    },
    /// Two settings exclude each other.
    #[error("{problem}")]
    Conflict {
        /// Which settings, and what to do.
        problem: &'static str,
    },
    /// The warm-up does not end before the run does.
    #[error(
        "the warm-up takes {warmup} steps, but the whole run has {total}: lower --warmup-epochs or --warmup-steps, \
         or raise --epochs"
    )]
    Warmup {
        /// Steps of the warm-up.
        warmup: u64,
        /// Steps of the run.
        total: u64,
    },
    /// A line of the metrics file is not one that training writes.
    #[error("{}, line {line}: {problem}; delete that line or choose another --out", path.display())]
    Metrics {
        /// The metrics file.
        path: PathBuf,
        /// Line, counted from 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// The folder holds no checkpoint.
    #[error(
        "{} does not exist: there is nothing to resume. Name the folder given as --out, or start without --resume",
        path.display()
    )]
    NoCheckpoint {
        /// Where the checkpoint should be.
        path: PathBuf,
    },
    /// The checkpoint cannot be used.
    #[error("{} is not a checkpoint this version can resume: {problem}", path.display())]
    Checkpoint {
        /// The checkpoint.
        path: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// A new run would overwrite an old one.
    #[error(
        "{} exists: {} holds a run already. Go on with it by --resume {}, or choose another --out",
        found.display(), folder.display(), folder.display()
    )]
    RunExists {
        /// What was found.
        found: PathBuf,
        /// The folder.
        folder: PathBuf,
    },
    /// Another process is training this run.
    #[error("another process trains in {}: wait until it ends or stop it, or choose another --out", folder.display())]
    Busy {
        /// The run.
        folder: PathBuf,
    },
    /// A resumed run was given other settings.
    #[error(
        "{} was under way with other settings: {changes}. Leave them out, or add --force to go on with the new ones",
        folder.display()
    )]
    ResumeSettings {
        /// The run.
        folder: PathBuf,
        /// The earlier settings and the requested ones.
        changes: String,
    },
    /// The data has changed under a run.
    #[error("--data {data} had {change}: restore it, or start a new run")]
    OtherData {
        /// The data.
        data: String,
        /// What the data held and holds.
        change: String,
    },
    /// The truths of the data have changed since the run began.
    #[error("--data {data}: {change}: restore it, or start a new run from its weights with --init")]
    OtherTruths {
        /// The data.
        data: String,
        /// The truths before and now.
        change: String,
    },
    /// A checkpoint's notes on the data are missing or damaged.
    #[error(
        "the checkpoint has no readable note on the data's {key}: another task wrote it, or it is damaged. Start a new \
         run from last.safetensors with --init"
    )]
    Notes {
        /// The note.
        key: String,
    },
    /// Most pictures that a run began with are missing.
    #[error(
        "--data {data}: {gone} of the {count} training pictures that the run began with are not there: say where they \
         are now with --data"
    )]
    OtherPictures {
        /// The data.
        data: String,
        /// Number of missing pictures.
        gone: usize,
        /// Pictures at the start.
        count: usize,
    },
    /// It is not recorded which pictures a run began with.
    #[error(
        "--data {data}: the run began with {then} training pictures and there are {now} now; which they were is not \
         known. Restore them, or start a new run from its weights with --init"
    )]
    UnknownPictures {
        /// The data.
        data: String,
        /// Pictures at the start.
        then: usize,
        /// Pictures now.
        now: usize,
    },
    /// A relative path no longer leads to the data.
    #[error("--data {data} is not there any more: {} was meant. Say where it is now: --data KIND:DIR", meant.display())]
    DataMoved {
        /// The data.
        data: String,
        /// The folder that it meant when the run began.
        meant: PathBuf,
    },
    /// Too many pictures are broken to begin a run.
    #[error(
        "{broken} of {pictures} {split} pictures cannot be read, more than {} %: mend or remove them, or raise \
         --broken-at-most, which is {at_most}, to train without them{list}",
        100.0 * at_most
    )]
    Broken {
        /// The split.
        split: &'static str,
        /// Number of broken pictures.
        broken: usize,
        /// Number of all pictures.
        pictures: usize,
        /// Share that may be broken.
        at_most: f64,
        /// The broken pictures and their problems, one per line.
        list: String,
    },
    /// There is nothing to evaluate.
    #[error("none of the validation pictures can be read; the first is {picture}: {problem}")]
    NothingReadable {
        /// The first picture.
        picture: String,
        /// What is wrong with it.
        problem: String,
    },
    /// An epoch has another number of steps than when the run began.
    #[error(
        "an epoch had {then} steps when the run began and has {now} now, since --batch has changed: the steps done no \
         longer say where it stands. Restore it, or start a new run from its weights with --init"
    )]
    OtherEpoch {
        /// Steps at the start.
        then: u64,
        /// Steps now.
        now: u64,
    },
    /// A resumed run was given another network, other states or another goal.
    #[error(
        "{}: {changes}, for which the run did not keep what is needed. Leave it out, or start a new run from its \
         weights: --init {}",
        folder.display(), folder.join("last.safetensors").display()
    )]
    ResumeOther {
        /// The run.
        folder: PathBuf,
        /// The earlier settings and the requested ones.
        changes: String,
    },
    /// The initial weights belong to another network.
    #[error("{} holds the weights of another network than the run trains: add {flags}", path.display())]
    OtherNetwork {
        /// The file.
        path: PathBuf,
        /// The flags that choose its network.
        flags: String,
    },
    /// The folder of a study's row holds another run.
    #[error("{} holds a run with {there}, now it would be {here}: choose another --out", folder.display())]
    OtherRow {
        /// The folder.
        folder: PathBuf,
        /// The setting of that run.
        there: String,
        /// The setting of the row.
        here: String,
    },
    /// A batch does not fit the device.
    #[error(
        "a step over {part} pictures at a time plans {} MiB of GPU memory, of {} MiB that may be used: {advice}",
        planned >> 20, limit >> 20
    )]
    BatchMemory {
        /// Pictures at a time.
        part: u32,
        /// Bytes planned.
        planned: u64,
        /// Bytes that may be used.
        limit: u64,
        /// What fits, and what to do.
        advice: String,
    },
    /// The largest batch was requested, but the device's memory is unknown.
    #[error("--batch auto needs to know the GPU's memory, which its backend does not report: add --memory-limit MIB")]
    MemoryUnknown,
    /// There are fewer pictures than a batch holds.
    #[error("--batch {batch} is more than the {pictures} training pictures: choose a smaller one")]
    BatchTooLarge {
        /// Pictures in a step.
        batch: usize,
        /// Number of pictures.
        pictures: usize,
    },
    /// Training has diverged repeatedly.
    #[error(
        "{cause}: training has diverged, also after {setbacks} returns to an earlier checkpoint with half the \
         learning rate. Lower --lr or lengthen the warm-up; the checkpoint in {} is from before",
        folder.display()
    )]
    Diverged {
        /// Evidence of the divergence.
        cause: Divergence,
        /// Returns to an earlier checkpoint.
        setbacks: u32,
        /// The run.
        folder: PathBuf,
    },
    /// The curves or the report could not be drawn.
    #[error("cannot draw the run: {problem}")]
    Draw {
        /// The plotter's message.
        problem: String,
    },
    /// A file beside the metrics is not one that training writes.
    #[error("{}: {problem}; delete that file", path.display())]
    Findings {
        /// The file.
        path: PathBuf,
        /// The parser's message.
        problem: String,
    },
    /// The folder is neither that of a run nor one that holds runs.
    #[error("{}: no run there, nor in the folders in it: give what a training run had as --out", path.display())]
    NoRun {
        /// The folder.
        path: PathBuf,
    },
}

impl Error {
    pub(super) fn toml(name: &str, error: impl ToString) -> Self {
        Self::Toml { name: name.to_owned(), problem: error.to_string().trim_end().to_owned() }
    }

    pub(super) fn draw(error: impl ToString) -> Self {
        Self::Draw { problem: error.to_string() }
    }
}

/// What shows that training has diverged.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum Divergence {
    /// The loss is NaN or infinite, or has exploded.
    #[error("the loss of step {step} is {loss}")]
    Loss {
        /// The step.
        step: u64,
        /// Its loss.
        loss: f32,
    },
    /// The validation loss is NaN or infinite.
    #[error("the validation loss of epoch {epoch} is {loss}")]
    Validation {
        /// The epoch, counted from 1.
        epoch: u64,
        /// Its loss.
        loss: f32,
    },
    /// A weight or momentum is NaN or infinite.
    #[error("weights are no longer finite after step {step}")]
    Weights {
        /// The last step.
        step: u64,
    },
    /// So many steps in a row were skipped that a too large loss scale cannot be the cause.
    #[error("the gradients of {steps} steps up to step {step} were not finite")]
    Gradients {
        /// The last step.
        step: u64,
        /// Number of skipped steps in a row.
        steps: u32,
    },
}
