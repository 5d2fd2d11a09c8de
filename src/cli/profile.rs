//! `profile`: the time of a network's operations on this adapter.

use std::io::{self, Write};
use std::time::Instant;

use clap::Args;

use super::workload::WorkloadFlags;
use super::{Error, Global, output};
use crate::bench::{self, Line};

/// Show where a network's time goes on this adapter, operation by operation, beside the least that it could take
///
/// Times are those of the adapter's own clock, each a median of several runs with random weights and pictures. The
/// limit of an operation is the longer of two times: its FLOPs at the peak rate, and its least bytes at the peak
/// bandwidth (each tensor read or written once, the input of batch norm twice). Both peaks are measured on the same
/// adapter, by multiply-adds in registers and by a copy. GB/s are bytes moved, counted from what the kernels bind;
/// caches may save some of them.
#[derive(Args)]
pub(super) struct Profile {
    #[command(flatten)]
    workload: WorkloadFlags,
    /// Nodes to list
    #[arg(long, value_name = "N", default_value_t = 20)]
    top: usize,
    /// List every node
    #[arg(long, conflicts_with = "top")]
    all: bool,
}

pub(super) fn run(args: Profile, global: &Global) -> Result<(), Error> {
    let prepared = args.workload.workload()?.prepare()?;
    let compiling = global.progress("compiling kernels");
    let since = Instant::now();
    let gpu = global.gpu()?;
    let profile = bench::Profile::measure(&gpu, since, &prepared, None, &compiling)?;
    drop(compiling);
    if global.json {
        return Ok(output::json(&profile)?);
    }
    let listed = if args.all { profile.nodes.len() } else { args.top.min(profile.nodes.len()) };
    Ok(print(&profile, listed)?)
}

fn print(profile: &bench::Profile, listed: usize) -> io::Result<()> {
    let bench::Profile { subject, peaks, total, run_ms, .. } = profile;
    let mut out = io::stdout().lock();
    writeln!(out, "{} with kernels of family {:?}", subject.adapter, profile.family)?;
    writeln!(out, "peaks: {:.1} GFLOP/s in registers, {:.1} GB/s copied\n", peaks.gflops, peaks.gb_per_s)?;

    let whole_ms = total.ms.unwrap_or(*run_ms);
    let kinds = profile.kinds.iter().chain([total]).map(|kind| (kind.nodes.to_string(), kind));
    table(["operation", "nodes"], kinds, whole_ms)?;
    if listed > 0 {
        writeln!(out)?;
        let nodes = profile.nodes[..listed].iter().map(|node| (node.op.to_owned(), node));
        table(["node", "operation"], nodes, whole_ms)?;
    }

    let bench::Profile { first_ms, pipelines, launches, .. } = profile;
    writeln!(out, "\nfirst answer {first_ms:.0} ms, {pipelines} pipelines; a run {run_ms:.3} ms, {launches} launches")?;
    let measured = match total.ms {
        Some(ms) => format!("kernels {ms:.3} ms"),
        None => format!("no operation timed, the adapter has no timestamps; a run {run_ms:.3} ms"),
    };
    writeln!(out, "{measured}, limit {:.3} ms: {:.1} % of the limit", total.limit_ms, 100.0 * profile.share)?;
    let Some(norm) = profile.batch_norm else { return Ok(()) };
    let [moved, least, fused] =
        [norm.moved_bytes, norm.least_bytes, norm.least_fused_bytes].map(|bytes| bytes as f64 / 1e6);
    writeln!(out, "batch norm moves {moved:.1} MB")?;
    writeln!(out, "  {:.3} of the least for kernels of its own, {least:.1} MB", norm.ratio())?;
    writeln!(
        out,
        "  {:.3} of the least behind convolutions that gather the statistics, {fused:.1} MB",
        norm.ratio_fused()
    )
}

/// A line's name, one more cell, and its figures.
fn table<'a>(
    [name, second]: [&str; 2],
    lines: impl Iterator<Item = (String, &'a Line)>,
    whole_ms: f64,
) -> io::Result<()> {
    let header =
        [name, second, "ms", "%", "GFLOP", "GFLOP/s", "moved MB", "least MB", "GB/s", "limit ms", "% of limit"];
    let number = |value: Option<f64>, digits: usize| value.map_or("-".to_owned(), |v| format!("{v:.digits$}"));
    let row = |(cell, line): (String, &Line)| {
        let counted = line.flops > 0;
        [
            line.name.clone(),
            cell,
            number(line.ms, 3),
            number(line.ms.map(|ms| 100.0 * ms / whole_ms), 1),
            number(counted.then_some(line.flops as f64 / 1e9), 3),
            number(line.gflops.filter(|_| counted), 1),
            format!("{:.2}", line.moved_bytes as f64 / 1e6),
            format!("{:.2}", line.least_bytes as f64 / 1e6),
            number(line.gb_per_s, 1),
            format!("{:.3}", line.limit_ms),
            number(line.share.map(|share| 100.0 * share), 1),
        ]
    };
    output::table(header, &lines.map(row).collect::<Vec<_>>())
}
