//! Compares a network's classes with the data's, and maps one to the other.

use std::collections::BTreeMap;
use std::path::Path;

use crate::data::{ClassMatch, Dataset, match_classes};
use crate::models::Head;
use crate::train::Error;
use crate::weights::{HostTensor, ModelCard, StateDict};
use crate::words::listed;

/// What a network knows of the data's classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Classes<'c> {
    /// How many it tells apart.
    pub count: usize,
    /// Their names; empty if they are unknown.
    pub names: &'c [String],
}

impl Classes<'_> {
    /// The notes that [`as_noted`] reads.
    pub(super) fn notes(self) -> BTreeMap<String, String> {
        let mut notes = BTreeMap::from([("classes".to_owned(), self.count.to_string())]);
        if !self.names.is_empty() {
            notes.insert("class_names".to_owned(), serde_json::Value::from(self.names.to_vec()).to_string());
        }
        notes
    }

    /// The data, with its classes numbered as in the network.
    pub(super) fn numbering(self, data: &str, dataset: Dataset) -> Result<Dataset, String> {
        match match_classes(self.names, self.count, &dataset.classes) {
            ClassMatch::Same => Ok(dataset),
            ClassMatch::ByName(labels) => {
                let classes = dataset.classes.len();
                log::warn!("the {classes} classes of --data {data} are matched with the network's by name");
                Ok(dataset.relabelled(&labels, self.names.to_vec()))
            }
            ClassMatch::ByNumber(how) => {
                log::warn!("{how}");
                Ok(dataset)
            }
            ClassMatch::Different(why) => Err(format!("is for other classes than --data {data}: {why}")),
        }
    }
}

/// The most names that a message lists.
const MOST_NAMES: usize = 10;

/// Adapts the layers that tell the classes apart to the card's classes: reorders their rows by name, or removes these
/// layers, to start anew, if the classes differ.
pub(super) fn adapt_weights(
    path: &Path,
    weights: &mut StateDict,
    theirs: Option<&ModelCard>,
    card: &ModelCard,
) -> Vec<String> {
    let (layers, groups) = card.config.class_layers();
    let of_layer = |name: &str, layer: &&str| name.strip_prefix(layer).is_some_and(|rest| rest.starts_with('.'));
    let in_layers = |name: &str| layers.iter().any(|layer| of_layer(name, layer));
    let rows = |layer: &&str| weights.tensors.get(&format!("{layer}.weight"))?.shape.first().copied();
    let Some(count) = layers.iter().find_map(rows).map(|rows| rows / groups) else { return Vec::new() };
    let names = theirs.map_or(&[][..], |theirs| &theirs.classes);
    match match_classes(names, count, &card.classes) {
        ClassMatch::Same if card.classes.len() == count => {}
        ClassMatch::ByName(rows) if rows.len() == count => {
            log::warn!("{} has the data's classes in another order: they are matched by name", path.display());
            let of_layers = weights.tensors.iter_mut().filter(|(name, _)| in_layers(name));
            of_layers.for_each(|(_, tensor)| take_rows(tensor, &rows, groups));
        }
        ClassMatch::ByNumber(how) if card.classes.len() == count => log::warn!("{}: {how}", path.display()),
        other => {
            let why = match other {
                ClassMatch::Different(why) => why,
                _ => format!("the network tells {count} classes apart, the data has {}", card.classes.len()),
            };
            let what = match card.config.head {
                Head::Classifier => "the classifier".to_owned(),
                _ => layers.join(" and "),
            };
            log::warn!("{}: {why}: {what} starts anew", path.display());
            weights.tensors.retain(|name, _| !in_layers(name));
            return layers.iter().map(|layer| format!("{layer}.")).collect();
        }
    }
    Vec::new()
}

/// Replaces each group of a tensor's rows by these of its rows; all groups have as many rows as there are classes.
fn take_rows(tensor: &mut HostTensor, rows: &[u32], groups: usize) {
    let length = tensor.data.len() / rows.len() / groups;
    let row = |row: usize| &tensor.data[row * length..][..length];
    let all = (0..groups).flat_map(|group| rows.iter().map(move |&at| group * rows.len() + at as usize));
    tensor.data = all.flat_map(row).copied().collect();
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::data::TruthKind;
    use crate::train::task::{Classify, Depth, Detect, Segment, Task};

    /// Without notes nobody knows whether the data is the same, so that a task with classes refuses to go on.
    #[test]
    fn only_tasks_without_classes_resume_without_notes() {
        let resumed = |task: &dyn Task| {
            let dataset = Dataset::open("shapes", task.truth()).unwrap();
            task.as_noted(&BTreeMap::new(), "shapes", dataset).map(|_| ())
        };
        for task in [&Classify::default() as &dyn Task, &Detect::default(), &Segment] {
            assert!(matches!(resumed(task), Err(Error::Notes { key }) if key == "classes"), "{task:?}");
        }
        assert!(resumed(&Depth::default()).is_ok());
    }

    #[test]
    fn notes_hold_the_classes() {
        let names = ["circle".to_owned(), "square".to_owned()];
        let notes = Classes { count: 2, names: &names }.notes();
        let mut dataset = Dataset::open("shapes", TruthKind::Class).unwrap();
        dataset.classes = names.to_vec();
        assert_eq!(as_noted(&notes, "shapes", dataset).unwrap().classes, names);
        let other = Dataset::open("shapes", TruthKind::Class).unwrap();
        assert!(matches!(as_noted(&notes, "shapes", other), Err(Error::OtherData { .. })));
    }
}
