//! Converts between numpy's arrays and the library's pictures and values. Pictures are copied, since Python may change
//! its arrays while the GPU works.

use std::collections::BTreeMap;

use numpy::ndarray::{Array2, Array3, Array4, ArrayD, ArrayView3, Axis};
use numpy::{
    Element, IntoPyArray, PyArray2, PyArray3, PyArray4, PyReadonlyArray3, PyReadonlyArray4, PyUntypedArrayMethods,
};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use resnet_rs::weights::HostTensor;
use resnet_rs::{FeatureMap, Picture};

use crate::failed;

/// A tensor's elements row by row, for any strides, and its shape.
pub(crate) fn tensor(array: &PyReadonlyArray4<'_, f32>) -> PyResult<(Vec<f32>, [usize; 4])> {
    // Rust requires aligned floats; numpy allows others, for example np.frombuffer at an odd offset. Bytes need no
    // alignment.
    if !array.is_aligned() {
        return Err(PyValueError::new_err("the array is not aligned for float32: pass array.copy()"));
    }
    Ok((array.as_array().iter().copied().collect(), array.shape().try_into()?))
}

/// A picture `[H, W, 3]` or `[H, W, 4]`.
pub(crate) fn picture(array: &PyReadonlyArray3<'_, u8>) -> PyResult<Picture<'static>> {
    picture_of(array.as_array())
}

/// Pictures: a single one, an array `[N, H, W, 3 or 4]`, or any sequence of single ones.
pub(crate) fn pictures(pictures: &Bound<'_, PyAny>) -> PyResult<Vec<Picture<'static>>> {
    if let Ok(one) = pictures.extract::<PyReadonlyArray3<'_, u8>>() {
        return Ok(vec![picture(&one)?]);
    }
    if let Ok(stack) = pictures.extract::<PyReadonlyArray4<'_, u8>>() {
        return stack.as_array().axis_iter(Axis(0)).map(picture_of).collect();
    }
    let expected =
        |_| PyTypeError::new_err("pictures are numpy arrays of uint8, [H, W, 3 or 4], or a sequence of such");
    let one =
        |item: PyResult<Bound<'_, PyAny>>| picture(&item?.extract::<PyReadonlyArray3<'_, u8>>().map_err(expected)?);
    pictures.try_iter().map_err(expected)?.map(one).collect()
}

fn picture_of(view: ArrayView3<'_, u8>) -> PyResult<Picture<'static>> {
    let (height, width, channels) = view.dim();
    let refused = || PyValueError::new_err(format!("a picture is [H, W, 3] or [H, W, 4], this is {:?}", view.shape()));
    let size = [u32::try_from(width).map_err(|_| refused())?, u32::try_from(height).map_err(|_| refused())?];
    let bytes: Vec<u8> = view.iter().copied().collect();
    match channels {
        3 => Picture::rgb(&bytes, size, 3 * width).map_err(failed),
        4 => Picture::rgba(&bytes, size, 4 * width).map_err(failed),
        _ => Err(refused()),
    }
}

/// A file's pixels, `[H, W, 3]`.
pub(crate) fn pixels(py: Python<'_>, size: (u32, u32), rgb: Vec<u8>) -> PyResult<Bound<'_, PyArray3<u8>>> {
    let array = Array3::from_shape_vec([size.1 as usize, size.0 as usize, 3], rgb);
    Ok(array.map_err(|e| PyValueError::new_err(e.to_string()))?.into_pyarray(py))
}

/// Rows of `width` values, `[N, width]`.
pub(crate) fn rows(py: Python<'_>, values: Vec<f32>, width: usize) -> PyResult<Bound<'_, PyArray2<f32>>> {
    let array = Array2::from_shape_vec((values.len() / width, width), values);
    Ok(array.map_err(|e| PyValueError::new_err(e.to_string()))?.into_pyarray(py))
}

/// A value for each pixel of a picture of this width and height, `[H, W]`.
pub(crate) fn of_pixels<T: Element>(
    py: Python<'_>,
    (width, height): (u32, u32),
    values: Vec<T>,
) -> PyResult<Bound<'_, PyArray2<T>>> {
    let array = Array2::from_shape_vec([height as usize, width as usize], values);
    Ok(array.map_err(|e| PyValueError::new_err(e.to_string()))?.into_pyarray(py))
}

/// Tensors by name.
pub(crate) fn named(py: Python<'_>, tensors: BTreeMap<String, HostTensor>) -> PyResult<Bound<'_, PyDict>> {
    let named = PyDict::new(py);
    for (name, HostTensor { shape, data }) in tensors {
        let array = ArrayD::from_shape_vec(shape, data).map_err(|e| PyValueError::new_err(e.to_string()))?;
        named.set_item(name, array.into_pyarray(py))?;
    }
    Ok(named)
}

/// A map in timm's order, `[C, H, W]`.
pub(crate) fn map(py: Python<'_>, map: FeatureMap) -> PyResult<Bound<'_, PyArray3<f32>>> {
    let array = Array3::from_shape_vec(map.shape, map.data).map_err(|e| PyValueError::new_err(e.to_string()))?;
    Ok(array.permuted_axes([2, 0, 1]).into_pyarray(py))
}

/// Maps of several pictures, one array `[N, C, H, W]` per stride.
pub(crate) fn stacks<'py>(py: Python<'py>, pictures: &[[FeatureMap; 5]]) -> PyResult<Vec<Bound<'py, PyArray4<f32>>>> {
    let first =
        pictures.first().ok_or_else(|| PyValueError::new_err("there are no pictures to take the shapes from"))?;
    let stack = |(level, map): (usize, &FeatureMap)| {
        let ([height, width, channels], maps) = (map.shape, pictures.iter().map(|maps| &*maps[level].data));
        let data = maps.collect::<Vec<_>>().concat();
        let array = Array4::from_shape_vec([pictures.len(), height, width, channels], data);
        let array = array.map_err(|e| PyValueError::new_err(e.to_string()))?;
        Ok(array.permuted_axes([0, 3, 1, 2]).into_pyarray(py))
    };
    first.iter().enumerate().map(stack).collect()
}
