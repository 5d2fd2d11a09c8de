//! The safetensors format: 8 bytes of header length, a JSON header, then the tensors' bytes without gaps.
//!
//! Written here with sorted keys, since equal weights should give equal bytes: the `safetensors` crate keeps metadata
//! in a hash map.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Read, Write},
    path::Path,
};

use bytemuck::cast_slice;
use half::{bf16, f16, vec::HalfFloatVecExt};
use safetensors::{Dtype, tensor::TensorInfo};
use serde::Serialize;

use super::{Error, HostTensor, StateDict, foreign, half::stored_half, header::Header};
use crate::{files, graph::Precision};

/// PyTorch counts the batches that each BatchNorm layer has seen. One number serves all layers here: it is kept in the
/// metadata under this name, and written for every layer, since loaders of PyTorch state dicts ask for it.
const COUNTER: &str = "num_batches_tracked";
/// The counter of `torch.optim.swa_utils.AveragedModel`: the number of weights in an average.
const AVERAGED: &str = "n_averaged";
/// The limit that the safetensors format sets on its header.
const MAX_HEADER_BYTES: u64 = 100_000_000;

// The format is little-endian and tensors are written as they lie in memory.
const _: () = assert!(cfg!(target_endian = "little"));

impl StateDict {
    /// Reads a safetensors file. F16, BF16 and F64 become f32; PyTorch's integer counters are skipped.
    ///
    /// # Errors
    /// Errors name the file, and the tensor if one is to blame: the file cannot be read, is not a safetensors file, is
    /// truncated, contradicts itself, or holds a NaN, an infinity, or a tensor of another type. Never allocates for
    /// more than the file holds.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let (mut file, file_bytes) = files::open(path)?;
        decode(path, &mut file, file_bytes)
    }

    /// Writes a safetensors file atomically: on any error an older file of that name stays.
    ///
    /// Adds an I64 scalar `X.num_batches_tracked` for each `X.running_mean`, as PyTorch does: the metadata entry
    /// `num_batches_tracked`, or 0.
    ///
    /// # Errors
    /// Names the tensor that holds a NaN or infinity or does not fill its shape, or says why the file cannot be
    /// written.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        write(path, &self.tensors, &self.metadata)
    }
}

fn decode(path: &Path, reader: &mut impl Read, file_bytes: u64) -> Result<StateDict, Error> {
    let malformed = |problem: String| Error::Malformed { path: path.to_owned(), problem };
    let failed = |e: io::Error| files::Error::read(path, e);
    if file_bytes < 8 {
        return Err(malformed(format!("it is {file_bytes} bytes long, too short for a header")));
    }
    let mut length = [0; 8];
    reader.read_exact(&mut length).map_err(failed)?;
    let header_bytes = u64::from_le_bytes(length);
    let rest_bytes = file_bytes - 8;
    if header_bytes > MAX_HEADER_BYTES || header_bytes > rest_bytes {
        let mut start = length.to_vec();
        reader.take(foreign::LOOKED_AT_BYTES).read_to_end(&mut start).map_err(failed)?;
        return Err(match foreign::problem(path, &start) {
            Some(problem) => Error::Foreign { path: path.to_owned(), problem },
            None => malformed(format!(
                "its first 8 bytes announce a header of {header_bytes} bytes, but {rest_bytes} bytes follow and the \
                 format allows {MAX_HEADER_BYTES}"
            )),
        });
    }
    let mut header = vec![0; header_bytes as usize];
    reader.read_exact(&mut header).map_err(failed)?;
    let mut header: Header =
        serde_json::from_slice(&header).map_err(|e| malformed(format!("its header does not parse ({e})")))?;
    header.tensors.sort_by_key(|(_, info)| info.data_offsets);
    header.check(path, rest_bytes - header_bytes)?;

    let mut tensors = BTreeMap::new();
    for (name, info) in header.tensors {
        let mut bytes = vec![0; info.data_offsets.1 - info.data_offsets.0];
        reader.read_exact(&mut bytes).map_err(failed)?;
        if [COUNTER, AVERAGED].iter().any(|counter| name.ends_with(counter)) && is_integer(info.dtype) {
            continue;
        }
        let data = to_f32(info.dtype, &bytes).ok_or_else(|| Error::DType {
            path: path.to_owned(),
            tensor: name.clone(),
            dtype: format!("{:?}", info.dtype),
        })?;
        if let Some(element) = first_not_finite(&data) {
            return Err(Error::Value { path: path.to_owned(), tensor: name, element, value: data[element] });
        }
        tensors.insert(name, HostTensor { shape: info.shape, data });
    }
    Ok(StateDict { tensors, metadata: header.metadata })
}

/// Index of the first NaN or infinity.
fn first_not_finite(data: &[f32]) -> Option<usize> {
    // Checks a run of numbers without a branch for each, so that the compiler vectorises the loop.
    const RUN: usize = 4096;
    let sound = |run: &[f32]| run.iter().fold(true, |sound, v| sound & v.is_finite());
    let start = RUN * data.chunks(RUN).position(|run| !sound(run))?;
    data[start..].iter().position(|v| !v.is_finite()).map(|element| start + element)
}

fn is_integer(dtype: Dtype) -> bool {
    use Dtype::*;
    matches!(dtype, U8 | I8 | I16 | U16 | I32 | U32 | I64 | U64)
}

fn to_f32(dtype: Dtype, bytes: &[u8]) -> Option<Vec<f32>> {
    Some(match dtype {
        Dtype::F32 => cast_slice(bytes).iter().map(|&b: &[u8; 4]| f32::from_le_bytes(b)).collect(),
        Dtype::F64 => cast_slice(bytes).iter().map(|&b: &[u8; 8]| f64::from_le_bytes(b) as f32).collect(),
        Dtype::F16 => cast_slice(bytes).iter().map(|&b: &[u8; 2]| f16::from_le_bytes(b).to_f32()).collect(),
        Dtype::BF16 => cast_slice(bytes).iter().map(|&b: &[u8; 2]| bf16::from_le_bytes(b).to_f32()).collect(),
        _ => return None,
    })
}

/// Writes tensors and metadata as [`StateDict::write`] does.
pub(crate) fn write(
    path: &Path,
    tensors: &BTreeMap<String, HostTensor>,
    metadata: &BTreeMap<String, String>,
) -> Result<(), Error> {
    write_as(path, tensors, metadata, Precision::F32)
}

/// As [`write()`], with kernels and matrices in the given precision.
pub(super) fn write_as(
    path: &Path,
    tensors: &BTreeMap<String, HostTensor>,
    metadata: &BTreeMap<String, String>,
    precision: Precision,
) -> Result<(), Error> {
    check(path, tensors)?;
    let counter: i64 = match metadata.get(COUNTER) {
        None => 0,
        Some(text) => {
            text.parse().map_err(|_| Error::Metadata { path: path.to_owned(), key: COUNTER, value: text.clone() })?
        }
    };

    // Widest elements first, as the format's own writer does, so that every tensor is aligned to its element.
    let counters = tensors.keys().filter_map(|name| Some(format!("{}{COUNTER}", name.strip_suffix("running_mean")?)));
    let counters: BTreeSet<String> = counters.filter(|name| !tensors.contains_key(name)).collect();
    let mut entries = BTreeMap::new();
    let mut end = 0;
    let mut place = |dtype, shape: &[usize], bytes: usize| {
        let start = end;
        end += bytes;
        TensorInfo { dtype, shape: shape.to_vec(), data_offsets: (start, end) }
    };
    for name in &counters {
        entries.insert(name, place(Dtype::I64, &[], size_of::<i64>()));
    }
    let (halves, floats): (Vec<_>, Vec<_>) =
        tensors.iter().partition(|(_, tensor)| precision == Precision::F16 && stored_half(tensor));
    for (dtype, group) in [(Dtype::F32, &floats), (Dtype::F16, &halves)] {
        let one = |(name, tensor): &(_, &HostTensor)| {
            (*name, place(dtype, &tensor.shape, tensor.data.len() * dtype.bitsize() / 8))
        };
        entries.extend(group.iter().map(one));
    }

    #[derive(Serialize)]
    struct Entries<'a> {
        #[serde(rename = "__metadata__", skip_serializing_if = "BTreeMap::is_empty")]
        metadata: &'a BTreeMap<String, String>,
        #[serde(flatten)]
        tensors: BTreeMap<&'a String, TensorInfo>,
    }
    let header = serde_json::to_vec(&Entries { metadata, tensors: entries });

    files::write_atomic(path, |file| {
        let mut header = header?;
        header.resize(header.len().next_multiple_of(8), b' ');
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(&header)?;
        for _ in &counters {
            file.write_all(&counter.to_le_bytes())?;
        }
        floats.iter().try_for_each(|(_, tensor)| file.write_all(cast_slice(&tensor.data)))?;
        halves.iter().try_for_each(|(_, tensor)| file.write_all(cast_slice(&Vec::<f16>::from_f32_slice(&tensor.data))))
    })?;
    Ok(())
}

fn check(path: &Path, tensors: &BTreeMap<String, HostTensor>) -> Result<(), Error> {
    for (name, HostTensor { shape, data }) in tensors {
        if shape.iter().try_fold(1usize, |product, &n| product.checked_mul(n)) != Some(data.len()) {
            return Err(Error::Shape {
                path: path.to_owned(),
                tensor: name.clone(),
                shape: shape.clone(),
                elements: data.len(),
            });
        }
        if let Some(element) = first_not_finite(data) {
            return Err(Error::NotFinite {
                path: path.to_owned(),
                tensor: name.clone(),
                element,
                value: data[element],
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;

    use proptest::prelude::*;
    use safetensors::{SafeTensors, tensor::TensorView};

    use super::*;

    fn parse(bytes: &[u8]) -> Result<StateDict, Error> {
        decode(Path::new("w.safetensors"), &mut &bytes[..], bytes.len() as u64)
    }

    /// A file with that header text and that many bytes of data.
    fn file(header: &str, data_bytes: usize) -> Vec<u8> {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.extend(std::iter::repeat_n(0, data_bytes));
        bytes
    }

    fn tensor(shape: &[usize], data: &[f32]) -> HostTensor {
        HostTensor { shape: shape.to_vec(), data: data.to_vec() }
    }

    fn sample() -> StateDict {
        let tensors = [
            ("fc.weight", tensor(&[2, 3], &[1.5, -0.0, f32::MIN_POSITIVE / 2.0, f32::MAX, f32::MIN, 0.1])),
            ("bn1.running_mean", tensor(&[2], &[0.25, -3.0])),
            ("layer1.0.bn1.running_mean", tensor(&[1], &[7.0])),
            ("scalar", tensor(&[], &[4.0])),
            ("empty", tensor(&[0, 3], &[])),
        ];
        let metadata = (0..9).map(|i| (format!("key{i}"), format!("\"{i}\"\n"))).chain([(COUNTER.into(), "42".into())]);
        StateDict { tensors: tensors.map(|(n, t)| (n.to_owned(), t)).into(), metadata: metadata.collect() }
    }

    #[test]
    fn what_is_written_reads_back_to_the_bit() {
        let folder = tempfile::tempdir().unwrap();
        let (path, again) = (folder.path().join("a.safetensors"), folder.path().join("b.safetensors"));
        let written = sample();
        written.write(&path).unwrap();
        let read = StateDict::read(&path).unwrap();
        assert_eq!(read.metadata, written.metadata);
        assert_eq!(read.tensors.keys().collect::<Vec<_>>(), written.tensors.keys().collect::<Vec<_>>());
        for (name, tensor) in &read.tensors {
            let bits = |t: &HostTensor| t.data.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            assert_eq!(tensor.shape, written.tensors[name].shape);
            assert_eq!(bits(tensor), bits(&written.tensors[name]), "{name}");
        }
        read.write(&again).unwrap();
        assert_eq!(fs::read(path).unwrap(), fs::read(again).unwrap(), "equal contents give equal files");
    }

    #[test]
    fn other_readers_find_the_batch_counters() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.safetensors");
        sample().write(&path).unwrap();
        let bytes = fs::read(path).unwrap();
        let theirs = SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(theirs.len(), sample().tensors.len() + 2);
        for name in ["bn1.num_batches_tracked", "layer1.0.bn1.num_batches_tracked"] {
            let counter = theirs.tensor(name).unwrap();
            assert_eq!(
                (counter.dtype(), counter.shape(), counter.data()),
                (Dtype::I64, &[][..], &42i64.to_le_bytes()[..])
            );
        }
        let mut odd = sample();
        odd.metadata.insert(COUNTER.into(), "many".into());
        assert!(odd.write(&folder.path().join("b")).unwrap_err().to_string().contains("\"many\""));
    }

    #[test]
    fn half_and_double_precision_become_f32() {
        let values = [1.0f32, -0.5, 0.099975586]; // the last one is the f16 nearest to 0.1
        let bytes = |f: fn(f32) -> Vec<u8>| values.iter().flat_map(|&v| f(v)).collect::<Vec<u8>>();
        for (dtype, bytes, last) in [
            (Dtype::F32, bytes(|v| v.to_le_bytes().to_vec()), values[2]),
            (Dtype::F64, bytes(|v| f64::from(v).to_le_bytes().to_vec()), values[2]),
            (Dtype::F16, bytes(|v| f16::from_f32(v).to_le_bytes().to_vec()), values[2]),
            (Dtype::BF16, bytes(|v| bf16::from_f32(v).to_le_bytes().to_vec()), 0.100097656),
        ] {
            let zero = 0i64.to_le_bytes();
            let tensors = [
                ("w", TensorView::new(dtype, vec![3], &bytes).unwrap()),
                ("bn1.num_batches_tracked", TensorView::new(Dtype::I64, vec![], &zero).unwrap()),
                ("n_averaged", TensorView::new(Dtype::I64, vec![], &zero).unwrap()),
            ];
            let dict = parse(&safetensors::serialize(tensors, None).unwrap()).unwrap();
            assert_eq!(dict.tensors, [("w".to_owned(), tensor(&[3], &[1.0, -0.5, last]))].into(), "{dtype:?}");
        }
    }

    #[test]
    fn hostile_files_are_refused_by_name() {
        let entry = |dtype: &str, shape: &str, start: u64, end: u64| {
            format!(r#"{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{start},{end}]}}"#)
        };
        let one = |dtype: &str, shape: &str, start, end| format!(r#"{{"w":{}}}"#, entry(dtype, shape, start, end));
        let two = |a: &str, b: &str, start, end| {
            format!(r#"{{"{a}":{},"{b}":{}}}"#, entry("F32", "[2]", 0, 8), entry("F32", "[2]", start, end))
        };
        let good = file(&one("F32", "[2]", 0, 8), 8);
        parse(&good).unwrap();

        let huge = u64::MAX;
        // Nine tensors whose sizes add up to 2^64.
        let sum = (0..8u64).map(|i| {
            format!(
                r#""t{i}":{}"#,
                entry("U8", "[2305843009213693951]", i * ((1 << 61) - 1), (i + 1) * ((1 << 61) - 1))
            )
        });
        let sum = format!(r#"{{{},"t8":{}}}"#, sum.collect::<Vec<_>>().join(","), entry("U8", "[8]", huge - 7, huge));
        for (bytes, expected) in [
            (vec![], "0 bytes long"),
            (vec![1, 2, 3], "3 bytes long"),
            (huge.to_le_bytes().to_vec(), "announce a header of 18446744073709551615"),
            (good[..20].to_vec(), "announce a header of"),
            (good[..good.len() - 1].to_vec(), "tensor w: ends at byte 8 of the data, but the file holds 7"),
            ([&good[..], b"tail"].concat(), "12 bytes of data follow"),
            (file("", 0), "does not parse"),
            (file("{", 0), "does not parse"),
            (file("[]", 0), "an object of tensors"),
            (file(&"[".repeat(10_000), 0), "does not parse"),
            (file("{\"\u{1}\":0}", 0), "does not parse"),
            (file(r#"{"w":{"dtype":"F7","shape":[],"data_offsets":[0,1]}}"#, 1), "w: unknown variant `F7`"),
            (file(r#"{"w":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}"#, 4), "w: invalid"),
            (file(r#"{"w":{"dtype":"F32","shape":[1]}}"#, 4), "w: missing field `data_offsets`"),
            (file(r#"{"__metadata__":{"a":1}}"#, 0), "__metadata__: invalid type"),
            (file(&two("w", "w", 8, 16), 16), "w is there twice"),
            (file(&two("v", "w", 4, 12), 12), "tensor w: starts at byte 4 of the data, inside another tensor"),
            (file(&two("v", "w", 12, 20), 20), "tensor w: starts at byte 12 of the data, 4 bytes after"),
            (file(&one("F32", "[2]", 8, 0), 0), "tensor w: starts at byte 8"),
            (file(&one("F32", "[3]", 0, 8), 8), "tensor w: F32 of shape [3] does not fit bytes 0 to 8"),
            (file(&one("F32", "[18446744073709551615, 2]", 0, 8), 8), "tensor w: F32 of shape"),
            (file(&one("F32", "[2]", 0, huge), 8), "tensor w: ends at byte 18446744073709551615"),
            (file(&sum, 0), "ends at byte"),
            (file(&one("I32", "[2]", 0, 8), 8), "tensor w holds I32"),
            (file(&one("BOOL", "[8]", 0, 8), 8), "tensor w holds BOOL"),
        ] {
            let error = parse(&bytes).unwrap_err().to_string();
            assert!(error.contains("w.safetensors") && error.contains(expected), "{expected}: {error}");
        }
        let folder = tempfile::tempdir().unwrap();
        assert!(StateDict::read(folder.path()).unwrap_err().to_string().contains("not a regular file"));
        assert!(StateDict::read(&folder.path().join("no")).unwrap_err().to_string().contains("no: "));
    }

    #[test]
    fn a_diverged_state_replaces_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.safetensors");
        sample().write(&path).unwrap();
        let before = fs::read(&path).unwrap();
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut diverged = sample();
            diverged.tensors.get_mut("fc.weight").unwrap().data[4] = bad;
            let error = diverged.write(&path).unwrap_err().to_string();
            assert!(
                error.contains("fc.weight") && error.contains("element 4") && error.contains("diverged"),
                "{error}"
            );
        }
        let mut short = sample();
        short.tensors.get_mut("fc.weight").unwrap().data.pop();
        assert!(short.write(&path).unwrap_err().to_string().contains("fc.weight of shape [2, 3] holds 5 elements"));
        assert_eq!(fs::read(&path).unwrap(), before);
    }

    #[test]
    fn weights_that_are_no_numbers_are_refused() {
        let file_of = |element: usize, value: f32| {
            let mut data = vec![0.5f32; 9000];
            data[element] = value;
            let bytes: Vec<u8> = data.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect();
            let tensors = [("bn1.running_var", TensorView::new(Dtype::F16, vec![9000], &bytes).unwrap())];
            safetensors::serialize(tensors, None).unwrap()
        };
        parse(&file_of(3, 65_504.0)).unwrap();
        for (element, value, name) in [(3, f32::NAN, "NaN"), (8999, 1e6, "inf"), (4096, f32::NEG_INFINITY, "-inf")] {
            let error = parse(&file_of(element, value)).unwrap_err().to_string();
            let expected = format!("tensor bn1.running_var holds {name} at element {element}");
            assert!(error.contains(&expected), "{expected}: {error}");
        }
    }

    #[test]
    fn reads_files_that_pytorch_wrote() {
        let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/infer_rs50_64.safetensors");
        let dict = StateDict::read(Path::new(golden)).unwrap();
        assert!(dict.tensors.values().any(|t| t.shape.ends_with(&[1000])), "{:?}", dict.tensors.keys());
    }

    proptest! {
        #[test]
        fn mutations_never_panic(
            edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3), 1..6),
            cut in prop::option::of(any::<prop::sample::Index>()),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("a");
            sample().write(&path).unwrap();
            let mut bytes = fs::read(path).unwrap();
            for (at, value, kind) in edits {
                let at = at.index(bytes.len());
                match kind {
                    0 => bytes[at] = value,
                    1 => bytes.insert(at, value),
                    _ => drop(bytes.remove(at)),
                }
            }
            if let Some(cut) = cut {
                bytes.truncate(cut.index(bytes.len()));
            }
            let _ = parse(&bytes);
        }
    }
}
