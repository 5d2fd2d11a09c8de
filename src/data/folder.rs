//! `folder:DIR`: `DIR/train/CLASS/...` and `DIR/val/CLASS/...`, pictures at any depth below their class, decoded when
//! asked for.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use unicode_normalization::UnicodeNormalization;

use super::split::{Split, Wanted, holds_folders};
use super::walk::{ENDINGS, Found, Item, Kind, PassedOver, contents, folders, items, name_within, pictures_in};
use super::{Dataset, Error, IMAGENET_MEAN_STD, Sample, Source, Truth, classes, decode};

/// Opens a folder of folders. The classes are the folders of the training split, or of the validation split if there is
/// no training split; the validation split may lack some classes. For validation alone, the folder may also hold the
/// classes directly, and training pictures are not read.
pub(super) fn open(directory: &Path, wanted: Wanted) -> Result<Dataset, Error> {
    let (train, val) = splits(directory, wanted)?;
    let mut names = train.as_ref().map_or_else(|| val.names(), Folders::names);
    if wanted != Wanted::Training {
        names.extend(val.names());
    }
    classes::sort(&mut names);
    names.dedup();
    let train = train.unwrap_or_default();
    match wanted {
        Wanted::Training => {
            train.check_training()?;
            val.check_validation(&names)?;
        }
        Wanted::Validation => val.check_validation(&names)?,
        Wanted::Everything => {}
    }
    let mut passed_over = beside(directory, &[&train.split, &val.split])?;
    passed_over.extend(&train.passed_over);
    passed_over.extend(&val.passed_over);
    let split_names = [(&train, Split::Train), (&val, Split::Val)].map(|(folders, split)| folders.name(split));
    let (mean, std) = IMAGENET_MEAN_STD;
    Ok(Dataset {
        train: Arc::new(train.list(&names)),
        val: Arc::new(val.list(&names)),
        classes: names,
        mean,
        std,
        native_res: None,
        mirrored: true,
        passed_over,
        split_names,
    })
}

/// The folders of the training split, if there is one, and of the validation split.
fn splits(directory: &Path, wanted: Wanted) -> Result<(Option<Folders>, Folders), Error> {
    let (train, val) = (Split::Train.folder(directory)?, Split::Val.folder(directory)?);
    let in_splits = |split: &Option<PathBuf>| split.as_deref().map_or(Ok(false), holds_folders);
    if wanted != Wanted::Training && !in_splits(&train)? && !in_splits(&val)? {
        // The folder holds the classes directly; one of them may be called train.
        let classes = Folders::of(directory)?;
        if classes.has_pictures() {
            return Ok((None, classes));
        }
    }
    match (train, val, wanted) {
        (Some(train), Some(val), Wanted::Validation) => Ok((Some(Folders::named(&train)?), Folders::of(&val)?)),
        (Some(train), Some(val), _) => Ok((Some(Folders::of(&train)?), Folders::of(&val)?)),
        (Some(train), None, Wanted::Everything) => Ok((Some(Folders::of(&train)?), Folders::default())),
        (None, Some(val), Wanted::Validation | Wanted::Everything) => Ok((None, Folders::of(&val)?)),
        (None, _, Wanted::Training) => Err(missing_split(directory, Split::Train)),
        (_, None, _) => Err(missing_split(directory, Split::Val)),
    }
}

/// Files and folders beside the splits, such as a third split.
fn beside(directory: &Path, splits: &[&Path]) -> Result<PassedOver, Error> {
    let mut passed_over = PassedOver::default();
    if splits.contains(&directory) {
        return Ok(passed_over);
    }
    for Item { path, kind } in items(directory)?.iter().filter(|item| !splits.contains(&item.path.as_path())) {
        match kind {
            Kind::Folder => passed_over.add(&format!("folder {}", path.file_name().unwrap_or_default().display()), 1),
            _ => passed_over.add_file(path),
        }
    }
    Ok(passed_over)
}

fn missing_split(directory: &Path, split: Split) -> Error {
    let names = split.names().join(", ");
    let problem = format!(
        "no folder for the {} pictures here ({names}): {}. Put pictures in train/CLASS/ and val/CLASS/",
        if split == Split::Train { "training" } else { "validation" },
        contents(directory)
    );
    Error::invalid(directory, problem)
}

/// The folders of a split, one per class.
#[derive(Default)]
struct Folders {
    split: PathBuf,
    /// By the class's name.
    classes: BTreeMap<String, Found>,
    /// Files outside of them.
    passed_over: PassedOver,
}

impl Folders {
    fn of(split: &Path) -> Result<Self, Error> {
        let mut folders = Self { split: split.to_owned(), ..Self::default() };
        for Item { path, kind } in items(split)? {
            match kind {
                Kind::Folder => {
                    let found = pictures_in(&path)?;
                    folders.passed_over.extend(&found.passed_over);
                    folders.add(&path, found)?;
                }
                Kind::Picture => folders.passed_over.add("pictures outside of the folders of classes", 1),
                Kind::Other => folders.passed_over.add_file(&path),
            }
        }
        Ok(folders)
    }

    /// The classes' names, without their pictures.
    fn named(split: &Path) -> Result<Self, Error> {
        let mut named = Self { split: split.to_owned(), ..Self::default() };
        folders(split)?.iter().try_for_each(|path| named.add(path, Found::default()))?;
        Ok(named)
    }

    /// Adds a class. Its name is the folder's name in composed Unicode, since macOS decomposes accented letters.
    fn add(&mut self, path: &Path, found: Found) -> Result<(), Error> {
        let name: String = path.file_name().unwrap_or_default().to_string_lossy().nfc().collect();
        let problem = format!(
            "another folder here is called {name} as well, once its name is read as Unicode: rename one of them"
        );
        match self.classes.insert(name, found) {
            Some(_) => Err(Error::invalid(path, problem)),
            None => Ok(()),
        }
    }

    /// The data's own name of the split.
    fn name(&self, split: Split) -> String {
        self.split.file_name().map_or_else(|| split.name().to_owned(), |name| name.to_string_lossy().into_owned())
    }

    fn has_pictures(&self) -> bool {
        self.classes.values().any(|found| !found.pictures.is_empty())
    }

    fn names(&self) -> Vec<String> {
        self.classes.keys().cloned().collect()
    }

    /// Fails unless there are at least two classes, each with pictures.
    fn check_training(&self) -> Result<(), Error> {
        if self.classes.len() < 2 {
            let problem = format!(
                "fewer than 2 folders of classes here: {}. Put pictures in train/CLASS/",
                contents(&self.split)
            );
            return Err(Error::invalid(&self.split, problem));
        }
        let Some((name, found)) = self.classes.iter().find(|(_, found)| found.pictures.is_empty()) else {
            return Ok(());
        };
        let passed_over = match found.passed_over.is_empty() {
            true => String::new(),
            false => format!(", only {}", found.passed_over),
        };
        let problem = format!("no pictures here ({}){passed_over}: add some, or remove the folder", ENDINGS.join(", "));
        Err(Error::invalid(self.split.join(name), problem))
    }

    /// Fails unless there are pictures, all of these classes.
    fn check_validation(&self, names: &[String]) -> Result<(), Error> {
        if !self.has_pictures() {
            let problem = format!("no pictures in folders of classes here: {}", contents(&self.split));
            return Err(Error::invalid(&self.split, problem));
        }
        if let Some(unknown) =
            self.classes.keys().find(|name| names.binary_search(name).is_err() && !names.contains(name))
        {
            let problem = "is no class of the training pictures: add a folder of this name to train, or remove it here";
            return Err(Error::invalid(self.split.join(unknown), problem));
        }
        Ok(())
    }

    /// The pictures in order of class and path.
    fn list(mut self, names: &[String]) -> Folder {
        let of_class = |(label, name): (u32, &String)| {
            let pictures = self.classes.remove(name).unwrap_or_default().pictures;
            pictures.into_iter().map(move |path| (path, label))
        };
        let files = (0..).zip(names).flat_map(of_class).collect();
        Folder { split: self.split, files }
    }
}

/// One split: paths and classes.
struct Folder {
    split: PathBuf,
    files: Vec<(PathBuf, u32)>,
}

impl Source for Folder {
    fn len(&self) -> usize {
        self.files.len()
    }

    fn sample(&self, index: usize) -> Result<Sample, Error> {
        let (path, label) = &self.files[index];
        Ok(Sample { image: decode(path)?, truth: Truth::Class(*label) })
    }

    fn label(&self, index: usize) -> Option<u32> {
        Some(self.files[index].1)
    }

    fn name(&self, index: usize) -> String {
        name_within(&self.split, &self.files[index].0)
    }

    fn names(&self) -> Option<Vec<String>> {
        Some((0..self.len()).map(|index| self.name(index)).collect())
    }

    fn are_files(&self) -> bool {
        true
    }

    fn bytes(&self, index: usize) -> Option<Result<Vec<u8>, Error>> {
        Some(super::decode::read(&self.files[index].0))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use image::{ImageFormat, Rgb, RgbImage};

    use super::*;

    /// Writes small pictures to these paths.
    fn tree(places: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (number, place) in places.iter().enumerate() {
            let path = folder.path().join(place);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            let picture = RgbImage::from_pixel(3, 2, Rgb([number as u8, 0, 0]));
            picture.save_with_format(path, ImageFormat::Png).unwrap();
        }
        folder
    }

    fn message(folder: &tempfile::TempDir) -> String {
        open(folder.path(), Wanted::Training).unwrap_err().to_string()
    }

    #[test]
    fn classes_and_pictures_are_sorted_and_other_files_ignored() {
        let folder = tree(&["train/dog/b.PNG", "train/dog/a.jpg", "train/cat/z.webp", "val/dog/only.Jpeg"]);
        for ignored in ["train/dog/.hidden.png", "train/dog/notes.txt", "train/.git/a.png", "train/readme.png"] {
            let path = folder.path().join(ignored);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "no picture").unwrap();
        }
        let data = open(folder.path(), Wanted::Training).unwrap();
        assert_eq!(data.classes, ["cat", "dog"]);
        let samples: Vec<Sample> = (0..data.train.len()).map(|i| data.train.sample(i).unwrap()).collect();
        let seen: Vec<(u8, u32)> =
            samples.iter().map(|s| (s.image.get_pixel(0, 0)[0], s.truth.class().unwrap())).collect();
        assert_eq!(seen, [(2, 0), (1, 1), (0, 1)]);
        assert_eq!((data.val.len(), data.val.sample(0).unwrap().truth.class().unwrap(), data.native_res), (1, 1, None));
        let passed_over = "1 .txt, 1 pictures outside of the folders of classes";
        assert_eq!(data.passed_over.to_string(), passed_over);
    }

    #[test]
    fn classes_are_walked_all_the_way_down() {
        let folder =
            tree(&["train/b/images/b_1.JPEG", "train/b/0.png", "train/a/x/y/1.tif", "val/a/images/val_1.JPEG"]);
        let data = open(folder.path(), Wanted::Training).unwrap();
        assert_eq!(data.train.names().unwrap(), ["a/x/y/1.tif", "b/0.png", "b/images/b_1.JPEG"]);
        assert_eq!((0..3).map(|i| data.train.label(i).unwrap()).collect::<Vec<_>>(), [0, 1, 1]);
        assert_eq!(data.val.name(0), "a/images/val_1.JPEG");
    }

    #[test]
    fn splits_have_the_names_that_others_give_them() {
        for (train, val) in [("train", "valid"), ("Train", "validation"), ("training", "test"), ("TRAIN", "Testing")] {
            let [a, b, c] = [format!("{train}/a/1.png"), format!("{train}/b/1.png"), format!("{val}/a/1.png")];
            let data = open(tree(&[&a, &b, &c, "__MACOSX/train/c/1.png"]).path(), Wanted::Training).unwrap();
            assert_eq!((data.train.len(), data.val.len()), (2, 1), "{train}, {val}");
        }
        // Roboflow has all three.
        let folder = tree(&["train/a/1.png", "train/b/1.png", "test/a/2.png", "valid/b/3.png"]);
        let data = open(folder.path(), Wanted::Training).unwrap();
        assert_eq!((&*data.val.name(0), &*data.passed_over.to_string()), ("b/3.png", "1 folder test"));
        assert_eq!(data.split_names, ["train", "valid"]);
    }

    #[test]
    fn validation_needs_its_own_pictures_alone() {
        for places in [&["val/b/1.png", "val/a/2.png"][..], &["test/b/1.png", "test/a/2.png"], &["b/1.png", "a/2.png"]]
        {
            let folder = tree(places);
            let data = open(folder.path(), Wanted::Validation).unwrap();
            assert_eq!((data.train.len(), data.val.len(), data.classes), (0, 2, vec!["a".into(), "b".into()]));
            assert!(message(&folder).contains("no folder for the training pictures here (train, training)"));
        }
        // The classes are still those of the training pictures, if there are any.
        let folder = tree(&["train/a/1.png", "train/b/1.png", "val/b/1.png"]);
        assert_eq!(open(folder.path(), Wanted::Validation).unwrap().classes, ["a", "b"]);
    }

    /// Latin-1 names from old archives may decode to the same text, which would merge two classes.
    #[cfg(unix)]
    #[test]
    fn two_folders_are_two_classes_or_refused() {
        use std::os::unix::ffi::OsStrExt;
        let folder = tree(&["train/a/1.png", "val/a/1.png"]);
        let class = |name: &[u8]| folder.path().join("train").join(std::ffi::OsStr::from_bytes(name));
        std::fs::create_dir(class(b"caf\xe9")).unwrap();
        std::fs::copy(folder.path().join("train/a/1.png"), class(b"caf\xe9").join("1.png")).unwrap();
        assert_eq!(open(folder.path(), Wanted::Training).unwrap().classes.len(), 2);
        std::fs::create_dir(class(b"caf\xe8")).unwrap();
        assert!(message(&folder).contains("rename one of them"), "{}", message(&folder));
    }

    #[test]
    fn names_are_the_same_however_their_accents_are_stored() {
        let folder = tree(&["train/caf\u{e9}/1.png", "train/b/1.png", "val/cafe\u{301}/1.png"]);
        let data = open(folder.path(), Wanted::Training).unwrap();
        assert_eq!((data.classes, data.val.label(0)), (vec!["b".into(), "caf\u{e9}".into()], Some(1)));
    }

    #[test]
    fn a_class_may_be_called_train() {
        let folder = tree(&["bus/1.png", "car/1.png", "train/1.png"]);
        assert_eq!(open(folder.path(), Wanted::Validation).unwrap().classes, ["bus", "car", "train"]);
    }

    #[test]
    fn numbers_are_sorted_as_numbers() {
        let places: Vec<String> =
            (0..12).flat_map(|n| [format!("train/{n}/1.png"), format!("val/{n}/1.png")]).collect();
        let folder = tree(&places.iter().map(String::as_str).collect::<Vec<_>>());
        let classes: Vec<String> = (0..12).map(|n| n.to_string()).collect();
        assert_eq!(open(folder.path(), Wanted::Training).unwrap().classes, classes);
    }

    #[test]
    fn everything_is_there_for_inspection() {
        let folder = tree(&["train/a/1.png", "train/b/1.png", "val/b/1.png", "val/c/1.png"]);
        let data = open(folder.path(), Wanted::Everything).unwrap();
        assert_eq!((data.train.len(), data.val.len(), data.classes.len()), (2, 2, 3));
        let folder = tree(&["train/a/1.png"]);
        assert_eq!(open(folder.path(), Wanted::Everything).unwrap().classes, ["a"]);
    }

    #[test]
    fn incomplete_folders_are_named_with_the_way_out() {
        let cases: [(&[&str], &str); 5] = [
            (&["val/a/1.png"], "no folder for the training pictures here (train, training): there is only val"),
            (&["train/a/1.png", "val/a/1.png"], "train: fewer than 2 folders of classes here: there is only a"),
            (&["train/a/1.png", "train/b/1.png", "vals/a/1.png"], "evaluation): there are train, vals."),
            (
                &["train/a/1.png", "train/b/1.png", "val/1.png"],
                "val: no pictures in folders of classes here: there is only 1.png",
            ),
            (&["train/a/1.png", "train/b/1.png", "val/c/1.png"], "val/c: is no class of the training pictures"),
        ];
        for (places, expected) in cases {
            let message = message(&tree(places));
            assert!(message.contains(expected), "{message}");
        }
        let folder = tree(&["train/a/1.png", "train/b/1.png", "val/a/1.png"]);
        std::fs::rename(folder.path().join("train/b/1.png"), folder.path().join("train/b/1.heic")).unwrap();
        let message = message(&folder);
        assert!(
            message.contains("train/b: no pictures here (bmp, gif, ") && message.contains("only 1 .heic"),
            "{message}"
        );
    }

    #[test]
    fn a_file_that_is_no_picture_is_named_when_asked_for() {
        let folder = tree(&["train/a/1.png", "train/b/1.png", "val/a/1.png"]);
        let path = folder.path().join("train/b/1.png");
        std::fs::write(&path, "no picture").unwrap();
        let error = open(folder.path(), Wanted::Training).unwrap().train.sample(1).err().unwrap();
        assert!(matches!(&error, Error::Picture { path: p, .. } if *p == path), "{error}");
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(decode(&path), Err(Error::Read { .. })));
    }
}
