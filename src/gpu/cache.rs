//! Files that outlive the process, in the user's cache folder: compiled pipelines, if the backend exports them.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::{env, fs, io};

/// Where something is kept from one process to the next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Kept {
    /// In the user's cache folder: `$XDG_CACHE_HOME/resnet-rs` or `~/.cache/resnet-rs`, `~/Library/Caches/resnet-rs`,
    /// `%LOCALAPPDATA%\resnet-rs`.
    #[default]
    InUserFolder,
    /// In this file.
    At(PathBuf),
    /// Nowhere: neither read nor written.
    Nowhere,
}

impl Kept {
    /// Path of the file; `name` is its name in the user's cache folder. `None` also for a user without such a folder.
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        match self {
            Self::InUserFolder => Some(user_folder()?.join(name)),
            Self::At(path) => Some(path.clone()),
            Self::Nowhere => None,
        }
    }
}

fn user_folder() -> Option<PathBuf> {
    // The XDG specification says to ignore relative paths.
    let folder = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let in_home = |below| Some(folder("HOME")?.join(below));
    let caches = if cfg!(windows) {
        folder("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        in_home("Library/Caches")
    } else {
        folder("XDG_CACHE_HOME").or_else(|| in_home(".cache"))
    };
    Some(caches?.join("resnet-rs"))
}

/// Size above which a cache is started anew: no API shrinks it, and kernels that no longer exist stay in it.
const MAX_BYTES: u64 = 128 << 20;

/// Compiled pipelines in a file: a checksum of 4 bytes, then wgpu's data. A file that is missing, damaged or from
/// another driver is replaced; only the saved time is lost.
pub(super) struct PipelineCache {
    inner: wgpu::PipelineCache,
    path: PathBuf,
    /// Checksum of what the file holds.
    stored: Mutex<Option<u32>>,
}

impl PipelineCache {
    /// Continues the cache of a file. The device must have the feature `PIPELINE_CACHE`.
    #[allow(unsafe_code)]
    pub(super) fn open(device: &wgpu::Device, path: PathBuf) -> Self {
        let data = read(&path);
        let stored = data.as_deref().map(checksum);
        log::debug!("pipeline cache {}: {} bytes", path.display(), data.as_ref().map_or(0, Vec::len));
        let descriptor =
            wgpu::PipelineCacheDescriptor { label: Some("resnet-rs"), data: data.as_deref(), fallback: true };
        // SAFETY: the data is what `get_data` returned to an earlier process, which its checksum shows; wgpu itself
        // discards it if it is of another driver.
        let inner = unsafe { device.create_pipeline_cache(&descriptor) };
        Self { inner, path, stored: Mutex::new(stored) }
    }

    pub(super) fn inner(&self) -> &wgpu::PipelineCache {
        &self.inner
    }

    /// Writes the file if its content has changed. A failed write is not an error.
    pub(super) fn save(&self) {
        let Some(data) = self.inner.get_data() else { return };
        let mut stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        if *stored == Some(checksum(&data)) {
            return;
        }
        match write(&self.path, &data) {
            Ok(()) => *stored = Some(checksum(&data)),
            Err(e) => log::debug!("pipeline cache {} cannot be written: {e}", self.path.display()),
        }
    }
}

fn checksum(data: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(data);
    crc.sum()
}

fn read(path: &Path) -> Option<Vec<u8>> {
    if fs::metadata(path).ok()?.len() > MAX_BYTES {
        return None;
    }
    let mut file = fs::read(path).ok()?;
    let expected = u32::from_le_bytes(*file.first_chunk()?);
    let data = file.split_off(4);
    (checksum(&data) == expected).then_some(data)
}

/// Writes under a temporary name, then renames. Not synced: after a power cut the checksum shows whether the file is
/// intact.
fn write(path: &Path, data: &[u8]) -> io::Result<()> {
    let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(&checksum(data).to_le_bytes())?;
    file.write_all(data)?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_file_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new folder/cache");
        assert_eq!(read(&path), None);
        for data in [&b"kernels"[..], b""] {
            write(&path, data).unwrap();
            assert_eq!(read(&path).unwrap(), data);
        }
        write(&path, b"kernels").unwrap();
        let whole = fs::read(&path).unwrap();
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            assert_eq!(read(&path), None, "cut to {length} bytes");
        }
        for byte in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[byte] ^= 1;
            fs::write(&path, damaged).unwrap();
            assert_eq!(read(&path), None, "byte {byte} damaged");
        }
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn kept_where_the_user_says() {
        assert_eq!(Kept::At("a/b".into()).path("name"), Some("a/b".into()));
        assert_eq!(Kept::Nowhere.path("name"), None);
    }
}
