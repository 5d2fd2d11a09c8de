"""Networks as timm names their tensors, filled with the golden files' weights."""

import json

import synth
from conftest import GOLDEN
from safetensors.numpy import save_file

# The golden files' seed, and the scale of the last batch norm of each residual branch there.
SEED = 1
GAMMA = 0.2
EFFICIENTNET_GAMMA = 0.5

# ResNet-RS `small`, and the changes of the other cases to it.
SMALL = dict(
    depths=[1, 1, 1, 1],
    width=0.25,
    se_ratio=0.25,
    stem="deep",
    stem_downsampling="conv",
    shortcut="pooled",
    activation="relu",
    drop_path_schedule="stage",
    zero_init_last=True,
)


def batch_norm(name, channels):
    return {f"{name}.{part}": (channels,) for part in ("weight", "bias", "running_mean", "running_var")}


def resnet_shapes(net, classes):
    """Names and shapes of a ResNet's state dict, as timm has them."""
    width = int(64 * net["width"])
    if net["stem"] == "deep":
        shapes = {"conv1.0.weight": (width // 2, 3, 3, 3), **batch_norm("conv1.1", width // 2)}
        shapes |= {"conv1.3.weight": (width // 2, width // 2, 3, 3), **batch_norm("conv1.4", width // 2)}
        shapes |= {"conv1.6.weight": (width, width // 2, 3, 3), **batch_norm("bn1", width)}
    else:
        shapes = {"conv1.weight": (width, 3, 7, 7), **batch_norm("bn1", width)}
    if net["stem_downsampling"] == "conv":
        shapes |= {"maxpool.0.weight": (width, width, 3, 3), **batch_norm("maxpool.1", width)}
    before = width
    for stage, depth in enumerate(net["depths"]):
        planes = width << stage
        out = 4 * planes
        for block in range(depth):
            at = f"layer{stage + 1}.{block}"
            kernels = ((planes, before, 1, 1), (planes, planes, 3, 3), (out, planes, 1, 1))
            for i, kernel in enumerate(kernels, 1):
                shapes |= {f"{at}.conv{i}.weight": kernel, **batch_norm(f"{at}.bn{i}", kernel[0])}
            if net["se_ratio"] > 0:
                inner = max(8, int(out * net["se_ratio"] + 4) // 8 * 8)
                shapes |= {f"{at}.se.fc1.weight": (inner, out, 1, 1), f"{at}.se.fc1.bias": (inner,)}
                shapes |= {f"{at}.se.fc2.weight": (out, inner, 1, 1), f"{at}.se.fc2.bias": (out,)}
            if block == 0:
                first = 0 if net["shortcut"] == "strided" else 1
                shapes[f"{at}.downsample.{first}.weight"] = (out, before, 1, 1)
                shapes |= batch_norm(f"{at}.downsample.{first + 1}", out)
            before = out
    return shapes | {"fc.weight": (classes, before), "fc.bias": (classes,)}


def write_weights(path, shapes, gamma, metadata=None):
    tensors = {name: synth.fill(name, tuple(shape), SEED, gamma) for name, shape in shapes.items()}
    save_file(tensors, path, metadata)


def efficientnet_shapes():
    cases = json.loads((GOLDEN / "index.json").read_text())["cases"]
    names = next(case for case in cases if case["case"] == "infer_b0_64")["names"]
    return {name: shape for name, shape in names.items() if not name.endswith("num_batches_tracked")}


RS50 = resnet_shapes(SMALL | dict(depths=[3, 4, 6, 3], width=1.0), 1000)
