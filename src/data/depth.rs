//! `depth:DIR`: pictures and depths of the same names. `nyu:DIR`: the same for NYU Depth v2, of which parts are used.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use image::Luma;

use super::pairs::{self, Files};
use super::split::Wanted;
use super::values::{Values, read_values};
use super::{Dataset, DepthMap, Error, Sample, Source, Truth};

const DEPTHS: Files = Files { thing: "depth", folders: &["depth", "depths"] };

/// What form a depth should have.
const FORM: &str = "a PNG of 16-bit grey in millimetres, 0 where the depth is unknown";

/// Opens a folder of pictures and depths, which are used whole.
pub(super) fn open(directory: &Path, wanted: Wanted) -> Result<Dataset, Error> {
    let pairs = pairs::find(directory, &DEPTHS, wanted)?;
    Ok(pairs::dataset(pairs, Vec::new(), Arc::new(|path| Ok(Truth::Depth(read_depth(path)?)))))
}

/// Width and height of NYU Depth v2's pictures, px. They have a white border, where they were straightened.
const NYU: (u32, u32) = (640, 480);
/// Columns and rows within that border, on which networks are trained (BTS; Monocular-Depth-Estimation-Toolbox).
static WITHIN_BORDER: [Range<u32>; 2] = [43..608, 45..472];
/// Columns and rows on which networks are compared (Eigen et al. 2014).
static EIGEN: [Range<u32>; 2] = [41..601, 45..471];

/// Opens NYU Depth v2, laid out as `depth:DIR`. Pictures stay as they are, so that training and validation show objects
/// in one size. Depths are known in parts alone: of training pictures within their white border, of validation pictures
/// within Eigen's crop, so that errors are those of other publications.
pub(super) fn open_nyu(directory: &Path, wanted: Wanted) -> Result<Dataset, Error> {
    let data = open(directory, wanted)?;
    let known = |pictures, within| -> Arc<dyn Source> { Arc::new(Nyu { pictures, within }) };
    Ok(Dataset { train: known(data.train, &WITHIN_BORDER), val: known(data.val, &EIGEN), ..data })
}

/// Pictures of NYU Depth v2 whose depth is known within these columns and rows.
struct Nyu {
    pictures: Arc<dyn Source>,
    within: &'static [Range<u32>; 2],
}

impl Source for Nyu {
    fn len(&self) -> usize {
        self.pictures.len()
    }

    fn sample(&self, index: usize) -> Result<Sample, Error> {
        let Sample { image, mut truth } = self.pictures.sample(index)?;
        let (width, height) = image.dimensions();
        if (width, height) != NYU {
            let problem = format!(
                "{width} x {height} px, but nyu:DIR is for NYU Depth v2, whose pictures have {} x {} px: give \
                 depth:DIR",
                NYU.0, NYU.1
            );
            return Err(Error::invalid(self.name(index), problem));
        }
        if let Truth::Depth(depth) = &mut truth {
            let [columns, rows] = self.within;
            let outside = |x: u32, y: u32| !columns.contains(&x) || !rows.contains(&y);
            let unknown = depth.enumerate_pixels_mut().filter(|(x, y, _)| outside(*x, *y));
            unknown.for_each(|(.., metres)| *metres = Luma([0.0]));
        }
        Ok(Sample { image, truth })
    }

    fn name(&self, index: usize) -> String {
        self.pictures.name(index)
    }

    fn names(&self) -> Option<Vec<String>> {
        self.pictures.names()
    }

    fn are_files(&self) -> bool {
        self.pictures.are_files()
    }

    fn bytes(&self, index: usize) -> Option<Result<Vec<u8>, Error>> {
        self.pictures.bytes(index)
    }
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

        let other = open_nyu(folder.path(), Wanted::Training).unwrap().val.sample(0).err().unwrap().to_string();
        assert!(other.contains("1.png: 3 x 1 px, but nyu:DIR is for NYU Depth v2, whose pictures have 640 x 480 px"));

        let path = folder.path().join("val/depth/1.png");
        let refused = || data.val.sample(0).err().unwrap().to_string();
        GrayImage::new(3, 1).save(&path).unwrap();
        assert!(refused().contains("1.png: a depth of 8 bits a pixel or fewer, whose unit is unknown: save it as"));
        RgbImage::new(3, 1).save(&path).unwrap();
        assert!(refused().contains("1.png: a depth with colours, Rgb, where one number a pixel"), "{}", refused());
        ImageBuffer::<Luma<u16>, _>::new(1, 3).save(&path).unwrap();
        assert!(refused().contains("1.png: it has 1 x 3 pixels, and its picture, turned upright, has 3 x 1"));
    }

    #[test]
    fn nyu_is_known_in_parts() {
        let folder = tempfile::tempdir().unwrap();
        // A picture and a depth that tell their columns and rows.
        let picture = RgbImage::from_fn(640, 480, |x, y| image::Rgb([(x / 3) as u8, (y / 2) as u8, 0]));
        let depth = ImageBuffer::<Luma<u16>, _>::from_fn(640, 480, |x, y| Luma([(1000 + x + 50 * y) as u16]));
        for split in ["train", "val"] {
            for kind in ["images", "depth"] {
                std::fs::create_dir_all(folder.path().join(split).join(kind)).unwrap();
            }
            picture.save(folder.path().join(split).join("images/1.png")).unwrap();
            depth.save(folder.path().join(split).join("depth/1.png")).unwrap();
        }
        let data = open_nyu(folder.path(), Wanted::Training).unwrap();
        let metres = |x: u32, y: u32| (1000 + x + 50 * y) as f32 / 1000.0;
        let sample = |source: &Arc<dyn Source>| match source.sample(0).unwrap() {
            Sample { image, truth: Truth::Depth(depth) } => (image, depth),
            _ => panic!("a depth"),
        };
        let known_from_to = |source: &Arc<dyn Source>| {
            let (image, depth) = sample(source);
            assert_eq!(image, picture);
            let known = depth.enumerate_pixels().filter(|(.., metres)| metres[0] > 0.0);
            let known: Vec<[u32; 2]> = known.map(|(x, y, _)| [x, y]).collect();
            let last = known[known.len() - 1];
            assert_eq!(depth.get_pixel(last[0], last[1])[0], metres(last[0], last[1]));
            (known[0], last, known.len())
        };
        assert_eq!(known_from_to(&data.train), ([43, 45], [607, 471], 565 * 427));
        assert_eq!(known_from_to(&data.val), ([41, 45], [600, 470], 560 * 426));
    }
}
