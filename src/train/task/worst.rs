//! Keeps the worst pictures of an evaluation, with answers small enough for a report.

/// Largest side of an answer that is kept, in pixels.
const SIDE: usize = 128;

/// Adds a picture with this score to those with the lowest scores, lowest first; at most `keep` of them stay. Pictures
/// of equal score stay in order.
pub(super) fn keep<T>(kept: &mut Vec<T>, keep: usize, score: impl Fn(&T) -> f64, new: f64, make: impl FnOnce() -> T) {
    let place = kept.partition_point(|other| score(other).total_cmp(&new).is_le());
    if place < keep {
        kept.truncate(keep - 1);
        kept.insert(place, make());
    }
}

/// A map of this height and width made smaller, by picking the nearest values, and its new size.
pub(super) fn smaller<T: Copy>([height, width]: [usize; 2], map: &[T]) -> ([usize; 2], Vec<T>) {
    let step = height.max(width).div_ceil(SIDE);
    let size = [height / step, width / step].map(|side| side.max(1));
    let at = |i: usize, step: usize, side: usize| (i * step + step / 2).min(side - 1);
    let values = (0..size[0]).flat_map(|y| (0..size[1]).map(move |x| (y, x)));
    (size, values.map(|(y, x)| map[at(y, step, height) * width + at(x, step, width)]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_stay_in_order() {
        let mut kept = Vec::new();
        for (i, score) in [0.5, 0.1, 0.9, 0.1, 0.3].into_iter().enumerate() {
            keep(&mut kept, 3, |kept: &(usize, f64)| kept.1, score, || (i, score));
        }
        assert_eq!(kept, [(1, 0.1), (3, 0.1), (4, 0.3)]);
        keep(&mut kept, 0, |kept| kept.1, 0.0, || (9, 0.0));
        assert_eq!(kept.len(), 3);
    }

    #[test]
    fn maps_are_made_smaller() {
        let map: Vec<usize> = (0..192 * 100).collect();
        let (size, values) = smaller([192, 100], &map);
        assert_eq!((size, values.len(), values[0], values[51]), ([96, 50], 96 * 50, 101, 3 * 100 + 3));
        assert_eq!(smaller([2, 3], &[1, 2, 3, 4, 5, 6]), ([2, 3], vec![1, 2, 3, 4, 5, 6]));
    }
}
