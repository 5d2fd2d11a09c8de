"""Exported networks under ONNX Runtime: against PyTorch's logits where there are golden files, else the program's own.

    pip install -r requirements.txt
    pytest -s test_onnx.py

RESNET_RS names the program (default: ../target/release/resnet-rs as seen from python/). Weights and pictures are made
from their names by synth.py, which lies beside the golden files. The program's own logits need a GPU or a software
adapter.
"""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
from safetensors.numpy import load_file, save_file

ROOT = pathlib.Path(__file__).resolve().parents[2]
ORACLE = ROOT.parent / "shared" / "oracle"
GOLDEN = ORACLE / "golden"
PROGRAM = os.environ.get("RESNET_RS", ROOT / "target" / "release" / "resnet-rs")

sys.path.insert(0, str(ORACLE))
synth = pytest.importorskip("synth", reason=f"there are no golden files in {ORACLE}")

# The golden files' seed, and the scale of the last batch norm of each residual branch there.
SEED = 1
GAMMA = 0.2
EFFICIENTNET_GAMMA = 0.5

# Largest error, as a share of the largest logit: what the project asks of every adapter.
TOLERANCE = 1e-4

# ResNet-RS `small`, and what of it the other cases change.
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
PLAIN = dict(se_ratio=0.0, stem="plain", stem_downsampling="max-pool", shortcut="strided")


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


def run(*arguments):
    subprocess.run([PROGRAM, *map(str, arguments), "--quiet"], check=True)


def export(weights, res):
    """The exported model, checked by ONNX's own rules, shapes included."""
    out = weights.with_suffix(".onnx")
    run("export", "--weights", weights, out, "--res", res)
    model = onnx.load(out)
    onnx.checker.check_model(model, full_check=True)
    return out, model


def logits(file, pictures):
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return session.run(["logits"], {"input": pictures})[0]


def own_logits(weights, pictures):
    """What the program itself answers."""
    tensor, answer = weights.with_suffix(".input"), weights.with_suffix(".logits")
    save_file({"input": pictures}, tensor)
    run("predict", "--weights", weights, "--tensor", tensor, "--logits", answer)
    return load_file(answer)["logits"]


def assert_close(what, got, want):
    error = np.abs(got.astype(np.float64) - want).max() / np.abs(want).max()
    print(f"\n{what}: largest error {error:.1e} of the largest logit")
    assert got.shape == want.shape and error <= TOLERANCE


def efficientnet_shapes():
    cases = json.loads((GOLDEN / "index.json").read_text())["cases"]
    names = next(case for case in cases if case["case"] == "infer_b0_64")["names"]
    return {name: shape for name, shape in names.items() if not name.endswith("num_batches_tracked")}


RS50 = resnet_shapes(SMALL | dict(depths=[3, 4, 6, 3], width=1.0), 1000)


# At 75 px every map is odd once, so pools cut their last window short.
@pytest.mark.parametrize(
    "case, shapes, gamma, pictures, res",
    [
        ("infer_rs50_64", RS50, GAMMA, 2, 64),
        ("infer_rs50_75", RS50, GAMMA, 2, 75),
        ("infer_b0_64", efficientnet_shapes(), EFFICIENTNET_GAMMA, 1, 64),
    ],
)
def test_golden_logits(tmp_path, case, shapes, gamma, pictures, res):
    weights = tmp_path / "w.safetensors"
    write_weights(weights, shapes, gamma)
    file, _ = export(weights, res)
    want = load_file(GOLDEN / f"{case}.safetensors")["logits"]
    images = synth.images("input", (pictures, 3, res, res), SEED)
    for rows in ([0], [i % pictures for i in range(3)]):
        assert_close(f"{case}, batch {len(rows)}", logits(file, images[rows]), want[rows])


@pytest.mark.parametrize(
    "name, switches",
    [
        ("small", {}),
        ("silu", dict(activation="silu")),
        ("first-block", dict(stem_downsampling="first-block")),
        ("resnet", PLAIN),
        ("resnet-d", PLAIN | dict(stem="deep", shortcut="pooled")),
        ("se-resnet", PLAIN | dict(se_ratio=0.0625)),
        ("resnet-silu", PLAIN | dict(activation="silu")),
    ],
)
@pytest.mark.parametrize("res", [32, 33])
def test_own_logits(tmp_path, name, switches, res):
    layers = SMALL | switches
    config = layers | dict(classes=10, dropout=0.0, drop_path=0.0, bn_momentum=0.1)
    classes = [f"class {i}" for i in range(10)]
    card = dict(config=config, res=32, crop_pct=0.9, mean=[0.5, 0.4, 0.3], std=[0.2, 0.3, 0.25], classes=classes)
    weights = tmp_path / "w.safetensors"
    write_weights(weights, resnet_shapes(layers, 10), GAMMA, {"resnet-rs": json.dumps(card)})
    file, model = export(weights, res)

    metadata = {entry.key: entry.value for entry in model.metadata_props}
    told = {key: json.loads(metadata[key]) for key in ("res", "crop_pct", "mean", "std", "classes")}
    assert told == {key: card[key] for key in told} | dict(res=res)
    assert (model.producer_name, model.ir_version, model.opset_import[0].version) == ("resnet-rs", 8, 17)

    for batch in (1, 3):
        pictures = synth.images("input", (batch, 3, res, res), SEED)
        assert_close(f"{name} at {res} px, batch {batch}", logits(file, pictures), own_logits(weights, pictures))


def test_efficientnet_at_an_odd_size(tmp_path):
    weights = tmp_path / "w.safetensors"
    write_weights(weights, efficientnet_shapes(), EFFICIENTNET_GAMMA)
    file, _ = export(weights, 75)
    pictures = synth.images("input", (3, 3, 75, 75), SEED)
    assert_close("efficientnet-b0 at 75 px, batch 3", logits(file, pictures), own_logits(weights, pictures))
