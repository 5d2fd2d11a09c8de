//! A file of the hub on its way into the cache.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::Error;
use super::cache::unwritable;
use super::server::{Remote, Server, in_words};

/// Bytes that are read at a time.
const CHUNK_BYTES: usize = 1 << 18;

/// Downloads a file to `blob`. Until it is complete it is called `blob.part`, as hf-hub does, and an existing part is
/// continued. One call at a time downloads; another waits for it.
pub(super) fn download(
    server: &Server,
    remote: &Remote,
    blob: &Path,
    progress: &dyn Fn(u64, u64),
) -> Result<(), Error> {
    let _lock = lock(&blob.with_extension("lock"))?;
    // Another call may have finished just now.
    if blob.exists() {
        return Ok(());
    }
    let part = blob.with_extension("part");
    complete(server, remote, &part, progress)?;
    if let Some(expected) = remote.sha256() {
        let found = sha256(&part).map_err(|e| unwritable(&part, e))?;
        if found != expected {
            fs::remove_file(&part).map_err(|e| unwritable(&part, e))?;
            return Err(Error::Checksum { url: remote.url.clone(), expected: expected.to_owned(), found });
        }
    }
    fs::rename(&part, blob).map_err(|e| unwritable(blob, e))
}

/// Downloads the missing rest of a file.
fn complete(server: &Server, remote: &Remote, part: &Path, progress: &dyn Fn(u64, u64)) -> Result<(), Error> {
    let failed = |e| unwritable(part, e);
    let mut file = File::options().create(true).append(true).open(part).map_err(failed)?;
    let (there, total) = (file.metadata().map_err(failed)?.len(), remote.bytes);
    progress(there, total);
    if there == total {
        return Ok(());
    }
    // A file that is too long is not a part of this one.
    let (mut done, mut body) = server.read(remote, if there < total { there } else { 0 })?;
    if done != there {
        file.set_len(done).map_err(failed)?;
    }
    let mut chunk = vec![0; CHUNK_BYTES];
    while done < total {
        let read =
            body.read(&mut chunk).and_then(|n| if n == 0 { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(n) });
        let read = read.map_err(|e| Error::Broken { url: remote.url.clone(), done, total, source: in_words(e) })?;
        // Bytes beyond the announced length are dropped; the checksum decides.
        let wanted = (read as u64).min(total - done);
        file.write_all(&chunk[..wanted as usize]).map_err(failed)?;
        done += wanted;
        progress(done, total);
    }
    file.sync_all().map_err(failed)
}

/// Waits until no other call, in this process or another, downloads the same file. The lock is held until it is dropped
/// or the process ends. On file systems without locks everybody gets it.
fn lock(path: &Path) -> Result<File, Error> {
    let file = File::options().create(true).truncate(false).write(true).open(path).map_err(|e| unwritable(path, e))?;
    let locked = match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => {
            log::warn!("{}: another download of the same file is under way; waiting until it ends", path.display());
            file.lock()
        }
        Err(TryLockError::Error(e)) => Err(e),
    };
    match locked {
        Err(e) if e.kind() != ErrorKind::Unsupported => Err(unwritable(path, e)),
        _ => Ok(file),
    }
}

/// A file's SHA-256, hexadecimal.
pub(crate) fn sha256(path: &Path) -> io::Result<String> {
    let (mut file, mut hasher, mut chunk) = (File::open(path)?, Sha256::new(), vec![0; CHUNK_BYTES]);
    loop {
        match file.read(&mut chunk)? {
            0 => break,
            n => hasher.update(&chunk[..n]),
        }
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
