//! What an inspection finds in depths.

use serde::Serialize;

use super::{Known, Named, Seen};
use crate::data::DepthMap;

/// What an inspection finds in depths.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DepthFacts {
    /// The least and the greatest known depth, m; `None` if none is known.
    pub metres: Option<[f32; 2]>,
    /// The share of pixels whose depth is unknown, from 0 to 1.
    pub unknown: f64,
    /// Pictures without any known depth.
    pub empty: Vec<Named>,
}

/// What is kept of a picture's depths.
pub(super) struct Range {
    /// The least and the greatest known depth, m.
    metres: Option<[f32; 2]>,
    unknown: u64,
    pixels: u64,
}

impl Range {
    pub(super) fn of(depth: &DepthMap) -> Self {
        let known = || depth.iter().copied().filter(|&metres| metres > 0.0);
        let metres = known().map(|metres| [metres; 2]).reduce(wider);
        let pixels = depth.len() as u64;
        Self { metres, unknown: pixels - known().count() as u64, pixels }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.metres.is_none()
    }
}

/// The range that covers both.
fn wider([least, most]: [f32; 2], [other_least, other_most]: [f32; 2]) -> [f32; 2] {
    [least.min(other_least), most.max(other_most)]
}

impl DepthFacts {
    pub(super) fn of(seen: &[Seen], name: &dyn Fn(&Seen) -> String) -> Self {
        let ranges = seen.iter().filter_map(|seen| match &seen.known {
            Known::Depth(range) => Some((seen, range)),
            _ => None,
        });
        let [mut unknown, mut pixels] = [0, 0];
        let (mut metres, mut empty): (Option<[f32; 2]>, _) = (None, vec![]);
        for (seen, range) in ranges {
            unknown += range.unknown;
            pixels += range.pixels;
            match range.metres {
                Some(own) => metres = Some(metres.map_or(own, |so_far| wider(so_far, own))),
                None => empty.push(Named { picture: name(seen), note: "every depth is unknown".to_owned() }),
            }
        }
        Self { metres, unknown: unknown as f64 / pixels.max(1) as f64, empty }
    }
}
