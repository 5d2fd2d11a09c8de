//! `cifar10:DIR` and `cifar100:DIR`: the binary version of the files.

use std::path::Path;
use std::sync::Arc;

use image::{Rgb, RgbImage};

use super::dataset::Nothing;
use super::split::{Wanted, plain_names};
use super::walk::{PassedOver, contents};
use super::{Dataset, Error, Sample, Source, Truth};
use crate::files;

/// Pixels a side, and in a picture.
const SIDE: u32 = 32;
const PIXELS: usize = (SIDE * SIDE) as usize;

/// CIFAR-10 or CIFAR-100.
#[derive(Clone, Copy)]
pub(super) enum Variant {
    /// 10 classes, five training files.
    Cifar10,
    /// 100 classes. Their twenty superclasses are not used.
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

    /// Label bytes before the pixels; the last of them is the class.
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

/// Opens the folder that the archive of the binary version unpacks to. Validation alone needs only its test file.
pub(super) fn open(directory: &Path, variant: Variant, wanted: Wanted) -> Result<Dataset, Error> {
    let has_train = variant.train_files().iter().any(|name| directory.join(name).exists());
    Ok(Dataset {
        train: match wanted {
            Wanted::Validation if !has_train => Arc::new(Nothing),
            _ => Arc::new(Cifar::read(directory, variant, variant.train_files())?),
        },
        val: Arc::new(Cifar::read(directory, variant, variant.val_files())?),
        classes: class_names(&directory.join(variant.names_file()), variant.classes())?,
        // CIFAR-10's statistics; CIFAR-100's differ by 0.03 at most.
        mean: [0.4914, 0.4822, 0.4465],
        std: [0.2470, 0.2435, 0.2616],
        native_res: Some(SIDE),
        mirrored: true,
        passed_over: PassedOver::default(),
        split_names: plain_names(),
    })
}

/// One split, in memory.
struct Cifar {
    variant: Variant,
    /// Per picture: labels, then all red, all green, all blue values.
    records: Vec<u8>,
}

impl Cifar {
    fn read(directory: &Path, variant: Variant, files: &[&str]) -> Result<Self, Error> {
        let mut records = Vec::new();
        for name in files {
            let path = directory.join(name);
            if !path.is_file() {
                let problem = format!(
                    "no {name} here; {}. Give the folder that the archive of the binary version unpacks to, with {}",
                    contents(directory),
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
    let mut labels = bytes.chunks_exact(record_bytes).map(|record| record[variant.label_bytes() - 1]).enumerate();
    if let Some((at, label)) = labels.find(|&(_, label)| usize::from(label) >= variant.classes()) {
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
        Ok(Sample { image, truth: Truth::Class(u32::from(labels[labels.len() - 1])) })
    }

    fn label(&self, index: usize) -> Option<u32> {
        let record_bytes = self.variant.record_bytes();
        Some(u32::from(self.records[index * record_bytes + self.variant.label_bytes() - 1]))
    }
}

/// Names of the classes, one per line; their numbers if there is no such file.
fn class_names(path: &Path, count: usize) -> Result<Vec<String>, Error> {
    if !path.exists() {
        return Ok((0..count).map(|class| class.to_string()).collect());
    }
    let mut names = files::lines(path)?;
    names.retain(|name| !name.is_empty());
    if names.len() != count {
        let problem =
            format!("names {} classes instead of {count}; correct it, or remove it to have numbers", names.len());
        return Err(Error::invalid(path, problem));
    }
    Ok(names)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Records with the given labels: red is x, green is y, blue is the index of the picture.
    fn file(variant: Variant, labels: &[u8]) -> Vec<u8> {
        let record = |(number, &label): (usize, &u8)| {
            let mut bytes = vec![label; variant.label_bytes()];
            // The coarse label, which must not be taken for the class.
            bytes[0] = if variant.label_bytes() == 2 { 0 } else { label };
            bytes.extend((0..PIXELS).map(|at| (at % 32) as u8));
            bytes.extend((0..PIXELS).map(|at| (at / 32) as u8));
            bytes.extend([number as u8; PIXELS]);
            bytes
        };
        labels.iter().enumerate().flat_map(record).collect()
    }

    fn folder(variant: Variant) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (number, name) in variant.train_files().iter().chain(variant.val_files()).enumerate() {
            std::fs::write(folder.path().join(name), file(variant, &[number as u8, 9])).unwrap();
        }
        folder
    }

    #[test]
    fn pictures_come_in_order_with_their_labels() {
        let data = open(folder(Variant::Cifar10).path(), Variant::Cifar10, Wanted::Training).unwrap();
        assert_eq!((data.train.len(), data.val.len(), data.classes.len()), (10, 2, 10));
        let labels: Vec<u32> = (0..10).map(|i| data.train.sample(i).unwrap().truth.class().unwrap()).collect();
        assert_eq!(labels, [0, 9, 1, 9, 2, 9, 3, 9, 4, 9]);
        let image = data.train.sample(3).unwrap().image;
        assert_eq!((image.dimensions(), image.get_pixel(31, 5).0), ((32, 32), [31, 5, 1]));
    }

    #[test]
    fn cifar100_takes_the_fine_label() {
        let folder = folder(Variant::Cifar100);
        let data = open(folder.path(), Variant::Cifar100, Wanted::Training).unwrap();
        assert_eq!((data.train.len(), data.train.sample(1).unwrap().truth.class().unwrap()), (2, 9));
        assert_eq!(data.train.sample(1).unwrap().image.get_pixel(2, 3).0, [2, 3, 1]);
        assert_eq!(data.classes[99], "99");
        let names: Vec<String> = (0..100).map(|i| format!("name{i}\n")).collect();
        std::fs::write(folder.path().join("fine_label_names.txt"), names.concat() + "\n").unwrap();
        assert_eq!(open(folder.path(), Variant::Cifar100, Wanted::Training).unwrap().classes[99], "name99");
    }

    #[test]
    fn damaged_files_are_named_with_the_way_out() {
        let good = file(Variant::Cifar10, &[1, 2]);
        let cases = [
            ("data_batch_3.bin", Vec::new(), "0 bytes are not one or more whole pictures"),
            (
                "test_batch.bin",
                good[..good.len() - 1].to_vec(),
                "6145 bytes are not one or more whole pictures of 3073",
            ),
            ("data_batch_5.bin", file(Variant::Cifar10, &[3, 10]), "picture 1 has label 10, the largest is 9"),
            ("batches.meta.txt", b"cat\ndog\n".to_vec(), "names 2 classes instead of 10"),
        ];
        for (name, bytes, expected) in cases {
            let folder = folder(Variant::Cifar10);
            std::fs::write(folder.path().join(name), bytes).unwrap();
            let message = open(folder.path(), Variant::Cifar10, Wanted::Training).unwrap_err().to_string();
            assert!(message.contains(expected) && message.contains(name), "{message}");
        }
        let message =
            open(folder(Variant::Cifar10).path(), Variant::Cifar100, Wanted::Training).unwrap_err().to_string();
        assert!(message.contains("no train.bin here"), "{message}");
    }
}
