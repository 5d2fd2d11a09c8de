//! `selftest`: compares every kernel with the reference, on this adapter.

use std::io::{self, Write};

use clap::Args;
use serde::Serialize;

use super::{Error, Global, output};
use crate::gpu::{Family, Gpu, GpuOptions};
use crate::selftest::{self, Outcome, cases};

/// Compare every kernel with the CPU reference on this adapter
#[derive(Args)]
pub(super) struct Selftest {
    /// Sets of random shapes besides the standard cases
    #[arg(long, value_name = "N", default_value_t = 3)]
    seeds: u64,
    /// Both kernel families, not only the one that serves this adapter
    #[arg(long)]
    all_families: bool,
}

#[derive(Serialize)]
struct Answer<'a> {
    adapter: &'a str,
    passed: bool,
    outcomes: &'a [Outcome],
}

pub(super) fn run(args: Selftest, global: &Global) -> Result<(), Error> {
    let gpu = global.gpu()?;
    let mut cases = cases::standard();
    cases.extend((0..args.seeds).flat_map(cases::random));
    let mut gpus = vec![gpu.clone()];
    if args.all_families {
        let other = if gpu.family() == Family::Tiles { Family::Registers } else { Family::Tiles };
        gpus.push(Gpu::new(&GpuOptions { family: Some(other), ..global.gpu_options() })?);
    }

    let all = cases.len() * gpus.len();
    let progress = global.progress("cases");
    let mut outcomes = Vec::with_capacity(all);
    if !global.json {
        writeln!(io::stdout(), "{:5} {:9} {:>7} {:>8}  case", "", "family", "error", "ms")?;
    }
    for gpu in &gpus {
        for case in &cases {
            let outcome = selftest::check(gpu, case)?;
            if global.json {
                progress(outcomes.len() + 1, all);
            } else if !outcome.passed || !global.quiet {
                print(&outcome)?;
            }
            outcomes.push(outcome);
        }
    }
    drop(progress);

    let off = outcomes.iter().filter(|o| !o.passed).count();
    if global.json {
        output::json(&Answer { adapter: gpu.name(), passed: off == 0, outcomes: &outcomes })?;
    }
    if off > 0 {
        return Err(Error::failed(format!(
            "{off} of {all} cases are off on {}: its results cannot be trusted. Update the driver, or choose another \
             adapter with --device",
            gpu.name()
        )));
    }
    if !global.quiet {
        eprintln!("all {all} cases pass on {}", gpu.name());
    }
    Ok(())
}

fn print(outcome: &Outcome) -> io::Result<()> {
    let Outcome { case, family, error, kernels_ms, passed, problem } = outcome;
    let verdict = if *passed { "ok" } else { "WRONG" };
    let ms = kernels_ms.map_or("-".to_owned(), |ms| format!("{ms:.3}"));
    let problem = problem.as_ref().map_or(String::new(), |problem| format!("\n      {problem}"));
    writeln!(io::stdout(), "{verdict:5} {:9} {error:7.3} {ms:>8}  {case}{problem}", format!("{family:?}"))
}
