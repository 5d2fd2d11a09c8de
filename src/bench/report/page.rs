//! `report.html` and its charts.

use indicatif::HumanBytes;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior};
use plotters::style::RGBColor;
use serde::Serialize;

use super::chart::{Axis, Chart, Marker, Point, Roof};
use super::tables::{HEADER, capitalised};
use super::{Report, Slice, color, short};
use crate::bench::results::{Measured, Outcome, Results, Row};

/// The data of the template, which escapes every text except the drawings.
#[derive(Serialize)]
pub(super) struct Page {
    devices: Vec<DeviceCard>,
    markers: Vec<(&'static str, &'static str)>,
    groups: Vec<Group>,
    header: Vec<&'static str>,
    ratios: Vec<RatioLine>,
    rooflines: Vec<Roofs>,
    problems: Vec<(String, String)>,
    timestamps: bool,
    noisy: bool,
}

#[derive(Serialize)]
struct DeviceCard {
    label: String,
    color: String,
    facts: Vec<(&'static str, String)>,
}

/// A batch, mode and precision.
#[derive(Serialize)]
struct Group {
    name: String,
    drawings: Vec<Drawing>,
    rows: Vec<TableRow>,
}

#[derive(Serialize)]
struct TableRow {
    color: String,
    cells: Vec<String>,
}

#[derive(Serialize)]
struct RatioLine {
    pair: String,
    of: String,
    measured: bool,
    noisy: bool,
    quotients: Vec<String>,
}

/// One network's operations on all devices that measured it.
#[derive(Serialize)]
struct Roofs {
    name: String,
    drawing: Drawing,
    rows: Vec<TableRow>,
}

/// A chart with its name, as the page shows it and as files.
#[derive(Serialize)]
pub(super) struct Drawing {
    name: &'static str,
    #[serde(skip)]
    pub(super) file: String,
    pub(super) svg: String,
    #[serde(skip)]
    pub(super) png: Vec<u8>,
}

impl Drawing {
    fn new(name: &'static str, file: String, chart: &Chart) -> Self {
        let drawn = chart.svg().and_then(|svg| Ok((svg, chart.png()?)));
        let (svg, png) = drawn.unwrap_or_else(|e| unreachable!("drawn in memory: {e}"));
        Self { name, file, svg, png }
    }
}

fn hex(RGBColor(r, g, b): RGBColor) -> String {
    format!("#{r:02x}{g:02x}{b:02x}")
}

fn marker(row: &Row) -> Marker {
    match row.model.as_str() {
        model if model.starts_with("efficientnet-rs") => Marker::Cross,
        model if model.starts_with("efficientnet") => Marker::Triangle,
        model if model.starts_with("resnet-rs") || model == "small" => Marker::Disc,
        _ => Marker::Ring,
    }
}

impl Page {
    pub(super) fn new(report: &Report) -> Self {
        let devices = report.devices.iter().enumerate();
        let rows = || report.devices.iter().flat_map(|d| d.results.rows.iter().map(move |row| (d, row)));
        let problem = |(device, row): (&super::Device, &Row)| match &row.outcome {
            Outcome::Measured(_) => None,
            Outcome::DoesNotFit { problem } | Outcome::Failed { problem } => {
                let what = format!("{}: {}, {}", device.label, short(row), Slice::of(row).name());
                Some((what, problem.clone()))
            }
        };
        let quotient = |q: &Option<f64>| q.map_or("-".to_owned(), |q| format!("{q:.2}"));
        let ratio = |ratio: super::Ratio| RatioLine {
            measured: !ratio.of.starts_with("paper"),
            quotients: ratio.quotients.iter().map(quotient).collect(),
            pair: ratio.pair,
            of: ratio.of,
            noisy: ratio.noisy,
        };
        Self {
            devices: devices
                .map(|(i, d)| DeviceCard { label: d.label.clone(), color: hex(color(i)), facts: facts(&d.results) })
                .collect(),
            markers: vec![("●", "ResNet-RS"), ("○", "other ResNets"), ("▲", "EfficientNet"), ("×", "EfficientNet-RS")],
            groups: report.slices().into_iter().map(|slice| group(report, slice)).collect(),
            header: HEADER.to_vec(),
            ratios: report.ratios().into_iter().map(ratio).collect(),
            rooflines: rooflines(report),
            problems: rows().filter_map(problem).collect(),
            timestamps: rows().all(|(_, row)| row.measured().is_none_or(|m| m.gpu_ms.is_some())),
            noisy: rows().any(|(device, row)| report.is_noisy(device, row)),
        }
    }

    pub(super) fn drawings(&self) -> impl Iterator<Item = &Drawing> {
        self.groups.iter().flat_map(|group| &group.drawings).chain(self.rooflines.iter().map(|roofs| &roofs.drawing))
    }

    pub(super) fn render(&self) -> String {
        let mut env = Environment::new();
        env.set_undefined_behavior(UndefinedBehavior::Strict);
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        env.set_syntax(syntax.unwrap_or_else(|e| unreachable!("fixed syntax: {e}")));
        // The name ends in .html, so that the template engine escapes all text.
        let page = env.render_named_str("report.html", include_str!("report.html"), Serde(self));
        page.unwrap_or_else(|e| unreachable!("a test renders it: {e:#}"))
    }
}

fn facts(results: &Results) -> Vec<(&'static str, String)> {
    let (machine, adapter) = (&results.machine, &results.machine.adapter);
    let bytes = |n: u64| HumanBytes(n).to_string();
    vec![
        ("vendor", adapter.vendor.clone()),
        ("driver", adapter.driver.clone()),
        ("backend", format!("{} on {} ({})", adapter.backend, machine.os, machine.arch)),
        ("peak of shaders", format!("{:.0} GFLOP/s, {:.0} GB/s", machine.peaks.gflops, machine.peaks.gb_per_s)),
        ("memory", adapter.memory_bytes.map_or("not reported".to_owned(), bytes)),
        ("largest binding", bytes(adapter.max_binding_bytes)),
        ("timestamps", if adapter.timestamps { "yes" } else { "no: times are the wall clock's alone" }.to_owned()),
        ("resnet-rs", results.program.clone()),
        ("suite", results.settings.suite.clone().unwrap_or_else(|| "none".to_owned())),
        ("rows", format!("{}{}", results.rows.len(), if results.complete { "" } else { ", interrupted" })),
    ]
}

/// Rows of a slice, each with the index of its device.
fn rows_of(report: &Report, slice: Slice) -> impl Iterator<Item = (usize, &Row)> {
    let devices = report.devices.iter().enumerate();
    devices.flat_map(move |(i, d)| {
        d.results.rows.iter().filter(move |row| Slice::of(row) == slice).map(move |row| (i, row))
    })
}

/// Coordinates of a measured row in a chart; `None` if the row lacks them.
type Place = fn(&Row, &Measured) -> Option<(f64, f64)>;

fn group(report: &Report, slice: Slice) -> Group {
    let chart = |x: (&'static str, bool), y: (&'static str, bool), at: Place| {
        let mut points: Vec<Point> = Vec::new();
        for (device, row) in rows_of(report, slice) {
            let Some((x, y)) = row.measured().and_then(|measured| at(row, measured)) else { continue };
            // Each network is labelled once; its points for other devices lie nearby.
            let name = short(row);
            let label = if points.iter().any(|p| p.label == name) { String::new() } else { name };
            let noisy = report.is_noisy(&report.devices[device], row);
            points.push(Point { x, y, label, color: color(device), marker: marker(row), noisy });
        }
        let axis = |(name, logarithmic)| Axis { name, logarithmic };
        Chart { x: axis(x), y: axis(y), points, roofs: vec![] }
    };
    let flops =
        chart(("GFLOPs of a run", true), ("ms, median", true), |row, m| Some((row.flops as f64 / 1e9, m.median_ms)));
    let accuracy = chart(("ms, median", true), ("top-1 on ImageNet, %, as published", false), |row, m| {
        Some((m.median_ms, row.published_top1?))
    });
    let memory = chart(("parameters, millions", true), ("MB allocated", true), |row, m| {
        Some((row.params as f64 / 1e6, m.allocated_bytes as f64 / 1e6))
    });
    let named = [
        ("Latency against FLOPs", "latency-flops", flops),
        ("Published accuracy against latency", "accuracy-latency", accuracy),
        ("Memory against parameters", "memory-parameters", memory),
    ];
    let drawings = named
        .into_iter()
        .filter(|(_, _, chart)| !chart.points.is_empty())
        .map(|(name, file, chart)| Drawing::new(name, format!("{}-{file}", slice.slug()), &chart))
        .collect();
    let row = |(device, row): (usize, &Row)| {
        let of = &report.devices[device];
        TableRow { color: hex(color(device)), cells: [vec![of.label.clone()], report.cells(of, row)].concat() }
    };
    Group { name: capitalised(&slice.name()), drawings, rows: rows_of(report, slice).map(row).collect() }
}

fn rooflines(report: &Report) -> Vec<Roofs> {
    let mut names: Vec<String> = Vec::new();
    let name = |results: &Results| {
        let of = results.roofline.as_ref()?;
        let slice = Slice { mode: of.mode, batch: of.batch, precision: of.precision };
        Some((format!("{} at {} px: {}", of.model, of.res, slice.name()), format!("{}-{}", of.model, slice.slug())))
    };
    for (found, _) in report.devices.iter().filter_map(|d| name(&d.results)) {
        if !names.contains(&found) {
            names.push(found);
        }
    }
    let roofs = |wanted: String| {
        let mut chart = Chart {
            x: Axis { name: "FLOPs for each byte that must be moved", logarithmic: true },
            y: Axis { name: "GFLOP/s", logarithmic: true },
            points: vec![],
            roofs: vec![],
        };
        let (mut rows, mut file) = (Vec::new(), String::new());
        for (i, device) in report.devices.iter().enumerate() {
            let Some((_, slug)) = name(&device.results).filter(|(found, _)| *found == wanted) else { continue };
            file = format!("roofline-{slug}");
            let peaks = &device.results.machine.peaks;
            chart.roofs.push(Roof { flat: peaks.gflops, slope: peaks.gb_per_s, color: color(i) });
            for kind in device.results.roofline.iter().flat_map(|roofline| &roofline.kinds) {
                let limit_ms = peaks.limit_ms(kind.flops, kind.least_bytes);
                let gflops = kind.flops as f64 / kind.ms / 1e6;
                if kind.flops > 0 && kind.ms > 0.0 {
                    let label = if chart.roofs.len() == 1 { kind.op.clone() } else { String::new() };
                    let (x, marker) = (kind.flops as f64 / kind.least_bytes as f64, Marker::Disc);
                    chart.points.push(Point { x, y: gflops, label, color: color(i), marker, noisy: false });
                }
                let rate = |v: f64| if v > 0.0 { format!("{v:.1}") } else { "-".to_owned() };
                let cells = vec![
                    device.label.clone(),
                    kind.op.clone(),
                    kind.nodes.to_string(),
                    format!("{:.3}", kind.ms),
                    rate(gflops),
                    rate(kind.least_bytes as f64 / kind.ms / 1e6),
                    format!("{:.0} %", 100.0 * limit_ms / kind.ms.max(1e-9)),
                ];
                rows.push(TableRow { color: hex(color(i)), cells });
            }
        }
        Roofs { name: wanted, drawing: Drawing::new("Roofline", file, &chart), rows }
    };
    names.into_iter().map(roofs).collect()
}
