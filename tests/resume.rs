//! A run that is stopped or killed and resumed ends in the same bits as an undisturbed one.
#![allow(clippy::unwrap_used)]
#![cfg(unix)]

#[path = "common/program.rs"]
mod program;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use program::{idx_folder, losses, metrics, program, said, succeed, words};
use tempfile::TempDir;

/// Training and validation pictures: 6 steps per epoch, so that several files are saved per second.
const PICTURES: [u32; 2] = [48, 16];
const EPOCHS: usize = 12;
const STEPS: usize = 6 * EPOCHS;
const KILLS: usize = 20;
const SIGKILL: i32 = 9;

/// A folder with data and an undisturbed run.
struct Fixture {
    folder: TempDir,
    losses: Vec<f64>,
    epochs: Vec<serde_json::Value>,
    weights: BTreeMap<PathBuf, Vec<u8>>,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        idx_folder(&folder.path().join("data"), PICTURES[0], PICTURES[1]);
        let mut fixture = Self { folder, losses: Vec::new(), epochs: Vec::new(), weights: BTreeMap::new() };
        let undisturbed = fixture.run("undisturbed");
        succeed(&fixture.train("undisturbed"));
        fixture.losses = losses(&undisturbed);
        fixture.epochs = metrics(&undisturbed, "val_top1");
        fixture.weights = weights(&undisturbed);
        assert_eq!((fixture.losses.len(), fixture.epochs.len()), (STEPS, EPOCHS));
        assert_eq!(fixture.weights.len(), 6, "last, its average, best, two of the top, the checkpoint");
        fixture
    }

    fn run(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The command line of a new run. It includes everything random: order, crops, RandAugment, erasing, mixing,
    /// dropout, stochastic depth; and all states between steps: momenta, averages, the loss scale, the size of the
    /// pictures. A checkpoint is saved after each step.
    fn train(&self, name: &str) -> String {
        let (data, out) = (self.run("data"), self.run(name));
        let (data, out) = (data.display(), out.display());
        format!(
            "train --data idx:{data} --out {out} --res 32 --width 0.125 --depths 1,1,1,1 --batch 8 --epochs {EPOCHS} \
             --lr 0.02 --augment randaug --erasing 0.3 --mixup 0.2 --cutmix 0.5 --dropout 0.2 --drop-path 0.1 \
             --accumulate 2 --clip-norm 2 --ema 0.99 --res-start 24 --keep 2 --precision mixed \
             --checkpoint-minutes 0"
        )
    }

    /// Resumes a run, or starts it again if it ended before its first checkpoint.
    fn go_on(&self, name: &str) -> String {
        let run = self.run(name);
        if run.join("checkpoint/state.safetensors").exists() {
            format!("train --resume {}", run.display())
        } else {
            self.train(name)
        }
    }

    fn assert_same(&self, name: &str) {
        let run = self.run(name);
        assert_eq!(losses(&run), self.losses, "{name}");
        assert_eq!(metrics(&run, "val_top1"), self.epochs, "{name}");
        assert!(weights(&run) == self.weights, "{name}: other weights");
        assert!(unfinished(&run).is_empty(), "{name}: left behind {:?}", unfinished(&run));
    }
}

/// Every file of weights in a run's folder by its path, including the checkpoint and the best epochs' weights.
fn weights(run: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let folders = ["", "checkpoint", "top"].into_iter().flat_map(|folder| fs::read_dir(run.join(folder)).unwrap());
    let paths = folders.map(|entry| entry.unwrap().path());
    let files = paths.filter(|path| path.extension().is_some_and(|ending| ending == "safetensors"));
    files.map(|path| (path.strip_prefix(run).unwrap().to_owned(), fs::read(&path).unwrap())).collect()
}

/// The temporary files of a run, whose writing is unfinished.
fn unfinished(run: &Path) -> Vec<PathBuf> {
    let entries = [run.to_owned(), run.join("checkpoint"), run.join("top")]
        .into_iter()
        .filter_map(|folder| fs::read_dir(folder).ok());
    let paths = entries.flatten().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|ending| ending == "partial")).collect()
}

fn spawn(line: &str) -> Child {
    program(&words(line)).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits until a run has written this many lines of metrics.
fn wait_for_lines(run: &Path, lines: usize, child: &mut Child) {
    let count = || fs::read_to_string(run.join("metrics.jsonl")).map_or(0, |text| text.lines().count());
    let deadline = Instant::now() + Duration::from_secs(120);
    while count() < lines {
        assert!(child.try_wait().unwrap().is_none(), "ended before line {lines} of its metrics");
        assert!(Instant::now() < deadline, "no line {lines} of metrics");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn send(signal: &str, child: &Child) {
    let (signal, pid) = (format!("-{signal}"), child.id().to_string());
    assert!(Command::new("kill").args([signal, pid]).status().unwrap().success());
}

/// One test, since all parts compare with the same undisturbed run, and the machine trains fastest one run at a time.
#[test]
fn a_disturbed_run_ends_in_the_same_bits() {
    let fixture = Fixture::new();

    succeed(&fixture.train("again"));
    fixture.assert_same("again");

    // In the middle of an epoch, and at the end of one.
    for steps in [1, 33, 60] {
        let name = format!("stopped-{steps}");
        succeed(&format!("{} --max-steps {steps}", fixture.train(&name)));
        assert_eq!(losses(&fixture.run(&name)), fixture.losses[..steps]);
        succeed(&fixture.go_on(&name));
        fixture.assert_same(&name);
    }

    let run = fixture.run("interrupted");
    let mut child = spawn(&fixture.train("interrupted"));
    wait_for_lines(&run, 10, &mut child);
    send("INT", &child);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", said(&output));
    assert!(said(&output).contains("go on with: resnet-rs train --resume"), "{}", said(&output));
    assert!(losses(&run).len() < STEPS);
    succeed(&fixture.go_on("interrupted"));
    fixture.assert_same("interrupted");

    kill_at_random(&fixture);
    fill_the_disk(&fixture);
}

/// A signal stops a run, which saves and reports the signal in its exit status, unless the signal is ignored at the
/// start.
#[test]
fn signals_stop_a_run_unless_they_are_ignored() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    idx_folder(&data, PICTURES[0], PICTURES[1]);
    let cases = [
        ("KILL", &["INT"][..], 130),
        ("KILL", &["HUP"], 129),
        // `timeout` signals the process and then its group; a closing terminal signals twice as well.
        ("KILL", &["TERM", "TERM", "HUP", "HUP"], 143),
        ("INT", &["INT", "TERM"], 143),
        ("HUP", &["HUP", "INT"], 130),
    ];
    for (case, (ignored, signals, status)) in cases.into_iter().enumerate() {
        let run = folder.path().join(case.to_string());
        let line = format!(
            "train --data idx:{} --out {} --res 32 --width 0.125 --depths 1,1,1,1 --batch 8 --epochs 10000 --json",
            data.display(),
            run.display()
        );
        let mut child = Command::new("sh")
            .args(["-c", &format!("trap '' {ignored}; exec \"$@\""), "sh", env!("CARGO_BIN_EXE_resnet-rs")])
            .args(words(&line))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        wait_for_lines(&run, 3, &mut child);
        for signal in signals {
            send(signal, &child);
            if *signal == ignored {
                let lines = fs::read_to_string(run.join("metrics.jsonl")).unwrap().lines().count();
                wait_for_lines(&run, lines + 20, &mut child);
            }
        }
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(status), "{signals:?}: {}", said(&output));
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&answer["stopped"], &answer["ended"]), (&true.into(), &"interrupted".into()), "{signals:?}");
        assert!(run.join("checkpoint/state.safetensors").exists() && unfinished(&run).is_empty(), "{signals:?}");
    }
}

/// A user who cannot wait for the end of the step presses Ctrl-C again.
#[test]
fn the_second_interrupt_ends_a_run_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    idx_folder(&data, 256, PICTURES[1]);
    let line = format!(
        "train --data idx:{} --out {} --batch 256 --epochs 1 --res 128",
        data.display(),
        folder.path().join("run").display()
    );
    let mut child = spawn(&line);
    let mut stderr = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(stderr.any(|line| line.contains("training at step 0")));
    // By then the first step is under way, which takes many seconds on two cores.
    for pause_ms in [1000, 300] {
        std::thread::sleep(Duration::from_millis(pause_ms));
        send("INT", &child);
    }
    let rest: Vec<String> = stderr.collect();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(!rest.iter().any(|line| line.contains("go on with")), "{rest:?}");
}

/// Five disks fill up while a run trains: it ends with a message, and once there is room it continues to the same bits.
fn fill_the_disk(fixture: &Fixture) {
    let bytes = |path: &Path| fs::metadata(path).map_or(0, |about| about.len());
    let undisturbed = fixture.run("undisturbed");
    let checkpoint = bytes(&undisturbed.join("checkpoint/state.safetensors"));
    for i in 0..5 {
        let name = format!("full-{i}");
        let run = fixture.run(&name);
        fs::create_dir(&run).unwrap();
        // From too little room for a second checkpoint beside the first, to hardly enough for everything.
        let size = checkpoint * (12 + 3 * i) / 10;
        let mount = |options: &str| {
            let run = run.to_str().unwrap();
            Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs", run]).stderr(Stdio::null()).status()
        };
        if !mount(&format!("size={size}")).is_ok_and(|status| status.success()) {
            eprintln!("skipped: full disks, since only root may mount one");
            return;
        }
        let output = program(&words(&fixture.train(&name))).output().unwrap();
        let message = said(&output);
        assert_eq!(output.status.code(), Some(1), "{size} bytes: {message}");
        assert!(message.contains(&name) && message.contains("No space left"), "{message}");
        assert!(mount("remount,size=1g").is_ok_and(|status| status.success()));
        succeed(&fixture.go_on(&name));
        fixture.assert_same(&name);
        assert!(Command::new("umount").arg(&run).status().unwrap().success());
    }
}

/// Twenty kills, over as many runs as needed: every second one at a random moment after the program's start, the others
/// during a save.
fn kill_at_random(fixture: &Fixture) {
    let mut seed: u64 = 2021;
    eprintln!("moments of the kills from seed {seed}");
    let mut random = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let (mut kills, mut during_saves, mut runs) = (0, 0, 0);
    while kills < KILLS {
        let name = format!("killed-{runs}");
        let run = fixture.run(&name);
        runs += 1;
        // Resumptions advance a run by less than an epoch on average, so every few kills a run may end.
        let last_of_run = KILLS.min(kills + 7);
        while kills < last_of_run {
            let before = unfinished(&run);
            let mut child = spawn(&fixture.go_on(&name));
            if kills % 2 == 0 {
                std::thread::sleep(Duration::from_millis(random(3000)));
            } else {
                for _ in 0..=random(8) {
                    wait_for_save(&run, &mut child);
                }
            }
            // This fails if the program has just ended.
            let _ = child.kill();
            let output = child.wait_with_output().unwrap();
            if output.status.signal() != Some(SIGKILL) {
                assert_eq!(output.status.code(), Some(0), "{}", said(&output));
                break;
            }
            kills += 1;
            let saving = unfinished(&run).iter().any(|path| !before.contains(path));
            during_saves += usize::from(saving);
            eprintln!("kill {kills} of {name}{}", if saving { ", during a save" } else { "" });
        }
        succeed(&fixture.go_on(&name));
        fixture.assert_same(&name);
    }
    assert!(during_saves > 0, "no kill fell on a save");
}

/// Waits until a run begins to write a file, or ends.
fn wait_for_save(run: &Path, child: &mut Child) {
    let deadline = Instant::now() + Duration::from_secs(120);
    let before = unfinished(run);
    while unfinished(run).iter().all(|path| before.contains(path)) && child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "no save");
        std::thread::sleep(Duration::from_micros(100));
    }
}
