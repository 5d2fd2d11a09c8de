//! A network's outputs as PyTorch's networks return them.

use std::collections::BTreeMap;

use super::HostTensor;
use crate::boxes::PER_CELL;

/// Shape and elements of an output.
type Map<'m> = (&'m [usize], Vec<f32>);

/// Outputs by name, of which `described` has names and shapes, and `values` the elements. Maps `[N, H, W, C]` become
/// `[N, C, H, W]`. If several have the same name, they are the levels of a detector, finest first, and become one
/// tensor `[N, A, C / 9]` for the A anchors of all levels.
pub(crate) fn named_outputs(
    described: &[(&'static str, Vec<usize>)],
    values: Vec<Vec<f32>>,
) -> BTreeMap<String, HostTensor> {
    let mut groups: BTreeMap<&str, Vec<Map<'_>>> = BTreeMap::new();
    for ((name, shape), data) in described.iter().zip(values) {
        groups.entry(name).or_default().push((shape, data));
    }
    let tensor = |mut maps: Vec<Map<'_>>| match (maps.len(), maps[0].0) {
        (1, &[n, h, w, c]) => HostTensor { shape: vec![n, c, h, w], data: channels_first(&maps[0].1, h * w, c) },
        (1, shape) => HostTensor { shape: shape.to_vec(), data: maps.swap_remove(0).1 },
        _ => joined(&maps),
    };
    groups.into_iter().map(|(name, maps)| (name.to_owned(), tensor(maps))).collect()
}

/// Pictures `[H * W, C]` as `[C, H * W]`.
fn channels_first(data: &[f32], pixels: usize, channels: usize) -> Vec<f32> {
    let of_channel =
        |picture: &'_ [f32], c: usize| picture.iter().skip(c).step_by(channels).copied().collect::<Vec<_>>();
    let pictures = data.chunks(pixels * channels);
    pictures.flat_map(|picture| (0..channels).flat_map(move |c| of_channel(picture, c))).collect()
}

/// The levels of a detector, of each picture one after the other. An anchor's numbers are neighbours already.
fn joined(levels: &[Map<'_>]) -> HostTensor {
    let (shape, _) = levels[0];
    let (n, numbers) = (shape[0], shape[shape.len() - 1] / PER_CELL);
    let of_picture = |picture| {
        levels.iter().flat_map(move |(_, data)| data[picture * (data.len() / n)..][..data.len() / n].iter().copied())
    };
    let data: Vec<f32> = (0..n).flat_map(of_picture).collect();
    HostTensor { shape: vec![n, data.len() / n / numbers, numbers], data }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_in_pytorchs_order() {
        let count = |n: usize| (0..n).map(|v| v as f32).collect::<Vec<_>>();
        let classes = named_outputs(&[("logits", vec![2, 5])], vec![count(10)]);
        assert_eq!(classes["logits"], HostTensor { shape: vec![2, 5], data: count(10) });

        let maps = named_outputs(&[("logits", vec![2, 1, 2, 3])], vec![count(12)]);
        let want = [0.0, 3.0, 1.0, 4.0, 2.0, 5.0, 6.0, 9.0, 7.0, 10.0, 8.0, 11.0];
        assert_eq!(maps["logits"], HostTensor { shape: vec![2, 3, 1, 2], data: want.to_vec() });

        // Two pictures, two levels of 2 and 1 cells, 2 classes.
        let described = [("logits", vec![2, 1, 2, 18]), ("logits", vec![2, 1, 1, 18])];
        let of_level = |level: f32, cells: usize| count(2 * cells * 18).iter().map(|v| v + level).collect();
        let levels = named_outputs(&described, vec![of_level(0.0, 2), of_level(1000.0, 1)]);
        let levels = &levels["logits"];
        assert_eq!(levels.shape, [2, 27, 2]);
        assert_eq!((levels.data[35], levels.data[36], levels.data[54], levels.data[107]), (35.0, 1000.0, 36.0, 1035.0));
    }
}
