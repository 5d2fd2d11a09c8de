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


def conv(name, outputs, inputs, side):
    return {f"{name}.weight": (outputs, inputs, side, side), f"{name}.bias": (outputs,)}


def backbone_shapes(net, prefix):
    shapes = resnet_shapes(net, 1)
    return {prefix + name: shape for name, shape in shapes.items() if not name.startswith("fc.")}


def retinanet_shapes(net, classes, channels):
    """Names and shapes of a RetinaNet, as torchvision has them."""
    shapes = backbone_shapes(net, "backbone.body.")
    levels = [int(256 * net["width"]) << level for level in (1, 2, 3)]
    for i, inputs in enumerate(levels):
        shapes |= conv(f"backbone.fpn.inner_blocks.{i}.0", channels, inputs, 1)
        shapes |= conv(f"backbone.fpn.layer_blocks.{i}.0", channels, channels, 3)
    for name in ("p6", "p7"):
        shapes |= conv(f"backbone.fpn.extra_blocks.{name}", channels, channels, 3)
    for head, last, outputs in (("classification", "cls_logits", classes), ("regression", "bbox_reg", 4)):
        for i in range(4):
            shapes |= conv(f"head.{head}_head.conv.{i}.0", channels, channels, 3)
        shapes |= conv(f"head.{head}_head.{last}", 9 * outputs, channels, 3)
    return shapes


def fcn_shapes(net, classes):
    """Names and shapes of an FCN, as torchvision has them."""
    last = int(256 * net["width"]) << 3
    shapes = backbone_shapes(net, "backbone.")
    shapes |= {"classifier.0.weight": (last // 4, last, 3, 3), **batch_norm("classifier.1", last // 4)}
    return shapes | conv("classifier.4", classes, last // 4, 1)


def depth_shapes(net, widths):
    """Names and shapes of a depth network with a decoder of these widths."""
    return unet_shapes(net, 1, widths)


def unet_shapes(net, classes, widths):
    """Names and shapes of a U-Net with a decoder of these widths."""
    stem = int(64 * net["width"])
    skips = [stem << 4, stem << 3, stem << 2, stem]
    shapes = backbone_shapes(net, "backbone.") | conv("decoder.first", widths[0], stem << 5, 1)
    for i, (before, after, skip) in enumerate(zip(widths, widths[1:], skips)):
        at = f"decoder.ups.{i}"
        shapes |= {f"{at}.a.weight": (after, before + skip, 3, 3), **batch_norm(f"{at}.na", after)}
        shapes |= {f"{at}.b.weight": (after, after, 3, 3), **batch_norm(f"{at}.nb", after)}
    return shapes | conv("decoder.last", classes, widths[-1], 3)


def deeplab_shapes(net, classes, channels):
    """Names and shapes of a DeepLabV3 with its auxiliary head, as torchvision has them."""
    inputs, shapes = int(2048 * net["width"]), backbone_shapes(net, "backbone.")
    for i, side in enumerate((1, 3, 3, 3)):
        shapes[f"classifier.0.convs.{i}.0.weight"] = (channels, inputs, side, side)
        shapes |= batch_norm(f"classifier.0.convs.{i}.1", channels)
    shapes["classifier.0.convs.4.1.weight"] = (channels, inputs, 1, 1)
    shapes |= batch_norm("classifier.0.convs.4.2", channels)
    shapes["classifier.0.project.0.weight"] = (channels, 5 * channels, 1, 1)
    shapes |= batch_norm("classifier.0.project.1", channels)
    shapes |= {"classifier.1.weight": (channels, channels, 3, 3), **batch_norm("classifier.2", channels)}
    shapes |= conv("classifier.4", classes, channels, 1)
    shapes["aux_classifier.0.weight"] = (inputs // 8, inputs // 2, 3, 3)
    shapes |= batch_norm("aux_classifier.1", inputs // 8)
    return shapes | conv("aux_classifier.4", classes, inputs // 8, 1)


def separable(name, outputs, inputs):
    return {f"{name}.0.weight": (inputs, 1, 3, 3), f"{name}.1.weight": (outputs, inputs, 1, 1)}


def deeplab_plus_shapes(net, classes, channels):
    """Names and shapes of a DeepLabV3+, as segmentation-models-pytorch has them."""
    inputs, shapes = int(2048 * net["width"]), backbone_shapes(net, "backbone.")
    at = "decoder.aspp.0"
    shapes |= {f"{at}.convs.0.0.weight": (channels, inputs, 1, 1), **batch_norm(f"{at}.convs.0.1", channels)}
    for i in (1, 2, 3):
        shapes |= separable(f"{at}.convs.{i}.0", channels, inputs) | batch_norm(f"{at}.convs.{i}.1", channels)
    shapes |= {f"{at}.convs.4.1.weight": (channels, inputs, 1, 1), **batch_norm(f"{at}.convs.4.2", channels)}
    shapes |= {f"{at}.project.0.weight": (channels, 5 * channels, 1, 1), **batch_norm(f"{at}.project.1", channels)}
    shapes |= separable("decoder.aspp.1", channels, channels) | batch_norm("decoder.aspp.2", channels)
    shapes |= {"decoder.block1.0.weight": (48, inputs // 8, 1, 1), **batch_norm("decoder.block1.1", 48)}
    shapes |= separable("decoder.block2.0", channels, channels + 48) | batch_norm("decoder.block2.1", channels)
    return shapes | conv("segmentation_head.0", classes, channels, 1)


def write_weights(path, shapes, gamma, metadata=None, **fixed):
    """Writes synth.py's weights; `fixed` are those that have one value everywhere, by name with `__` for dots."""
    tensors = {name: synth.fill(name, tuple(shape), SEED, gamma) for name, shape in shapes.items()}
    for name, value in fixed.items():
        tensors[name.replace("__", ".")][...] = value
    save_file(tensors, path, metadata)


def efficientnet_shapes():
    cases = json.loads((GOLDEN / "index.json").read_text())["cases"]
    names = next(case for case in cases if case["case"] == "infer_b0_64")["names"]
    return {name: shape for name, shape in names.items() if not name.endswith("num_batches_tracked")}


RS50 = resnet_shapes(SMALL | dict(depths=[3, 4, 6, 3], width=1.0), 1000)
