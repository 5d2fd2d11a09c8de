//! A run's pictures: their location, whether they are those that the run began with, and which of them cannot be read.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::broken::BrokenPictures;
use super::task::Task;
use super::{Checkpoint, Error, Observer, Recipe, Run, checkpoint};
use crate::data::{Changes, Dataset, Source, Split, as_before, find_broken};
use crate::files;
use crate::words::{self, listed};

/// The most names that a message lists.
const MOST_NAMES: usize = 10;

/// Opens a run's data and reports remarks on it. A resumed run gets the pictures that it began with, prepared by the
/// task as at the start.
///
/// # Errors
/// Data that cannot be opened, or that is not what the run began with.
pub(super) fn open(
    run: &Run,
    task: &dyn Task,
    checkpoint: Option<&Checkpoint>,
    observer: &dyn Observer,
) -> Result<Dataset, crate::Error> {
    let mut dataset = Dataset::open(&locate(&run.data, run.data_from.as_deref(), &run.folder)?, task.truth())?;
    observer.note(&task.summary(&dataset));
    let folder = dataset.split_name(Split::Val);
    if folder != Split::Val.name() {
        observer.note(&format!("the validation pictures are those of {folder}"));
    }
    if !dataset.passed_over.is_empty() {
        observer.note(&format!("passed over: {}", dataset.passed_over));
    }
    if let Some(checkpoint) = checkpoint {
        dataset = task.as_noted(&checkpoint.notes, &run.data, dataset)?;
        dataset.train = training_pictures(run, checkpoint, &dataset.train, observer)?;
        compare_validation(run, &*dataset.val, observer)?;
    }
    Ok(dataset)
}

/// The training pictures that a run began with, as far as they still exist.
fn training_pictures(
    run: &Run,
    checkpoint: &Checkpoint,
    source: &Arc<dyn Source>,
    observer: &dyn Observer,
) -> Result<Arc<dyn Source>, Error> {
    let unknown = |then| Error::UnknownPictures { data: run.data.clone(), then, now: source.len() };
    let names = match (read_names(&run.folder, Split::Train)?, source.names(), checkpoint.pictures) {
        (Some(names), Some(_), _) => names,
        // An older version, which kept no lists of names, began the run.
        (None, Some(names), Some(then)) if run.data.starts_with("folder:") => {
            names_of_before(&names, then).ok_or_else(|| unknown(then))?
        }
        (.., Some(then)) if then != source.len() => return Err(unknown(then)),
        _ => return Ok(source.clone()),
    };
    let count = names.len();
    let (pictures, Changes { gone, new }) = as_before(source.clone(), names);
    // If most of them are gone, this is other data.
    if 2 * gone.len() > count {
        return Err(Error::OtherPictures { data: run.data.clone(), gone: gone.len(), count });
    }
    if !gone.is_empty() {
        let (number, names) = (gone.len(), listed(gone.iter(), MOST_NAMES));
        observer.notice(&format!(
            "gone since the run began: {number} of {count} training pictures ({names}). Others take their places"
        ));
    }
    if new > 0 {
        observer.notice(&format!("the run goes on without {}", words::count(new, "new training picture")));
    }
    Ok(pictures)
}

/// The pictures that versions without lists of names found in a folder: files of four formats directly in their class's
/// folder, with folders in byte order. `None` if their number is not the one that such a version counted.
fn names_of_before(names: &[String], count: usize) -> Option<Vec<String>> {
    let seen = |name: &&String| {
        let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending).to_lowercase();
        name.matches('/').count() == 1 && ["jpg", "jpeg", "png", "webp"].contains(&&*ending)
    };
    let mut seen: Vec<String> = names.iter().filter(seen).cloned().collect();
    seen.sort_by_key(|name| name.split_once('/').map(|(class, file)| (class.to_owned(), file.to_owned())));
    (seen.len() == count).then_some(seen)
}

/// Reports changes of the validation pictures, since epochs are compared by them.
fn compare_validation(run: &Run, source: &dyn Source, observer: &dyn Observer) -> Result<(), Error> {
    let (Some(then), Some(now)) = (read_names(&run.folder, Split::Val)?, source.names()) else { return Ok(()) };
    let [then, now] = [&then, &now].map(|names| names.iter().collect::<BTreeSet<_>>());
    let (gone, new) = (then.difference(&now).count(), now.difference(&then).count());
    if gone + new > 0 {
        observer.notice(&format!(
            "validation pictures since the run began: {gone} of {} gone, {new} new. Earlier figures are of other \
             pictures",
            then.len()
        ));
    }
    Ok(())
}

/// Reads every picture once before a run's first step, and refuses the run if too many are broken. `None` if the user
/// stopped it.
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
            let list = broken
                .iter()
                .map(|b| format!("\n  {}/{}: {}", dataset.split_name(split), b.picture, b.problem))
                .collect();
            return Err(Error::Broken {
                split: split.name(),
                broken: broken.len(),
                pictures: source.len(),
                at_most,
                list,
            });
        }
        for picture in &broken {
            found.add(dataset, split, picture, observer);
        }
    }
    Ok(found)
}

/// The file with the names of the pictures that a run began with, one JSON string per line.
fn names_file(run: &Path, split: Split) -> PathBuf {
    checkpoint::folder(run).join(format!("pictures-{}.jsonl", split.name()))
}

/// Writes the names of the pictures that a run begins with, if they have names; for a resumed run, only if the file is
/// missing.
pub(super) fn write_names(run: &Path, dataset: &Dataset, begins: bool) -> Result<(), Error> {
    for split in [Split::Train, Split::Val] {
        let path = names_file(run, split);
        if !begins && path.exists() {
            continue;
        }
        match dataset.split(split).names() {
            Some(names) => {
                let line = |name: &String| serde_json::Value::from(name.as_str()).to_string() + "\n";
                let lines: String = names.iter().map(line).collect();
                files::write_atomic(&path, |file| std::io::Write::write_all(file, lines.as_bytes()))?;
            }
            // Left by a run that was killed before its first checkpoint.
            None if path.exists() => files::remove(&path)?,
            None => {}
        }
    }
    Ok(())
}

fn read_names(run: &Path, split: Split) -> Result<Option<Vec<String>>, Error> {
    let path = names_file(run, split);
    if !path.exists() {
        return Ok(None);
    }
    let parse = |line: &str| serde_json::from_str(line);
    let names: Result<Vec<String>, _> = files::read_text(&path)?.lines().map(parse).collect();
    names.map(Some).map_err(|e| Error::Findings { path, problem: e.to_string() })
}

/// Locates a run's `data`: a relative path is resolved against the working folder `from` in which the run began, if
/// that is known; else against the run's parent folder; else against the current working folder.
fn locate(data: &str, from: Option<&Path>, run: &Path) -> Result<String, Error> {
    let Some((kind, directory)) = data.split_once(':') else { return Ok(data.to_owned()) };
    let path = Path::new(directory);
    if path.is_absolute() || path.starts_with("~") {
        return Ok(data.to_owned());
    }
    let here = std::env::current_dir().unwrap_or_default();
    let beside = run.canonicalize().ok().and_then(|run| Some(run.parent()?.to_owned()));
    let places: Vec<&Path> = match from {
        Some(from) => [Some(from), beside.as_deref(), Some(&here)].into_iter().flatten().collect(),
        None => [Some(here.as_path()), beside.as_deref()].into_iter().flatten().collect(),
    };
    match places.iter().find(|place| place.join(path).is_dir()) {
        Some(place) if *place == here => Ok(data.to_owned()),
        Some(place) => Ok(format!("{kind}:{}", place.join(path).display())),
        None => Err(Error::DataMoved { data: data.to_owned(), meant: places[0].join(path) }),
    }
}

/// A message on the pictures that a batch size leaves out of each epoch; `None` if there are none.
pub(super) fn left_out(pictures: usize, recipe: &Recipe) -> Option<String> {
    let batch = recipe.batch as usize;
    let rest = pictures % batch;
    if rest == 0 {
        return None;
    }
    let parts = recipe.accumulate as usize;
    // Of the nearby batch sizes the one that leaves out the fewest pictures, and of equal ones the nearest.
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
    fn a_better_batch_is_named() {
        let recipe = |batch, shuffle| Recipe { batch, shuffle, ..Recipe::default() };
        assert_eq!(left_out(128, &recipe(64, true)), None);
        let note = left_out(100, &recipe(64, false)).unwrap();
        assert_eq!(
            note,
            "36 of 100 pictures are left out of each epoch at --batch 64, always the same ones, since --shuffle is \
             false; --batch 50 leaves out none"
        );
        let note = left_out(101, &recipe(64, true)).unwrap();
        assert!(note.ends_with("at --batch 64, others each time; --batch 50 leaves out 1"), "{note}");
        let note = left_out(100, &Recipe { accumulate: 8, ..recipe(64, true) }).unwrap();
        assert!(note.ends_with("--batch 48 leaves out 4"), "{note}");
    }

    #[test]
    fn a_relative_path_is_found_from_where_the_run_began_or_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().canonicalize().unwrap().join(name);
        for name in ["began/pets", "elsewhere/run", "elsewhere/pets"] {
            std::fs::create_dir_all(at(name)).unwrap();
        }
        let locate = |data: &str, from: &str| super::locate(data, Some(&at(from)), &at("elsewhere/run"));
        assert_eq!(locate("folder:pets", "began").unwrap(), format!("folder:{}", at("began/pets").display()));
        assert_eq!(locate("folder:pets", "gone").unwrap(), format!("folder:{}", at("elsewhere/pets").display()));
        for unchanged in ["shapes", "folder:/data/pets", "folder:~/pets"] {
            assert_eq!(locate(unchanged, "gone").unwrap(), unchanged);
        }
        let lost = locate("folder:birds", "began").unwrap_err().to_string();
        assert!(lost.contains(&at("began/birds").display().to_string()), "{lost}");
    }

    #[test]
    fn runs_from_before_lists_of_names_get_the_pictures_that_they_saw() {
        let names = |words: &str| words.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let now = names("2/a.jpg 2/b.tif 2/more/c.jpg 10/a.PNG 10/b.webp");
        assert_eq!(names_of_before(&now, 3).unwrap(), names("10/a.PNG 10/b.webp 2/a.jpg"));
        assert_eq!(names_of_before(&now, 5), None);
    }
}
