//! Resizes frames on the device into a network's packed input pixels.

use std::sync::Arc;

use super::Error;
use crate::gpu::{Buffer, Frame, Gpu, Pipeline};
use crate::graph::op::OFFSET_ALIGNMENT_BYTES;
use crate::kernels::frame::{Crop, Passes, kernels};

/// Where the parameters of the second pass start.
const PARAMS_STRIDE: u64 = 256;

/// The two passes, ready to run.
pub(super) struct FrameResizer {
    gpu: Gpu,
    pipelines: Vec<Arc<Pipeline>>,
    params: Buffer,
    /// Result of the first pass, input of the second; as large as the largest frame so far needed.
    rows: Buffer,
}

impl FrameResizer {
    pub(super) fn new(gpu: &Gpu) -> Result<Self, Error> {
        let pipelines = gpu.compile(&kernels().map(|kernel| kernel.source()), &|_, _| {})?;
        let params = gpu.allocate_uniform("frame parameters", 2 * PARAMS_STRIDE)?;
        Ok(Self { gpu: gpu.clone(), pipelines, params, rows: gpu.allocate("rows of a frame", 0)? })
    }

    /// Writes a frame's crop into `pixels` as the picture of this `index`.
    pub(super) fn resize(&mut self, frame: &Frame, crop: &Crop, pixels: &Buffer, index: usize) -> Result<(), Error> {
        let picture_bytes = 4 * crop.size.map(u64::from).iter().product::<u64>();
        // Bindings must be aligned; pictures need not be.
        let start = index as u64 * picture_bytes;
        let offset = start / OFFSET_ALIGNMENT_BYTES * OFFSET_ALIGNMENT_BYTES;
        let Passes { rows_bytes, rows, columns } = crop.passes(frame.is_linear(), ((start - offset) / 4) as u32);
        if self.rows.bytes() < rows_bytes {
            self.rows = self.gpu.allocate("rows of a frame", rows_bytes)?;
        }
        let [of_rows, of_columns] = [&rows, &columns].map(|pass| pass.params.bits());
        self.gpu.upload(&[
            (&self.params, 0, bytemuck::cast_slice(&of_rows)),
            (&self.params, PARAMS_STRIDE, bytemuck::cast_slice(&of_columns)),
        ])?;
        let rows_range = (&self.rows, 0, rows_bytes);
        let result = (pixels, offset, start - offset + picture_bytes);
        let of_rows = [(&self.params, 0, PARAMS_STRIDE), rows_range];
        let of_columns = [(&self.params, PARAMS_STRIDE, PARAMS_STRIDE), rows_range, result];
        let columns = self.gpu.bind(&self.pipelines[1], &of_columns, columns.workgroups)?;
        self.gpu.with_frame(|| {
            let rows = self.gpu.bind_frame(&self.pipelines[0], &of_rows, frame, rows.workgroups)?;
            self.gpu.submit([&rows, &columns]).map(drop)
        })?;
        Ok(())
    }
}
