//! The golden files: results of PyTorch and timm, computed in f64 and stored in f32.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The path of a golden file, for tests of any package of the repository.
///
/// # Panics
/// If there is no such file.
pub(crate) fn path(file: &str) -> PathBuf {
    let of_package = |package: &Path| package.join("tests/golden").join(file);
    let packages = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let found = packages.map(of_package).find(|path| path.exists());
    found.unwrap_or_else(|| panic!("tests/golden/{file} is missing; tests/golden/README.md says how it is made"))
}

/// The seed of the golden files' weights and pictures.
pub(crate) const SEED: u32 = 1;

/// The scale of the last batch norm of each residual branch in the golden files.
pub(crate) const BRANCH_GAMMA: f32 = 0.2;

/// The scale of the last batch norm of each residual branch of the golden EfficientNets.
#[allow(dead_code, reason = "not every test binary that mounts this file is about EfficientNet")]
pub(crate) const EFFICIENTNET_GAMMA: f32 = 0.5;

/// Names and shapes of the state dict behind a golden file, without batch counters.
#[allow(dead_code, reason = "not every test binary that mounts this file compares names")]
pub(crate) fn shapes(case: &str) -> BTreeMap<String, Vec<usize>> {
    let index: serde_json::Value = serde_json::from_slice(&std::fs::read(path("index.json")).unwrap()).unwrap();
    let cases = index["cases"].as_array().unwrap();
    let names = &cases.iter().find(|found| found["case"] == case).unwrap()["names"];
    let names: BTreeMap<String, Vec<usize>> = serde_json::from_value(names.clone()).unwrap();
    names.into_iter().filter(|(name, _)| !name.ends_with("num_batches_tracked")).collect()
}

/// The tensors of a golden file by name, elements in PyTorch's order.
pub(crate) fn load(case: &str) -> BTreeMap<String, Vec<f32>> {
    let bytes = std::fs::read(path(&format!("{case}.safetensors"))).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let floats = |data: &[u8]| data.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    file.tensors().into_iter().map(|(name, tensor)| (name, floats(tensor.data()))).collect()
}

/// Describes the largest error if an element differs by more than `tolerance` times the largest expected element.
pub(crate) fn close(what: &str, got: &[f64], want: &[f32], tolerance: f64) -> Result<(), String> {
    assert_eq!(got.len(), want.len(), "{what}: number of elements");
    let largest = want.iter().fold(0.0, |max: f64, w| max.max(f64::from(w.abs())));
    let errors = got.iter().zip(want).map(|(g, w)| (g - f64::from(*w)).abs());
    // Unlike max, this keeps what is not a number.
    let error = errors.max_by(f64::total_cmp).unwrap_or(0.0);
    let off = || Err(format!("{what}: off by {error:e}, largest expected element {largest:e}"));
    if error <= tolerance * largest { Ok(()) } else { off() }
}

/// Panics if some element differs by more than `tolerance` times the largest expected element.
#[allow(dead_code, reason = "not every test binary that mounts this file panics at once")]
pub(crate) fn assert_close(what: &str, got: &[f64], want: &[f32], tolerance: f64) {
    close(what, got, want, tolerance).unwrap_or_else(|off| panic!("{off}"));
}
