//! A picture in a texture of the window's device: egui draws it, and the network sees it.

use eframe::egui;
use eframe::egui_wgpu::RenderState;
use eframe::wgpu;
use image::RgbaImage;

pub(crate) struct PictureTexture {
    texture: wgpu::Texture,
    id: egui::TextureId,
    render_state: RenderState,
}

impl PictureTexture {
    pub(crate) fn new(render_state: &RenderState, picture: &RgbaImage) -> Self {
        let (width, height) = picture.dimensions();
        let texture = render_state.device.create_texture(&wgpu::TextureDescriptor {
            label: Some("picture"),
            size: wgpu::Extent3d { width, height, depth_or_array_layers: 1 },
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format: wgpu::TextureFormat::Rgba8UnormSrgb,
            usage: wgpu::TextureUsages::TEXTURE_BINDING | wgpu::TextureUsages::COPY_DST,
            view_formats: &[],
        });
        let rows = wgpu::TexelCopyBufferLayout { offset: 0, bytes_per_row: Some(4 * width), rows_per_image: None };
        render_state.queue.write_texture(texture.as_image_copy(), picture, rows, texture.size());
        let view = texture.create_view(&wgpu::TextureViewDescriptor::default());
        let id = render_state.renderer.write().register_native_texture(
            &render_state.device,
            &view,
            wgpu::FilterMode::Linear,
        );
        Self { texture, id, render_state: render_state.clone() }
    }

    pub(crate) fn texture(&self) -> &wgpu::Texture {
        &self.texture
    }

    /// For egui to draw.
    pub(crate) fn sized(&self) -> egui::load::SizedTexture {
        egui::load::SizedTexture::new(self.id, [self.texture.width() as f32, self.texture.height() as f32])
    }
}

impl Drop for PictureTexture {
    fn drop(&mut self) {
        self.render_state.renderer.write().free_texture(&self.id);
    }
}
