//! `RUN/tensorboard/`: the metrics as TensorBoard's event files.
//!
//! An event file is a series of TFRecords, each a protobuf message `Event`. Only scalars are written, so the few fields
//! are encoded by hand; their numbers are those of TensorFlow's `event.proto` and `summary.proto`.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::{Error, Line};
use crate::files;

/// Prefix of file names, followed by seconds since 1970. TensorBoard reads a folder's files in the order of their
/// names.
const PREFIX: &str = "events.out.tfevents.";

/// Appends metrics to an event file.
#[derive(Debug)]
pub(super) struct Events {
    path: PathBuf,
    file: File,
    /// Steps done: the step at which an epoch's figures are written.
    steps: u64,
}

impl Events {
    /// Opens a new file, sorted after those of earlier starts, for a run that starts or continues with `step`. It
    /// begins with a session start, at which TensorBoard discards that step and later ones in earlier files.
    pub(super) fn start(run: &Path, step: u64) -> Result<Self, Error> {
        let folder = run.join("tensorboard");
        files::create_folder(&folder)?;
        let path = folder.join(format!("{PREFIX}{:010}.resnet-rs", next_second(&folder)?));
        let file = File::create_new(&path).map_err(|e| files::Error::write(&path, e))?;
        let mut events = Self { path, file, steps: step };
        events.append(step, &bytes(3, b"brain.Event:2"))?;
        const START: u64 = 1;
        events.append(step, &bytes(7, &integer(1, START)))?;
        Ok(events)
    }

    /// Appends a line's figures, including NaN and infinity, which TensorBoard marks.
    pub(super) fn write(&mut self, line: &Line) -> Result<(), Error> {
        let step = match line {
            Line::Step(line) => line.step,
            Line::Epoch(_) => self.steps,
        };
        if let Line::Step(line) = line {
            self.steps = line.step + 1;
        }
        let value = |(tag, value): (String, f32)| bytes(1, &[bytes(1, tag.as_bytes()), float(2, value)].concat());
        let summary: Vec<u8> = scalars(line).into_iter().flat_map(value).collect();
        self.append(step, &bytes(5, &summary))
    }

    /// Appends an `Event`: time, step and content.
    fn append(&mut self, step: u64, what: &[u8]) -> Result<(), Error> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let event = [&double(1, now), &integer(2, step), what].concat();
        Ok(self.file.write_all(&record(&event)).map_err(|e| files::Error::write(&self.path, e))?)
    }
}

/// The current second, or the first one after those in the folder's file names, in case of two starts in a second or a
/// clock that was set back.
fn next_second(folder: &Path) -> Result<u64, Error> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut next = now;
    for entry in fs::read_dir(folder).map_err(|e| files::Error::read(folder, e))? {
        let name = entry.map_err(|e| files::Error::read(folder, e))?.file_name();
        let second = name.to_str().and_then(|n| n.strip_prefix(PREFIX)?.split('.').next()?.parse::<u64>().ok());
        next = next.max(second.map_or(0, |s| s.saturating_add(1)));
    }
    Ok(next)
}

/// The figures of a line under TensorBoard's tags.
fn scalars(line: &Line) -> Vec<(String, f32)> {
    match line {
        Line::Step(line) => {
            let mut figures = vec![("loss", line.loss), ("lr", line.lr), ("images_per_s", line.images_per_s)];
            figures.extend(line.numbers.iter().map(|(name, number)| (name, number as f32)));
            figures.extend(line.grad_norm.map(|norm| ("grad_norm", norm)));
            figures.extend(line.loader_share.map(|share| ("loader_share", share)));
            figures.into_iter().map(|(name, figure)| (format!("train/{name}"), figure)).collect()
        }
        // val_top1 is val/top1.
        Line::Epoch(line) => {
            line.numbers.iter().map(|(name, number)| (name.replacen('_', "/", 1), number as f32)).collect()
        }
    }
}

/// A TFRecord: length, its checksum, the bytes, their checksum.
fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    [&length, &masked_crc(&length).to_le_bytes()[..], data, &masked_crc(data).to_le_bytes()].concat()
}

/// CRC-32C, rotated and offset as TFRecords require.
fn masked_crc(data: &[u8]) -> u32 {
    crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// Castagnoli's cyclic redundancy check, bit by bit, which is fast enough: a step's event has about 100 bytes.
fn crc32c(data: &[u8]) -> u32 {
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    let shift = |crc: u32, _| if crc & 1 == 1 { (crc >> 1) ^ POLYNOMIAL } else { crc >> 1 };
    !data.iter().fold(!0, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), shift))
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

/// A field's number and wire type.
fn key(field: u64, wire_type: u64) -> Vec<u8> {
    varint(field << 3 | wire_type)
}

fn integer(field: u64, value: u64) -> Vec<u8> {
    [key(field, 0), varint(value)].concat()
}

fn double(field: u64, value: f64) -> Vec<u8> {
    [&key(field, 1)[..], &value.to_le_bytes()].concat()
}

fn bytes(field: u64, value: &[u8]) -> Vec<u8> {
    [&key(field, 2), &varint(value.len() as u64), value].concat()
}

fn float(field: u64, value: f32) -> Vec<u8> {
    [&key(field, 5)[..], &value.to_le_bytes()].concat()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::{EpochLine, Metrics, Numbers, StepLine};
    use super::*;

    /// The content of a message's field.
    #[derive(Clone, Debug, PartialEq)]
    enum Field {
        Integer(u64),
        Double(f64),
        Bytes(Vec<u8>),
        Float(f32),
    }

    fn read_varint(data: &mut &[u8]) -> u64 {
        let length = data.iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
        let (head, tail) = data.split_at(length);
        *data = tail;
        head.iter().rev().fold(0, |value, byte| value << 7 | u64::from(byte & 0x7f))
    }

    fn take(data: &mut &[u8], count: usize) -> Vec<u8> {
        data.split_off(..count).unwrap().to_vec()
    }

    /// Parses a protobuf message without groups.
    fn fields(mut data: &[u8]) -> Vec<(u64, Field)> {
        let mut fields = vec![];
        while !data.is_empty() {
            let key = read_varint(&mut data);
            let value = match key & 7 {
                0 => Field::Integer(read_varint(&mut data)),
                1 => Field::Double(f64::from_le_bytes(take(&mut data, 8).try_into().unwrap())),
                2 => {
                    let length = read_varint(&mut data) as usize;
                    Field::Bytes(take(&mut data, length))
                }
                5 => Field::Float(f32::from_le_bytes(take(&mut data, 4).try_into().unwrap())),
                other => panic!("wire type {other}"),
            };
            fields.push((key >> 3, value));
        }
        fields
    }

    /// Computes the checksum in another way: the remainder of the message as a polynomial over GF(2).
    fn crc_by_division(data: &[u8]) -> u32 {
        let bits = data.iter().flat_map(|byte| (0..8).map(move |i| byte >> i & 1)).chain([0; 32]);
        let mut remainder = 0u64;
        for (i, bit) in bits.enumerate() {
            remainder = remainder << 1 | u64::from(bit ^ u8::from(i < 32));
            if remainder >> 32 == 1 {
                remainder ^= 0x1_1edc_6f41;
            }
        }
        !(remainder as u32).reverse_bits()
    }

    /// The events of a run's files in TensorBoard's order, with verified checksums: step, and tags with values (empty
    /// unless the event is a summary).
    fn events(run: &Path) -> Vec<(u64, Vec<(String, f32)>)> {
        let mut paths: Vec<_> =
            fs::read_dir(run.join("tensorboard")).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        let mut events = vec![];
        for path in paths {
            let file = fs::read(path).unwrap();
            let mut rest = &file[..];
            while !rest.is_empty() {
                let mut checked = |count| {
                    let data = take(&mut rest, count);
                    let mask = |crc: u32| crc.rotate_left(17).wrapping_add(0xa282_ead8);
                    assert_eq!(take(&mut rest, 4), mask(crc_by_division(&data)).to_le_bytes());
                    data
                };
                let length = u64::from_le_bytes(checked(8).try_into().unwrap()) as usize;
                let event = fields(&checked(length));
                assert!(matches!(event[0], (1, Field::Double(at)) if at > 1.6e9), "{event:?}");
                let (2, Field::Integer(step)) = event[1] else { panic!("{event:?}") };
                let scalars = match &event[2] {
                    (5, Field::Bytes(summary)) => fields(summary).iter().map(scalar).collect(),
                    (3, version) => {
                        assert_eq!(*version, Field::Bytes(b"brain.Event:2".to_vec()));
                        vec![]
                    }
                    (7, session) => {
                        assert_eq!(*session, Field::Bytes(vec![8, 1]), "status: START");
                        vec![]
                    }
                    other => panic!("{other:?}"),
                };
                events.push((step, scalars));
            }
        }
        events
    }

    fn scalar(value: &(u64, Field)) -> (String, f32) {
        let (1, Field::Bytes(value)) = value else { panic!("{value:?}") };
        match &fields(value)[..] {
            [(1, Field::Bytes(tag)), (2, Field::Float(value))] => (String::from_utf8(tag.clone()).unwrap(), *value),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn checksums() {
        // The check value of the catalogue of CRCs.
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc_by_division(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn figures_read_back() {
        let run = tempfile::tempdir().unwrap();
        let mut metrics = Metrics::create(run.path()).unwrap();
        let step = StepLine { step: 300, epoch: 0, loss: 0.1, lr: 0.3, images_per_s: 9.5, ..StepLine::default() };
        let numbers = Numbers::default().with("top1", 0.25);
        metrics.write(&Line::Step(StepLine { numbers, ..step })).unwrap();
        let raw = Numbers::default().with("top1", 0.5).with("top5", 0.75).with("loss", 1.5);
        let averaged = Numbers::default().with("top1", 0.625);
        metrics.write(&Line::Epoch(EpochLine::new(0, &raw, Some(&averaged)))).unwrap();
        let named = |list: &[(&str, f32)]| list.iter().map(|&(tag, v)| (tag.to_owned(), v)).collect();
        let expected = [
            (0, vec![]),
            (0, vec![]),
            (300, named(&[("train/loss", 0.1), ("train/lr", 0.3), ("train/images_per_s", 9.5), ("train/top1", 0.25)])),
            (301, named(&[("val/top1", 0.5), ("val/top5", 0.75), ("val/loss", 1.5), ("ema/top1", 0.625)])),
        ];
        assert_eq!(events(run.path()), expected);
    }

    /// What TensorBoard shows: at every start but the first it discards that step and later ones.
    fn shown(run: &Path) -> Vec<(u64, String)> {
        let mut shown: Vec<(u64, String)> = vec![];
        for (step, scalars) in events(run) {
            if scalars.is_empty() {
                shown.retain(|(at, _)| *at < step);
            }
            shown.extend(scalars.into_iter().map(|(tag, _)| (step, tag)));
        }
        shown.retain(|(_, tag)| tag == "train/loss" || tag == "val/top1");
        shown
    }

    #[test]
    fn a_resumed_run_repeats_nothing() {
        let step = |step| Line::Step(StepLine { step, epoch: step / 3, ..StepLine::default() });
        let epoch = |epoch| Line::Epoch(EpochLine { epoch, ..EpochLine::default() });
        let whole = [step(0), step(1), step(2), epoch(0), step(3), step(4), step(5), epoch(1)];
        let undisturbed = tempfile::tempdir().unwrap();
        let mut metrics = Metrics::create(undisturbed.path()).unwrap();
        whole.iter().for_each(|line| metrics.write(line).unwrap());
        // A run killed after `written` lines and resumed from a checkpoint: lines to keep, next step, next epoch.
        for (written, kept, next_step, next_epoch) in
            [(2, 1, 1, 0), (4, 3, 3, 0), (4, 4, 3, 1), (6, 4, 3, 1), (8, 8, 6, 2), (8, 0, 0, 0)]
        {
            let run = tempfile::tempdir().unwrap();
            let mut metrics = Metrics::create(run.path()).unwrap();
            whole[..written].iter().for_each(|line| metrics.write(line).unwrap());
            let mut metrics = Metrics::resume(run.path(), next_step, next_epoch).unwrap();
            whole[kept..].iter().for_each(|line| metrics.write(line).unwrap());
            assert_eq!(shown(run.path()), shown(undisturbed.path()), "{written} lines, then from {next_step}");
        }
    }
}
