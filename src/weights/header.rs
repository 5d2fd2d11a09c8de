//! The JSON header of a safetensors file: name, type, shape and place of each tensor.
//!
//! Read here rather than by the `safetensors` crate, so that every error names its tensor, duplicate names are found,
//! and tensors can stream from the file into place.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::Path,
};

use safetensors::tensor::TensorInfo;
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, Visitor},
};

use super::Error;

/// The key of the header's free text, which no tensor can have.
const METADATA: &str = "__metadata__";

/// The JSON header, in the file's order.
#[derive(Default)]
pub(super) struct Header {
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) tensors: Vec<(String, TensorInfo)>,
}

impl Header {
    /// Checks that the tensors, sorted by place, tile the file's `data_bytes` and are as long as their shapes say.
    pub(super) fn check(&self, path: &Path, data_bytes: u64) -> Result<(), Error> {
        let mut expected = 0;
        for (name, info) in &self.tensors {
            let (start, end) = info.data_offsets;
            let size = info.shape.iter().try_fold(info.dtype.bitsize(), |bits, &n| bits.checked_mul(n));
            let problem = if end as u64 > data_bytes {
                format!("ends at byte {end} of the data, but the file holds {data_bytes}: is it cut short?")
            } else if start < expected {
                format!("starts at byte {start} of the data, inside another tensor")
            } else if start > expected {
                format!("starts at byte {start} of the data, {} bytes after the one before it ends", start - expected)
            } else if end < start || size != (end - start).checked_mul(8) {
                format!("{:?} of shape {:?} does not fit bytes {start} to {end}", info.dtype, info.shape)
            } else {
                expected = end;
                continue;
            };
            return Err(Error::Tensor { path: path.to_owned(), tensor: name.clone(), problem });
        }
        if expected as u64 != data_bytes {
            let problem =
                format!("its tensors take {expected} bytes, but {data_bytes} bytes of data follow the header");
            return Err(Error::Malformed { path: path.to_owned(), problem });
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Header;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
                let mut header = Header::default();
                let mut seen = BTreeSet::new();
                while let Some(name) = map.next_key::<String>()? {
                    let about = |e| A::Error::custom(format!("{name}: {e}"));
                    if name == METADATA {
                        header.metadata = map.next_value().map_err(about)?;
                    } else {
                        let info = map.next_value().map_err(about)?;
                        header.tensors.push((name.clone(), info));
                    }
                    if !seen.insert(name.clone()) {
                        return Err(A::Error::custom(format!("{name} is there twice")));
                    }
                }
                Ok(header)
            }
        }
        deserializer.deserialize_map(Entries)
    }
}
