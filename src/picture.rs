//! Pictures from an application: files, memory, textures.

use std::borrow::Cow;

use image::{DynamicImage, RgbImage};

use crate::data::View;
use crate::gpu::Frame;

/// A picture of any size: a file (`Picture::open`, with the feature `pictures`), an [`image::DynamicImage`], an
/// [`image::RgbImage`], pixels in memory ([`Picture::rgba`]), or a texture ([`Frame`]). Alpha is ignored.
///
/// ```
/// use resnet_rs::Picture;
///
/// let red = [255, 0, 0, 255].repeat(6);
/// let picture = Picture::rgba(&red, [3, 2], 12)?;
/// assert!(Picture::rgba(&red, [3, 3], 12).is_err(), "a third row is not there");
/// # Ok::<(), resnet_rs::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Picture<'a>(pub(crate) Pixels<'a>);

/// Where a picture's pixels are.
#[derive(Clone, Debug)]
pub(crate) enum Pixels<'a> {
    Host(Cow<'a, RgbImage>),
    Device(Frame),
    /// Resized and cropped already.
    Prepared(Prepared),
}

/// A picture as a network's input.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    pub(crate) input: RgbImage,
    /// How it was resized and cropped.
    pub(crate) view: View,
    /// Width and height before that.
    pub(crate) size: [u32; 2],
}

/// Why something cannot be used as a picture.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It has no pixels.
    #[error("a picture of {width} x {height} pixels: there is nothing to look at")]
    Empty {
        /// Its width in pixels.
        width: u32,
        /// Its height in pixels.
        height: u32,
    },
    /// The rows overlap.
    #[error("rows of {width} pixels take {row_bytes} bytes, more than the stride of {stride_bytes}")]
    Stride {
        /// Width in pixels.
        width: u32,
        /// Least number of bytes in a row.
        row_bytes: usize,
        /// Bytes from the start of a row to that of the next.
        stride_bytes: usize,
    },
    /// There are fewer bytes than the size says.
    #[error(
        "a picture of {width} x {height} pixels with rows {stride_bytes} bytes apart takes {needed} bytes, there are \
         {got}"
    )]
    Bytes {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// Bytes from the start of a row to that of the next.
        stride_bytes: usize,
        /// Bytes needed.
        needed: u128,
        /// Bytes given.
        got: usize,
    },
    /// The content of the file cannot be decoded.
    #[cfg(feature = "pictures")]
    #[error("not a usable picture: {problem}")]
    Undecodable {
        /// What is wrong with it.
        problem: String,
    },
    /// It was prepared for a network with another size or crop.
    #[error("a picture was prepared for a network of another size or crop: let this one prepare it")]
    Prepared,
    /// A tensor does not have the form of standardised pictures.
    #[error("a tensor of shape {shape:?} with {got} elements is not [N, 3, H, W], each at least 1 and all of it there")]
    Tensor {
        /// The shape.
        shape: [usize; 4],
        /// Elements given.
        got: usize,
    },
}

impl Picture<'_> {
    /// Opens a file: JPEG, PNG, WebP, GIF, BMP or TIFF, upright as its EXIF data or XMP say, as the program's `predict`
    /// does.
    ///
    /// ```no_run
    /// # fn example(net: &resnet_rs::Classifier) -> Result<(), resnet_rs::Error> {
    /// let best = &net.classify(resnet_rs::Picture::open("cat.jpg")?)?.top(1)[0];
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The errors of [`data::decode`](crate::data::decode).
    #[cfg(feature = "pictures")]
    pub fn open(path: impl AsRef<std::path::Path>) -> Result<Picture<'static>, crate::Error> {
        Ok(crate::data::decode(path.as_ref())?.into())
    }

    /// Decodes the content of a file, as [`Self::open`] does.
    ///
    /// ```no_run
    /// # fn example(upload: &[u8]) -> Result<(), resnet_rs::Error> {
    /// let picture = resnet_rs::Picture::decode(upload)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If it is not a picture, is damaged, has more than 32,768 pixels a side, takes more than 512 MiB decoded, or
    /// needs more memory to decode than 256 MiB plus 20 times the size of its content.
    #[cfg(feature = "pictures")]
    pub fn decode(content: &[u8]) -> Result<Picture<'static>, crate::Error> {
        let picture = crate::data::decode_bytes(content).map_err(|problem| Error::Undecodable { problem })?;
        Ok(picture.into())
    }

    /// Copies the 8-bit RGBA pixels of a picture of `[width, height]`, whose rows start `stride_bytes` apart.
    ///
    /// ```
    /// // Two rows of three pixels; what lies between the rows, as some cameras leave it, is not looked at.
    /// let camera = [10, 20, 30, 255].repeat(7);
    /// let picture = resnet_rs::Picture::rgba(&camera, [3, 2], 16)?;
    /// # Ok::<(), resnet_rs::Error>(())
    /// ```
    ///
    /// # Errors
    /// If there are no pixels, rows overlap, or there are too few bytes for this size.
    pub fn rgba(bytes: &[u8], size: [u32; 2], stride_bytes: usize) -> Result<Picture<'static>, crate::Error> {
        Ok(rgb_of::<4>(bytes, size, stride_bytes)?.into())
    }

    /// Copies 8-bit RGB pixels, with the arguments of [`Self::rgba`].
    ///
    /// ```
    /// let grey = resnet_rs::Picture::rgb(&[128; 640 * 480 * 3], [640, 480], 640 * 3)?;
    /// # Ok::<(), resnet_rs::Error>(())
    /// ```
    ///
    /// # Errors
    /// The errors of [`Self::rgba`].
    pub fn rgb(bytes: &[u8], size: [u32; 2], stride_bytes: usize) -> Result<Picture<'static>, crate::Error> {
        Ok(rgb_of::<3>(bytes, size, stride_bytes)?.into())
    }

    /// Width and height in pixels; of a prepared picture, those that it had before.
    ///
    /// ```no_run
    /// # fn example() -> Result<(), resnet_rs::Error> {
    /// let [width, height] = resnet_rs::Picture::open("cat.jpg")?.size();
    /// # Ok(())
    /// # }
    /// ```
    pub fn size(&self) -> [u32; 2] {
        match &self.0 {
            Pixels::Host(picture) => picture.dimensions().into(),
            Pixels::Prepared(prepared) => prepared.size,
            Pixels::Device(frame) => frame.size(),
        }
    }
}

/// Pixels of `BYTES` bytes each, of which red, green and blue come first.
fn rgb_of<const BYTES: usize>(bytes: &[u8], [width, height]: [u32; 2], stride_bytes: usize) -> Result<RgbImage, Error> {
    let (w, h) = (width as usize, height as usize);
    if w == 0 || h == 0 {
        return Err(Error::Empty { width, height });
    }
    let row_bytes = w.saturating_mul(BYTES);
    if stride_bytes < row_bytes {
        return Err(Error::Stride { width, row_bytes, stride_bytes });
    }
    // The last row needs no padding.
    let needed = stride_bytes as u128 * (h as u128 - 1) + row_bytes as u128;
    if needed > bytes.len() as u128 {
        return Err(Error::Bytes { width, height, stride_bytes, needed, got: bytes.len() });
    }
    let rows = bytes.chunks(stride_bytes).take(h).map(|row| &row[..row_bytes]);
    let rgb =
        rows.flat_map(|row| row.as_chunks::<BYTES>().0).flat_map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect();
    RgbImage::from_raw(width, height, rgb).ok_or(Error::Empty { width, height })
}

impl From<RgbImage> for Picture<'_> {
    fn from(picture: RgbImage) -> Self {
        Self(Pixels::Host(Cow::Owned(picture)))
    }
}

impl<'a> From<&'a RgbImage> for Picture<'a> {
    fn from(picture: &'a RgbImage) -> Self {
        Self(Pixels::Host(Cow::Borrowed(picture)))
    }
}

impl<'a> From<&'a DynamicImage> for Picture<'a> {
    fn from(picture: &'a DynamicImage) -> Self {
        match picture.as_rgb8() {
            Some(rgb) => rgb.into(),
            None => picture.to_rgb8().into(),
        }
    }
}

impl From<DynamicImage> for Picture<'_> {
    fn from(picture: DynamicImage) -> Self {
        picture.into_rgb8().into()
    }
}

impl From<Frame> for Picture<'_> {
    fn from(frame: Frame) -> Self {
        Self(Pixels::Device(frame))
    }
}

impl From<&Frame> for Picture<'_> {
    fn from(frame: &Frame) -> Self {
        frame.clone().into()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_by_their_stride() {
        // Two rows of two pixels, 9 bytes apart; the last row has no padding.
        let bytes: Vec<u8> = (0..17).collect();
        let picture = rgb_of::<4>(&bytes, [2, 2], 9).unwrap();
        assert_eq!(picture.into_raw(), [0, 1, 2, 4, 5, 6, 9, 10, 11, 13, 14, 15]);
        assert_eq!(rgb_of::<3>(&bytes, [2, 2], 9).unwrap().into_raw(), [0, 1, 2, 3, 4, 5, 9, 10, 11, 12, 13, 14]);
    }

    #[test]
    fn what_is_not_there_is_refused() {
        let refused = |size, stride| rgb_of::<4>(&[0; 16], size, stride).unwrap_err().to_string();
        assert!(refused([0, 7], 0).contains("nothing to look at"));
        assert!(refused([2, 2], 7).contains("more than the stride of 7"));
        assert!(refused([2, 2], 9).contains("takes 17 bytes, there are 16"));
        assert!(refused([u32::MAX, u32::MAX], usize::MAX).contains("there are 16"));
    }
}
