//! Finds the pictures in a folder, and counts the other files.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::fs::DirEntry;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::Error;
use crate::words::listed;

/// Endings of files that count as pictures, in upper or lower case.
pub(super) const ENDINGS: [&str; 10] = ["bmp", "gif", "jfif", "jpe", "jpeg", "jpg", "png", "tif", "tiff", "webp"];

/// Files that file managers, archives and file systems leave in folders, besides hidden files. Compared
/// case-insensitively.
const JUNK: [&str; 10] = [
    "__macosx",                  // archives made on macOS
    "thumbs.db",                 // Windows
    "ehthumbs.db",               // Windows
    "desktop.ini",               // Windows
    "$recycle.bin",              // Windows
    "system volume information", // Windows
    "icon\r",                    // macOS
    "@eadir",                    // Synology
    "lost+found",                // ext4
    "__pycache__",               // Python
];

/// The pictures below a folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Their paths, sorted folder by folder.
    pub pictures: Vec<PathBuf>,
    /// The other files.
    pub passed_over: PassedOver,
}

/// Number of ignored files of each kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct PassedOver(BTreeMap<String, usize>);

impl PassedOver {
    /// Whether no file was ignored.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Counts `number` files of a kind.
    pub(super) fn add(&mut self, kind: &str, number: usize) {
        *self.0.entry(kind.to_owned()).or_default() += number;
    }

    /// Counts a file by its ending.
    pub(super) fn add_file(&mut self, path: &Path) {
        if !path.exists() {
            return self.add("links to nowhere", 1);
        }
        match path.extension() {
            Some(ending) => self.add(&format!(".{}", ending.to_string_lossy().to_lowercase()), 1),
            None => self.add("without an ending", 1),
        }
    }

    /// Adds another folder's ignored files.
    pub(super) fn extend(&mut self, other: &Self) {
        other.0.iter().for_each(|(kind, number)| self.add(kind, *number));
    }
}

/// `3 .txt, 1 .heic`, the most frequent first.
impl fmt::Display for PassedOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut kinds: Vec<_> = self.0.iter().collect();
        kinds.sort_by_key(|&(kind, number)| (std::cmp::Reverse(number), kind));
        let words: Vec<String> = kinds.into_iter().map(|(kind, number)| format!("{number} {kind}")).collect();
        f.write_str(&words.join(", "))
    }
}

/// The pictures in a folder and in all folders below it. Follows links. Hidden files and the leftovers of file managers
/// and archives are ignored.
///
/// # Errors
/// If a folder cannot be read.
pub fn pictures_in(folder: &Path) -> Result<Found, Error> {
    let mut found = Found::default();
    walk(folder, &mut Vec::new(), &mut found)?;
    Ok(found)
}

/// `above` holds the real paths of the parent folders; a link to one of them is not followed.
fn walk(folder: &Path, above: &mut Vec<PathBuf>, found: &mut Found) -> Result<(), Error> {
    let real = folder.canonicalize().map_err(Error::read(folder))?;
    if above.contains(&real) {
        return Ok(());
    }
    above.push(real);
    for Item { path, kind } in items(folder)? {
        match kind {
            Kind::Folder => walk(&path, above, found)?,
            Kind::Picture => found.pictures.push(path),
            Kind::Other => found.passed_over.add_file(&path),
        }
    }
    above.pop();
    Ok(())
}

/// Something in a folder.
pub(super) struct Item {
    pub(super) path: PathBuf,
    pub(super) kind: Kind,
}

/// What it is; for a link, what it leads to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Folder,
    /// A file with the ending of a picture.
    Picture,
    Other,
}

/// The items of a folder, sorted by name, without hidden files and junk. The directory entries say which are files, so
/// that millions of files need no call each.
pub(super) fn items(folder: &Path) -> Result<Vec<Item>, Error> {
    let item = |entry: std::io::Result<DirEntry>| -> std::io::Result<Item> {
        let entry = entry?;
        let (path, of_entry) = (entry.path(), entry.file_type()?);
        let target =
            if of_entry.is_symlink() { path.metadata().ok().map(|about| about.file_type()) } else { Some(of_entry) };
        let kind = match target {
            Some(kind) if kind.is_dir() => Kind::Folder,
            Some(kind) if kind.is_file() && path.extension().is_some_and(is_ending) => Kind::Picture,
            _ => Kind::Other,
        };
        Ok(Item { path, kind })
    };
    let entries = std::fs::read_dir(folder).map_err(Error::read(folder))?;
    let mut items = entries.map(item).collect::<Result<Vec<_>, _>>().map_err(Error::read(folder))?;
    items.retain(|item| !item.path.file_name().is_some_and(is_junk));
    items.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    Ok(items)
}

/// The paths of [`items`].
pub(super) fn visible(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    Ok(items(folder)?.into_iter().map(|item| item.path).collect())
}

/// The folders in a folder.
pub(super) fn folders(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let folders = items(folder)?.into_iter().filter(|item| item.kind == Kind::Folder);
    Ok(folders.map(|item| item.path).collect())
}

/// Whether a name is that of a hidden file or junk.
pub(super) fn is_junk(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".") || JUNK.iter().any(|junk| name.eq_ignore_ascii_case(junk))
}

/// Whether files with this ending are pictures.
pub(super) fn is_ending(ending: &OsStr) -> bool {
    ENDINGS.iter().any(|known| ending.eq_ignore_ascii_case(known))
}

/// The path of a file within a folder, with slashes on every system.
#[cfg(feature = "train")]
pub(super) fn name_within(folder: &Path, file: &Path) -> String {
    let parts = file.strip_prefix(folder).unwrap_or(file).iter().map(|part| part.to_string_lossy());
    parts.collect::<Vec<_>>().join("/")
}

/// The content of a folder in words, for a message: `there are cat, dog and 3 more`.
pub(super) fn contents(folder: &Path) -> String {
    const MOST: usize = 8;
    let Ok(paths) = visible(folder) else { return "it cannot be read".to_owned() };
    let names: Vec<_> = paths.iter().filter_map(|path| Some(path.file_name()?.display())).collect();
    match names.as_slice() {
        [] => "it is empty".to_owned(),
        [name] => format!("there is only {name}"),
        names => format!("there are {}", listed(names.iter(), MOST)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn tree(places: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for place in places {
            let path = folder.path().join(place);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        folder
    }

    #[test]
    fn pictures_are_found_at_any_depth_and_the_rest_is_counted_by_kind() {
        let folder = tree(&[
            "b.JPG",
            "a/deep/er/x.tiff",
            "a/y.jfif",
            "c.gif",
            "notes.txt",
            "a/more.TXT",
            "z.heic",
            "LICENSE",
            // Junk is not counted.
            ".hidden.png",
            "__MACOSX/._b.jpg",
            "a/Thumbs.db",
            "a/desktop.ini",
            ".git/a.png",
            "@eaDir/b.jpg",
        ]);
        let found = pictures_in(folder.path()).unwrap();
        let names = ["a/deep/er/x.tiff", "a/y.jfif", "b.JPG", "c.gif"].map(|name| folder.path().join(name));
        assert_eq!(found.pictures, names);
        assert_eq!(found.passed_over.to_string(), "2 .txt, 1 .heic, 1 without an ending");
        assert!(pictures_in(&folder.path().join("a/deep")).unwrap().passed_over.is_empty());
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_and_do_not_go_round_in_circles() {
        use std::os::unix::fs::symlink;
        let (folder, store) = (tree(&["a/1.png"]), tree(&["2.png"]));
        let at = |name: &str| folder.path().join(name);
        symlink(store.path(), at("linked")).unwrap();
        symlink(folder.path(), at("a/up")).unwrap();
        symlink(store.path().join("2.png"), at("a/3.png")).unwrap();
        symlink("/nowhere/4.png", at("a/4.png")).unwrap();
        let found = pictures_in(folder.path()).unwrap();
        assert_eq!(found.pictures, ["a/1.png", "a/3.png", "linked/2.png"].map(at));
        assert_eq!(found.passed_over.to_string(), "1 links to nowhere");
    }

    #[test]
    fn a_message_names_what_is_there() {
        assert_eq!(contents(tree(&[]).path()), "it is empty");
        assert_eq!(contents(tree(&["x/1"]).path()), "there is only x");
        assert_eq!(contents(tree(&["x/1", "y", ".z"]).path()), "there are x, y");
        let many: Vec<String> = (0..20).map(|n| format!("n{n:02}")).collect();
        let many = contents(tree(&many.iter().map(String::as_str).collect::<Vec<_>>()).path());
        assert_eq!(many, "there are n00, n01, n02, n03, n04, n05, n06, n07 and 12 more");
    }
}
