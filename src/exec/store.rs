//! Parameters and states on the device, by name. Sessions share them: a training step and its validation use the same
//! weights.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::{Error, layout};
use crate::gpu::{Buffer, Gpu};
use crate::graph::{Graph, Init, Layout, Role, Tensor};

/// Bytes that are transferred at a time.
const GROUP_BYTES: u64 = 64 << 20;

/// Number of tensors, from the first, that are transferred together; at least one.
fn group(sizes: impl Iterator<Item = u64>) -> usize {
    let sums = sizes.scan(0, |sum, bytes| {
        *sum += bytes;
        Some(*sum)
    });
    sums.take_while(|&sum| sum <= GROUP_BYTES).count().max(1)
}

/// Parameters and states on one device.
#[derive(Clone)]
pub struct ParameterStore {
    gpu: Gpu,
    entries: BTreeMap<String, (Tensor, Buffer)>,
}

impl ParameterStore {
    /// An empty store.
    pub fn new(gpu: &Gpu) -> Self {
        Self { gpu: gpu.clone(), entries: BTreeMap::new() }
    }

    /// The device.
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// Allocates the graph's parameters and states that the store does not hold yet, filled with zeros.
    pub fn allocate(&mut self, graph: &Graph) -> Result<(), Error> {
        for id in graph.persistent() {
            let tensor = graph.tensor(id);
            if !self.entries.contains_key(&tensor.name) {
                let buffer = self.gpu.allocate(&tensor.name, tensor.spec.bytes())?;
                self.entries.insert(tensor.name.clone(), (tensor.clone(), buffer));
            }
        }
        Ok(())
    }

    /// A store in which each name refers to the tensor with that name plus `suffix`, if there is one: used for a
    /// network over averaged weights.
    pub fn with_suffix(&self, suffix: &str) -> Self {
        let mut view = self.clone();
        for (name, (_, buffer)) in &mut view.entries {
            if let Some((_, other)) = self.entries.get(&format!("{name}{suffix}")) {
                *buffer = other.clone();
            }
        }
        view
    }

    /// All tensors, by name.
    pub fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        self.entries.values().map(|(tensor, _)| tensor)
    }

    /// Memory of a graph's parameter or state.
    pub(super) fn buffer(&self, tensor: &Tensor) -> Result<&Buffer, Error> {
        let problem = match self.entries.get(&tensor.name) {
            Some((stored, buffer)) if stored.spec == tensor.spec => return Ok(buffer),
            Some(_) => "has another shape or element type in the parameter store",
            None => "is not in the parameter store",
        };
        Err(Error::Tensor { tensor: tensor.name.clone(), problem })
    }

    /// Fills every tensor with its initial values, drawn from the seed and the tensor's name.
    pub fn initialize(&self, seed: u64) -> Result<(), Error> {
        for (tensor, _) in self.entries.values() {
            let (Role::Parameter(init) | Role::State(_, init)) = tensor.role else { continue };
            self.write(&tensor.name, &initial_values(tensor, init, seed))?;
        }
        Ok(())
    }

    /// Writes a tensor's logical values, rounded if it is stored in f16.
    pub fn write(&self, name: &str, values: &[f32]) -> Result<(), Error> {
        let (tensor, buffer) = self.entry(name)?;
        let bytes = layout::pack(tensor, values)?;
        Ok(self.gpu.upload(&[(buffer, 0, &bytes)])?)
    }

    /// Writes several tensors' logical values, a few dozen megabytes at a time.
    pub fn load(&self, values: &[(String, Vec<f32>)]) -> Result<(), Error> {
        let mut rest = values;
        while !rest.is_empty() {
            let (group, tail) = rest.split_at(group(rest.iter().map(|(_, values)| size_of_val(&values[..]) as u64)));
            let packed: Vec<(&Buffer, Vec<u8>)> = group
                .par_iter()
                .map(|(name, values)| {
                    let (tensor, buffer) = self.entry(name)?;
                    Ok((buffer, layout::pack(tensor, values)?))
                })
                .collect::<Result<_, Error>>()?;
            let writes: Vec<_> = packed.iter().map(|(buffer, bytes)| (*buffer, 0, &bytes[..])).collect();
            self.gpu.upload(&writes)?;
            rest = tail;
        }
        Ok(())
    }

    /// Reads a tensor's logical values.
    pub fn read(&self, name: &str) -> Result<Vec<f32>, Error> {
        let (tensor, buffer) = self.entry(name)?;
        let bytes = self.gpu.download(&[(buffer, 0, tensor.spec.bytes())])?.wait()?;
        Ok(layout::unpack(&tensor.spec, &bytes[0]))
    }

    /// Reads the logical values of all tensors that `wanted` picks, a few dozen megabytes at a time.
    pub fn read_all(&self, wanted: impl Fn(&Tensor) -> bool) -> Result<Vec<(&Tensor, Vec<f32>)>, Error> {
        let entries: Vec<&(Tensor, Buffer)> = self.entries.values().filter(|(tensor, _)| wanted(tensor)).collect();
        let mut values = Vec::with_capacity(entries.len());
        let mut rest = &entries[..];
        while !rest.is_empty() {
            let (group, tail) = rest.split_at(group(rest.iter().map(|(tensor, _)| tensor.spec.bytes())));
            let ranges: Vec<_> = group.iter().map(|(tensor, buffer)| (buffer, 0, tensor.spec.bytes())).collect();
            let read = self.gpu.download(&ranges)?.wait()?;
            values.extend(
                group.iter().zip(read).map(|((tensor, _), bytes)| (tensor, layout::unpack(&tensor.spec, &bytes))),
            );
            rest = tail;
        }
        Ok(values)
    }

    fn entry(&self, name: &str) -> Result<&(Tensor, Buffer), Error> {
        self.entries.get(name).ok_or_else(|| Error::Tensor {
            tensor: name.to_owned(),
            problem: "is not a parameter or state of this network",
        })
    }
}

/// Initial values of a tensor: a pure function of its name, shape and the seed.
pub(crate) fn initial_values(tensor: &Tensor, init: Init, seed: u64) -> Vec<f32> {
    use rand::{RngExt, SeedableRng};
    let hash = |h: u64, b: u8| (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01B3);
    let name_hash = tensor.name.bytes().fold(0xCBF2_9CE4_8422_2325, hash); // FNV-1a
    let mut rng = rand_pcg::Pcg64Mcg::seed_from_u64(seed ^ name_hash);
    let n = tensor.spec.elements();
    let deviation = match init {
        Init::Constant(value) => return vec![value; n],
        Init::Uniform { bound } => return (0..n).map(|_| bound * (2.0 * rng.random::<f32>() - 1.0)).collect(),
        Init::Normal { deviation } => f64::from(deviation),
        Init::KaimingFanOut => {
            let fan_out: usize = match tensor.spec.shape.as_slice() {
                taps if tensor.spec.layout == Layout::Depthwise => taps[..2].iter().product(),
                [taps @ .., _, out] => taps.iter().product::<usize>() * out,
                _ => unreachable!("only weights of layers have this initialisation"),
            };
            (2.0 / fan_out as f64).sqrt()
        }
    };
    // Box-Muller: one normal number from two uniform ones, the first never 0.
    let mut normal = || {
        let (u, v) = (1.0 - rng.random::<f64>(), rng.random::<f64>());
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    };
    (0..n).map(|_| (deviation * normal()) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Spec;

    #[test]
    fn kaiming_deviation_follows_fan_out() {
        let tensor = Tensor {
            name: "w".into(),
            spec: Spec::weights([3, 3, 16, 64]),
            role: Role::Parameter(Init::KaimingFanOut),
        };
        let values = initial_values(&tensor, Init::KaimingFanOut, 1);
        let n = values.len() as f64;
        let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
        let deviation = (values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n).sqrt();
        let expected = (2.0f64 / (9.0 * 64.0)).sqrt();
        // The deviation of n normal numbers has a relative error of about 1 / sqrt(2 n), 0.7 %; four times that is
        // allowed.
        assert!((deviation / expected - 1.0).abs() < 0.03, "{deviation} against {expected}");
        assert_ne!(values, initial_values(&tensor, Init::KaimingFanOut, 2));
    }
}
