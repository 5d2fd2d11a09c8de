//! Compares a network's classes with the data's, and maps one to the other.

use std::collections::BTreeMap;
use std::path::Path;

use crate::data::{ClassMatch, Dataset, match_classes};
use crate::train::Error;
use crate::weights::{HostTensor, ModelCard, StateDict};
use crate::words::listed;

/// The most names that a message lists.
const MOST_NAMES: usize = 10;

/// Adapts the classifier in the weights to the card's classes: reorders its rows by name, or removes the classifier, to
/// start anew, if the classes differ.
pub(super) fn adapt_weights(
    path: &Path,
    weights: &mut StateDict,
    theirs: Option<&ModelCard>,
    card: &ModelCard,
) -> Vec<String> {
    let classifier = card.config.layers.classifier();
    let in_classifier = |name: &str| name.strip_prefix(classifier).is_some_and(|rest| rest.starts_with('.'));
    let count = weights.tensors.get(&format!("{classifier}.weight")).and_then(|t| t.shape.first().copied());
    let names = theirs.map_or(&[][..], |theirs| &theirs.classes);
    let Some(count) = count else { return Vec::new() };
    match match_classes(names, count, &card.classes) {
        ClassMatch::Same if card.classes.len() == count => {}
        ClassMatch::ByName(rows) if rows.len() == count => {
            log::warn!("{} has the data's classes in another order: they are matched by name", path.display());
            let of_classifier = weights.tensors.iter_mut().filter(|(name, _)| in_classifier(name));
            of_classifier.for_each(|(_, tensor)| take_rows(tensor, &rows));
        }
        ClassMatch::ByNumber(how) if card.classes.len() == count => log::warn!("{}: {how}", path.display()),
        other => {
            let why = match other {
                ClassMatch::Different(why) => why,
                _ => format!("the network tells {count} classes apart, the data has {}", card.classes.len()),
            };
            log::warn!("{}: {why}: the classifier starts anew", path.display());
            weights.tensors.retain(|name, _| !in_classifier(name));
            return vec![format!("{classifier}.")];
        }
    }
    Vec::new()
}

/// Replaces a matrix by these of its rows, or a vector by these of its elements.
fn take_rows(tensor: &mut HostTensor, rows: &[u32]) {
    let length = tensor.data.len() / rows.len();
    let row = |&row: &u32| &tensor.data[row as usize * length..][..length];
    tensor.data = rows.iter().flat_map(row).copied().collect();
}

/// The number of classes, and their names.
pub(super) fn notes(card: &ModelCard) -> BTreeMap<String, String> {
    let mut notes = BTreeMap::from([("classes".to_owned(), card.config.classes.to_string())]);
    if !card.classes.is_empty() {
        notes.insert("class_names".to_owned(), serde_json::Value::from(card.classes.clone()).to_string());
    }
    notes
}

/// The data, with its classes numbered as when the run began.
pub(super) fn as_noted(notes: &BTreeMap<String, String>, data: &str, dataset: Dataset) -> Result<Dataset, Error> {
    let data = data.to_owned();
    let unreadable = |key: &str| Error::Notes { key: key.to_owned() };
    let then: usize = notes.get("classes").and_then(|n| n.parse().ok()).ok_or_else(|| unreadable("classes"))?;
    // Older files have no names.
    let names = notes.get("class_names").map_or("[]", String::as_str);
    let names: Vec<String> = serde_json::from_str(names).map_err(|_| unreadable("class_names"))?;
    let now = dataset.classes.len();
    if then != now {
        let change = format!("{then} classes when the run began and has {now} now");
        return Err(Error::OtherData { data, change });
    }
    match match_classes(&names, then, &dataset.classes) {
        ClassMatch::Same => Ok(dataset),
        ClassMatch::ByName(labels) => Ok(dataset.relabelled(&labels, names)),
        ClassMatch::ByNumber(_) | ClassMatch::Different(_) => {
            let gone = names.iter().filter(|name| !dataset.classes.contains(name)).collect::<Vec<_>>();
            let new = dataset.classes.iter().filter(|name| !names.contains(name)).collect::<Vec<_>>();
            let [gone, new] = [gone, new].map(|names| listed(names.into_iter(), MOST_NAMES));
            Err(Error::OtherTruths { data, change: format!("the run began with {gone} in the place of {new}") })
        }
    }
}

/// The data, with its classes numbered as in the network.
pub(super) fn as_learnt(card: &ModelCard, data: &str, dataset: Dataset) -> Result<Dataset, String> {
    match match_classes(&card.classes, card.config.classes, &dataset.classes) {
        ClassMatch::Same => Ok(dataset),
        ClassMatch::ByName(labels) => {
            let classes = dataset.classes.len();
            log::warn!("the {classes} classes of --data {data} are matched with the network's by name");
            Ok(dataset.relabelled(&labels, card.classes.clone()))
        }
        ClassMatch::ByNumber(how) => {
            log::warn!("{how}");
            Ok(dataset)
        }
        ClassMatch::Different(why) => Err(format!("is for other classes than --data {data}: {why}")),
    }
}
