//! Folding: computes the parameters of a network for inference from those of the trained network.

use std::collections::{HashMap, HashSet};

use super::{Error, Values, run_node};
use crate::graph::TensorId;
use crate::graph::freeze::Frozen;

/// Returns the parameters of a frozen network with their names, in the order of [`crate::graph::Graph::persistent`].
/// `values` are all parameters and statistics of the network before freezing. Each parameter is copied, or folded in
/// f64 by the operations' twins. Arguments and results are logical elements, row-major in the tensors' shapes.
///
/// # Errors
/// If a tensor that is needed is not among `values`, or has too many or too few elements there.
pub fn fold(frozen: &Frozen, values: Vec<(String, Vec<f32>)>) -> Result<Vec<(String, Vec<f32>)>, Error> {
    let Frozen { graph, folding } = frozen;
    let missing = |id: TensorId| {
        let tensor = folding.tensor(id);
        Error::Missing { tensor: tensor.name.clone(), shape: tensor.spec.shape.clone() }
    };
    let stored: HashSet<TensorId> = graph.persistent().collect();
    let readers = folding.consumers();
    let mut values: HashMap<String, Vec<f32>> = values.into_iter().collect();
    for (i, node) in folding.nodes().iter().enumerate() {
        let mut twin = Values::new();
        for &id in &node.inputs {
            let found = values.get(&folding.tensor(id).name).ok_or_else(|| missing(id))?;
            twin.set(folding, id, found.iter().map(|&v| v.into()).collect())?;
        }
        run_node(folding, node, &mut twin)?;
        for &id in &node.outputs {
            let result = twin.take(id).iter().flatten().map(|&v| v as f32).collect();
            values.insert(folding.tensor(id).name.clone(), result);
        }
        // Frees the values that no later node reads.
        for id in &node.inputs {
            if readers[id].last() == Some(&i) && !stored.contains(id) {
                values.remove(&folding.tensor(*id).name);
            }
        }
    }
    let one = |id: TensorId| {
        let name = &graph.tensor(id).name;
        Ok((name.clone(), values.remove(name).ok_or_else(|| missing(id))?))
    };
    graph.persistent().map(one).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::graph::Precision;
    use crate::graph::freeze::freeze;
    use crate::models::{Config, Input, Mode, Network};

    #[test]
    fn a_parameter_that_is_not_there_is_named() {
        let config = Config::resnet_rs([1, 1, 1, 1], 0.25, 10);
        let network = Network::build(&config, 1, [32; 2], Input::Tensor, Mode::Inference).unwrap();
        let frozen = freeze(network.graph.clone(), &[network.output("logits")], Precision::F32).unwrap();
        let tensors = network.graph.persistent().map(|id| network.graph.tensor(id));
        let values: Vec<_> = tensors.map(|t| (t.name.clone(), vec![1.0; t.spec.elements()])).collect();
        assert_eq!(fold(&frozen, values.clone()).unwrap().len(), frozen.graph.persistent().count());
        for name in ["layer1.0.bn1.running_var", "fc.bias"] {
            let fewer = values.iter().filter(|(other, _)| other != name).cloned().collect();
            let refused = fold(&frozen, fewer).unwrap_err().to_string();
            assert!(refused.contains(name) && refused.contains("no value"), "{refused}");
        }
    }
}
