//! The Python interface: numpy in, numpy out, over the front door. `resnet_rs.pyi` documents it.

mod arrays;

use std::path::PathBuf;

use numpy::{IntoPyArray, PyArray2, PyArray3, PyArray4, PyReadonlyArray3, PyReadonlyArray4};
use pyo3::create_exception;
use pyo3::exceptions::{PyException, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyType};
use resnet_rs::gpu::adapters;
use resnet_rs::weights::hub::HubOptions;
use resnet_rs::{Gpu, GpuOptions, InferenceOptions, Precision};

create_exception!(resnet_rs, Error, PyException);

/// The library's error as a Python exception.
fn failed(error: impl Into<resnet_rs::Error>) -> PyErr {
    Error::new_err(error.into().with_causes())
}

/// Loads a network onto the adapter that `device` names, without holding the interpreter's lock. Also returns the
/// adapter's name.
fn load<N: Send>(
    py: Python<'_>,
    device: Option<String>,
    load: impl FnOnce(&Gpu) -> Result<N, resnet_rs::Error> + Send,
) -> PyResult<(N, String)> {
    py.detach(|| {
        let gpu = Gpu::new(&GpuOptions { device, ..GpuOptions::default() }).map_err(failed)?;
        let net = load(&gpu).map_err(failed)?;
        Ok((net, gpu.name().to_owned()))
    })
}

fn options(precision: &str, batch: usize) -> PyResult<InferenceOptions<'static>> {
    let precision = match precision {
        "f32" => Precision::F32,
        "f16" => Precision::F16,
        other => return Err(PyValueError::new_err(format!("precision is \"f32\" or \"f16\", this is {other:?}"))),
    };
    if batch == 0 {
        return Err(PyValueError::new_err("batch is at least 1"));
    }
    Ok(InferenceOptions { batch, precision, ..InferenceOptions::default() })
}

#[pyfunction]
fn devices() -> Vec<String> {
    adapters().into_iter().map(|adapter| adapter.name).collect()
}

#[pyfunction]
fn open_picture(py: Python<'_>, path: PathBuf) -> PyResult<Bound<'_, PyArray3<u8>>> {
    let picture = py.detach(|| resnet_rs::data::decode(&path)).map_err(failed)?;
    arrays::pixels(py, picture.dimensions(), picture.into_raw())
}

/// A Python class over the front door's predictor of the same name. `$own` are its own methods.
macro_rules! predictor {
    ($name:ident { $($own:tt)* }) => {
        #[pyclass(frozen, module = "resnet_rs")]
        struct $name {
            net: resnet_rs::$name,
            device: String,
        }

        #[pymethods]
        impl $name {
            #[new]
            #[pyo3(signature = (weights, *, device = None, precision = "f32", batch = 1))]
            fn new(
                py: Python<'_>,
                weights: PathBuf,
                device: Option<String>,
                precision: &str,
                batch: usize,
            ) -> PyResult<Self> {
                let options = options(precision, batch)?;
                let (net, device) = load(py, device, |gpu| resnet_rs::$name::load_with(gpu, weights, &options))?;
                Ok(Self { net, device })
            }

            #[classmethod]
            #[pyo3(signature = (repository, *, device = None, precision = "f32", batch = 1, offline = false))]
            fn from_hub(
                class: &Bound<'_, PyType>,
                repository: &str,
                device: Option<String>,
                precision: &str,
                batch: usize,
                offline: bool,
            ) -> PyResult<Self> {
                let (options, hub) = (options(precision, batch)?, HubOptions { offline, ..HubOptions::default() });
                let from_hub = |gpu: &Gpu| resnet_rs::$name::from_hub(gpu, repository, &hub, &options);
                let (net, device) = load(class.py(), device, from_hub)?;
                Ok(Self { net, device })
            }

            #[getter]
            fn device(&self) -> &str {
                &self.device
            }

            #[getter]
            fn res(&self) -> u32 {
                self.net.card().res
            }

            #[getter]
            fn crop_pct(&self) -> f64 {
                self.net.card().crop_pct
            }

            #[getter]
            fn interpolation(&self) -> &'static str {
                self.net.card().interpolation.name()
            }

            #[getter]
            fn crop_mode(&self) -> &'static str {
                self.net.card().crop_mode.name()
            }

            #[getter]
            fn mean(&self) -> (f32, f32, f32) {
                self.net.card().mean.into()
            }

            #[getter]
            fn std(&self) -> (f32, f32, f32) {
                self.net.card().std.into()
            }

            $($own)*
        }
    };
}

predictor!(Classifier {
    #[getter]
    fn classes(&self) -> &[String] {
        &self.net.card().classes
    }

    fn classify<'py>(&self, pictures: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = pictures.py();
        let single = pictures.extract::<PyReadonlyArray3<'_, u8>>().is_ok();
        let pictures = arrays::pictures(pictures)?;
        let predictions = py.detach(|| self.net.classify_all(pictures)).map_err(failed)?;
        let rows: Vec<f32> = predictions.iter().flat_map(|prediction| &prediction.probabilities).copied().collect();
        if single {
            return Ok(rows.into_pyarray(py).into_any());
        }
        Ok(arrays::rows(py, rows, self.net.card().config.classes)?.into_any())
    }

    #[pyo3(signature = (picture, k = 5))]
    fn top(&self, picture: PyReadonlyArray3<'_, u8>, k: usize) -> PyResult<Vec<(usize, String, f32)>> {
        let py = picture.py();
        let picture = arrays::picture(&picture)?;
        let prediction = py.detach(|| self.net.classify(picture)).map_err(failed)?;
        Ok(prediction.top(k).into_iter().map(|guess| (guess.class, guess.label, guess.probability)).collect())
    }

    fn logits<'py>(&self, x: PyReadonlyArray4<'py, f32>) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let py = x.py();
        let (x, shape) = arrays::tensor(&x)?;
        let logits = py.detach(|| self.net.logits(&x, shape)).map_err(failed)?;
        arrays::rows(py, logits, self.net.card().config.classes)
    }
});

/// A box with its class: index and name of the class, score, and left, top, right and bottom edge.
type Found = (usize, String, f32, (f32, f32, f32, f32));

fn found(detections: &resnet_rs::Detections, score: f32) -> Vec<Found> {
    let found = detections.above(score).iter();
    found.map(|found| (found.class, found.label.clone(), found.score, found.bounds.into())).collect()
}

predictor!(Detector {
    #[getter]
    fn classes(&self) -> &[String] {
        &self.net.card().classes
    }

    #[pyo3(signature = (picture, score = 0.5))]
    fn detect(&self, picture: PyReadonlyArray3<'_, u8>, score: f32) -> PyResult<Vec<Found>> {
        let py = picture.py();
        let picture = arrays::picture(&picture)?;
        let detections = py.detach(|| self.net.detect(picture)).map_err(failed)?;
        Ok(found(&detections, score))
    }

    #[pyo3(signature = (pictures, score = 0.5))]
    fn detect_all(&self, pictures: &Bound<'_, PyAny>, score: f32) -> PyResult<Vec<Vec<Found>>> {
        let py = pictures.py();
        let pictures = arrays::pictures(pictures)?;
        let all = py.detach(|| self.net.submit_all(pictures)?.wait()).map_err(failed)?;
        Ok(all.iter().map(|detections| found(detections, score)).collect())
    }

    fn outputs<'py>(&self, x: PyReadonlyArray4<'py, f32>) -> PyResult<Bound<'py, PyDict>> {
        let py = x.py();
        let (x, shape) = arrays::tensor(&x)?;
        arrays::named(py, py.detach(|| self.net.outputs(&x, shape)).map_err(failed)?)
    }
});

predictor!(Segmenter {
    #[getter]
    fn classes(&self) -> &[String] {
        &self.net.card().classes
    }

    fn segment<'py>(&self, picture: PyReadonlyArray3<'py, u8>) -> PyResult<Bound<'py, PyArray2<u16>>> {
        let py = picture.py();
        let picture = arrays::picture(&picture)?;
        let answer = py.detach(|| self.net.segment(picture)).map_err(failed)?;
        arrays::of_pixels(py, answer.classes.dimensions(), answer.classes.into_raw())
    }

    fn segment_all<'py>(&self, pictures: &Bound<'py, PyAny>) -> PyResult<Vec<Bound<'py, PyArray2<u16>>>> {
        let py = pictures.py();
        let pictures = arrays::pictures(pictures)?;
        let answers = py.detach(|| self.net.submit_all(pictures)?.wait()).map_err(failed)?;
        let array = |answer: resnet_rs::Segmentation| {
            arrays::of_pixels(py, answer.classes.dimensions(), answer.classes.into_raw())
        };
        answers.into_iter().map(array).collect()
    }

    fn outputs<'py>(&self, x: PyReadonlyArray4<'py, f32>) -> PyResult<Bound<'py, PyDict>> {
        let py = x.py();
        let (x, shape) = arrays::tensor(&x)?;
        arrays::named(py, py.detach(|| self.net.outputs(&x, shape)).map_err(failed)?)
    }
});

predictor!(DepthEstimator {
    fn estimate<'py>(&self, picture: PyReadonlyArray3<'py, u8>) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let py = picture.py();
        let picture = arrays::picture(&picture)?;
        let metres = py.detach(|| self.net.estimate(picture)).map_err(failed)?.metres;
        arrays::of_pixels(py, metres.dimensions(), metres.into_raw())
    }

    fn estimate_all<'py>(&self, pictures: &Bound<'py, PyAny>) -> PyResult<Vec<Bound<'py, PyArray2<f32>>>> {
        let py = pictures.py();
        let pictures = arrays::pictures(pictures)?;
        let answers = py.detach(|| self.net.submit_all(pictures)?.wait()).map_err(failed)?;
        let array = |answer: resnet_rs::Depths| {
            arrays::of_pixels(py, answer.metres.dimensions(), answer.metres.into_raw())
        };
        answers.into_iter().map(array).collect()
    }

    fn outputs<'py>(&self, x: PyReadonlyArray4<'py, f32>) -> PyResult<Bound<'py, PyDict>> {
        let py = x.py();
        let (x, shape) = arrays::tensor(&x)?;
        arrays::named(py, py.detach(|| self.net.outputs(&x, shape)).map_err(failed)?)
    }
});

predictor!(Features {
    fn extract<'py>(&self, picture: PyReadonlyArray3<'py, u8>) -> PyResult<Vec<Bound<'py, PyArray3<f32>>>> {
        let py = picture.py();
        let picture = arrays::picture(&picture)?;
        let maps = py.detach(|| self.net.extract(picture)).map_err(failed)?;
        maps.into_iter().map(|map| arrays::map(py, map)).collect()
    }

    fn extract_all<'py>(&self, pictures: &Bound<'py, PyAny>) -> PyResult<Vec<Bound<'py, PyArray4<f32>>>> {
        let py = pictures.py();
        let pictures = arrays::pictures(pictures)?;
        let maps = py.detach(|| self.net.extract_all(pictures)).map_err(failed)?;
        arrays::stacks(py, &maps)
    }
});

#[pymodule(name = "resnet_rs")]
fn python_module(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add("__version__", env!("CARGO_PKG_VERSION"))?;
    m.add("Error", m.py().get_type::<Error>())?;
    m.add_function(wrap_pyfunction!(devices, m)?)?;
    m.add_function(wrap_pyfunction!(open_picture, m)?)?;
    m.add_class::<Classifier>()?;
    m.add_class::<Detector>()?;
    m.add_class::<Segmenter>()?;
    m.add_class::<DepthEstimator>()?;
    m.add_class::<Features>()
}
