//! Recognises files that are not safetensors files by their first bytes.

use std::ffi::OsStr;
use std::path::Path;

/// Bytes that are read after the first 8.
pub(super) const LOOKED_AT_BYTES: u64 = 512;

/// What to do about PyTorch's formats: a line for the shell that also finds the tensors inside of a training
/// checkpoint, and takes off what wrappers add to their names.
const CONVERT: &str = "convert it with Python, where torch and safetensors are installed: \
    python -c \"import sys, torch; from safetensors.torch import save_file; \
    d = torch.load(sys.argv[1], map_location='cpu'); \
    d = next((d[k] for k in ('state_dict_ema', 'state_dict', 'model_state_dict', 'model', 'net') \
    if isinstance(d.get(k), dict)), d); \
    save_file({k.replace('module.', '').replace('_orig_mod.', ''): v.clone().contiguous() \
    for k, v in d.items() if torch.is_tensor(v)}, sys.argv[2])\"";

const EXPORT: &str = "export the network's tensors to safetensors under timm's names with the tool that wrote it";
const DOWNLOAD: &str = "download the file itself";

/// The kind of file that begins with these bytes, and what to do about it; `None` if it is unknown.
pub(super) fn problem(path: &Path, start: &[u8]) -> Option<String> {
    let ending = path.extension().and_then(OsStr::to_str).unwrap_or_default().to_lowercase();
    let contains = |text: &[u8]| start.windows(text.len()).any(|window| window == text);
    let text = start.trim_ascii_start();
    let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text).to_ascii_lowercase();
    let pytorch = || convert(path);
    Some(match start {
        [b'P', b'K', 3, 4, ..] if contains(b".npy") => format!("a NumPy archive: {EXPORT}"),
        [b'P', b'K', 3, 4, ..] if ending == "keras" => format!("a Keras model: {EXPORT}"),
        [b'P', b'K', 3, 4, ..] if contains(b"data.pkl") || is_pytorch(&ending) => pytorch(),
        [b'P', b'K', 3, 4, ..] => "a ZIP archive: unpack it first".into(),
        // Python's pickles, of which PyTorch's first format is one.
        [0x80, 2..=5, ..] => pytorch(),
        [b'G', b'G', b'U', b'F', ..] => format!("a GGUF file: {EXPORT}"),
        [0x89, b'H', b'D', b'F', ..] => format!("an HDF5 file, as Keras writes them: {EXPORT}"),
        [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => format!("a NumPy array: {EXPORT}"),
        [_, _, _, _, b'T', b'F', b'L', b'3', ..] => format!("a TensorFlow Lite model: {EXPORT}"),
        [0x1F, 0x8B, ..] => "compressed with gzip: unpack it first".into(),
        // The first field of an ONNX model and of TensorFlow's SavedModel is a small version number.
        [8, 1..=30, ..] if ending == "pb" => format!("a TensorFlow model: {EXPORT}"),
        [8, 1..=30, 0x12 | 0x3A | 0x42, ..] => {
            "an ONNX model, which can be written but not read: give the weights that it was made of".into()
        }
        _ if text.starts_with(b"version https://git-lfs") => {
            format!("a pointer of Git LFS, not the file that it stands for: run git lfs pull, or {DOWNLOAD}")
        }
        _ if text.starts_with(b"<") => format!("an HTML page: {DOWNLOAD}"),
        _ if text.starts_with(b"{") => "JSON text: give the path of the weights".into(),
        _ if is_tensorflow(path, &ending, &text) => format!("a part of a TensorFlow checkpoint: {EXPORT}"),
        _ if is_pytorch(&ending) => pytorch(),
        _ => return None,
    })
}

fn convert(path: &Path) -> String {
    let out = path.with_extension("safetensors");
    format!("a PyTorch file: {CONVERT} \"{}\" \"{}\"", path.display(), out.display())
}

fn is_pytorch(ending: &str) -> bool {
    ["pth", "pt", "bin", "ckpt", "tar"].contains(&ending)
}

/// TensorFlow's `NAME.index`, `NAME.data-00000-of-00001` and `checkpoint`.
fn is_tensorflow(path: &Path, ending: &str, text: &[u8]) -> bool {
    ending == "index" || ending.starts_with("data-0") || text.starts_with(b"model_checkpoint_path") || {
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        ending == "meta" && name.contains("ckpt")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::weights::StateDict;

    #[test]
    fn files_of_other_kinds_are_called_by_their_names() {
        let folder = tempfile::tempdir().unwrap();
        let zip = |inside: &str| [b"PK\x03\x04\0\0\x08\x08\0\0", inside.as_bytes()].concat();
        let convert = "a PyTorch file: convert it with Python";
        for (name, bytes, expected) in [
            ("a.pth", zip("archive/data.pkl"), convert),
            ("a.safetensors", zip("archive/data.pkl"), convert),
            ("pytorch_model.bin", zip("?"), convert),
            ("legacy.pth", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.".to_vec(), convert),
            ("a.pkl", b"\x80\x04\x95 some of Python's objects".to_vec(), convert),
            ("a.npz", zip("conv1.weight.npy"), "a NumPy archive"),
            ("a.keras", zip("metadata.json"), "a Keras model"),
            ("a.zip", zip("a/model.safetensors"), "a ZIP archive"),
            ("a.gguf", b"GGUF\x03\0\0\0\x01\0\0\0".to_vec(), "a GGUF file"),
            ("a.h5", b"\x89HDF\r\n\x1a\n\0\0".to_vec(), "an HDF5 file"),
            ("a.npy", b"\x93NUMPY\x01\0v\0".to_vec(), "a NumPy array"),
            ("a.onnx", b"\x08\x07\x12\x07pytorch\x1a".to_vec(), "an ONNX model"),
            ("a.tflite", b"\x1c\0\0\0TFL3\x14\0".to_vec(), "a TensorFlow Lite model"),
            ("saved_model.pb", b"\x08\x01\x12\xcf\xb9\x01\n\xb5".to_vec(), "a TensorFlow model"),
            ("checkpoint", b"model_checkpoint_path: \"ckpt-1\"".to_vec(), "a TensorFlow checkpoint"),
            ("ckpt-1.index", b"\0\0\x02\x01\xff\xff\xff\xff".to_vec(), "a TensorFlow checkpoint"),
            ("ckpt-1.data-00000-of-00001", vec![0xC3; 20], "a TensorFlow checkpoint"),
            ("a.safetensors", b"\n <!DOCTYPE html><html>".to_vec(), "an HTML page"),
            ("a.safetensors", b"version https://git-lfs.github.com/spec/v1\n".to_vec(), "git lfs pull"),
            ("a.json", b"{\"architecture\": \"resnet50\"}".to_vec(), "JSON text"),
            ("a.safetensors.gz", b"\x1f\x8b\x08\0\0\0\0\0".to_vec(), "compressed with gzip"),
        ] {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            let error = StateDict::read(&path).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(expected), "{name}: {error}");
            assert!(!error.contains("header of"), "{name}: {error}");
        }
        let unknown = folder.path().join("a.safetensors");
        std::fs::write(&unknown, "nothing that is known").unwrap();
        assert!(StateDict::read(&unknown).unwrap_err().to_string().contains("announce a header of"));
    }
}
