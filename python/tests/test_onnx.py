"""Exported networks under ONNX Runtime: against PyTorch's golden logits, or else the program's own."""

import json
import subprocess

import numpy as np
import onnx
import onnxruntime
import pytest
import synth
from conftest import GOLDEN, PROGRAM
from networks import EFFICIENTNET_GAMMA, GAMMA, RS50, SEED, SMALL, efficientnet_shapes, resnet_shapes, write_weights
from safetensors.numpy import load_file, save_file

# Largest error, as a share of the largest logit: what the project asks of every adapter.
TOLERANCE = 1e-4

PLAIN = dict(se_ratio=0.0, stem="plain", stem_downsampling="max-pool", shortcut="strided")


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
    assert (metadata["interpolation"], metadata["crop_mode"]) == ("bicubic", "center")
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
