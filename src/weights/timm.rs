//! timm's conventions: names, dimension order, and the recognition of a network by its tensors.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use rayon::prelude::*;

use super::{Error, HostTensor, ModelCard, StateDict, Told, heads};
use crate::graph::{Graph, Layout, Spec, Tensor};
use crate::models::{self, Config, Head, Layers, PRESETS, Purpose, ResNet, Shortcut, Stem, StemDownsampling};

/// The shape in PyTorch's order: output channels, input channels, then the kernel's sides. So convolution kernels are
/// OIHW (I is 1 for depthwise ones) and linear weights OI. Vectors are unchanged.
pub fn torch_shape(spec: &Spec) -> Vec<usize> {
    match transposed(spec) {
        Some(Transposed { sides, inputs, outputs }) => [&[outputs, inputs], sides].concat(),
        None => spec.shape.clone(),
    }
}

/// A tensor's values in PyTorch's order.
pub fn to_torch(spec: &Spec, values: &[f32]) -> HostTensor {
    let data = match transposed(spec) {
        Some(Transposed { sides, inputs: i, outputs: o }) => {
            let taps: usize = sides.iter().product();
            // HWIO to OIHW: the result's index is (o, i, tap).
            (0..values.len()).map(|k| values[(k % taps * i + k / taps % i) * o + k / taps / i]).collect()
        }
        None => values.to_vec(),
    };
    HostTensor { shape: torch_shape(spec), data }
}

/// A tensor's values in this crate's order, from PyTorch's. The shapes must agree.
pub fn from_torch(spec: &Spec, torch: &HostTensor) -> Vec<f32> {
    match transposed(spec) {
        Some(Transposed { sides, inputs, outputs }) => {
            let taps: usize = sides.iter().product();
            // OIHW to HWIO, without a division per element: there are tens of millions of elements before the first
            // answer.
            let mut data = Vec::with_capacity(torch.data.len());
            for (tap, i) in (0..taps).flat_map(|tap| (0..inputs).map(move |i| (tap, i))) {
                data.extend((0..outputs).map(|o| torch.data[(o * inputs + i) * taps + tap]));
            }
            data
        }
        None => torch.data.clone(),
    }
}

/// Pictures `[N, C, H, W]`, PyTorch's order, as `[N, H, W, C]`.
pub fn pictures_from_torch(nchw: &[f32], [_, c, h, w]: [usize; 4]) -> Vec<f32> {
    let at = |k: usize| ((k / c / w / h * c + k % c) * h + k / c / w % h) * w + k / c % w;
    (0..nchw.len()).map(|k| nchw[at(k)]).collect()
}

/// The dimensions of a tensor whose order differs.
struct Transposed<'s> {
    /// Sides of a kernel, outermost first; empty for a matrix.
    sides: &'s [usize],
    inputs: usize,
    outputs: usize,
}

fn transposed(spec: &Spec) -> Option<Transposed<'_>> {
    match (spec.layout, spec.shape.as_slice()) {
        (Layout::Weights, [sides @ .., inputs, outputs]) => {
            Some(Transposed { sides, inputs: *inputs, outputs: *outputs })
        }
        (Layout::Depthwise, [sides @ .., channels]) => Some(Transposed { sides, inputs: 1, outputs: *channels }),
        _ => None,
    }
}

/// The values of every parameter and state of a graph, by name, in this crate's order.
///
/// # Errors
/// A tensor that the network needs and the file lacks, one of another shape, or one that the network does not have.
pub fn values(path: &Path, weights: &StateDict, graph: &Graph) -> Result<Vec<(String, Vec<f32>)>, Error> {
    values_of(path, weights, &graph.persistent().map(|id| graph.tensor(id)).collect::<Vec<_>>())
}

/// The values of the `wanted` tensors alone.
///
/// # Errors
/// As [`values`].
pub fn values_of(path: &Path, weights: &StateDict, wanted: &[&Tensor]) -> Result<Vec<(String, Vec<f32>)>, Error> {
    let mismatch =
        |tensor: &str, problem: String| Error::Mismatch { path: path.to_owned(), tensor: tensor.to_owned(), problem };
    let known: HashSet<&str> = wanted.iter().map(|tensor| tensor.name.as_str()).collect();
    if let Some(surplus) = weights.tensors.keys().find(|name| !known.contains(name.as_str())) {
        return Err(mismatch(surplus, "belongs to no part of the network".into()));
    }
    let one = |tensor: &&Tensor| {
        let found = weights.tensors.get(&tensor.name).ok_or_else(|| mismatch(&tensor.name, "is missing".into()))?;
        let expected = torch_shape(&tensor.spec);
        if found.shape != expected {
            return Err(mismatch(&tensor.name, format!("has shape {:?}, the network needs {expected:?}", found.shape)));
        }
        Ok((tensor.name.clone(), from_torch(&tensor.spec, found)))
    };
    wanted.par_iter().map(one).collect()
}

/// Reads a weight file. A prefix that a wrapper puts before the name of every tensor is removed: `module.` of
/// data-parallel training, `_orig_mod.` of `torch.compile`, the name of a part of a larger model.
///
/// # Errors
/// As [`StateDict::read`].
pub fn read(path: &Path) -> Result<StateDict, Error> {
    let mut weights = StateDict::read(path)?;
    let prefix = common_prefix(&weights.tensors).to_owned();
    if !prefix.is_empty() {
        log::warn!("{}: every tensor's name begins with {prefix} and is read without that", path.display());
        let bare = |(name, tensor): (String, HostTensor)| (name[prefix.len()..].to_owned(), tensor);
        weights.tensors = weights.tensors.into_iter().map(bare).collect();
    }
    Ok(weights)
}

/// The common prefix of all tensors' names, up to a dot.
fn common_prefix(tensors: &BTreeMap<String, HostTensor>) -> &str {
    // The names are sorted, so a prefix of the first and the last is a prefix of all.
    let (Some((first, _)), Some((last, _))) = (tensors.first_key_value(), tensors.last_key_value()) else { return "" };
    let common = first.bytes().zip(last.bytes()).take_while(|(a, b)| a == b).count();
    let end = first.as_bytes()[..common].iter().rposition(|&byte| byte == b'.').map_or(0, |dot| dot + 1);
    &first[..end]
}

/// Whether the tensors of this timm network determine it, although it is not a preset. Each was compared with timm
/// 1.0.31, as the presets were; other networks whose tensors look alike give other answers.
pub(super) fn tensors_tell(architecture: &str) -> bool {
    const TOLD: [&str; 8] = [
        "resnet101c",
        "resnet152c",
        "resnet26",
        "resnet26d",
        "resnet50c",
        "seresnet152d",
        "seresnet200d",
        "seresnet269d",
    ];
    TOLD.contains(&models::current_name(architecture).as_str())
}

/// The network of a file's tensors: from the card that this program writes into its files, else from the tensors' names
/// and shapes, with timm's pre-processing. What these leave open is assumed to be as released: ResNets with gates are
/// ResNet-RS, EfficientNets are TensorFlow's (`tf_efficientnet_b*`).
///
/// # Errors
/// If the tensors are not those of a ResNet with bottleneck blocks, or of an EfficientNet B0 to B7.
pub fn recognise(path: &Path, weights: &StateDict) -> Result<ModelCard, Error> {
    recognise_as(path, weights, Told::default())
}

/// [`recognise`], without a warning of what the caller has told.
pub(super) fn recognise_as(path: &Path, weights: &StateDict, told: Told) -> Result<ModelCard, Error> {
    if let Some(card) = ModelCard::from_metadata(path, &weights.metadata)? {
        return Ok(card);
    }
    let card = from_tensors(path, weights)?;
    if card.config.head.purpose() == Purpose::Segment && !told.output_stride {
        log::warn!(
            "{}: the tensors do not tell the output stride; {} is assumed. If yours has another one, give \
             --output-stride to predict, or once to export, whose file keeps it",
            path.display(),
            card.config.output_stride
        );
    }
    if let (Head::DenseDepth(head), false) = (card.config.head, told.max_depth) {
        log::warn!(
            "{}: the tensors do not tell the largest depth; {} m are assumed. If yours was trained with another one, \
             give --max-depth to predict, or once to export, whose file keeps it",
            path.display(),
            head.max_m
        );
    }
    if matches!(card.config.layers, Layers::EfficientNet(_)) && !told.architecture {
        log::warn!(
            "{} is taken to be TensorFlow's EfficientNet (tf_efficientnet_b*): timm's own efficientnet_b* have the \
             same tensors, but other padding, and would be answered wrongly",
            path.display()
        );
    }
    if matches!(card.config.head, Head::RetinaNet(_)) && card.config.classes == heads::COCO_CLASSES {
        log::warn!(
            "{}: if torchvision released these weights, export them once with --bn-eps 0, since their batch norms add \
             nothing to the variance and this program adds 1e-5",
            path.display()
        );
    }
    Ok(card)
}

/// The card of a file's tensors.
fn from_tensors(path: &Path, weights: &StateDict) -> Result<ModelCard, Error> {
    let (head, classes) =
        heads::recognise(path, weights)?.map_or((Head::Classifier, None), |(head, n)| (head, Some(n)));
    let layers = layers(path, weights, head.backbone_prefix())?;
    let classifier = classifier(&layers);
    let of_classifier = || weights.tensors.get(&classifier).and_then(|t| t.shape.first().copied());
    let classes = classes.or_else(of_classifier).filter(|&n| n > 0).ok_or_else(|| Error::Mismatch {
        path: path.to_owned(),
        tensor: classifier.clone(),
        problem: "is missing: the file has no head for any task. To train one, give the file to train --init".into(),
    })?;
    let config = Config { head, ..Config::new(layers, classes) };
    let last = config.class_layers().0.first().map_or("decoder.first.weight".into(), |layer| format!("{layer}.weight"));
    Ok(heads::complete(valid(path, &last, config)?))
}

/// The layers of a file that has a backbone and no head, as pre-training without labels leaves it, and the prefix of
/// the backbone's names; `None` for any other file.
pub(crate) fn headless(path: &Path, weights: &StateDict) -> Option<(Layers, &'static str)> {
    if !matches!(heads::recognise(path, weights), Ok(None)) {
        return None;
    }
    let found = ["", "backbone."].into_iter().find_map(|prefix| Some((layers(path, weights, prefix).ok()?, prefix)));
    found.filter(|(layers, _)| !weights.tensors.contains_key(&classifier(layers)))
}

/// The name of the classifier's weights.
fn classifier(layers: &Layers) -> String {
    format!("{}.weight", layers.classifier())
}

/// The layers of a backbone whose tensors' names have this prefix.
fn layers(path: &Path, weights: &StateDict, prefix: &str) -> Result<Layers, Error> {
    let named = |name: &str| format!("{prefix}{name}");
    let shape = |name: &str| weights.tensors.get(&named(name)).map(|t| t.shape.as_slice());
    let missing = |tensor: &str| Error::Mismatch {
        path: path.to_owned(),
        tensor: named(tensor),
        problem: "is missing: these are not the weights of a ResNet with bottleneck blocks under timm's names".into(),
    };
    if let Some(head) = shape("conv_head.weight").and_then(|s| s.first()) {
        return efficientnet(path, weights, prefix, *head);
    }
    let blocks =
        |stage: usize| (0..).take_while(|b| shape(&format!("layer{stage}.{b}.conv1.weight")).is_some()).count();
    let depths = [1, 2, 3, 4].map(blocks);
    if let Some(stage) = depths.iter().position(|&d| d == 0) {
        return Err(missing(&format!("layer{}.0.conv1.weight", stage + 1)));
    }
    let first = "layer1.0.conv1.weight";
    let planes = shape(first).and_then(|s| s.first().copied()).filter(|&n| n > 0).ok_or_else(|| missing(first))?;
    let inner = shape("layer1.0.se.fc1.weight").and_then(|s| s.first().copied()).unwrap_or(0);
    Ok(Layers::ResNet(ResNet {
        se_ratio: inner as f64 / (4 * planes) as f64,
        stem: if shape("conv1.weight").is_some() { Stem::Plain } else { Stem::Deep },
        stem_downsampling: if shape("maxpool.0.weight").is_some() {
            StemDownsampling::Conv
        } else {
            StemDownsampling::MaxPool
        },
        shortcut: if shape("layer1.0.downsample.0.weight").is_some() { Shortcut::Strided } else { Shortcut::Pooled },
        ..ResNet::rs(depths, planes as f64 / 64.0)
    }))
}

/// The card of a network that can be built; else an error that names `tensor`.
fn valid(path: &Path, tensor: &str, config: Config) -> Result<ModelCard, Error> {
    let problem = |e| format!("and the others belong to no network that can be built: {e}");
    let mismatch = |problem| Error::Mismatch { path: path.to_owned(), tensor: tensor.to_owned(), problem };
    config.validate().map_err(problem).map_err(mismatch)?;
    Ok(ModelCard::for_preset_of(config))
}

/// The EfficientNet whose last convolution has `head` channels and whose stages have as many blocks as the file's.
fn efficientnet(path: &Path, weights: &StateDict, prefix: &str, head: usize) -> Result<Layers, Error> {
    let has = |name: String| weights.tensors.contains_key(&name);
    let blocks = |stage: usize| (0..).take_while(|b| has(format!("{prefix}blocks.{stage}.{b}.conv_dw.weight"))).count();
    let depths: Vec<usize> = (0..7).map(blocks).collect();
    let fits = |layers: &Layers| match layers {
        Layers::EfficientNet(net) => net.head_channels() == head && layers.depths() == depths,
        Layers::ResNet(_) => false,
    };
    PRESETS.iter().map(|preset| preset.layers).find(fits).ok_or_else(|| Error::Mismatch {
        path: path.to_owned(),
        tensor: format!("{prefix}conv_head.weight"),
        problem: format!(
            "has {head} channels behind stages of {depths:?} blocks: these are not the weights of an EfficientNet B0 \
             to B7"
        ),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::models::{Input, Mode, Network};

    /// A released network is recognised by names and shapes alone, without a card.
    #[test]
    fn every_released_network_is_recognised() {
        for preset in PRESETS {
            let graph = Network::build(&preset.config(10), 1, [64; 2], Input::Tensor, Mode::Inference).unwrap().graph;
            let tensor = |t: &Tensor| (t.name.clone(), HostTensor { shape: torch_shape(&t.spec), data: vec![] });
            let tensors = graph.persistent().map(|id| tensor(graph.tensor(id))).collect();
            let mut weights = StateDict { tensors, ..StateDict::default() };
            let card = recognise(Path::new("w"), &weights).unwrap();
            assert_eq!((card.config.layers, card.config.classes), (preset.layers, 10), "{}", preset.name);
            let head = weights.tensors.remove(&classifier(&preset.layers)).unwrap();
            let bare = recognise(Path::new("w"), &weights).unwrap_err().to_string();
            assert!(bare.contains("the file has no head for any task"), "{}: {bare}", preset.name);
            assert_eq!(headless(Path::new("w"), &weights), Some((preset.layers, "")), "{}", preset.name);
            weights.tensors.insert(classifier(&preset.layers), head);
            assert_eq!(headless(Path::new("w"), &weights), None, "{}", preset.name);
            weights.tensors.retain(|name, _| !name.contains("layer3.0") && !name.contains("blocks.3.0"));
            let refused = recognise(Path::new("w"), &weights).unwrap_err().to_string();
            assert!(refused.contains("these are not the weights of"), "{}: {refused}", preset.name);
        }
    }

    #[test]
    fn tensors_of_no_network_are_refused_as_they_are_read() {
        let tensor = |name: &str| (name.to_owned(), HostTensor { shape: vec![2, 1], data: vec![0.0; 2] });
        let names = [1, 2, 3, 4].map(|stage| format!("layer{stage}.0.conv1.weight"));
        let tensors = names.iter().map(String::as_str).chain(["fc.weight"]).map(tensor).collect();
        let refused =
            recognise(Path::new("w"), &StateDict { tensors, ..StateDict::default() }).unwrap_err().to_string();
        assert!(refused.contains("no network that can be built: width must be from 0.125 to 8"), "{refused}");
    }

    #[test]
    fn wrappers_leave_no_trace_in_names() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.safetensors");
        for (prefix, names, read_as) in [
            ("", ["conv1.weight", "fc.bias"], ["conv1.weight", "fc.bias"]),
            ("module.", ["conv1.weight", "fc.bias"], ["conv1.weight", "fc.bias"]),
            ("module._orig_mod.", ["bn1.weight", "bn2.bias"], ["bn1.weight", "bn2.bias"]),
            ("_orig_mod.module.", ["conv1.weight", "layer1.0.bn1.bias"], ["conv1.weight", "layer1.0.bn1.bias"]),
            (
                "state_dict.model.backbone.",
                ["classifier.weight", "conv_stem.weight"],
                ["classifier.weight", "conv_stem.weight"],
            ),
        ] {
            let tensor = || HostTensor { shape: vec![1], data: vec![1.0] };
            let tensors = names.map(|name| (format!("{prefix}{name}"), tensor())).into();
            StateDict { tensors, ..StateDict::default() }.write(&path).unwrap();
            assert_eq!(read(&path).unwrap().tensors.keys().collect::<Vec<_>>(), read_as, "{prefix}");
        }
    }

    #[test]
    fn orders_are_inverse_and_place_elements_where_pytorch_does() {
        for spec in
            [Spec::weights([2, 3, 4, 5]), Spec::weights([4, 5]), Spec::depthwise([3, 2, 5]), Spec::channels([5])]
        {
            let values: Vec<f32> = (0..spec.elements()).map(|v| v as f32).collect();
            let torch = to_torch(&spec, &values);
            assert_eq!(from_torch(&spec, &torch), values);
        }
        let spec = Spec::weights([2, 3, 4, 5]);
        let torch = to_torch(&spec, &(0..120).map(|v| v as f32).collect::<Vec<_>>());
        let (h, w, i, o) = (1, 2, 3, 4);
        assert_eq!(torch.shape, [5, 4, 2, 3]);
        assert_eq!(torch.data[((o * 4 + i) * 2 + h) * 3 + w], (((h * 3 + w) * 4 + i) * 5 + o) as f32);
        // A kernel with three sides, as for video: [D, H, W, I, O] becomes [O, I, D, H, W].
        let clip = to_torch(&Spec::weights([6, 2, 3, 4, 5]), &(0..720).map(|v| v as f32).collect::<Vec<_>>());
        assert_eq!(clip.shape, [5, 4, 6, 2, 3]);
        let d = 5;
        let (here, there) = ((((o * 4 + i) * 6 + d) * 2 + h) * 3 + w, (((d * 2 + h) * 3 + w) * 4 + i) * 5 + o);
        assert_eq!(clip.data[here], there as f32);
    }
}
