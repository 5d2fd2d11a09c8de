//! Pictures in textures on the device.

use std::fmt;

use super::Error;

/// A picture in a texture: a camera's frame, or an application's rendering. The GPU reads it in queue order, after
/// earlier submissions.
///
/// The texture must be of the network's device: an application's own is shared by [`crate::Gpu::from_wgpu`]. Its bytes
/// are taken as sRGB, like those of a picture file, whether the format says so (`Rgba8UnormSrgb`) or not
/// (`Rgba8Unorm`). For linear light in `Rgba8Unorm` call [`Self::linear`]. Alpha is ignored.
///
/// ```no_run
/// # fn example(net: &resnet_rs::Classifier, texture: &wgpu::Texture) -> Result<(), resnet_rs::Error> {
/// let best = net.classify(resnet_rs::Frame::new(texture)?)?.top(1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Frame {
    view: wgpu::TextureView,
    size: [u32; 2],
    /// Whether shaders see linear light.
    linear: bool,
}

impl Frame {
    /// The whole texture: its first layer at full size.
    ///
    /// ```no_run
    /// # fn example(net: &resnet_rs::Classifier, camera: &wgpu::Texture) -> Result<(), resnet_rs::Error> {
    /// let pending = net.submit(resnet_rs::Frame::new(camera)?)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If it is not two-dimensional with 8 bits per colour (`Rgba8Unorm`, `Bgra8Unorm` or their sRGB forms), is
    /// multisampled, or was made without the usage `TEXTURE_BINDING`.
    pub fn new(texture: &wgpu::Texture) -> Result<Self, Error> {
        check(texture, texture.format())?;
        let view = texture.create_view(&wgpu::TextureViewDescriptor {
            dimension: Some(wgpu::TextureViewDimension::D2),
            mip_level_count: Some(1),
            array_layer_count: Some(1),
            ..Default::default()
        });
        Ok(Self { view, size: [texture.width(), texture.height()], linear: texture.format().is_srgb() })
    }

    /// A view of a layer or mip level: `size` is its width and height, and `format` the one it was made with. It must
    /// be of dimension `D2`.
    ///
    /// ```no_run
    /// # fn example(cube: &wgpu::Texture) -> Result<(), resnet_rs::Error> {
    /// let face = cube.create_view(&wgpu::TextureViewDescriptor {
    ///     dimension: Some(wgpu::TextureViewDimension::D2),
    ///     base_array_layer: 3,
    ///     array_layer_count: Some(1),
    ///     ..Default::default()
    /// });
    /// let frame = resnet_rs::Frame::of_view(&face, [cube.width(), cube.height()], cube.format())?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The errors of [`Self::new`].
    pub fn of_view(view: &wgpu::TextureView, size: [u32; 2], format: wgpu::TextureFormat) -> Result<Self, Error> {
        check(view.texture(), format)?;
        let [width, height] = size;
        let (most_width, most_height) = (view.texture().width(), view.texture().height());
        if width == 0 || height == 0 || width > most_width || height > most_height {
            let problem =
                format!("has {most_width} x {most_height} pixels, a view of it cannot have {width} x {height}");
            return Err(Error::Frame { problem });
        }
        Ok(Self { view: view.clone(), size, linear: format.is_srgb() })
    }

    /// Takes the numbers as linear light, not sRGB: the output of a renderer without gamma in `Rgba8Unorm`.
    ///
    /// ```no_run
    /// # fn example(rendered: &wgpu::Texture) -> Result<(), resnet_rs::Error> {
    /// let frame = resnet_rs::Frame::new(rendered)?.linear();
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn linear(self) -> Self {
        Self { linear: true, ..self }
    }

    /// Width and height in pixels.
    ///
    /// ```no_run
    /// # fn example(frame: &resnet_rs::Frame) {
    /// let [width, height] = frame.size();
    /// # }
    /// ```
    pub fn size(&self) -> [u32; 2] {
        self.size
    }

    /// Whether shaders see linear light: from a linear texture, or decoded from an sRGB one.
    pub(crate) fn is_linear(&self) -> bool {
        self.linear
    }

    pub(super) fn view(&self) -> &wgpu::TextureView {
        &self.view
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frame").field("size", &self.size).field("linear", &self.linear).finish_non_exhaustive()
    }
}

fn check(texture: &wgpu::Texture, format: wgpu::TextureFormat) -> Result<(), Error> {
    use wgpu::TextureFormat::{Bgra8Unorm, Bgra8UnormSrgb, Rgba8Unorm, Rgba8UnormSrgb};
    let refused = |problem: String| Err(Error::Frame { problem });
    if !matches!(format, Rgba8Unorm | Rgba8UnormSrgb | Bgra8Unorm | Bgra8UnormSrgb) {
        return refused(format!(
            "has the format {format:?}: draw or copy it to one of Rgba8Unorm, Rgba8UnormSrgb, Bgra8Unorm, \
             Bgra8UnormSrgb"
        ));
    }
    if texture.dimension() != wgpu::TextureDimension::D2 {
        return refused(format!("has the dimension {:?} and not D2", texture.dimension()));
    }
    if texture.sample_count() != 1 {
        return refused(format!("has {} samples a pixel: resolve it first", texture.sample_count()));
    }
    if !texture.usage().contains(wgpu::TextureUsages::TEXTURE_BINDING) {
        return refused("was made without the usage TEXTURE_BINDING, by which shaders read it".into());
    }
    Ok(())
}
