//! `idx:DIR`: the files of MNIST and Fashion-MNIST, plain or gzipped.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::bufread::MultiGzDecoder;
use image::{Rgb, RgbImage};

use super::dataset::Nothing;
use super::split::{Split, Wanted, plain_names};
use super::walk::{PassedOver, contents, visible};
use super::{Dataset, Error, Sample, Source, Truth};

/// First word of a file of bytes in three dimensions (pictures, rows, columns) and in one (labels).
const IMAGES_MAGIC: u32 = 0x0803;
const LABELS_MAGIC: u32 = 0x0801;

/// The most that a file may hold unpacked: four times EMNIST's largest. It bounds what a small gzip can expand to.
const MAX_BYTES: u64 = 2 << 30;

/// The most that a gzip may unpack to: this much, plus a multiple of its own size. MNIST's pictures are compressed to a
/// fifth; an attacker's zeros to a thousandth.
const FREE_BYTES: u64 = 64 << 20;
const MAX_RATIO: u64 = 16;

/// Largest side of a picture in pixels.
const MAX_SIDE: u32 = 1024;

/// More classes than any data set in this format has (EMNIST: 62): a larger label means a damaged file, not hundreds of
/// classes.
const MOST_CLASSES: usize = 100;

/// Fashion-MNIST's classes.
const FASHION: [&str; 10] =
    ["T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"];

/// Opens a folder with `train-images-idx3-ubyte`, `train-labels-idx1-ubyte` and the two files of `t10k`, with or
/// without `.gz`. Validation alone needs only the files of `t10k`.
pub(super) fn open(directory: &Path, wanted: Wanted) -> Result<Dataset, Error> {
    let (val, val_labels) = Idx::read(directory, Split::Val)?;
    // Resolves "." and "..", so that the folder's own name shows.
    let full = directory.canonicalize().map_err(Error::read(directory))?;
    let fashion = full.file_name().is_some_and(|name| name.to_string_lossy().to_lowercase().contains("fashion"));
    let class_name = |class: usize| match FASHION.get(class) {
        Some(name) if fashion => (*name).to_owned(),
        _ => class.to_string(),
    };
    let dataset = |train: Arc<dyn Source>, val: Idx, classes: usize| Dataset {
        native_res: Some(val.padded_side()),
        train,
        val: Arc::new(val),
        classes: (0..classes).map(class_name).collect(),
        // Fashion-MNIST's statistics, in all three channels.
        mean: [0.2860; 3],
        std: [0.3530; 3],
        // A mirrored digit or letter is not one.
        mirrored: fashion,
        passed_over: PassedOver::default(),
        split_names: plain_names(),
    };
    if wanted == Wanted::Validation && find(directory, Split::Train, "images-idx3")?.is_none() {
        let classes = val.labels.iter().max().map_or(0, |&largest| usize::from(largest) + 1);
        // MNIST has ten classes, even if the files hold fewer.
        return Ok(dataset(Arc::new(Nothing), val, classes.max(FASHION.len())));
    }
    let (train, train_labels) = Idx::read(directory, Split::Train)?;
    if train.side != val.side {
        let problem = format!(
            "the training pictures are {} pixels wide, the test pictures {}; take both from the same data set",
            train.side, val.side
        );
        return Err(Error::invalid(directory, problem));
    }
    if let Some(at) = train.labels.iter().position(|&label| usize::from(label) >= MOST_CLASSES) {
        let problem = format!(
            "label {at} is {}, out of range: labels are below {MOST_CLASSES}; the file is damaged, fetch it again",
            train.labels[at]
        );
        return Err(Error::invalid(train_labels, problem));
    }
    let largest = train.labels.iter().copied().max().unwrap_or(0);
    if train.labels.iter().all(|&label| label == largest) {
        let problem =
            format!("all pictures are of class {largest}; there is nothing to tell apart with fewer than 2 classes");
        return Err(Error::invalid(train_labels, problem));
    }
    let count = usize::from(largest.max(val.labels.iter().copied().max().unwrap_or(0))) + 1;
    if let Some(at) = val.labels.iter().position(|label| !train.labels.contains(label))
        && wanted != Wanted::Everything
    {
        let problem = format!(
            "label {at} is {}, a class of which there are no training pictures; take both from the same data set",
            val.labels[at]
        );
        return Err(Error::invalid(val_labels, problem));
    }
    Ok(dataset(Arc::new(train), val, count))
}

/// One split, in memory.
struct Idx {
    /// Grey values, picture by picture, row by row.
    pixels: Vec<u8>,
    labels: Vec<u8>,
    side: u32,
}

impl Idx {
    /// Reads a split; also returns the path of its labels.
    fn read(directory: &Path, split: Split) -> Result<(Self, PathBuf), Error> {
        let images = required(directory, split, "images-idx3")?;
        let ([count, height, width], pixels) = read_file(&images, IMAGES_MAGIC)?;
        if count == 0 {
            return Err(Error::invalid(images, "holds no pictures; download it again"));
        }
        if height != width || !(1..=MAX_SIDE).contains(&width) {
            let problem = format!(
                "pictures are {width} x {height} pixels; they must be square and 1 to {MAX_SIDE} wide. \
                 Save others as files and use folder:DIR"
            );
            return Err(Error::invalid(images, problem));
        }
        let labels_path = required(directory, split, "labels-idx1")?;
        let ([label_count], labels) = read_file(&labels_path, LABELS_MAGIC)?;
        if label_count != count {
            let problem = format!(
                "holds {label_count} labels for the {count} pictures of {}; take both from the same data set",
                images.display()
            );
            return Err(Error::invalid(labels_path, problem));
        }
        Ok((Self { pixels, labels, side: width }, labels_path))
    }

    /// The next multiple of 8: a network halves its input up to five times, and MNIST's 28 become the customary 32.
    fn padded_side(&self) -> u32 {
        self.side.next_multiple_of(8)
    }
}

impl Source for Idx {
    fn len(&self) -> usize {
        self.labels.len()
    }

    fn sample(&self, index: usize) -> Result<Sample, Error> {
        let pixels = (self.side * self.side) as usize;
        let grey = &self.pixels[index * pixels..][..pixels];
        let mut image = RgbImage::new(self.padded_side(), self.padded_side());
        let margin = (self.padded_side() - self.side) / 2;
        for (at, &value) in (0..).zip(grey) {
            image.put_pixel(margin + at % self.side, margin + at / self.side, Rgb([value; 3]));
        }
        Ok(Sample { image, truth: Truth::Class(u32::from(self.labels[index])) })
    }

    fn label(&self, index: usize) -> Option<u32> {
        Some(u32::from(self.labels[index]))
    }
}

/// Names of the splits in file names; the first is the official one.
fn split_names(split: Split) -> &'static [&'static str] {
    match split {
        Split::Train => &["train"],
        Split::Val => &["t10k", "test"],
    }
}

/// A split's file of a kind, `images-idx3` or `labels-idx1`. Some tools write a dot before `idx` or put each file into
/// a folder of its own name, and EMNIST's have a prefix.
fn find(directory: &Path, split: Split, kind: &str) -> Result<Option<PathBuf>, Error> {
    // The part of a file's name before the split's name.
    let prefix = |path: &Path| -> Option<String> {
        let name = path.file_name()?.to_string_lossy().to_lowercase().replace('.', "-");
        let name = name.strip_suffix("-gz").unwrap_or(&name);
        let ends = split_names(split).iter().map(|split| format!("{split}-{kind}-ubyte"));
        ends.into_iter().find_map(|end| name.strip_suffix(&end).map(str::to_owned))
    };
    let mut found: Vec<(String, PathBuf)> = Vec::new();
    for path in visible(directory)? {
        let Some(prefix) = prefix(&path) else { continue };
        if path.is_file() {
            found.push((prefix, path));
        } else if let Some(inner) = visible(&path)?.into_iter().find(|inner| inner.is_file()) {
            found.push((prefix, inner));
        }
    }
    found.sort();
    match found.as_slice() {
        [(first, _), .., (last, other)] if first != last => {
            let problem = "two data sets are in one folder: give each a folder of its own";
            Err(Error::invalid(other, problem))
        }
        _ => Ok(found.into_iter().next().map(|(_, path)| path)),
    }
}

fn required(directory: &Path, split: Split, kind: &str) -> Result<PathBuf, Error> {
    find(directory, split, kind)?.ok_or_else(|| {
        let name = format!("{}-{kind}-ubyte", split_names(split)[0]);
        let problem = format!(
            "no {name} here, nor {name}.gz; {}. Give the folder with the four files of MNIST or Fashion-MNIST \
             (Debian's package dataset-fashion-mnist has them in /usr/share/datasets/fashion-mnist)",
            contents(directory)
        );
        Error::invalid(directory, problem)
    })
}

/// Reads the dimensions and the bytes of an IDX file, gzipped or not, and checks one against the other.
///
/// Memory is bounded by the size of the file, whatever its header says.
fn read_file<const DIMENSIONS: usize>(path: &Path, magic: u32) -> Result<([u32; DIMENSIONS], Vec<u8>), Error> {
    let file = File::open(path).map_err(Error::read(path))?;
    let file_bytes = file.metadata().map_err(Error::read(path))?.len();
    let mut file = BufReader::new(file);
    let gzipped = file.fill_buf().map_err(Error::read(path))?.starts_with(&[0x1F, 0x8B]);
    let mut reader: Box<dyn Read> = if gzipped { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
    let failed = |e: std::io::Error| {
        Error::invalid(path, format!("cannot be read to its end ({e}): cut short or damaged; download it again"))
    };
    let mut word = || {
        let mut bytes = [0; 4];
        reader.read_exact(&mut bytes).map(|()| u32::from_be_bytes(bytes)).map_err(failed)
    };
    let found = word()?;
    if found != magic {
        let problem =
            format!("starts with {found:#010x} instead of {magic:#010x}: not this kind of IDX file; download it again");
        return Err(Error::invalid(path, problem));
    }
    let mut dimensions = [0; DIMENSIONS];
    for dimension in &mut dimensions {
        *dimension = word()?;
    }
    let expected = dimensions.iter().fold(1u64, |bytes, &d| bytes.saturating_mul(u64::from(d)));
    if expected > MAX_BYTES {
        let problem =
            format!("its header promises {dimensions:?} values, more than {MAX_BYTES}: damaged; download it again");
        return Err(Error::invalid(path, problem));
    }
    let most_bytes = if gzipped { FREE_BYTES + MAX_RATIO * file_bytes } else { file_bytes };
    if gzipped && expected > most_bytes {
        let problem = format!(
            "its header promises {dimensions:?} values, {expected} bytes, too many for a gzip of {file_bytes}: \
             damaged; download it again"
        );
        return Err(Error::invalid(path, problem));
    }
    let mut data = Vec::with_capacity(expected.min(most_bytes) as usize + 1);
    // One byte more than expected, so that a longer file is noticed and a gzip's checksum is reached.
    let read_bytes = reader.take(expected + 1).read_to_end(&mut data).map_err(failed)? as u64;
    if read_bytes != expected {
        let amount = if read_bytes > expected { "more".to_owned() } else { format!("only {read_bytes}") };
        let problem = format!(
            "its header promises {dimensions:?} values, {expected} bytes, but it holds {amount}; download it again"
        );
        return Err(Error::invalid(path, problem));
    }
    Ok((dimensions, data))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn file(magic: u32, dimensions: &[u32], data: &[u8]) -> Vec<u8> {
        let words = [magic].into_iter().chain(dimensions.iter().copied());
        words.flat_map(u32::to_be_bytes).chain(data.iter().copied()).collect()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// A folder of pictures with `side` pixels a side, values counting up from 0: three for training, two for
    /// validation.
    fn folder(side: u32) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (split, count) in [("train", 3), ("t10k", 2)] {
            let pixels: Vec<u8> = (0..count * side * side).map(|v| v as u8).collect();
            put(&folder, &format!("{split}-images-idx3-ubyte"), &file(IMAGES_MAGIC, &[count, side, side], &pixels));
            let labels: Vec<u8> = (0..count as u8).map(|v| v + 1).collect();
            put(&folder, &format!("{split}-labels-idx1-ubyte"), &file(LABELS_MAGIC, &[count], &labels));
        }
        folder
    }

    fn put(folder: &tempfile::TempDir, name: &str, bytes: &[u8]) {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }

    fn message(folder: &tempfile::TempDir) -> String {
        open(folder.path(), Wanted::Training).unwrap_err().to_string()
    }

    #[test]
    fn pictures_are_padded_with_black_and_grey_in_all_channels() {
        for (side, padded, margin) in [(28, 32, 2), (5, 8, 1), (8, 8, 0)] {
            let data = open(folder(side).path(), Wanted::Training).unwrap();
            assert_eq!((data.train.len(), data.val.len(), data.native_res), (3, 2, Some(padded)));
            assert_eq!(data.classes, ["0", "1", "2", "3"]);
            let Sample { image, truth } = data.train.sample(1).unwrap();
            assert_eq!((image.dimensions(), truth), ((padded, padded), Truth::Class(2)));
            for (x, y, pixel) in image.enumerate_pixels() {
                let inside = (margin..margin + side).contains(&x) && (margin..margin + side).contains(&y);
                let at = if inside { side * side + (y - margin) * side + x - margin } else { 0 };
                assert_eq!(pixel.0, [at as u8; 3], "{side}: {x}, {y}");
            }
        }
    }

    #[test]
    fn one_class_is_refused() {
        let folder = folder(4);
        put(&folder, "train-labels-idx1-ubyte", &file(LABELS_MAGIC, &[3], &[2; 3]));
        assert!(message(&folder).contains("all pictures are of class 2; there is nothing to tell apart"));
    }

    #[test]
    fn gzip_is_seen_by_content() {
        let folder = folder(4);
        for (name, ending) in [("train-images-idx3-ubyte", ".gz"), ("t10k-labels-idx1-ubyte", "")] {
            let path = folder.path().join(name);
            let zipped = gzip(&std::fs::read(&path).unwrap());
            std::fs::remove_file(path).unwrap();
            put(&folder, &format!("{name}{ending}"), &zipped);
        }
        assert_eq!(open(folder.path(), Wanted::Training).unwrap().val.sample(1).unwrap().truth.class().unwrap(), 2);
    }

    #[test]
    fn damaged_files_are_named_with_the_way_out() {
        const IMAGES: &str = "train-images-idx3-ubyte";
        const LABELS: &str = "t10k-labels-idx1-ubyte";
        let good = file(IMAGES_MAGIC, &[3, 4, 4], &[9; 48]);
        let zipped = gzip(&good);
        let mut wrong_checksum = zipped.clone();
        let checksum = wrong_checksum.len() - 8;
        wrong_checksum[checksum] ^= 1;
        let cases: [(&str, Vec<u8>, &str); 17] = [
            (IMAGES, Vec::new(), "cut short or damaged; download it again"),
            (IMAGES, good[..10].to_vec(), "cut short or damaged"),
            (IMAGES, good[..60].to_vec(), "48 bytes, but it holds only 44"),
            (IMAGES, [good.clone(), vec![0]].concat(), "48 bytes, but it holds more"),
            (IMAGES, file(LABELS_MAGIC, &[3], &[0; 3]), "starts with 0x00000801 instead of 0x00000803"),
            (IMAGES, zipped[..zipped.len() - 9].to_vec(), "cut short or damaged"),
            (IMAGES, wrong_checksum, "cut short or damaged"),
            (IMAGES, [zipped.clone(), vec![1, 2, 3]].concat(), "cut short or damaged"),
            (IMAGES, file(IMAGES_MAGIC, &[u32::MAX; 3], &[]), "more than 2147483648: damaged"),
            (IMAGES, file(IMAGES_MAGIC, &[100_000, 100, 100], &[]), "it holds only 0"),
            (IMAGES, gzip(&file(IMAGES_MAGIC, &[100_000, 100, 100], &[])), "bytes, too many for a gzip of"),
            (IMAGES, file(IMAGES_MAGIC, &[0, 4, 4], &[]), "holds no pictures"),
            (IMAGES, file(IMAGES_MAGIC, &[4, 3, 4], &[0; 48]), "4 x 3 pixels; they must be square"),
            (LABELS, file(LABELS_MAGIC, &[3], &[0; 3]), "holds 3 labels for the 2 pictures of"),
            ("train-labels-idx1-ubyte", file(LABELS_MAGIC, &[3], &[0, 255, 1]), "label 1 is 255, out of range"),
            (
                LABELS,
                file(LABELS_MAGIC, &[2], &[3, 4]),
                "label 1 is 4, a class of which there are no training pictures",
            ),
            (
                LABELS,
                file(LABELS_MAGIC, &[2], &[1, 0]),
                "label 1 is 0, a class of which there are no training pictures",
            ),
        ];
        for (name, bytes, expected) in cases {
            let folder = folder(4);
            put(&folder, name, &bytes);
            let message = message(&folder);
            assert!(message.contains(expected) && message.contains(name), "{message}");
        }
        let folder = folder(4);
        std::fs::remove_file(folder.path().join(LABELS)).unwrap();
        assert!(message(&folder).contains("no t10k-labels-idx1-ubyte here, nor t10k-labels-idx1-ubyte.gz"));
    }

    #[test]
    fn splits_must_have_one_size() {
        let folder = folder(4);
        put(&folder, "t10k-images-idx3-ubyte", &file(IMAGES_MAGIC, &[2, 8, 8], &[0; 128]));
        assert!(message(&folder).contains("4 pixels wide, the test pictures 8"));
    }

    #[test]
    fn files_are_found_as_other_tools_name_them() {
        let rename = |to: fn(&str) -> String| {
            let folder = folder(4);
            for path in visible(folder.path()).unwrap() {
                let renamed = folder.path().join(to(&path.file_name().unwrap().to_string_lossy()));
                std::fs::create_dir_all(renamed.parent().unwrap()).unwrap();
                let bytes = std::fs::read(&path).unwrap();
                std::fs::remove_file(path).unwrap();
                std::fs::write(renamed, bytes).unwrap();
            }
            folder
        };
        for to in [
            |name: &str| name.replace("-idx", ".idx"),
            |name: &str| format!("emnist-letters-{name}"),
            |name: &str| name.replace("t10k", "test"),
            |name: &str| format!("{}/{name}", name.replace("-idx", ".idx")),
        ] {
            let data = open(rename(to).path(), Wanted::Training).unwrap();
            assert_eq!((data.train.len(), data.val.len()), (3, 2));
        }
        let two = rename(|name| format!("emnist-letters-{name}"));
        put(&two, "emnist-digits-train-images-idx3-ubyte", &[]);
        assert!(message(&two).contains("two data sets are in one folder"), "{}", message(&two));
    }

    #[test]
    fn the_test_pictures_alone_can_be_validated_with() {
        let folder = folder(4);
        for name in ["train-images-idx3-ubyte", "train-labels-idx1-ubyte"] {
            std::fs::remove_file(folder.path().join(name)).unwrap();
        }
        assert!(message(&folder).contains("no train-images-idx3-ubyte here"));
        assert!(message(&folder).contains("there are t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte"));
        let data = open(folder.path(), Wanted::Validation).unwrap();
        assert_eq!((data.train.len(), data.val.len(), data.classes.len()), (0, 2, 10));
    }

    /// EMNIST has more classes than MNIST.
    #[test]
    fn classes_follow_the_training_labels() {
        let folder = folder(4);
        put(&folder, "train-labels-idx1-ubyte", &file(LABELS_MAGIC, &[3], &[1, 46, 2]));
        let data = open(folder.path(), Wanted::Training).unwrap();
        assert_eq!((data.classes.len(), data.classes[46].as_str()), (47, "46"));
    }

    #[test]
    fn fashion_mnist() {
        let directory = Path::new("/usr/share/datasets/fashion-mnist");
        if !directory.exists() {
            eprintln!("skipped: no {}; Debian's package dataset-fashion-mnist has it", directory.display());
            return;
        }
        let data = open(directory, Wanted::Training).unwrap();
        assert_eq!((data.train.len(), data.val.len(), data.native_res), (60_000, 10_000, Some(32)));
        let name = |index| data.classes[data.train.sample(index).unwrap().truth.class().unwrap() as usize].as_str();
        assert_eq!([name(0), name(1), name(2)], ["ankle boot", "T-shirt", "T-shirt"]);
        // The mean used for standardisation is that of all training pixels, without the padding.
        let grey = |index| data.train.sample(index).unwrap().image.pixels().map(|p| f64::from(p[0])).sum::<f64>();
        let mean = (0..60_000).map(grey).sum::<f64>() / (60_000.0 * 784.0 * 255.0);
        assert!((mean - f64::from(data.mean[0])).abs() < 5e-5, "{mean}");
    }
}
