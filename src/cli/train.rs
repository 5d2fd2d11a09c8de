//! `train`: trains a new network, or resumes a run.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, Once, PoisonError};
use std::time::Instant;

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::signals::Stop;
use super::weights::Source;
use super::{Error, Global, output};
use crate::train::{Ended, EpochLine, Line, Measure, Observer, Recipe, RecipeFlags, Run, StepLine, Summary, Trainer};
use crate::train::{curves, metrics};
use crate::words;

/// Train a network; Ctrl-C stops after the current step, --resume goes on
///
/// SIGTERM and SIGHUP stop a run as Ctrl-C does. The exit status of a run that a signal stopped is 128 plus the number
/// of the signal, 130 after Ctrl-C; a run that --max-steps, --max-minutes or --patience ends has status 0.
#[derive(Args)]
pub(super) struct Train {
    /// Pictures: shapes, idx:DIR, cifar10:DIR, cifar100:DIR, folder:DIR, shards:DIR, voc:DIR, coco:DIR, masks:DIR,
    /// ade20k:DIR, depth:DIR or nyu:DIR; with --resume, where they are now
    #[arg(long, value_name = "DATA", required_unless_present = "resume")]
    data: Option<String>,
    /// Folder of the run: checkpoints, weights, metrics, curves, and report.html to look at
    #[arg(long, value_name = "RUN", required_unless_present = "resume")]
    out: Option<PathBuf>,
    /// Go on with the run in this folder
    #[arg(long, value_name = "RUN", conflicts_with_all = ["out", "init", "recipe"])]
    resume: Option<PathBuf>,
    /// Start from these weights: a safetensors file of the same network, timm's or one's own, or a repository on the
    /// Hugging Face hub; with another number of classes the classifier starts anew, and so does a head that the file
    /// lacks
    #[arg(long, visible_alias = "weights", value_name = "FILE|hf:OWNER/NAME[@REVISION]")]
    init: Option<Source>,
    /// Go on with other settings than the run was under way with
    #[arg(long, requires = "resume")]
    force: bool,
    /// Settings: small, paper, tpu, tfm, timm, efficientnet-rs, detect, segment, depth or a TOML file; flags win over
    /// it
    #[arg(long, value_name = "NAME|FILE")]
    recipe: Option<String>,
    #[command(flatten)]
    flags: RecipeFlags,
}

pub(super) fn run(args: Train, global: &Global) -> Result<(), Error> {
    let init = args.init.map(|source| source.file(global)).transpose()?;
    let (run, checkpoint) = match (&args.resume, args.data, args.out) {
        (Some(folder), data, _) => {
            Run::resume(folder, data.as_deref(), &args.flags, args.force).map(|(run, c)| (run, Some(c)))?
        }
        (None, Some(data), Some(out)) => {
            (Run::new(&out, &data, Recipe::resolve(args.recipe.as_deref(), &args.flags)?)?, None)
        }
        _ => return Err(Error::usage("give --data and --out, or --resume".into())),
    };
    let folder = run.folder.clone();
    let gpu = global.gpu()?;
    let stop = Stop::on_signal(global.quiet)?;
    let display = Display::new(global, &run.recipe, checkpoint.is_some());
    let goal = display.goal;
    let trainer = Trainer::new(&gpu, run, checkpoint, init.as_deref(), &display, stop.requested())?;
    let result = trainer.train();
    display.finish();
    let summary = result?;

    let lines = metrics::read(&folder)?;
    let steps: Vec<&StepLine> =
        lines.iter().filter_map(|l| if let Line::Step(s) = l { Some(s) } else { None }).collect();
    let skipped = steps.iter().filter(|step| step.skipped == Some(true)).count();
    if !global.quiet {
        let losses: Vec<f32> = steps.iter().map(|step| step.loss).collect();
        if let (Some(first), Some(last)) = (losses.first(), losses.last()) {
            eprintln!("loss {first:.3} {} {last:.3}", curves::sparkline(&losses, 60));
        }
        if let Some(best) = summary.best {
            let (label, best) = (goal.label, goal.text(best));
            eprintln!("best {label} {best}, weights in {}", folder.join("best.safetensors").display());
        }
        if skipped > 0 {
            eprintln!("{skipped} steps were left out, since their gradients were not finite");
        }
        if summary.setbacks > 0 {
            let (times, part) = (summary.setbacks, 1 << summary.setbacks);
            eprintln!(
                "returned to an earlier checkpoint {times} times: the learning rate is 1/{part} of the schedule's"
            );
        }
        if summary.broken > 0 {
            let (pictures, list) = (words::count(summary.broken, "picture"), folder.join("broken.json"));
            eprintln!("{pictures} could not be read: {}", list.display());
        }
        let why = match summary.ended {
            Ended::Schedule => None,
            Ended::Patience => Some("as the last epochs brought nothing better (--patience)"),
            Ended::Steps => Some("as --max-steps says"),
            Ended::Time => Some("as --max-minutes are over"),
            Ended::Interrupted => Some("as you asked"),
        };
        if let Some(why) = why {
            let Summary { steps, total_steps, .. } = summary;
            eprintln!("ended after {steps} of {total_steps} steps, {why}");
        }
        if matches!(summary.ended, Ended::Steps | Ended::Time | Ended::Interrupted) {
            eprintln!("go on with: resnet-rs train --resume {}", folder.display());
        }
    }
    if global.json {
        output::json(&serde_json::json!({
            "run": folder, "steps": summary.steps, "total_steps": summary.total_steps,
            "stopped": matches!(summary.ended, Ended::Time | Ended::Interrupted), "ended": summary.ended,
            format!("best_{}", goal.name): summary.best, "skipped": skipped, "setbacks": summary.setbacks,
            "broken": summary.broken,
        }))?;
    }
    if summary.ended == Ended::Interrupted { Err(stop.error()) } else { Ok(()) }
}

/// How many of a task's measures the line of an epoch has: the first. All are in the metrics file.
const SHOWN: usize = 5;

/// The progress bar on stderr: kernels, then steps with loss, rate and time left; and one line per epoch.
pub(super) struct Display {
    bar: ProgressBar,
    quiet: bool,
    /// Whether the run was resumed from a checkpoint.
    resumed: bool,
    started: Instant,
    /// The numbers that the run's task reports.
    measures: &'static [Measure],
    /// The one that decides which epoch is the best.
    pub(super) goal: Measure,
    /// The goal's number over the last steps, smoothed.
    smoothed: Mutex<Option<f64>>,
    /// Number of skipped steps.
    skipped: AtomicU64,
    /// Number of unreadable pictures.
    broken: AtomicUsize,
    /// Set when the bar first shows the check of pictures.
    checking: Once,
    compiling: Once,
}

/// Weight of a step in the bar's number, which averages about 20 steps: a single step has few pictures.
const STEP_WEIGHT: f64 = 0.1;

impl Display {
    pub(super) fn new(global: &Global, recipe: &Recipe, resumed: bool) -> Self {
        let task = recipe.task();
        let target = if global.quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = ProgressBar::with_draw_target(None, target);
        bar.set_style(style("compiling kernels {wide_bar} {pos}/{len}"));
        Self {
            bar,
            quiet: global.quiet,
            resumed,
            started: Instant::now(),
            measures: task.measures(),
            goal: recipe.goal(&*task),
            smoothed: Mutex::default(),
            skipped: AtomicU64::new(0),
            broken: AtomicUsize::new(0),
            checking: Once::new(),
            compiling: Once::new(),
        }
    }

    /// Clears the bar.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }

    fn smoothed(&self, number: Option<f64>) -> Option<f64> {
        let mut last = self.smoothed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(number) = number {
            *last = Some(last.map_or(number, |last| last + STEP_WEIGHT * (number - last)));
        }
        *last
    }

    fn say(&self, line: &str) {
        if !self.quiet {
            self.bar.suspend(|| eprintln!("{line}"));
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|e| unreachable!("fixed template: {e}"))
}

impl Observer for Display {
    fn note(&self, message: &str) {
        self.say(message);
    }

    fn checking(&self, done: usize, total: usize) {
        self.checking.call_once(|| {
            self.bar.set_style(style("checking pictures {wide_bar} {pos}/{len} {per_sec} eta {eta}"));
        });
        self.bar.set_length(total as u64);
        self.bar.set_position(done as u64);
    }

    fn broken(&self, total: usize) {
        self.broken.store(total, Ordering::Relaxed);
    }

    fn compiling(&self, done: usize, total: usize) {
        self.compiling.call_once(|| self.bar.set_style(style("compiling kernels {wide_bar} {pos}/{len}")));
        self.bar.set_length(total as u64);
        self.bar.set_position(done as u64);
    }

    fn starting(&self, planned_bytes: u64, done: u64, total: u64) {
        let memory = planned_bytes as f64 / f64::from(1 << 20);
        let verb = if self.resumed { "resuming" } else { "training" };
        let ready = self.started.elapsed().as_secs_f64();
        self.say(&format!("{verb} at step {done} of {total}: {memory:.1} MiB of GPU memory, ready after {ready:.1} s"));
        self.bar.reset();
        self.bar.set_style(style("{msg} {prefix} {wide_bar} {pos}/{len} eta {eta}"));
        self.bar.set_prefix(format!("{memory:.0} MiB"));
        self.bar.set_length(total);
        self.bar.set_position(done);
        self.bar.reset_eta();
    }

    fn step(&self, line: &StepLine) {
        self.bar.set_position(line.step + 1);
        let (epoch, loss, rate) = (line.epoch + 1, line.loss, line.images_per_s);
        let goal = self.goal;
        let reached = self.smoothed(line.numbers.get(goal.name));
        let reached = reached.map_or(String::new(), |number| format!(" {} {}", goal.label, goal.short_text(number)));
        // Shows the time spent waiting for data only if it is significant.
        let loading = line.loader_share.filter(|&share| share > 0.1);
        let loading = loading.map_or(String::new(), |share| format!(" {:.0} % loading", 100.0 * share));
        let this = u64::from(line.skipped == Some(true));
        let skipped = match self.skipped.fetch_add(this, Ordering::Relaxed) + this {
            0 => String::new(),
            steps => format!(" {steps} skipped"),
        };
        let broken = match self.broken.load(Ordering::Relaxed) {
            0 => String::new(),
            pictures => format!(" {pictures} broken"),
        };
        self.bar
            .set_message(format!("epoch {epoch} loss {loss:.3}{reached} {rate:.0} images/s{loading}{skipped}{broken}"));
    }

    fn validating(&self, done: usize, total: usize) {
        self.bar.set_message(format!("validating {done}/{total}"));
    }

    fn notice(&self, message: &str) {
        self.bar.suspend(|| log::warn!("{message}"));
    }

    fn epoch(&self, line: &EpochLine) {
        let goal = self.goal;
        let known = |number: Option<f64>| number.filter(|number| !number.is_nan());
        let number = |measure: &Measure| known(line.val(measure.name)).map(|number| measure.text(number));
        let mut said = format!("{} {}", goal.label, number(&goal).unwrap_or("unknown".into()));
        if let Some(averaged) = known(line.ema(goal.name)) {
            said += &format!(", averaged weights {}", goal.text(averaged));
        }
        for measure in self.measures.iter().take(SHOWN).filter(|measure| measure.name != goal.name) {
            said += &number(measure).map_or(String::new(), |number| format!(", {} {number}", measure.label));
        }
        let loss = line.val("loss").map_or(String::new(), |loss| format!(", loss {loss:.3}"));
        self.say(&format!("epoch {}: {said}{loss}", line.epoch + 1));
    }
}
