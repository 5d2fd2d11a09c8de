//! The program's command line: one file per command, which parses flags, calls the library and prints.
//!
//! Results go to stdout, messages and progress to stderr. Exit status: 0 done, 1 failed with a message, 2 wrong usage,
//! 128 + N saved and stopped by signal N.

/// Prints a line to stderr. The standard library's macro panics if nobody reads stderr: a closed pipe, or a closed
/// terminal whose SIGHUP stops a run or is ignored. A run must be saved nevertheless.
macro_rules! eprintln {
    ($($line:tt)*) => {{
        use std::io::Write;
        let _ = writeln!(std::io::stderr(), $($line)*);
    }};
}

mod ablate;
mod bench;
mod check;
mod devices;
mod error;
mod eval;
mod export;
mod global;
mod info;
mod messages;
mod models;
mod network;
mod output;
mod predict;
mod profile;
mod quantize;
mod runs;
mod sample;
mod scale;
mod selftest;
mod signals;
mod study;
mod train;
mod transfer;
mod tune;
mod weights;
mod workload;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use error::Error;
use global::Global;

/// Trains and runs ResNet-RS on any GPU
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    global: Global,
}

#[derive(Subcommand)]
#[allow(clippy::large_enum_variant, reason = "there is one, once")]
enum Command {
    Devices(devices::Devices),
    Models(models::Models),
    Info(info::Info),
    Predict(predict::Predict),
    Eval(eval::Eval),
    Check(check::Check),
    Train(train::Train),
    Runs(runs::Runs),
    Export(export::Export),
    Quantize(quantize::Quantize),
    Sample(sample::Sample),
    Selftest(selftest::Selftest),
    Ablate(ablate::Ablate),
    Transfer(transfer::Transfer),
    Tune(tune::Tune),
    Bench(bench::Bench),
    Profile(profile::Profile),
    Scale(scale::Scale),
}

impl Command {
    fn run(self, global: &Global) -> Result<(), Error> {
        match self {
            Self::Devices(args) => devices::run(args, global),
            Self::Models(args) => models::run(args, global),
            Self::Info(args) => info::run(args, global),
            Self::Predict(args) => predict::run(args, global),
            Self::Eval(args) => eval::run(args, global),
            Self::Check(args) => check::run(args, global),
            Self::Train(args) => train::run(args, global),
            Self::Runs(args) => runs::run(args, global),
            Self::Export(args) => export::run(args, global),
            Self::Quantize(args) => quantize::run(args, global),
            Self::Sample(args) => sample::run(args, global),
            Self::Selftest(args) => selftest::run(args, global),
            Self::Ablate(args) => ablate::run(args, global),
            Self::Transfer(args) => transfer::run(args, global),
            Self::Tune(args) => tune::run(args, global),
            Self::Bench(args) => bench::run(args, global),
            Self::Profile(args) => profile::run(args, global),
            Self::Scale(args) => scale::run(args, global),
        }
    }
}

/// Runs the program on the process's arguments.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    messages::install(&cli.global);
    match cli.command.run(&cli.global) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error.report(),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
