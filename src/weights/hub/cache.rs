//! The cache of the hub's clients: `blobs` hold files by their checksums, `snapshots` a folder of links to them for
//! each commit, `refs` the commit that each branch was last seen at.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
#[cfg(unix)]
use std::os::unix::fs::symlink;
#[cfg(windows)]
use std::os::windows::fs::symlink_file as symlink;
use std::path::{Path, PathBuf};

use hf_hub::{CacheRepo, Repo, RepoType};
use tempfile::NamedTempFile;

use super::download::download;
use super::server::{Remote, Server};
use super::{Error, Repository, WEIGHTS, environment};

/// What the cache holds of one repository.
pub(super) struct Cache {
    /// Folder of the repository in the cache.
    pub(super) folder: PathBuf,
    /// Where the contents of the repository's files lie.
    blobs: PathBuf,
    /// Where the commits of its branches are noted.
    refs: PathBuf,
    layout: CacheRepo,
}

impl Cache {
    pub(super) fn new(repository: &Repository<'_>, folder: Option<&Path>) -> Result<Self, Error> {
        let folder = folder.map(Path::to_owned).or_else(environment::cache).ok_or(Error::NoFolder)?;
        let repo = Repo::with_revision(repository.name.to_owned(), RepoType::Model, repository.revision.to_owned());
        let of_repository = folder.join(repo.folder_name());
        let (blobs, refs) = (of_repository.join("blobs"), of_repository.join("refs"));
        let layout = hf_hub::Cache::new(folder.clone()).repo(repo);
        Ok(Self { folder, blobs, refs, layout })
    }

    /// Folder of a commit's files.
    pub(super) fn folder_of(&self, commit: &str) -> PathBuf {
        self.layout.pointer_path(commit)
    }

    /// Where a commit's file is if it is cached.
    pub(super) fn path(&self, commit: &str, file: &str) -> PathBuf {
        self.folder_of(commit).join(file)
    }

    /// The folder of the revision as last seen, if it holds the weights.
    pub(super) fn snapshot(&self, repository: &Repository<'_>) -> Option<PathBuf> {
        // Commits stand for themselves.
        let own = repository.is_commit().then(|| self.path(repository.revision, WEIGHTS)).filter(|path| path.exists());
        own.or_else(|| self.layout.get(WEIGHTS))?.parent().map(Path::to_owned)
    }

    /// Notes the revision's commit, unless it is noted already. A failure to write is ignored, since the weights are
    /// there nevertheless.
    pub(super) fn remember(&self, repository: &Repository<'_>, commit: &str) {
        let noted = fs::read_to_string(self.refs.join(repository.revision)).is_ok_and(|noted| noted.trim() == commit);
        if !noted
            && !repository.is_commit()
            && let Err(e) = self.layout.create_ref(commit)
        {
            log::warn!("{}: while offline, {repository} is not known", unwritable(&self.refs, e));
        }
    }

    /// Adds a commit's file: downloads it unless another commit has the same content.
    pub(super) fn add(
        &self,
        server: &Server,
        remote: &Remote,
        file: &str,
        progress: &dyn Fn(u64, u64),
    ) -> Result<(), Error> {
        let blob = self.blobs.join(&remote.etag);
        if !blob.exists() {
            fs::create_dir_all(&self.blobs).map_err(|e| unwritable(&self.blobs, e))?;
            download(server, remote, &blob, progress)?;
        }
        let (folder, link) = (self.folder_of(&remote.commit), self.path(&remote.commit, file));
        fs::create_dir_all(&folder).map_err(|e| unwritable(&folder, e))?;
        // Relative, so that the cache may be moved. Windows allows links only in developer mode; otherwise the file is
        // copied.
        let linked = symlink(Path::new("../../blobs").join(&remote.etag), &link);
        match linked.or_else(|e| if cfg!(windows) { copy(&blob, &folder, &link) } else { Err(e) }) {
            Err(e) if e.kind() != ErrorKind::AlreadyExists => Err(unwritable(&link, e)),
            _ => Ok(()),
        }
    }
}

/// Copies a file into a folder. It gets its name once it is complete. Fails if a file of that name exists.
fn copy(from: &Path, folder: &Path, to: &Path) -> io::Result<()> {
    let mut temporary = NamedTempFile::new_in(folder)?;
    io::copy(&mut File::open(from)?, &mut temporary)?;
    temporary.as_file().sync_all()?;
    temporary.persist_noclobber(to)?;
    Ok(())
}

/// The error of a write to the cache.
pub(super) fn unwritable(path: &Path, source: io::Error) -> Error {
    Error::Cache { path: path.to_owned(), source }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Only Windows needs copies.
    #[test]
    fn copies_are_there_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("blob"), "content").unwrap();
        copy(&at("blob"), folder.path(), &at("copy")).unwrap();
        let again = copy(&at("blob"), folder.path(), &at("copy")).unwrap_err();
        assert_eq!(again.kind(), ErrorKind::AlreadyExists);
        // A folder can be opened but not read, so the copy fails midway.
        copy(folder.path(), folder.path(), &at("half")).unwrap_err();
        assert_eq!(fs::read_to_string(at("copy")).unwrap(), "content");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing else is left");
    }
}
