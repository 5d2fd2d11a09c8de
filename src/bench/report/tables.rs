//! The rows as CSV and Markdown.

use indicatif::HumanBytes;

use super::{Report, Slice};
use crate::bench::results::Row;

const COLUMNS: [&str; 22] = [
    "device",
    "backend",
    "driver",
    "model",
    "res",
    "batch",
    "mode",
    "precision",
    "status",
    "median_ms",
    "spread",
    "noisy",
    "gpu_ms",
    "first_ms",
    "gflops",
    "peak_share",
    "images_per_s",
    "params",
    "flops",
    "planned_bytes",
    "allocated_bytes",
    "published_top1",
];

impl Report {
    /// Every row of every device, one line each, with the column names of `bench.json`.
    pub fn csv(&self) -> Vec<u8> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        let mut put = |record: Vec<String>| {
            writer.write_record(record).unwrap_or_else(|e| unreachable!("in memory: {e}"));
        };
        put(COLUMNS.map(str::to_owned).to_vec());
        for device in &self.devices {
            for row in &device.results.rows {
                let adapter = &device.results.machine.adapter;
                let measured = row.measured();
                let number = |of: Option<f64>| of.map_or(String::new(), |v| v.to_string());
                put(vec![
                    device.label.clone(),
                    adapter.backend.clone(),
                    adapter.driver.clone(),
                    row.model.clone(),
                    row.res.to_string(),
                    row.batch.to_string(),
                    format!("{:?}", row.mode).to_lowercase(),
                    format!("{:?}", row.precision).to_lowercase(),
                    row.status().to_owned(),
                    number(measured.map(|m| m.median_ms)),
                    number(measured.map(|m| m.spread)),
                    if measured.is_some() { self.is_noisy(device, row).to_string() } else { String::new() },
                    number(measured.and_then(|m| m.gpu_ms)),
                    number(measured.map(|m| m.first_ms)),
                    number(measured.map(|m| m.gflops)),
                    number(measured.map(|m| m.peak_share)),
                    number(measured.map(|m| m.images_per_s)),
                    row.params.to_string(),
                    row.flops.to_string(),
                    row.planned_bytes.to_string(),
                    measured.map_or(String::new(), |m| m.allocated_bytes.to_string()),
                    number(row.published_top1),
                ]);
            }
        }
        writer.into_inner().unwrap_or_else(|e| unreachable!("in memory: {e}"))
    }

    /// A table for each batch, mode and precision, and the quotients.
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        for slice in self.slices() {
            text += &format!("## {}\n\n", capitalised(&slice.name()));
            let mut lines = vec![HEADER.map(str::to_owned).to_vec()];
            for device in &self.devices {
                let of_slice = device.results.rows.iter().filter(|row| Slice::of(row) == slice);
                lines.extend(of_slice.map(|row| [vec![device.label.clone()], self.cells(device, row)].concat()));
            }
            text += &table(&lines);
            text += "\n";
        }
        let ratios = self.ratios();
        if !ratios.is_empty() {
            text += "## EfficientNet by ResNet-RS of its accuracy\n\n";
            let header = ["networks", "device", "FLOPs", "parameters", "latency", "memory"].map(str::to_owned).to_vec();
            let quotient = |q: Option<f64>| q.map_or("-".to_owned(), |q| format!("{q:.2}"));
            let line = |ratio: &super::Ratio| {
                let mark = if ratio.noisy { " (noisy)" } else { "" };
                let of = format!("{}{mark}", ratio.of);
                [vec![ratio.pair.clone(), of], ratio.quotients.map(quotient).to_vec()].concat()
            };
            text += &table(&[vec![header], ratios.iter().map(line).collect()].concat());
        }
        text
    }

    /// The cells of a row, without the device.
    pub(super) fn cells(&self, device: &super::Device, row: &Row) -> Vec<String> {
        let network = vec![
            format!("{}@{}", row.model, row.res),
            format!("{:.2}", row.flops as f64 / 1e9),
            format!("{:.1}", row.params as f64 / 1e6),
            row.published_top1.map_or("-".into(), |top1| format!("{top1:.1}")),
        ];
        let Some(measured) = row.measured() else {
            let rest = ["-", "-", "-", "-", "-"].map(str::to_owned);
            let planned = HumanBytes(row.planned_bytes).to_string();
            return [network, vec![row.status().replace('-', " ")], rest.to_vec(), vec![planned]].concat();
        };
        let mark = if self.is_noisy(device, row) { " noisy" } else { "" };
        let of_machine = vec![
            format!("{}{mark}", ms(measured.median_ms)),
            measured.gpu_ms.map_or("-".into(), ms),
            ms(measured.first_ms),
            format!("{:.0}", measured.gflops),
            format!("{:.0} %", 100.0 * measured.peak_share),
            format!("{:.1}", measured.images_per_s),
            format!("{} / {}", HumanBytes(measured.allocated_bytes), HumanBytes(row.planned_bytes)),
        ];
        [network, of_machine].concat()
    }
}

/// Column headers of [`Report::cells`], which follow the device's.
pub(super) const HEADER: [&str; 12] = [
    "device",
    "network",
    "GFLOPs",
    "M params",
    "published top-1",
    "median ms",
    "of kernels",
    "first ms",
    "GFLOP/s",
    "of peak",
    "pictures/s",
    "allocated / planned",
];

/// Three significant digits.
fn ms(ms: f64) -> String {
    match ms {
        ms if ms < 10.0 => format!("{ms:.2}"),
        ms if ms < 100.0 => format!("{ms:.1}"),
        ms => format!("{ms:.0}"),
    }
}

pub(super) fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

/// A Markdown table. Bars are escaped, since they would end the cell.
fn table(lines: &[Vec<String>]) -> String {
    let line = |cells: &Vec<String>| {
        let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let rule = |cells: &Vec<String>| format!("|{}\n", "---|".repeat(cells.len()));
    let head = lines.first().map_or(String::new(), |head| line(head) + &rule(head));
    lines.iter().skip(1).fold(head, |text, cells| text + &line(cells))
}
