//! Names of classes: their order, and how a network's classes map to a data set's.

use std::cmp::Ordering;
use std::collections::HashMap;

use crate::words::listed;

/// How the classes of a data set map to those of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClassMatch {
    /// Class k is class k of the network, by name; or the network's classes have no names.
    Same,
    /// The names are the network's in another order, or a subset of them. Holds the network's class for each class of
    /// the data.
    ByName(Vec<u32>),
    /// One side has names and the other only numbers: class k may be class k of the network. Holds what that means, in
    /// words.
    ByNumber(String),
    /// The names differ. Holds the reason, in words.
    Different(String),
}

/// The first and the last of ImageNet's 1,000 classes by name, in the order of their WordNet numbers.
const IMAGENET_ENDS: [&str; 2] = ["tench", "toilet tissue"];

/// Compares the names of a network's `count` classes, if it has any, with those of a data set.
pub fn match_classes(network: &[String], count: usize, data: &[String]) -> ClassMatch {
    let different =
        || ClassMatch::Different(format!("the network tells {count} classes apart, the data has {}", data.len()));
    if network.is_empty() {
        let fits = data.len() == count || (is_numbered(data) && data.len() < count);
        return if fits { ClassMatch::Same } else { different() };
    }
    if network == data || (is_wordnet(data) && is_imagenet(network) && network.len() == data.len()) {
        return ClassMatch::Same;
    }
    let at: HashMap<&str, u32> = network.iter().map(String::as_str).zip(0..).collect();
    let found: Vec<Option<u32>> = data.iter().map(|name| at.get(name.as_str()).copied()).collect();
    if let Some(labels) = found.iter().copied().collect::<Option<Vec<u32>>>() {
        // If two classes share a name, it maps to the later one.
        let twice = network.iter().zip(0..).find(|(name, class)| at[name.as_str()] != *class && data.contains(name));
        return match twice {
            Some((name, _)) => ClassMatch::Different(format!("the network has two classes called {name}")),
            None => ClassMatch::ByName(labels),
        };
    }
    if is_numbered(network) || is_numbered(data) {
        let fits = if is_numbered(data) { data.len() <= count } else { data.len() == count };
        let pair = |(of_data, of_network): (&String, &String)| format!("{of_data} for {of_network}");
        return match fits {
            true => {
                let pairs: Vec<String> = data.iter().zip(network).take(3).map(pair).collect();
                ClassMatch::ByNumber(format!("classes are matched by number, the data's {}, ..", pairs.join(", ")))
            }
            false => different(),
        };
    }
    let unknown: Vec<&String> = data.iter().zip(&found).filter(|(_, at)| at.is_none()).map(|(name, _)| name).collect();
    ClassMatch::Different(format!(
        "the network does not know the data's classes {}; its own are {}",
        listed(unknown.into_iter(), MOST_NAMES),
        listed(network.iter(), MOST_NAMES)
    ))
}

/// Whether names only number the classes.
fn is_numbered(names: &[String]) -> bool {
    names.iter().enumerate().all(|(class, name)| *name == class.to_string())
}

/// Whether names are the numbers that WordNet gives ImageNet's classes, such as n01440764.
fn is_wordnet(names: &[String]) -> bool {
    let is_number = |name: &String| {
        name.strip_prefix('n').is_some_and(|digits| digits.len() == 8 && digits.bytes().all(|b| b.is_ascii_digit()))
    };
    names.iter().all(is_number)
}

fn is_imagenet(names: &[String]) -> bool {
    let ends = [names.first(), names.last()].map(|name| name.map(String::as_str));
    names.len() == 1000 && ends == IMAGENET_ENDS.map(Some)
}

/// The most names that a message lists.
const MOST_NAMES: usize = 5;

/// Sorts classes: by value if all names are numbers, else by bytes, as torchvision's ImageFolder does.
pub(super) fn sort(names: &mut [String]) {
    let is_number = |name: &String| !name.is_empty() && name.bytes().all(|b| b.is_ascii_digit());
    if names.iter().all(is_number) {
        names.sort_by(|a, b| by_value(a, b));
    } else {
        names.sort();
    }
}

fn by_value(a: &str, b: &str) -> Ordering {
    let digits = |name: &str| name.trim_start_matches('0').to_owned();
    let (x, y) = (digits(a), digits(b));
    x.len().cmp(&y.len()).then_with(|| x.cmp(&y)).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(words: &str) -> Vec<String> {
        words.split_whitespace().map(str::to_owned).collect()
    }

    fn matched(network: &str, count: usize, data: &str) -> ClassMatch {
        match_classes(&names(network), count, &names(data))
    }

    #[test]
    fn numbers_sort_as_numbers_and_words_by_their_bytes() {
        for (given, sorted) in [
            ("0 1 10 11 2", "0 1 2 10 11"),
            ("010 9 1 01", "01 1 9 010"),
            ("99999999999999999999999 3", "3 99999999999999999999999"),
            ("b 10 9 a", "10 9 a b"),
            ("class10 class9", "class10 class9"),
        ] {
            let mut given = names(given);
            sort(&mut given);
            assert_eq!(given, names(sorted));
        }
    }

    #[test]
    fn names_are_compared_wherever_both_sides_have_them() {
        assert_eq!(matched("cat dog", 2, "cat dog"), ClassMatch::Same);
        assert_eq!(matched("cat dog owl", 3, "owl cat dog"), ClassMatch::ByName(vec![2, 0, 1]));
        assert_eq!(matched("cat dog owl", 3, "owl dog"), ClassMatch::ByName(vec![2, 1]), "some of the network's");
        for other in ["dog wolf", "a_dog b_cat", "Cat dog"] {
            assert!(matches!(matched("cat dog", 2, other), ClassMatch::Different(_)), "{other}");
        }
        let ClassMatch::Different(why) = matched("cat dog", 2, "dog wolf") else { unreachable!("asserted above") };
        assert_eq!(why, "the network does not know the data's classes wolf; its own are cat, dog");
    }

    #[test]
    fn without_words_on_both_sides_numbers_decide() {
        assert_eq!(matched("", 2, "cat dog"), ClassMatch::Same);
        assert!(matches!(matched("", 3, "cat dog"), ClassMatch::Different(_)));
        assert_eq!(matched("", 3, "0 1"), ClassMatch::Same, "the last class has no pictures");
        let ClassMatch::ByNumber(how) = matched("cat dog", 2, "0 1") else { panic!("words and numbers") };
        assert_eq!(how, "classes are matched by number, the data's 0 for cat, 1 for dog, ..");
        assert!(matches!(matched("0 1", 2, "cat dog"), ClassMatch::ByNumber(_)));
        assert!(matches!(matched("cat dog owl", 3, "0 1"), ClassMatch::ByNumber(_)), "the last class has no pictures");
        assert!(matches!(matched("0 1 2", 3, "cat dog"), ClassMatch::Different(_)));
        assert!(matches!(matched("1 0", 2, "a b"), ClassMatch::Different(_)), "names that happen to be numbers");
        assert_eq!(matched("0 1 10 2", 4, "0 1 2 10"), ClassMatch::ByName(vec![0, 1, 3, 2]), "numbers sorted as words");
        assert_eq!(matched("0 1 2 3", 4, "1 3"), ClassMatch::ByName(vec![1, 3]));
    }

    #[test]
    fn a_name_that_two_classes_have_is_no_match() {
        assert_eq!(matched("crane dog crane", 3, "dog"), ClassMatch::ByName(vec![1]));
        let twice = ClassMatch::Different("the network has two classes called crane".into());
        assert_eq!(matched("crane dog crane", 3, "crane dog"), twice);
    }

    #[test]
    fn wordnets_numbers_are_imagenets_classes_and_no_others() {
        let ids: Vec<String> = (0..1000).map(|n| format!("n{:08}", 1_440_764 + n)).collect();
        let mut words: Vec<String> = (0..1000).map(|n| format!("class {n}")).collect();
        assert!(matches!(match_classes(&words, 1000, &ids), ClassMatch::Different(_)));
        (words[0], words[999]) = ("tench".into(), "toilet tissue".into());
        assert_eq!(match_classes(&words, 1000, &ids), ClassMatch::Same);
        assert!(matches!(match_classes(&words, 1000, &ids[..200]), ClassMatch::Different(_)));
        assert!(matches!(matched("tench goldfish", 2, "n01440764 n01443537"), ClassMatch::Different(_)));
    }
}
