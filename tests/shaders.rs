//! Compiles every shader of every network with every compiler that wgpu may use. Needs no GPU.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use naga::back::{hlsl, msl, spv};
use naga::proc::BoundsCheckPolicy;
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, Module, ScalarKind, TypeInner};
use rayon::prelude::*;
use resnet_rs::gpu::{Family, HalfStorage, Target};
use resnet_rs::graph::freeze::freeze;
use resnet_rs::graph::op::WinogradTile;
use resnet_rs::graph::winograd::rewrite;
use resnet_rs::graph::{Graph, Precision, fuse};
use resnet_rs::kernels::frame::Crop;
use resnet_rs::kernels::{self, Choices, ConvShape, Kernel, Needs, Params, Scalar, candidates, lower};
use resnet_rs::models::{
    ActivationChoice, Config, EfficientNet, Input, Mode, Network, PRESETS, ResNet, Shortcut, Stem, StemDownsampling,
};
use resnet_rs::selftest::cases;
use resnet_rs::train::task::Classify;
use resnet_rs::train::{AdamW, Decay, Learning, Optimizer, Sgd, Step, StepOptions};

/// WebGPU's default limits, which every device grants.
const DEFAULT_STORAGE_BUFFERS: usize = 8;
const MAX_WORKGROUP_BYTES: u32 = 16 << 10;

/// GPUs, and CPU adapters of two SIMD widths, SwiftShader's and llvmpipe's; each with both forms of 16-bit floats,
/// llvmpipe's also with 64-bit words, and a GPU that grants no more than WebGPU's default limits.
fn targets() -> impl Iterator<Item = Target> {
    let registers = |lanes| Target { family: Family::Registers, lanes, ..Target::TILES };
    let by_64 = Target { by_64: true, ..registers(8) };
    let targets = [Target::TILES, registers(1), registers(4), registers(8)];
    let halves = |target| [HalfStorage::Native, HalfStorage::Packed].map(|half| Target { half, ..target });
    let least = Target { storage_buffers: DEFAULT_STORAGE_BUFFERS, ..Target::TILES };
    targets.into_iter().flat_map(halves).chain([by_64, least])
}

/// Names and types of a parameter block's words, or of the members of a shader's struct, in order.
type Members = Vec<(String, &'static str)>;

fn members(params: &Params) -> Members {
    let type_name = |value| match value {
        Scalar::U32(_) => "u32",
        Scalar::I32(_) => "i32",
        Scalar::F32(_) => "f32",
    };
    params.words().iter().map(|word| (word.name.to_string(), type_name(word.value))).collect()
}

/// Facts on a kernel.
struct Use {
    /// The first graph that uses it.
    by: String,
    /// Its parameter block, the same in every launch.
    params: Members,
}

type Kernels = BTreeMap<Kernel, Use>;

/// The kernels, and the nodes that were visited, since a deep network repeats itself.
#[derive(Default)]
struct Found {
    kernels: Kernels,
    nodes: HashSet<String>,
}

impl Found {
    fn launch(&mut self, kernel: Kernel, params: &Params, what: &str) {
        let (name, params) = (kernel.name(), members(params));
        let used = self.kernels.entry(kernel).or_insert_with(|| Use { by: what.to_owned(), params: params.clone() });
        assert_eq!(used.params, params, "{name} by {} and by {what}", used.by);
    }

    fn graph(&mut self, graph: &Graph, what: &str) {
        self.nodes_of(graph, what);
        for tile in WinogradTile::ALL {
            let mut by_tiles = graph.clone();
            rewrite(&mut by_tiles, |_, _| Some(tile)).unwrap();
            self.nodes_of(&by_tiles, what);
        }
    }

    fn nodes_of(&mut self, graph: &Graph, what: &str) {
        for (i, node) in graph.nodes().iter().enumerate() {
            let tensors = node.inputs.iter().chain(&node.updates).chain(&node.outputs).map(|&id| graph.tensor(id));
            let tensors: Vec<_> = tensors.map(|tensor| (&tensor.spec, tensor.role)).collect();
            if !self.nodes.insert(format!("{:?} of {tensors:?}", node.op)) {
                continue;
            }
            for target in targets() {
                // The default kernel, and all others that a tuning may choose.
                let others = ConvShape::of(graph, node, target).into_iter().flat_map(|shape| {
                    candidates(target, &shape).into_iter().skip(1).map(move |method| Choices::only(&shape, method))
                });
                for choices in [Choices::TABLE.clone()].into_iter().chain(others) {
                    let launches = lower(graph, i, target, &choices);
                    for launch in launches.unwrap_or_else(|e| panic!("{what}: {e}")) {
                        let buffers = launch.views.len();
                        assert!(buffers <= target.storage_buffers, "{what}: {} binds {buffers}", launch.kernel.name());
                        self.launch(launch.kernel, &launch.params, what);
                    }
                }
            }
        }
    }

    /// Inference as built, fused, and stored in f16; and the training step.
    fn network(&mut self, config: &Config, batch: usize, size: [usize; 2], input: Input) {
        let what = format!("{config:?}, batch {batch}, {size:?} px");
        let mut network = Network::build(config, batch, size, input, Mode::Inference).unwrap();
        self.graph(&network.graph, &what);
        let frozen = freeze(network.graph.clone(), &[network.output("logits")], Precision::F16).unwrap();
        self.graph(&frozen.graph, &format!("f16 {what}"));
        let logits = network.output("logits");
        fuse::for_inference(&mut network.graph, &[logits]).unwrap();
        self.graph(&network.graph, &format!("fused {what}"));
        let [plain, nesterov] = [false, true].map(|nesterov| Optimizer::Sgd(Sgd { momentum: 0.9, nesterov }));
        let adamw = Optimizer::AdamW(AdamW::default());
        for (optimizer, weight_decay, precision) in [
            (plain, 0.0, Precision::F32),
            (nesterov, 1e-4, Precision::F32),
            (nesterov, 0.0, Precision::F16),
            (adamw, 1e-4, Precision::F32),
        ] {
            let learning = Learning { optimizer, weight_decay, decay: Decay::Kernels, ..Learning::default() };
            let options = StepOptions { learning, precision, ..StepOptions::default() };
            let step = Step::build(config, batch, size, input, &Classify::default(), &options).unwrap();
            self.graph(&step.graph, &format!("training step in {precision:?} of {what}"));
        }
    }
}

const PIXELS: Input = Input::Pixels { mean: [0.5; 3], std: [0.25; 3] };

/// Every combination of the switches that choose operations.
fn switches() -> Vec<Config> {
    fn either<T: Clone>(all: &mut Vec<T>, choose: &dyn Fn(&mut T)) {
        let mut chosen = all.clone();
        chosen.iter_mut().for_each(choose);
        all.extend(chosen);
    }
    let mut layers = vec![ResNet::rs([2, 1, 1, 1], 0.25)];
    either(&mut layers, &|l| l.activation = ActivationChoice::Silu);
    either(&mut layers, &|l| l.se_ratio = 0.0);
    either(&mut layers, &|l| l.stem = Stem::Plain);
    either(&mut layers, &|l| l.stem_downsampling = StemDownsampling::FirstBlock);
    either(&mut layers, &|l| l.stem_downsampling = StemDownsampling::MaxPool);
    either(&mut layers, &|l| l.shortcut = Shortcut::Strided);
    let mut configs: Vec<Config> = layers.into_iter().map(|layers| Config::new(layers, 10)).collect();
    configs.push(Config::new(EfficientNet { width: 0.25, depth: 0.6 }, 10));
    either(&mut configs, &|c| c.dropout = 0.25);
    either(&mut configs, &|c| c.drop_path = 0.1);
    configs
}

static EVERY_KERNEL: LazyLock<Kernels> = LazyLock::new(every_kernel);

fn every_kernel() -> Kernels {
    let mut found = Found::default();
    for preset in PRESETS {
        for (batch, size) in [(2, [preset.res as usize; 2]), (3, [75, 64])] {
            found.network(&preset.config(1000), batch, size, PIXELS);
        }
    }
    for config in switches() {
        for (batch, size) in [(1, [33, 47]), (17, [32, 32])] {
            found.network(&config, batch, size, Input::Tensor);
        }
    }
    for width in [0.125, 0.5, 2.0] {
        found.network(&Config::resnet_rs([1, 1, 1, 1], width, 7), 2, [64, 65], PIXELS);
    }
    for case in cases::standard().into_iter().chain((0..20).flat_map(cases::random)) {
        found.graph(&case.graph, &case.name);
    }
    for (kernel, params) in resnet_rs::bench::kernels() {
        found.launch(kernel, &params, "the adapter's peaks");
    }
    let crop = Crop {
        part: [0.0, 0.0, 8.0, 8.0],
        rows: 0..8,
        picture_height: 8,
        size: [4; 2],
        target: [0, 0, 4, 4],
        filter: 0,
        border: [0; 3],
    };
    let passes = crop.passes(false, 0);
    for (kernel, pass) in kernels::frame::kernels().into_iter().zip([passes.rows, passes.columns]) {
        found.launch(kernel, &pass.params, "textures as pictures");
    }
    found.kernels
}

#[test]
fn every_permutation_compiles_for_every_backend() {
    let folder = tempfile::tempdir().unwrap();
    let kernels: Vec<_> = EVERY_KERNEL.iter().collect();
    let spirv = kernels.par_iter().enumerate().flat_map_iter(|(i, (kernel, used))| {
        compile(kernel, &used.by).map(|(checked, words)| {
            let path = folder.path().join(format!("{i}-{checked}.spv"));
            fs::write(&path, words.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<u8>>()).unwrap();
            (kernel.name(), path)
        })
    });
    let spirv: Vec<(String, PathBuf)> = spirv.collect();
    eprintln!("{} permutations of {} shaders", kernels.len(), templates(&EVERY_KERNEL).len());
    spirv_val(&spirv);
}

/// Compiles a kernel with every compiler, within WebGPU's limits. Returns the SPIR-V words, with and without index
/// checks.
fn compile(kernel: &Kernel, used_by: &str) -> [(bool, Vec<u32>); 2] {
    let name = kernel.name();
    let wgsl = kernel.wgsl();
    let complain = |what: &str, e: String| -> ! { panic!("{name} ({used_by}): {what}: {e}\n{wgsl}") };
    let module = naga::front::wgsl::parse_str(&wgsl).unwrap_or_else(|e| complain("WGSL", e.emit_to_string(&wgsl)));
    let needs = kernel.needs();
    let used = ["enable f16;", "u64", "subgroup"].map(|word| code(&wgsl).any(|line| line.contains(word)));
    assert_eq!([needs.half, needs.int64, needs.subgroups], used, "{name}");
    // Converting packed halves needs no feature: every device of Vulkan, Metal and DX12 can do it.
    let mut capabilities = Capabilities::SHADER_FLOAT16_IN_FLOAT32;
    capabilities.set(Capabilities::SHADER_FLOAT16, needs.half);
    capabilities.set(Capabilities::SUBGROUP, needs.subgroups);
    capabilities.set(Capabilities::SHADER_INT64, needs.int64);
    let info = Validator::new(ValidationFlags::all(), capabilities)
        .validate(&module)
        .unwrap_or_else(|e| complain("validation", e.emit_to_string(&wgsl)));
    within_limits(&name, &module);
    // A write to one component of a vector may touch the other components, which in workgroup memory may belong to
    // other threads.
    let component = wgsl.lines().find(|line| line.trim().starts_with("tile_") && line.contains("]["));
    assert_eq!(component, None, "{name}");
    write_hlsl(&module, &info, needs).unwrap_or_else(|e| complain("HLSL", e.to_string()));
    write_msl(&module, &info, needs).unwrap_or_else(|e| complain("MSL", e.to_string()));
    spirv_of(&module, &info)
}

/// The host writes what the shader reads: words with the same names and types in the same order.
#[test]
fn parameter_blocks_are_those_of_the_shaders() {
    EVERY_KERNEL.par_iter().for_each(|(kernel, used)| {
        let wgsl = kernel.wgsl();
        let module = naga::front::wgsl::parse_str(&wgsl).unwrap_or_else(|e| panic!("{}", e.emit_to_string(&wgsl)));
        assert_eq!(used.params, struct_members(&module), "{} of {}", kernel.name(), used.by);
    });
}

/// Members of the uniform at binding 0, which must be 32-bit scalars, one after another.
fn struct_members(module: &Module) -> Members {
    let block = module.global_variables.iter().map(|(_, variable)| variable);
    let block = block.filter(|v| v.space == AddressSpace::Uniform).collect::<Vec<_>>();
    let [block] = block[..] else { panic!("{} uniforms", block.len()) };
    assert_eq!(block.binding.map(|at| (at.group, at.binding)), Some((0, 0)));
    let TypeInner::Struct { members, .. } = &module.types[block.ty].inner else { panic!("no struct") };
    let member = |(i, member): (usize, &naga::StructMember)| {
        let TypeInner::Scalar(scalar) = module.types[member.ty].inner else { panic!("{member:?} is no scalar") };
        let type_name = match (scalar.kind, scalar.width) {
            (ScalarKind::Uint, 4) => "u32",
            (ScalarKind::Sint, 4) => "i32",
            (ScalarKind::Float, 4) => "f32",
            other => panic!("{member:?} is {other:?}"),
        };
        assert_eq!(member.offset as usize, 4 * i, "{member:?}");
        (member.name.clone().unwrap(), type_name)
    };
    members.iter().enumerate().map(member).collect()
}

/// A shader's lines without their comments.
fn code(wgsl: &str) -> impl Iterator<Item = &str> {
    wgsl.lines().map(|line| line.split("//").next().unwrap_or_default())
}

fn within_limits(name: &str, module: &Module) {
    let in_space = |wanted: fn(AddressSpace) -> bool| module.global_variables.iter().filter(move |v| wanted(v.1.space));
    let buffers = in_space(|space| matches!(space, AddressSpace::Storage { .. })).count();
    let workgroup: u32 = in_space(|space| space == AddressSpace::WorkGroup)
        .map(|(_, variable)| module.types[variable.ty].inner.size(module.to_ctx()))
        .sum();
    assert!(buffers <= Target::MOST_STORAGE_BUFFERS, "{name} binds {buffers} storage buffers");
    assert!(workgroup <= MAX_WORKGROUP_BYTES, "{name} takes {workgroup} bytes of workgroup memory");
    assert_eq!(module.entry_points.len(), 1, "{name}");
    assert_eq!(module.entry_points[0].name, "main", "{name}");
}

/// With index checks, as in tests, and without, as in releases.
fn spirv_of(module: &Module, info: &ModuleInfo) -> [(bool, Vec<u32>); 2] {
    [true, false].map(|checked| {
        let policy = if checked { BoundsCheckPolicy::Restrict } else { BoundsCheckPolicy::Unchecked };
        let options = spv::Options {
            lang_version: (1, 3),
            bounds_check_policies: naga::proc::BoundsCheckPolicies {
                index: policy,
                buffer: policy,
                ..Default::default()
            },
            force_loop_bounding: checked,
            zero_initialize_workgroup_memory: spv::ZeroInitializeWorkgroupMemoryMode::None,
            ..Default::default()
        };
        (checked, spv::write_vec(module, info, &options, None).unwrap())
    })
}

/// Shader model 5.1 is that of the old compiler in every Windows; 6.0 is the lowest of the new compiler, and the lowest
/// with subgroups and 64-bit types; 6.2 is the lowest with 16-bit types.
fn write_hlsl(module: &Module, info: &ModuleInfo, needs: Needs) -> Result<(), hlsl::Error> {
    use hlsl::ShaderModel::{V5_1, V6_0, V6_2};
    let shader_models: &[_] = if needs.half {
        &[V6_2]
    } else if needs.subgroups || needs.int64 {
        &[V6_0]
    } else {
        &[V5_1, V6_0]
    };
    for &shader_model in shader_models {
        let options = hlsl::Options { shader_model, ..Default::default() };
        let mut text = String::new();
        hlsl::Writer::new(&mut text, &options, &hlsl::PipelineOptions::default()).write(module, info, None)?;
        assert!(text.contains("[numthreads("), "{text}");
    }
    Ok(())
}

/// 64-bit types came with version 2.3.
fn write_msl(module: &Module, info: &ModuleInfo, needs: Needs) -> Result<(), msl::Error> {
    let options = msl::Options { lang_version: (2, if needs.int64 { 3 } else { 0 }), ..Default::default() };
    let (text, _) = msl::write_string(module, info, &options, &msl::PipelineOptions::default())?;
    assert!(text.contains("kernel void main_("), "{text}");
    Ok(())
}

/// Khronos' own validator, where it is installed (Debian: spirv-tools).
fn spirv_val(modules: &[(String, PathBuf)]) {
    if Command::new("spirv-val").arg("--version").output().is_err() {
        eprintln!("skipped: spirv-val is not installed (Debian: apt install spirv-tools)");
        return;
    }
    let validate =
        |path: &Path| Command::new("spirv-val").args(["--target-env", "vulkan1.1"]).arg(path).output().unwrap();
    modules.par_iter().for_each(|(name, path)| {
        let output = validate(path);
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    });
    let broken = modules[0].1.with_extension("broken");
    let mut words = fs::read(&modules[0].1).unwrap();
    words.truncate(words.len() / 8 * 4);
    fs::write(&broken, words).unwrap();
    assert!(!validate(&broken).status.success(), "spirv-val accepts half a module");
    eprintln!("spirv-val accepts {} modules", modules.len());
}

fn templates(kernels: &Kernels) -> BTreeSet<String> {
    kernels.keys().map(|k| format!("{}.wgsl", k.template())).collect()
}

#[test]
fn every_file_is_used_and_says_what_it_does() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders");
    let mut files = BTreeMap::new();
    for folder in fs::read_dir(&root).unwrap() {
        for file in fs::read_dir(folder.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            let name = path.strip_prefix(&root).unwrap().to_str().unwrap().replace('\\', "/");
            files.insert(name, fs::read_to_string(&path).unwrap());
        }
    }
    let includes = |name: &String| -> Vec<String> {
        let line = |line: &str| Some(line.trim().strip_prefix("#include \"")?.strip_suffix('"')?.to_owned());
        files[name].lines().filter_map(line).collect()
    };
    let mut used = templates(&EVERY_KERNEL);
    let mut waiting: Vec<String> = used.iter().cloned().collect();
    while let Some(name) = waiting.pop() {
        waiting.extend(includes(&name).into_iter().filter(|included| used.insert(included.clone())));
    }
    let dead: Vec<_> = files.keys().filter(|name| !used.contains(*name)).collect();
    assert!(dead.is_empty(), "no network uses {dead:?}");
    for (name, text) in &files {
        assert!(text.starts_with("// "), "{name} must start with a comment that says what it computes");
    }
}
