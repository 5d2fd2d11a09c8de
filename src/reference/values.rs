//! Values of tensors, and the view of one tensor that the twins read.

use super::Error;
use crate::graph::{Graph, TensorId};

/// Values of a graph's tensors: logical elements, row-major, without channel padding.
#[derive(Clone, Debug, Default)]
pub struct Values(Vec<Option<Vec<f64>>>);

impl Values {
    /// Starts without a value for any tensor.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives a tensor its elements, in the order of its shape.
    ///
    /// # Errors
    /// If the number of elements is not that of the tensor's shape.
    pub fn set(&mut self, graph: &Graph, id: TensorId, elements: Vec<f64>) -> Result<(), Error> {
        check_count(graph, id, elements.len())?;
        if self.0.len() <= id.index() {
            self.0.resize(graph.tensors().len().max(id.index() + 1), None);
        }
        self.0[id.index()] = Some(elements);
        Ok(())
    }

    /// A tensor's elements, if it has been set or computed.
    pub fn get(&self, id: TensorId) -> Option<&[f64]> {
        self.0.get(id.index())?.as_deref()
    }

    /// Removes a tensor's elements and returns them.
    pub fn take(&mut self, id: TensorId) -> Option<Vec<f64>> {
        self.0.get_mut(id.index())?.take()
    }

    /// A tensor's elements with its shape.
    pub(super) fn view<'a>(&'a self, graph: &'a Graph, id: TensorId) -> Result<View<'a>, Error> {
        let tensor = graph.tensor(id);
        let missing = || Error::Missing { tensor: tensor.name.clone(), shape: tensor.spec.shape.clone() };
        let data = self.get(id).ok_or_else(missing)?;
        check_count(graph, id, data.len())?;
        Ok(View { shape: &tensor.spec.shape, data })
    }
}

fn check_count(graph: &Graph, id: TensorId, got: usize) -> Result<(), Error> {
    let tensor = graph.tensor(id);
    let expected = tensor.spec.elements();
    if got == expected {
        return Ok(());
    }
    Err(Error::Count { tensor: tensor.name.clone(), shape: tensor.spec.shape.clone(), expected, got })
}

/// One tensor as the twins read it.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    /// Logical dimensions, checked by the graph's shape rules.
    pub(super) shape: &'a [usize],
    /// The elements of that shape, row-major.
    pub(super) data: &'a [f64],
}

impl View<'_> {
    /// The dimensions. The graph's shape rules guarantee that there are `N`.
    pub(super) fn dims<const N: usize>(&self) -> [usize; N] {
        std::array::from_fn(|i| self.shape[i])
    }

    /// The last dimension.
    pub(super) fn channels(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::run;
    use super::*;
    use crate::graph::Spec;
    use crate::graph::op::GlobalAvgPool;

    #[test]
    fn errors_name_the_tensor_and_its_shape() {
        let mut graph = Graph::new();
        let x = graph.input("x", Spec::channels([1, 2, 2, 3])).unwrap();
        let y = graph.apply1("pool", GlobalAvgPool::TO_FEATURES, &[x]).unwrap();
        let mut values = Values::new();
        let missing = run(&graph, &mut values).unwrap_err().to_string();
        assert!(missing.contains("x of shape [1, 2, 2, 3]"), "{missing}");
        let count = values.set(&graph, x, vec![0.0; 16]).unwrap_err().to_string();
        assert!(count.contains("takes 12 values, got 16"), "{count}");
        values.set(&graph, x, (0..12).map(f64::from).collect()).unwrap();
        run(&graph, &mut values).unwrap();
        assert_eq!(values.get(y).unwrap(), [4.5, 5.5, 6.5]);
        assert_eq!(values.take(y).unwrap().len(), 3);
        assert!(values.get(y).is_none());
    }
}
