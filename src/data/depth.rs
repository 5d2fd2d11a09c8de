//! `depth:DIR`: pictures and depths of the same names.

use std::path::Path;
use std::sync::Arc;

use super::pairs::{self, Files};
use super::split::Wanted;
use super::values::{Values, read_values};
use super::{Dataset, DepthMap, Error, Truth};

const DEPTHS: Files = Files { thing: "depth", folders: &["depth", "depths"] };

/// What form a depth should have.
const FORM: &str = "a PNG of 16-bit grey in millimetres, 0 where the depth is unknown";

/// Opens a folder of pictures and depths, which are used whole.
pub(super) fn open(directory: &Path, wanted: Wanted) -> Result<Dataset, Error> {
    let pairs = pairs::find(directory, &DEPTHS, wanted)?;
    Ok(pairs::dataset(pairs, Vec::new(), Arc::new(|path| Ok(Truth::Depth(read_depth(path)?)))))
}

/// Reads a depth.
fn read_depth(path: &Path) -> Result<DepthMap, Error> {
    let Values { size: (width, height), deep, numbers } = read_values(path, "depth", FORM)?;
    if !deep {
        let problem = format!("a depth of 8 bits a pixel or fewer, whose unit is unknown: save it as {FORM}");
        return Err(Error::invalid(path, problem));
    }
    let metres = numbers.into_iter().map(|millimetres| f32::from(millimetres) / 1000.0).collect();
    DepthMap::from_raw(width, height, metres).ok_or_else(|| Error::invalid(path, "a PNG without all of its rows"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use image::{GrayImage, ImageBuffer, Luma, RgbImage};

    use super::*;

    #[test]
    fn millimetres_become_metres_and_other_depths_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        for split in ["train", "val"] {
            for kind in ["images", "depth"] {
                std::fs::create_dir_all(folder.path().join(split).join(kind)).unwrap();
            }
            RgbImage::new(3, 1).save(folder.path().join(split).join("images/1.png")).unwrap();
            let depth = ImageBuffer::<Luma<u16>, _>::from_vec(3, 1, vec![0, 1250, 65535]).unwrap();
            depth.save(folder.path().join(split).join("depth/1.png")).unwrap();
        }
        let data = open(folder.path(), Wanted::Training).unwrap();
        let Truth::Depth(depth) = data.train.sample(0).unwrap().truth else { panic!("a depth") };
        assert_eq!((depth.into_raw(), data.classes.len()), (vec![0.0, 1.25, 65.535], 0));

        let path = folder.path().join("val/depth/1.png");
        let refused = || data.val.sample(0).err().unwrap().to_string();
        GrayImage::new(3, 1).save(&path).unwrap();
        assert!(refused().contains("1.png: a depth of 8 bits a pixel or fewer, whose unit is unknown: save it as"));
        RgbImage::new(3, 1).save(&path).unwrap();
        assert!(refused().contains("1.png: a depth with colours, Rgb, where one number a pixel"), "{}", refused());
        ImageBuffer::<Luma<u16>, _>::new(1, 3).save(&path).unwrap();
        assert!(refused().contains("1.png: it has 1 x 3 pixels, and its picture, turned upright, has 3 x 1"));
    }
}
