//! What the findings of an inspection mean, in lines for a person.

use super::{ClassCounts, Inspection, ODD_RATIO, TruthFacts};
use crate::data::Split;
use crate::data::annotated::IN_SHARES;
use crate::words::{self, listed};

/// The most names of classes that a line lists.
const MOST_NAMES: usize = 10;

/// The most that 16 bits of millimetres tell, in metres. Other units, and depths that are shares of the largest, reach
/// it; millimetres of rooms and streets hardly do.
const MOST_METRES: f32 = 65.535;

/// The fault of a data set without training pictures.
pub(super) const NOTHING_TO_LEARN: &str = "no training pictures: put most of each class into train/CLASS. \
                                           Folders of classes alone, without train or val around them, are taken \
                                           for validation";

/// Lines so far.
#[derive(Default)]
struct Lines(Vec<String>);

impl Lines {
    /// Adds a line about `count` things, unless there are none.
    fn add(&mut self, count: usize, line: String) {
        if count > 0 {
            self.0.push(line);
        }
    }
}

impl Inspection {
    /// Pictures of a split, broken ones included.
    pub fn pictures(&self, split: Split) -> usize {
        if split == Split::Train { self.train } else { self.val }
    }

    /// Names of some classes.
    fn names(&self, which: impl Fn(&ClassCounts) -> bool) -> Vec<&str> {
        self.classes.iter().filter(|class| which(class)).map(|class| class.name.as_str()).collect()
    }

    /// What of a class is counted.
    fn things(&self) -> &'static str {
        if matches!(self.truths, Some(TruthFacts::Objects(_))) { "objects" } else { "pictures" }
    }

    /// What must be fixed before training on these pictures makes sense, one line each.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Lines::default();
        // A number without any picture, like EMNIST's 0, is not a class that somebody has named. Lists of classes that
        // objects or pixels may have can be longer than needed.
        let of_pictures = self.truths.is_none();
        let is_nothing = |class: &ClassCounts| class.val == 0 && (!of_pictures || class.name.parse::<u32>().is_ok());
        let things = self.things();
        let untrained = self.names(|class| class.train == 0 && !is_nothing(class));
        let nothing = if of_pictures { NOTHING_TO_LEARN } else { "no training pictures" };
        match self.train {
            0 => faults.add(1, nothing.to_owned()),
            _ => {
                faults.add(untrained.len(), format!("no training {things} of {}", listed(untrained.iter(), MOST_NAMES)))
            }
        }
        match &self.truths {
            None | Some(TruthFacts::Masks(_)) => faults.add(
                usize::from(self.classes.len() < 2),
                "fewer than 2 classes: there is nothing to tell apart".to_owned(),
            ),
            Some(TruthFacts::Objects(objects)) => {
                let none = self.train > 0 && self.classes.iter().all(|class| class.train == 0);
                faults.add(usize::from(none), "no objects in the training pictures".to_owned());
                faults.add(usize::from(objects.in_shares), IN_SHARES.to_owned());
            }
            Some(TruthFacts::Depths(_)) => {}
        }
        faults.add(usize::from(self.val == 0), "no validation pictures".to_owned());
        faults.add(self.broken.len(), format!("{} cannot be read", pictures(self.broken.len())));
        let what = match &self.truths {
            None => "a class",
            Some(TruthFacts::Objects(_)) => "an annotation",
            Some(TruthFacts::Masks(_)) => "a mask",
            Some(TruthFacts::Depths(_)) => "depths",
        };
        let without = self.without_truth.len();
        faults.add(without, format!("{} without {what} that can be used", pictures(without)));
        if let Some(TruthFacts::Objects(objects)) = &self.truths {
            let empty = objects.empty.len();
            faults.add(empty, format!("{} without area within the picture", words::count(empty, "object")));
        }
        let leaks: usize = self.duplicates.iter().filter(|group| group.across_splits).count();
        faults.add(leaks, format!("{} in both splits, so that the validation is too good", pictures(leaks)));
        let torn = self.duplicates.iter().filter(|group| group.across_classes).count();
        faults.add(torn, format!("{} in several classes, of which one at most is right", pictures(torn)));
        faults.0
    }

    /// What else a person should know, one line each.
    pub fn remarks(&self) -> Vec<String> {
        let mut remarks = Lines::default();
        let things = self.things();
        let unvalidated = self.names(|class| class.val == 0 && class.train > 0);
        if self.val > 0 {
            let names = listed(unvalidated.iter(), MOST_NAMES);
            remarks.add(unvalidated.len(), format!("no validation {things} of {names}"));
        }
        if self.truths.is_some() {
            let never = self.names(|class| class.val == 0 && class.train == 0);
            remarks.add(never.len(), format!("no {things} at all of {}", listed(never.iter(), MOST_NAMES)));
        }
        let counts = || self.classes.iter().map(|class| class.train).filter(|&train| train > 0);
        if let (Some(fewest), Some(most)) = (counts().min(), counts().max()) {
            let uneven = usize::from(most >= 10 * fewest);
            remarks.add(uneven, format!("classes differ much in size: {fewest} to {most} training {things}"));
        }
        self.truths.iter().for_each(|truths| truths.remark(&mut remarks));
        let repeated = self.duplicates.iter().filter(|group| !group.across_splits && !group.across_classes);
        let repeated: usize = repeated.map(|group| group.pictures.len() - 1).sum();
        let of_class = if self.truths.is_none() { "a class of a split" } else { "a split" };
        remarks.add(repeated, format!("{} repeated within {of_class}", pictures(repeated)));
        let odd = pictures(self.odd_shapes.len());
        let odd = format!("{odd} more than {ODD_RATIO} times as long as wide: a square crop sees little of them");
        remarks.add(self.odd_shapes.len(), odd);
        let all: usize = self.formats.values().sum();
        let grey = usize::from(self.grey < all) * self.grey;
        remarks.add(grey, format!("{} grey among coloured ones", pictures(self.grey)));
        remarks.add(self.cmyk, format!("{} in CMYK, converted to RGB", pictures(self.cmyk)));
        remarks.add(self.alpha, format!("{} with transparency, which is ignored", pictures(self.alpha)));
        remarks.add(self.deep, format!("{} of more than 8 bits a channel, reduced to 8", pictures(self.deep)));
        let what = match &self.truths {
            None => None,
            Some(TruthFacts::Objects(_)) => Some("boxes"),
            Some(TruthFacts::Masks(_)) => Some("masks"),
            Some(TruthFacts::Depths(_)) => Some("depths"),
        };
        if let Some(what) = what {
            let upright = format!("their {what} must be those of the upright pictures");
            remarks.add(self.turned, format!("{} turned by their EXIF data: {upright}", pictures(self.turned)));
        }
        remarks.add(usize::from(!self.passed_over.is_empty()), format!("passed over: {}", self.passed_over));
        remarks.0
    }
}

impl TruthFacts {
    fn remark(&self, remarks: &mut Lines) {
        match self {
            Self::Objects(objects) => {
                let without = objects.pictures_without;
                remarks.add(without, format!("{} without objects, all background", pictures(without)));
                let beyond = objects.beyond.len();
                let reach = format!("{} reaching over the edges of pictures", words::count(beyond, "object"));
                remarks.add(beyond, reach);
                let unlearnt = |count: usize, thing: &str| format!("{}, not learnt from", words::count(count, thing));
                remarks.add(objects.difficult, unlearnt(objects.difficult, "difficult object"));
                remarks.add(objects.crowds, unlearnt(objects.crowds, "crowd"));
            }
            Self::Masks(masks) => {
                let empty = masks.empty.len();
                remarks.add(empty, format!("{} without a pixel that counts", pictures(empty)));
            }
            Self::Depths(depths) => {
                let empty = depths.empty.len();
                remarks.add(empty, format!("{} without any known depth", pictures(empty)));
                let full = depths.metres.is_some_and(|[_, most]| most >= MOST_METRES);
                let unit =
                    format!("depths up to {MOST_METRES} m, the most that the files can tell: are they in millimetres?");
                remarks.add(usize::from(full), unit);
            }
        }
    }
}

fn pictures(number: usize) -> String {
    words::count(number, "picture")
}
