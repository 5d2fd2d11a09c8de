//! The golden files: results of PyTorch and timm, computed in f64 and stored in f32.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Where a golden file is to be found: beside the repository, whichever of its packages is tested.
pub(crate) fn path(file: &str) -> PathBuf {
    let of_package = |package: &Path| package.join("../shared/oracle/golden").join(file);
    let packages = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    packages.map(of_package).find(|path| path.exists()).unwrap_or_else(|| file.into())
}

/// The seed that the golden files' weights and pictures were made with.
pub(crate) const SEED: u32 = 1;

/// The scale of the last batch norm of each residual branch in the golden files.
pub(crate) const BRANCH_GAMMA: f32 = 0.2;

/// The same of EfficientNet's.
#[allow(dead_code, reason = "not every test binary that mounts this file is about EfficientNet")]
pub(crate) const EFFICIENTNET_GAMMA: f32 = 0.5;

/// Names and shapes of the state dict that a golden file was made with, batch counters left out. `None`, with a line that says so, without
/// the files.
#[allow(dead_code, reason = "not every test binary that mounts this file compares names")]
pub(crate) fn shapes(case: &str) -> Option<BTreeMap<String, Vec<usize>>> {
    let path = path("index.json");
    let Ok(text) = std::fs::read_to_string(&path) else {
        eprintln!("skipped: there is no golden file {}", path.display());
        return None;
    };
    let index: serde_json::Value = serde_json::from_str(&text).unwrap();
    let cases = index.as_array().or_else(|| index["cases"].as_array()).unwrap();
    let names = &cases.iter().find(|found| found["case"] == case).unwrap()["names"];
    let names: BTreeMap<String, Vec<usize>> = serde_json::from_value(names.clone()).unwrap();
    Some(names.into_iter().filter(|(name, _)| !name.ends_with("num_batches_tracked")).collect())
}

/// The tensors of a golden file by name, elements in PyTorch's order. `None`, with a line that says so, without the files.
pub(crate) fn load(case: &str) -> Option<BTreeMap<String, Vec<f32>>> {
    let path = path(&format!("{case}.safetensors"));
    if !path.exists() {
        eprintln!("skipped: there is no golden file {}", path.display());
        return None;
    }
    Some(read(&path))
}

/// The tensors of a file by name, elements in PyTorch's order.
pub(crate) fn read(path: &Path) -> BTreeMap<String, Vec<f32>> {
    let bytes = std::fs::read(path).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let floats = |data: &[u8]| data.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    file.tensors().into_iter().map(|(name, tensor)| (name, floats(tensor.data()))).collect()
}

/// What is off if some element differs by more than `tolerance` times the largest expected element.
pub(crate) fn close(what: &str, got: &[f64], want: &[f32], tolerance: f64) -> Result<(), String> {
    assert_eq!(got.len(), want.len(), "{what}: number of elements");
    let largest = want.iter().fold(0.0, |max: f64, w| max.max(f64::from(w.abs())));
    let error = got.iter().zip(want).map(|(g, w)| (g - f64::from(*w)).abs()).fold(0.0, f64::max);
    let off = || Err(format!("{what}: off by {error:e}, largest expected element {largest:e}"));
    if error <= tolerance * largest { Ok(()) } else { off() }
}

/// Asserts that nothing is.
pub(crate) fn assert_close(what: &str, got: &[f64], want: &[f32], tolerance: f64) {
    close(what, got, want, tolerance).unwrap_or_else(|off| panic!("{off}"));
}
