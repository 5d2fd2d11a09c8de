//! The report of one or several machines: a self-contained page, its charts as files, and the figures as CSV and
//! Markdown.

mod chart;
mod page;
mod ratio;
mod tables;

use std::io::Write;
use std::path::Path;

use plotters::style::RGBColor;

pub use ratio::Ratio;

use super::Mode;
use super::results::{Error, NOISY, Results, Row};
use crate::drawing::PALETTE;
use crate::files;
use crate::graph::Precision;

/// Measurements to be drawn.
#[derive(Clone, Debug)]
pub struct Report {
    devices: Vec<Device>,
}

/// An adapter and what was measured on it.
#[derive(Clone, Debug)]
struct Device {
    /// Its name, unique in the report.
    label: String,
    results: Results,
}

/// Workloads with the same batch, mode and precision, which one chart compares.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Slice {
    mode: Mode,
    batch: usize,
    precision: Precision,
}

impl Slice {
    fn of(row: &Row) -> Self {
        Self { mode: row.mode, batch: row.batch, precision: row.precision }
    }

    fn name(&self) -> String {
        let what = match self.mode {
            Mode::Infer => "answer",
            Mode::Train => "training step",
        };
        let pictures = if self.batch == 1 { "one picture".to_owned() } else { format!("{} pictures", self.batch) };
        format!("{what}, {pictures}, {}", format!("{:?}", self.precision).to_lowercase())
    }

    /// Part of the charts' file names.
    fn slug(&self) -> String {
        format!("{:?}-{}-{:?}", self.mode, self.batch, self.precision).to_lowercase()
    }
}

/// The label of a row in charts: `RS-50@160`, `B0@224`.
fn short(row: &Row) -> String {
    let model = &row.model;
    let rules = [
        ("resnet-rs-", "RS-"),
        ("efficientnet-rs-b", "RS-B"),
        ("efficientnet-b", "B"),
        ("se-resnet-", "SE-"),
        ("resnet-", "R-"),
    ];
    let name = rules.into_iter().find_map(|(long, short)| Some(format!("{short}{}", model.strip_prefix(long)?)));
    format!("{}@{}", name.unwrap_or_else(|| model.clone()), row.res)
}

impl Report {
    /// A report of one or several files.
    pub fn new(files: impl IntoIterator<Item = Results>) -> Self {
        let mut devices: Vec<Device> = Vec::new();
        for results in files {
            let name = &results.machine.adapter.name;
            let known = devices.iter().filter(|d| d.results.machine.adapter.name == *name).count();
            let label = if known == 0 { name.clone() } else { format!("{name} ({})", known + 1) };
            devices.push(Device { label, results });
        }
        Self { devices }
    }

    /// Batches, modes and precisions, in the order of the rows.
    fn slices(&self) -> Vec<Slice> {
        let mut slices = Vec::new();
        for slice in self.devices.iter().flat_map(|d| &d.results.rows).map(Slice::of) {
            if !slices.contains(&slice) {
                slices.push(slice);
            }
        }
        slices
    }

    /// Whether a row's median may be off by more than [`NOISY`]: by the spread of its runs, or by comparison with
    /// another measurement on the same adapter and driver.
    fn is_noisy(&self, device: &Device, row: &Row) -> bool {
        let Some(measured) = row.measured() else { return false };
        let same_adapter = |other: &&Device| {
            // Measurements with other kernels or settings may differ.
            let key = |d: &Device| {
                let (adapter, settings) = (&d.results.machine.adapter, &d.results.settings);
                let adapter = (adapter.name.clone(), adapter.backend.clone(), adapter.driver.clone());
                (adapter, d.results.program.clone(), settings.tuning.clone(), settings.classes, settings.recompute)
            };
            key(other) == key(device)
        };
        let again = self.devices.iter().filter(same_adapter).flat_map(|other| &other.results.rows);
        let times = again.filter(|other| other.key() == row.key()).filter_map(|r| Some(r.measured()?.median_ms));
        let (low, high) = times.fold((f64::INFINITY, 0.0f64), |(low, high), ms| (low.min(ms), high.max(ms)));
        measured.is_noisy() || high > (1.0 + NOISY) * low
    }

    /// Writes the page, the charts and the tables. Replaces older ones atomically.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<(), Error> {
        files::create_folder(folder)?;
        let write = |name: &str, bytes: &[u8]| files::write_atomic(&folder.join(name), |file| file.write_all(bytes));
        let page = page::Page::new(self);
        for drawing in page.drawings() {
            write(&format!("{}.svg", drawing.file), drawing.svg.as_bytes())?;
            write(&format!("{}.png", drawing.file), &drawing.png)?;
        }
        write("report.html", page.render().as_bytes())?;
        write("bench.csv", &self.csv())?;
        Ok(write("bench.md", self.markdown().as_bytes())?)
    }
}

/// Colour of the device at this index; beyond the palette its colours repeat, darker.
fn color(device: usize) -> RGBColor {
    let RGBColor(r, g, b) = PALETTE[device % PALETTE.len()];
    let dark = |v: u8| (0.6f64.powi((device / PALETTE.len()) as i32) * f64::from(v)) as u8;
    RGBColor(dark(r), dark(g), dark(b))
}

#[cfg(test)]
mod tests;
