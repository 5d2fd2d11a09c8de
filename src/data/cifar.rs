//! `cifar10:DIR` and `cifar100:DIR`: the binary version of the files.

use std::path::Path;
use std::sync::Arc;

use image::{Rgb, RgbImage};

use super::{Dataset, Error, Sample, Source};

/// Pixels a side, and in a picture.
const SIDE: u32 = 32;
const PIXELS: usize = (SIDE * SIDE) as usize;

/// Which of the two.
#[derive(Clone, Copy)]
pub(super) enum Variant {
    /// Ten classes, five training files.
    Cifar10,
    /// A hundred classes, in twenty groups that are not used here.
    Cifar100,
}

impl Variant {
    fn train_files(self) -> &'static [&'static str] {
        match self {
            Self::Cifar10 => {
                &["data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"]
            }
            Self::Cifar100 => &["train.bin"],
        }
    }

    fn val_files(self) -> &'static [&'static str] {
        match self {
            Self::Cifar10 => &["test_batch.bin"],
            Self::Cifar100 => &["test.bin"],
        }
    }

    fn names_file(self) -> &'static str {
        match self {
            Self::Cifar10 => "batches.meta.txt",
            Self::Cifar100 => "fine_label_names.txt",
        }
    }

    fn classes(self) -> usize {
        match self {
            Self::Cifar10 => 10,
            Self::Cifar100 => 100,
        }
    }

    /// Bytes before the pixels; the last of them is the class.
    fn label_bytes(self) -> usize {
        match self {
            Self::Cifar10 => 1,
            Self::Cifar100 => 2,
        }
    }

    fn record_bytes(self) -> usize {
        self.label_bytes() + 3 * PIXELS
    }
}

/// Opens the folder that the archive of the binary version unpacks to.
pub(super) fn open(directory: &Path, variant: Variant) -> Result<Dataset, Error> {
    Ok(Dataset {
        train: Arc::new(Cifar::read(directory, variant, variant.train_files())?),
        val: Arc::new(Cifar::read(directory, variant, variant.val_files())?),
        classes: class_names(&directory.join(variant.names_file()), variant.classes())?,
        // CIFAR-10's; CIFAR-100's differ by 0.03 at most.
        mean: [0.4914, 0.4822, 0.4465],
        std: [0.2470, 0.2435, 0.2616],
        native_res: Some(SIDE),
    })
}

/// One split, in memory.
struct Cifar {
    variant: Variant,
    /// Labels, then all red, all green, all blue values; picture by picture.
    records: Vec<u8>,
}

impl Cifar {
    fn read(directory: &Path, variant: Variant, files: &[&str]) -> Result<Self, Error> {
        let mut records = Vec::new();
        for name in files {
            let path = directory.join(name);
            if !path.is_file() {
                let problem = format!(
                    "no {name} here; give the folder that the binary version's archive unpacks to, with {}",
                    [variant.train_files(), variant.val_files()].concat().join(", ")
                );
                return Err(Error::invalid(directory, problem));
            }
            let bytes = std::fs::read(&path).map_err(Error::read(&path))?;
            check(&path, &bytes, variant)?;
            records.extend(bytes);
        }
        Ok(Self { variant, records })
    }
}

/// Checks that a file holds whole records with labels in range.
fn check(path: &Path, bytes: &[u8], variant: Variant) -> Result<(), Error> {
    let record_bytes = variant.record_bytes();
    if bytes.is_empty() || !bytes.len().is_multiple_of(record_bytes) {
        let problem = format!(
            "{} bytes are not one or more whole pictures of {record_bytes}: cut short, or not the binary version; \
             download it again",
            bytes.len()
        );
        return Err(Error::invalid(path, problem));
    }
    let mut labels = bytes.chunks_exact(record_bytes).map(|record| record[variant.label_bytes() - 1]);
    if let Some((at, label)) = labels.by_ref().enumerate().find(|&(_, label)| usize::from(label) >= variant.classes()) {
        let problem = format!(
            "picture {at} has label {label}, the largest is {}: damaged, or another data set; download it again",
            variant.classes() - 1
        );
        return Err(Error::invalid(path, problem));
    }
    Ok(())
}

impl Source for Cifar {
    fn len(&self) -> usize {
        self.records.len() / self.variant.record_bytes()
    }

    fn sample(&self, index: usize) -> Result<Sample, Error> {
        let record_bytes = self.variant.record_bytes();
        let record = &self.records[index * record_bytes..][..record_bytes];
        let (labels, planes) = record.split_at(self.variant.label_bytes());
        let image = RgbImage::from_fn(SIDE, SIDE, |x, y| {
            let at = (y * SIDE + x) as usize;
            Rgb([planes[at], planes[PIXELS + at], planes[2 * PIXELS + at]])
        });
        Ok(Sample { image, label: u32::from(labels[labels.len() - 1]) })
    }
}

/// Names of the classes, a line each; numbers where there is no such file.
fn class_names(path: &Path, count: usize) -> Result<Vec<String>, Error> {
    if !path.exists() {
        return Ok((0..count).map(|class| class.to_string()).collect());
    }
    let text = std::fs::read_to_string(path).map_err(Error::read(path))?;
    let names: Vec<String> = text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
    if names.len() != count {
        let problem = format!("names {} classes instead of {count}; correct it, or remove it to have numbers", names.len());
        return Err(Error::invalid(path, problem));
    }
    Ok(names)
}
