//! Reading and writing whole files. A write either succeeds as a whole or leaves the old file.

use std::{
    fs::{self, File, TryLockError},
    io::{self, BufWriter, ErrorKind, Read, Write},
    path::{Path, PathBuf},
};

use tempfile::Builder;

/// Ending of temporary files, by which [`remove_leftovers`] finds them.
const TEMPORARY: &str = ".partial";

/// Why a file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be opened or read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The path leads to a folder, a pipe or a device.
    #[error("cannot read {}: it is not a regular file; give the path of a file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// The file or folder cannot be written.
    #[error("cannot write {}: {source}; {}", path.display(), advice(source))]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn read(path: &Path, source: io::Error) -> Self {
        Self::Read { path: path.to_owned(), source }
    }

    pub(crate) fn write(path: &Path, source: io::Error) -> Self {
        Self::Write { path: path.to_owned(), source }
    }
}

/// What to do about a write that failed.
fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            "free some space or choose another --out"
        }
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => "choose another --out, where you may write",
        ErrorKind::NotFound | ErrorKind::NotADirectory => "create its folder first or choose another --out",
        ErrorKind::IsADirectory | ErrorKind::InvalidInput => "give the path of a file",
        _ => "check the disk or choose another --out",
    }
}

/// Opens a regular file and returns it with its length in bytes. Refuses folders, and pipes and devices, which may
/// never end.
pub(crate) fn open(path: &Path) -> Result<(File, u64), Error> {
    let about = fs::metadata(path).map_err(|e| Error::read(path, e))?;
    if !about.is_file() {
        return Err(Error::NotAFile { path: path.to_owned() });
    }
    let file = File::open(path).map_err(|e| Error::read(path, e))?;
    Ok((file, about.len()))
}

/// Reads a text file as editors save it: UTF-8 with or without a byte-order mark, or UTF-16 with one.
pub(crate) fn read_text(path: &Path) -> Result<String, Error> {
    let (mut file, _) = open(path)?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(|e| Error::read(path, e))?;
    decode_text(bytes).ok_or_else(|| {
        let problem = "it is not text in UTF-8; save it as UTF-8 in your editor";
        Error::read(path, io::Error::new(ErrorKind::InvalidData, problem))
    })
}

/// Text without its byte-order mark. `None` if the bytes are not text.
fn decode_text(bytes: Vec<u8>) -> Option<String> {
    let utf16 = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let (units, rest) = bytes.as_chunks::<2>();
        let units: Vec<u16> = units.iter().copied().map(unit).collect();
        if rest.is_empty() { String::from_utf16(&units).ok() } else { None }
    };
    match bytes.as_slice() {
        [0xEF, 0xBB, 0xBF, text @ ..] => String::from_utf8(text.to_vec()).ok(),
        [0xFF, 0xFE, text @ ..] => utf16(text, u16::from_le_bytes),
        [0xFE, 0xFF, text @ ..] => utf16(text, u16::from_be_bytes),
        _ => String::from_utf8(bytes).ok(),
    }
}

/// Reads a list, such as names of classes: the lines of a text file without the blanks at their ends, and without the
/// empty lines at the end of the file.
pub(crate) fn lines(path: &Path) -> Result<Vec<String>, Error> {
    let text = read_text(path)?;
    Ok(text.trim_end().lines().map(|line| line.trim_end().to_owned()).collect())
}

/// Creates a folder and those above it.
pub(crate) fn create_folder(path: &Path) -> Result<(), Error> {
    fs::create_dir_all(path).and_then(|()| sync_folder(&folder_of(path))).map_err(|e| Error::write(path, e))
}

/// Writes a file so that a crash, a kill or a full disk at any moment leaves either the old file or the new one:
/// under a temporary name in the same folder, synced, then renamed.
pub(crate) fn write_atomic(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> Result<(), Error> {
    replace(path, write).map_err(|e| Error::write(path, e))
}

fn replace(path: &Path, write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> io::Result<()> {
    let name = path.file_name().ok_or(ErrorKind::InvalidInput)?;
    if path.is_dir() {
        return Err(ErrorKind::IsADirectory.into());
    }
    let folder = folder_of(path);
    let prefix = format!(".{}.", name.to_string_lossy());
    let mut builder = Builder::new();
    builder.prefix(&prefix).suffix(TEMPORARY);
    // The crate's default is a private file; weights are as public as the user's umask says.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let (file, temporary) = builder.tempfile_in(&folder)?.into_parts();

    let mut writer = BufWriter::new(file);
    write(&mut writer)?;
    writer.flush()?;
    writer.get_ref().sync_all()?;
    drop(writer);
    temporary.persist(path).map_err(|e| e.error)?;
    sync_folder(&folder)
}

/// Locks a file for this process, and creates it if need be. The lock lasts until the handle is dropped or the process
/// ends. `None` if another process holds the lock. On file systems without locks everybody gets it.
pub(crate) fn lock(path: &Path) -> Result<Option<File>, Error> {
    let open = || File::options().create(true).truncate(false).write(true).open(path);
    let file = open().map_err(|e| Error::write(path, e))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(e)) if e.kind() == ErrorKind::Unsupported => Ok(Some(file)),
        Err(TryLockError::Error(e)) => Err(Error::write(path, e)),
    }
}

/// Names of a folder's files with an ending.
pub(crate) fn names(folder: &Path, ending: &str) -> Result<Vec<String>, Error> {
    let fail = |e| Error::read(folder, e);
    let entries = fs::read_dir(folder).map_err(fail)?.collect::<Result<Vec<_>, _>>().map_err(fail)?;
    let names = entries.into_iter().map(|entry| entry.file_name().to_string_lossy().into_owned());
    Ok(names.filter(|name| name.ends_with(ending) && !name.starts_with('.')).collect())
}

/// Deletes a file.
pub(crate) fn remove(path: &Path) -> Result<(), Error> {
    fs::remove_file(path).map_err(|e| Error::write(path, e))
}

/// Deletes the temporary files that killed writers left in a folder. The caller must be the only writer there.
pub(crate) fn remove_leftovers(folder: &Path) -> Result<(), Error> {
    let fail = |e| Error::write(folder, e);
    for entry in fs::read_dir(folder).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with('.') && name.ends_with(TEMPORARY) {
            fs::remove_file(entry.path()).map_err(fail)?;
        }
    }
    Ok(())
}

fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Makes renames and new names in a folder durable.
#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    match File::open(folder)?.sync_all() {
        // Some network file systems cannot sync a folder. The rename has happened nevertheless.
        Err(e) if matches!(e.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => Ok(()),
        result => result,
    }
}

/// Windows writes directory changes to its journal and has no call to wait for them.
#[cfg(not(unix))]
fn sync_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn writes_and_replaces() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        for text in ["first", "second, longer"] {
            write_atomic(&path, |w| w.write_all(text.as_bytes())).unwrap();
            assert_eq!(read_text(&path).unwrap(), text);
        }
        assert_eq!(names(folder.path()), ["a.txt"]);
    }

    #[test]
    fn lists_are_the_same_whichever_editor_saved_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        let utf16 = |text: &str, bytes: fn(u16) -> [u8; 2]| -> Vec<u8> {
            format!("\u{FEFF}{text}").encode_utf16().flat_map(bytes).collect()
        };
        for bytes in [
            "caf\u{e9}\n\ntwo words".into(),
            "caf\u{e9}\n\ntwo words\n".into(),
            "caf\u{e9} \n \ntwo words\t\n\n \n".into(),
            "\u{FEFF}caf\u{e9}\r\n\r\ntwo words\r\n".into(),
            utf16("caf\u{e9}\r\n\r\ntwo words\r\n\r\n", u16::to_le_bytes),
            utf16("caf\u{e9}\n\ntwo words", u16::to_be_bytes),
        ] {
            fs::write(&path, &bytes).unwrap();
            assert_eq!(lines(&path).unwrap(), ["caf\u{e9}", "", "two words"], "{bytes:?}");
        }
        for empty in ["", "\n", "\u{FEFF}"] {
            fs::write(&path, empty).unwrap();
            assert!(lines(&path).unwrap().is_empty(), "{empty:?}");
        }
        for bytes in [&b"caf\xe9"[..], &[0xFF, 0xFE, b'a'], &[0xFF, 0xFE, 0x00, 0xD8]] {
            fs::write(&path, bytes).unwrap();
            let error = lines(&path).unwrap_err().to_string();
            assert!(error.contains("a.txt") && error.contains("save it as UTF-8"), "{error}");
        }
    }

    #[test]
    fn the_old_file_survives_a_writer_that_fails_half_way() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        write_atomic(&path, |w| w.write_all(b"old")).unwrap();
        let error = write_atomic(&path, |w| {
            w.write_all(&[b'x'; 100_000])?;
            Err(ErrorKind::StorageFull.into())
        })
        .unwrap_err()
        .to_string();
        assert!(error.contains("a.txt") && error.contains("free some space"), "{error}");
        assert_eq!(read_text(&path).unwrap(), "old");
        assert_eq!(names(folder.path()), ["a.txt"], "no temporary file stays behind");
    }

    #[test]
    fn messages_say_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), "").unwrap();
        for (path, expected) in [
            ("missing/a.txt", "create its folder first"),
            ("file/a.txt", "create its folder first"),
            ("", "give the path of a file"),
            ("..", "give the path of a file"),
        ] {
            let error = write_atomic(&folder.path().join(path), |_| Ok(())).unwrap_err().to_string();
            assert!(error.contains(expected), "{path}: {error}");
        }
        for kind in [ErrorKind::PermissionDenied, ErrorKind::ReadOnlyFilesystem] {
            assert!(Error::write(Path::new("a"), kind.into()).to_string().contains("choose another --out"));
        }
        let error = read_text(folder.path()).unwrap_err().to_string();
        assert!(error.contains("not a regular file"), "{error}");
    }

    #[test]
    fn leftovers_go_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        for name in [".a.txt.x1Y2z3.partial", ".hidden", "b.partial", "a.txt"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        remove_leftovers(folder.path()).unwrap();
        assert_eq!(names(folder.path()), [".hidden", "a.txt", "b.partial"]);
    }

    #[cfg(unix)]
    #[test]
    fn files_are_as_readable_as_the_umask_says() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let (ours, plain) = (folder.path().join("ours"), folder.path().join("plain"));
        write_atomic(&ours, |_| Ok(())).unwrap();
        File::create(&plain).unwrap();
        let mode = |path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&ours), mode(&plain));
    }
}
