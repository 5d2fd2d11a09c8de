#![allow(clippy::unwrap_used)]

use super::*;
use crate::bench::results::{Kind, Machine, Measured, Outcome, Roofline, Settings};
use crate::bench::{Peaks, Suite};
use crate::gpu::{AdapterReport, Family};
use crate::summary::Summary;

/// A machine's quick suite at its peak rate; one network does not fit.
fn results(name: &str, gflops: f64) -> Results {
    let adapter = AdapterReport { name: name.into(), timestamps: true, ..AdapterReport::default() };
    let (os, arch) = ("linux".into(), "x86_64".into());
    let peaks = Peaks { gflops, gb_per_s: gflops / 20.0 };
    let mut results = Results::new(Machine { adapter, family: Family::Tiles, os, arch, peaks }, Settings::default());
    for (i, workload) in Suite::Quick.workloads().into_iter().enumerate() {
        let summary = Summary::new(&workload.config, workload.batch, [workload.res; 2]).unwrap();
        let median_ms = summary.flops as f64 / gflops / 1e6;
        let measured = Measured {
            median_ms,
            spread: 0.002 * i as f64,
            runs: 9,
            gpu_ms: (i % 2 == 0).then_some(0.9 * median_ms),
            first_ms: 300.0,
            pipelines: 12,
            gflops,
            peak_share: 1.0,
            images_per_s: 1e3 / median_ms,
            allocated_bytes: 10 * summary.params,
        };
        let outcome = match i {
            2 => Outcome::DoesNotFit { problem: "40 GB are <planned>".into() },
            _ => Outcome::Measured(measured),
        };
        results.rows.push(Row {
            published_top1: crate::bench::published_top1(&workload),
            model: workload.model,
            res: workload.res,
            batch: workload.batch,
            mode: workload.mode,
            precision: workload.precision,
            params: summary.params,
            flops: summary.flops,
            planned_bytes: 9 * summary.params,
            outcome,
        });
    }
    let kind = |op: &str, flops| Kind { op: op.into(), nodes: 3, ms: 2.0, flops, least_bytes: 1_000_000 };
    results.roofline = Some(Roofline {
        model: "resnet-rs-50".into(),
        res: 160,
        batch: 1,
        mode: Mode::Infer,
        precision: Precision::F32,
        kinds: vec![kind("conv2d", 4_000_000_000), kind("global_avg_pool", 0)],
    });
    results.complete = true;
    results
}

/// The paper's pair by hand: at equal rates latency is proportional to FLOPs.
#[test]
fn ratios_are_efficientnet_by_resnet_rs_with_the_papers_beside() {
    let ratios = Report::new([results("A", 100.0), results("B", 5000.0)]).ratios();
    let of: Vec<&str> = ratios.iter().map(|ratio| ratio.of.as_str()).collect();
    assert_eq!(
        of,
        [
            "A: answer, one picture, f32",
            "B: answer, one picture, f32",
            "paper, TPUv3, training step, bf16",
            "paper, V100, training step, f32"
        ]
    );
    let [flops, params, latency, memory] = ratios[0].quotients.map(Option::unwrap);
    // B6 at 528 px divided by RS-350 at 256 px: 38.136 by 68.754 GFLOPs, 43,040,704 by 163,956,168 parameters.
    assert!((flops - 19.068 / 34.377).abs() < 1e-4 && (latency - flops).abs() < 1e-12, "{flops} {latency}");
    assert!((params - 43_040_704.0 / 163_956_168.0).abs() < 1e-12 && (memory - params).abs() < 1e-12);
    assert_eq!(ratios[3].quotients[2..], [Some(3.3), None]);
}

#[test]
fn tables_hold_every_row_and_say_what_did_not_fit() {
    let report = Report::new([results("A, with a comma", 100.0)]);
    let rows = Suite::Quick.workloads().len();
    let csv = String::from_utf8(report.csv()).unwrap();
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let records: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!(records.len(), rows);
    assert_eq!((&records[0][0], &records[0][3], &records[2][8]), ("A, with a comma", "resnet-50", "does-not-fit"));
    assert_eq!(&records[2][9], "", "no time of what did not run");
    let markdown = report.markdown();
    assert_eq!(markdown.matches("| A, with a comma |").count(), rows);
    assert!(markdown.contains("does not fit") && markdown.contains("paper, TPUv3"), "{markdown}");
}

/// With one device and with eight, each device has its colour, every chart its points, and all text is escaped.
#[test]
fn pages_are_sensible_with_one_device_and_with_eight() {
    for count in [1, 8] {
        let devices = (0..count).map(|i| results(&format!("<GPU {i}>"), 100.0 * f64::from(i + 1)));
        let report = Report::new(devices);
        let folder = tempfile::tempdir().unwrap();
        report.write(folder.path()).unwrap();
        let html = std::fs::read_to_string(folder.path().join("report.html")).unwrap();
        assert!(html.contains("&lt;GPU 0&gt;") && !html.contains("<GPU"), "escaped");
        assert!(html.contains("40 GB are &lt;planned&gt;"));
        assert!(
            !html.contains("http://") || html.matches("http://").count() == html.matches("http://www.w3.org").count()
        );
        let colors: std::collections::BTreeSet<String> =
            (0..count as usize).map(color).map(|RGBColor(r, g, b)| format!("{r:02x}{g:02x}{b:02x}")).collect();
        assert_eq!(colors.len(), count as usize);
        assert!(colors.iter().all(|color| html.contains(color)));
        for chart in ["infer-1-f32-latency-flops", "train-8-f32-latency-flops", "infer-1-f32-accuracy-latency"] {
            assert!(
                folder.path().join(format!("{chart}.svg")).exists()
                    && folder.path().join(format!("{chart}.png")).exists()
            );
        }
        assert!(folder.path().join("roofline-resnet-rs-50-infer-1-f32.svg").exists());
    }
}

#[test]
fn what_another_run_contradicts_is_noisy() {
    let slower = |factor: f64| {
        let mut results = results("A", 100.0);
        for row in &mut results.rows {
            if let Outcome::Measured(measured) = &mut row.outcome {
                measured.median_ms *= factor;
                measured.spread = 0.001;
            }
        }
        results
    };
    let noisy = |factor: f64| {
        let report = Report::new([slower(1.0), slower(factor)]);
        let device = &report.devices[0];
        device.results.rows.iter().filter(|row| report.is_noisy(device, row)).count()
    };
    let measured = Suite::Quick.workloads().len() - 1;
    assert_eq!((noisy(1.04), noisy(1.2)), (0, measured));
    let mut wild = slower(1.0);
    let Outcome::Measured(first) = &mut wild.rows[0].outcome else { panic!("measured") };
    first.spread = 0.06;
    let report = Report::new([wild]);
    assert!(report.is_noisy(&report.devices[0], &report.devices[0].results.rows[0]), "by its own runs");
}
