//! Names of classes: their order, and how those of a network and of a data set go together.

use std::cmp::Ordering;
use std::collections::HashMap;

/// How the classes of a data set go with those that a network tells apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClassMatch {
    /// Class k is class k of the network, by name, or by number where one side has no names.
    Same,
    /// The names are the network's in another order, or some of them: the network's class of each class of the data.
    ByName(Vec<u32>),
    /// The names differ; the reason, in words.
    Different(String),
}

/// Compares the names of a network's `count` classes, if it has any, with those of a data set.
///
/// Names that only number the classes say nothing beside words, nor do ImageNet's WordNet numbers beside its names: then the numbers of
/// classes are compared alone.
pub fn match_classes(network: &[String], count: usize, data: &[String]) -> ClassMatch {
    if network == data {
        return ClassMatch::Same;
    }
    let at: HashMap<&str, u32> = network.iter().map(String::as_str).zip(0..).collect();
    let found: Vec<Option<u32>> = data.iter().map(|name| at.get(name.as_str()).copied()).collect();
    if let Some(labels) = found.iter().copied().collect() {
        return ClassMatch::ByName(labels);
    }
    if is_numbered(network) || is_numbered(data) || is_wordnet(data, network) {
        return match data.len() == count {
            true => ClassMatch::Same,
            false => {
                ClassMatch::Different(format!("the network tells {count} classes apart, the data has {}", data.len()))
            }
        };
    }
    let unknown: Vec<&str> = data.iter().zip(&found).filter(|(_, at)| at.is_none()).map(|(name, _)| &**name).collect();
    ClassMatch::Different(format!(
        "the network does not know the data's classes {}; its own are {}",
        some_of(&unknown),
        some_of(&network.iter().map(String::as_str).collect::<Vec<_>>())
    ))
}

/// Whether names only number the classes, or there are none.
fn is_numbered(names: &[String]) -> bool {
    names.iter().enumerate().all(|(class, name)| *name == class.to_string())
}

/// Whether one side has the numbers that WordNet gives ImageNet's classes, such as n01440764, and the other has words.
fn is_wordnet(data: &[String], network: &[String]) -> bool {
    let is_number = |name: &String| {
        name.strip_prefix('n').is_some_and(|digits| digits.len() == 8 && digits.bytes().all(|b| b.is_ascii_digit()))
    };
    data.iter().all(is_number) != network.iter().all(is_number)
}

/// The first few names.
fn some_of(names: &[&str]) -> String {
    const MOST: usize = 5;
    match names.len().checked_sub(MOST) {
        None | Some(0) => names.join(", "),
        Some(more) => format!("{} and {more} more", names[..MOST].join(", ")),
    }
}

/// The order of classes: numbers by their value if all names are numbers, else by their bytes, as torchvision's ImageFolder has it.
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
    fn without_names_the_number_of_classes_decides() {
        assert_eq!(matched("", 2, "cat dog"), ClassMatch::Same);
        assert_eq!(matched("cat dog", 2, "0 1"), ClassMatch::Same);
        assert_eq!(matched("0 1", 2, "cat dog"), ClassMatch::Same);
        assert!(matches!(matched("", 3, "cat dog"), ClassMatch::Different(_)));
        assert!(matches!(matched("1 0", 2, "a b"), ClassMatch::Different(_)), "names that happen to be numbers");
        assert_eq!(matched("0 1 10 2", 4, "0 1 2 10"), ClassMatch::ByName(vec![0, 1, 3, 2]), "numbers sorted as words");
        assert_eq!(matched("0 1 2 3", 4, "1 3"), ClassMatch::ByName(vec![1, 3]));
        assert_eq!(matched("tench goldfish", 2, "n01440764 n01443537"), ClassMatch::Same);
        assert!(matches!(matched("n01440764 n01443537", 2, "n01443537 n01629819"), ClassMatch::Different(_)));
    }
}
