//! Which true box each anchor learns.

use super::{Bounds, overlap};

/// An anchor learns the true box that it overlaps most, if their intersection over union is at least this.
pub const FOREGROUND: f32 = 0.5;
/// An anchor is background if its intersection over union with every true box is below this.
pub const BACKGROUND: f32 = 0.4;

/// What an anchor learns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Match {
    /// The true box with this index.
    Truth(u32),
    /// That nothing is there.
    Background,
    /// Nothing: its overlap lies between [`BACKGROUND`] and [`FOREGROUND`].
    Between,
}

/// Anchors that are compared with one true box after another while they are in the processor's nearest cache.
const CHUNK: usize = 1024;

/// What each anchor learns from the true boxes of a picture.
///
/// If no overlap with a true box is higher than an anchor's, the anchor learns in any case, so that no object is lost;
/// but it learns the box that it overlaps most itself, which may be another. True boxes that overlap no anchor change
/// nothing. (Here alone this differs from torchvision, where such a box makes every anchor foreground.)
pub fn matches(anchors: &[Bounds], truths: &[Bounds]) -> Vec<Match> {
    match_rows(anchors.len(), truths.len(), |truth, first, row| {
        for (found, &anchor) in row.iter_mut().zip(&anchors[first..]) {
            *found = overlap(anchor, truths[truth]);
        }
    })
}

/// `fill` writes the overlaps of a true box with consecutive anchors, the index of the first of which it is given.
pub(super) fn match_rows(anchors: usize, truths: usize, mut fill: impl FnMut(usize, usize, &mut [f32])) -> Vec<Match> {
    // Each anchor's highest overlap and the first true box that has it.
    let (mut highest, mut own) = (vec![0.0; anchors], vec![0; anchors]);
    // Each true box's highest overlap and all anchors that have it.
    let mut favourites = vec![(0.0, Vec::new()); truths];
    let mut row = [0.0; CHUNK];
    for (chunk, (highest, own)) in highest.chunks_mut(CHUNK).zip(own.chunks_mut(CHUNK)).enumerate() {
        let (first, row) = (chunk * CHUNK, &mut row[..highest.len()]);
        for (truth, (record, holders)) in favourites.iter_mut().enumerate() {
            fill(truth, first, row);
            for ((&found, highest), own) in row.iter().zip(&mut *highest).zip(&mut *own) {
                let better = found > *highest;
                *highest = if better { found } else { *highest };
                *own = if better { truth as u32 } else { *own };
            }
            let most = row.iter().fold(0.0, |most, &found| if found > most { found } else { most });
            if most > *record {
                *record = most;
                holders.clear();
            }
            if most > 0.0 && most == *record {
                holders.extend((0..row.len()).filter(|&i| row[i] == most).map(|i| first + i));
            }
        }
    }

    let judge = |(&overlap, &own): (&f32, &u32)| match overlap {
        overlap if overlap >= FOREGROUND => Match::Truth(own),
        overlap if overlap < BACKGROUND => Match::Background,
        _ => Match::Between,
    };
    let mut matches: Vec<Match> = highest.iter().zip(&own).map(judge).collect();
    for anchor in favourites.into_iter().flat_map(|(_, holders)| holders) {
        matches[anchor] = Match::Truth(own[anchor]);
    }
    matches
}

#[cfg(test)]
mod tests {
    use super::Match::{Background, Between, Truth};
    use super::*;

    #[test]
    fn thresholds_belong_to_the_upper_side() {
        let overlaps = [0.9, 0.5, 0.499, 0.4, 0.399];
        let got = match_rows(5, 1, |_, _, row| row.copy_from_slice(&overlaps));
        assert_eq!(got, [Truth(0), Truth(0), Between, Between, Background]);
    }

    #[test]
    fn what_overlaps_nothing_matches_nothing() {
        let anchors = [[0.0, 0.0, 8.0, 8.0], [8.0, 0.0, 16.0, 8.0]];
        assert_eq!(matches(&anchors, &[]), [Background; 2]);
        assert_eq!(matches(&[], &anchors), []);
        for nowhere in [[3.0, 3.0, 3.0, 5.0], [20.0, 20.0, 24.0, 24.0], [f32::NAN; 4]] {
            assert_eq!(matches(&anchors, &[nowhere, anchors[1]]), [Background, Truth(1)]);
        }
    }

    /// The rule as it is written down: whole rows and columns of the matrix of overlaps. Boxes lie on a coarse grid, so
    /// that many overlaps are equal, and there are anchors for several chunks.
    #[test]
    fn many_anchors_match_by_the_rule() {
        let mut state = 1u32;
        let mut random = |below: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16) % below
        };
        let mut boxes = |count: usize| -> Vec<Bounds> {
            let mut one = || {
                let [x, y, w, h] = [random(30), random(30), 1 + random(9), 1 + random(9)];
                [x, y, x + w, y + h].map(|v| v as f32)
            };
            (0..count).map(|_| one()).collect()
        };
        for count in [1, 2, 9, 40] {
            let (anchors, truths) = (boxes(3 * CHUNK + 100), boxes(count));
            let highest = |truth: &Bounds| anchors.iter().map(|a| overlap(*a, *truth)).fold(0.0, f32::max);
            let highest: Vec<f32> = truths.iter().map(highest).collect();
            let want = anchors.iter().map(|anchor| {
                let column: Vec<f32> = truths.iter().map(|truth| overlap(*anchor, *truth)).collect();
                let most = column.iter().copied().fold(0.0, f32::max);
                let own = column.iter().position(|found| *found == most).map_or(Background, |own| Truth(own as u32));
                let is_favourite = (0..count).any(|truth| column[truth] > 0.0 && column[truth] == highest[truth]);
                if is_favourite || most >= 0.5 {
                    own
                } else if most < 0.4 {
                    Background
                } else {
                    Between
                }
            });
            assert_eq!(matches(&anchors, &truths), want.collect::<Vec<_>>(), "{count} true boxes");
        }
    }
}
