//! A run's pictures: where they are, whether they are those that the run began with, and which of them cannot be read.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use super::broken::BrokenPictures;
use super::{Checkpoint, Error, Observer, Recipe, Run, checkpoint};
use crate::data::{Changes, ClassMatch, Dataset, Source, Split, as_before, find_broken, match_classes};
use crate::files;

/// Opens a run's data, and says what is worth knowing of it. A run that goes on gets the pictures that it began with, with the numbers that
/// their classes had.
///
/// # Errors
/// Data that cannot be opened, or that is not what the run began with.
pub(super) fn open(
    run: &Run,
    checkpoint: Option<&Checkpoint>,
    observer: &dyn Observer,
) -> Result<Dataset, crate::Error> {
    let mut dataset = Dataset::open(&locate(&run.data, run.data_from.as_deref(), &run.folder)?)?;
    let (train, val, classes) = (dataset.train.len(), dataset.val.len(), dataset.classes.len());
    observer.note(&format!("{train} training and {val} validation pictures in {classes} classes"));
    if !dataset.passed_over.is_empty() {
        observer.note(&format!("passed over in its folders: {}", dataset.passed_over));
    }
    if let Some(checkpoint) = checkpoint {
        dataset = with_classes_of(run, checkpoint, dataset)?;
        let names = read_names(&run.folder)?;
        let count = names.as_ref().map(Vec::len).or(checkpoint.pictures).unwrap_or(train);
        let (source, changes) = as_before(dataset.train.clone(), names.as_deref(), count);
        tell(&changes, count, run, observer)?;
        dataset.train = source;
    }
    Ok(dataset)
}

/// The data with the numbers that its classes had when the run began.
fn with_classes_of(run: &Run, checkpoint: &Checkpoint, dataset: Dataset) -> Result<Dataset, Error> {
    let data = run.data.clone();
    let (then, now) = (checkpoint.classes, dataset.classes.len());
    if then != now {
        return Err(Error::OtherData { data, then, now });
    }
    let names = &checkpoint.class_names;
    match match_classes(names, then, &dataset.classes) {
        ClassMatch::Same => Ok(dataset),
        ClassMatch::ByName(labels) => Ok(dataset.relabelled(&labels, names.clone())),
        ClassMatch::Different(_) => {
            let (was, is) = names.iter().zip(&dataset.classes).find(|(was, is)| was != is).unzip();
            let name = |name: Option<&String>| name.cloned().unwrap_or_default();
            let change = format!("class {} was there when the run began, and class {} was not", name(was), name(is));
            Err(Error::OtherClasses { data, change })
        }
    }
}

/// Says what has become of the pictures that a run began with. Too many that are gone are other data.
fn tell(changes: &Changes, count: usize, run: &Run, observer: &dyn Observer) -> Result<(), Error> {
    let Changes { gone, new } = changes;
    if 2 * gone.len() > count {
        let (gone, data) = (gone.len(), run.data.clone());
        return Err(Error::OtherPictures { data, gone, count });
    }
    if !gone.is_empty() {
        observer.notice(&format!(
            "{} of the {count} training pictures that the run began with are gone ({}): others take their places",
            gone.len(),
            listed(gone.iter().map(String::as_str))
        ));
    }
    if *new > 0 {
        observer.notice(&format!("{new} training pictures are new: this run goes on without them"));
    }
    Ok(())
}

/// The first few of a list.
pub(super) fn listed<'a>(items: impl ExactSizeIterator<Item = &'a str>) -> String {
    const MOST: usize = 10;
    let more = items.len().saturating_sub(MOST);
    let first: Vec<&str> = items.take(MOST).collect();
    if more > 0 { format!("{} and {more} more", first.join(", ")) } else { first.join(", ") }
}

/// Reads every picture once before a run's first step, and refuses the run if too many are broken. `None` if somebody stopped it.
///
/// # Errors
/// More broken pictures in a split than the recipe allows.
pub(super) fn check(
    dataset: &Dataset,
    recipe: &Recipe,
    observer: &dyn Observer,
    stop: &AtomicBool,
) -> Result<BrokenPictures, Error> {
    let mut found = BrokenPictures::default();
    let at_most = recipe.broken_at_most;
    for split in [Split::Train, Split::Val] {
        let source = dataset.split(split);
        if !source.are_files() || at_most >= 1.0 {
            continue;
        }
        let progress = |done| {
            observer.checking(done, source.len());
            !stop.load(Ordering::Relaxed)
        };
        let Some(broken) = find_broken(&**source, &progress) else { return Ok(found) };
        if broken.len() as f64 > at_most * source.len() as f64 {
            let list = broken.iter().map(|b| format!("\n  {}/{}: {}", split.name(), b.picture, b.problem)).collect();
            return Err(Error::Broken {
                split: split.name(),
                broken: broken.len(),
                pictures: source.len(),
                at_most,
                list,
            });
        }
        for picture in &broken {
            found.add(split, picture, observer);
        }
    }
    Ok(found)
}

/// A file with the names of the training pictures that a run began with, a line each as JSON.
fn names_file(run: &Path) -> PathBuf {
    checkpoint::folder(run).join("pictures.jsonl")
}

/// Writes down the names of the pictures that a run begins with, where they have names.
pub(super) fn write_names(run: &Path, source: &dyn Source) -> Result<(), Error> {
    let Some(names) = source.names() else { return Ok(()) };
    let lines: String = names.iter().map(|name| serde_json::Value::from(name.as_str()).to_string() + "\n").collect();
    Ok(files::write_atomic(&names_file(run), |file| std::io::Write::write_all(file, lines.as_bytes()))?)
}

fn read_names(run: &Path) -> Result<Option<Vec<String>>, Error> {
    let path = names_file(run);
    if !path.exists() {
        return Ok(None);
    }
    let parse = |line: &str| serde_json::from_str(line);
    let names: Result<Vec<String>, _> = files::read_text(&path)?.lines().map(parse).collect();
    names.map(Some).map_err(|e| Error::Findings { path, problem: e.to_string() })
}

/// Where data is that a run was given as `data`, from the working folder `from` if that is known: there, or beside the run's folder, or below
/// the working folder of now.
fn locate(data: &str, from: Option<&Path>, run: &Path) -> Result<String, Error> {
    let Some((kind, directory)) = data.split_once(':') else { return Ok(data.to_owned()) };
    let path = Path::new(directory);
    if path.is_absolute() || path.starts_with("~") || from.is_some_and(is_working_folder) {
        return Ok(data.to_owned());
    }
    let beside = run.canonicalize().ok().and_then(|run| Some(run.parent()?.to_owned()));
    let places = from.into_iter().chain(beside.as_deref()).map(|place| place.join(path));
    if let Some(place) = places.into_iter().find(|place| place.is_dir()) {
        return Ok(format!("{kind}:{}", place.display()));
    }
    match (path.is_dir(), from) {
        (false, Some(from)) => Err(Error::DataMoved { data: data.to_owned(), meant: from.join(path) }),
        _ => Ok(data.to_owned()),
    }
}

fn is_working_folder(folder: &Path) -> bool {
    std::env::current_dir().is_ok_and(|now| now == folder)
}

/// What a batch size leaves out of each epoch, in words; nothing if that is nothing.
pub(super) fn left_out(pictures: usize, recipe: &Recipe) -> Option<String> {
    let batch = recipe.batch as usize;
    let rest = pictures % batch;
    if rest == 0 {
        return None;
    }
    let parts = recipe.accumulate as usize;
    // The batch nearby that leaves out the fewest, the nearest of those.
    let nearby = (batch / 2..=batch + batch / 2).filter(|&n| n > 0 && n <= pictures && n.is_multiple_of(parts));
    let best = nearby.min_by_key(|&n| (pictures % n, n.abs_diff(batch))).filter(|&n| pictures % n < rest);
    let advice = best.map_or(String::new(), |n| match pictures % n {
        0 => format!("; --batch {n} leaves out none"),
        fewer => format!("; --batch {n} leaves out {fewer}"),
    });
    let which = if recipe.shuffle { "others each time" } else { "always the same ones, since --shuffle is false" };
    Some(format!("{rest} of {pictures} pictures are left out of each epoch at --batch {batch}, {which}{advice}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_a_batch_leaves_out_is_told_with_a_better_one() {
        let recipe = |batch, shuffle| Recipe { batch, shuffle, ..Recipe::default() };
        assert_eq!(left_out(128, &recipe(64, true)), None);
        let told = left_out(100, &recipe(64, false)).unwrap();
        assert_eq!(
            told,
            "36 of 100 pictures are left out of each epoch at --batch 64, always the same ones, since --shuffle is false; \
             --batch 50 leaves out none"
        );
        let told = left_out(101, &recipe(64, true)).unwrap();
        assert!(told.ends_with("at --batch 64, others each time; --batch 50 leaves out 1"), "{told}");
        let told = left_out(100, &Recipe { accumulate: 8, ..recipe(64, true) }).unwrap();
        assert!(told.ends_with("--batch 48 leaves out 4"), "{told}");
    }

    #[test]
    fn a_relative_path_is_found_from_where_the_run_began_or_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().canonicalize().unwrap().join(name);
        for name in ["began/pets", "elsewhere/run", "elsewhere/pets"] {
            std::fs::create_dir_all(at(name)).unwrap();
        }
        let locate = |data: &str, from: &str| locate(data, Some(&at(from)), &at("elsewhere/run"));
        assert_eq!(locate("folder:pets", "began").unwrap(), format!("folder:{}", at("began/pets").display()));
        assert_eq!(locate("folder:pets", "gone").unwrap(), format!("folder:{}", at("elsewhere/pets").display()));
        for unchanged in ["shapes", "folder:/data/pets", "folder:~/pets"] {
            assert_eq!(locate(unchanged, "gone").unwrap(), unchanged);
        }
        let lost = locate("folder:birds", "began").unwrap_err().to_string();
        assert!(lost.contains(&at("began/birds").display().to_string()), "{lost}");
    }
}
