//! Words for messages.

use std::fmt::Display;

/// A number with its noun: `1 picture`, `2 pictures`.
pub(crate) fn count(number: usize, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}

/// Lists the first `most` items and counts the rest: `cat, dog and 3 more`.
pub(crate) fn listed(things: impl ExactSizeIterator<Item = impl Display>, most: usize) -> String {
    let more = things.len().saturating_sub(most);
    let first: Vec<String> = things.take(most).map(|thing| thing.to_string()).collect();
    if more > 0 { format!("{} and {more} more", first.join(", ")) } else { first.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_no_plural_and_lists_are_cut() {
        assert_eq!(
            [count(0, "picture"), count(1, "picture"), count(2, "picture")],
            ["0 pictures", "1 picture", "2 pictures"]
        );
        let cut = |most| listed(["cat", "dog", "owl"].iter(), most);
        assert_eq!([cut(3), cut(2), cut(0)], ["cat, dog, owl", "cat, dog and 1 more", " and 3 more"]);
    }
}
