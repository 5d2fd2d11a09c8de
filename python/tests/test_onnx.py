"""Exported networks under ONNX Runtime: against PyTorch's golden logits, or else the program's own."""

import json
import subprocess

import numpy as np
import onnx
import onnxruntime
import pytest
import synth
from conftest import GOLDEN, PROGRAM
from networks import (
    EFFICIENTNET_GAMMA,
    GAMMA,
    RS50,
    SEED,
    SMALL,
    deeplab_plus_shapes,
    deeplab_shapes,
    depth_shapes,
    efficientnet_shapes,
    fcn_shapes,
    resnet_shapes,
    retinanet_shapes,
    unet_shapes,
    write_weights,
)
from safetensors.numpy import load_file, save_file

# Largest error, as a share of the largest number: what the project asks of every adapter.
TOLERANCE = 1e-4

PLAIN = dict(se_ratio=0.0, stem="plain", stem_downsampling="max-pool", shortcut="strided")


def run(*arguments):
    subprocess.run([PROGRAM, *map(str, arguments), "--quiet"], check=True)


def export(weights, res, *flags):
    """The exported model, checked by ONNX's own rules, shapes included."""
    out = weights.with_suffix(".onnx")
    run("export", "--weights", weights, out, "--res", res, *flags)
    model = onnx.load(out)
    onnx.checker.check_model(model, full_check=True)
    return out, model


def answer(file, pictures):
    """All outputs by name."""
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"input": pictures})))


def logits(file, pictures):
    return answer(file, pictures)["logits"]


def own_logits(weights, pictures, flag="--logits"):
    """What the program itself answers."""
    tensor, answer = weights.with_suffix(".input"), weights.with_suffix(".logits")
    save_file({"input": pictures}, tensor)
    run("predict", "--weights", weights, "--tensor", tensor, flag, answer)
    return load_file(answer)["logits"]


def assert_close(what, got, want):
    error = np.abs(got.astype(np.float64) - want).max() / np.abs(want).max()
    print(f"\n{what}: largest error {error:.1e} of the largest number")
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


CLASSES = ["background", "square", "disc", "ring"]
GOLDEN_BIAS = -2.0
RETINANET = retinanet_shapes(SMALL, len(CLASSES), 32)
# Of the decoder of depth and U-Net.
WIDTHS = [64, 32, 32, 16, 16]
DEEPLAB = deeplab_shapes(SMALL | dict(depths=[1, 1, 2, 2]), len(CLASSES), 32)


def card(layers, head, classes, **changed):
    config = layers | dict(dropout=0.0, drop_path=0.0, bn_momentum=0.1, head=head, classes=len(classes)) | changed
    card = dict(config=config, res=64, crop_pct=1.0, mean=[0.5] * 3, std=[0.2] * 3, classes=classes)
    return {"resnet-rs": json.dumps(card)}


def metadata(model):
    return {entry.key: entry.value for entry in model.metadata_props}


def write_retinanet(path, bias):
    """With this bias of every class."""
    metadata = card(SMALL, {"retina-net": {"channels": 32}}, CLASSES)
    write_weights(path, RETINANET, GAMMA, metadata, head__classification_head__cls_logits__bias=bias)


# Beside torchvision's own networks (tests/golden/make_retinanet.py), at sizes that leave odd maps.
@pytest.mark.parametrize("output_stride", [8, 16])
def test_golden_classes_of_pixels(tmp_path, output_stride):
    weights = tmp_path / "w.safetensors"
    layers = SMALL | dict(depths=[1, 1, 2, 2])
    head = {"deep-lab-v3": {"channels": 32, "auxiliary": True}}
    write_weights(weights, DEEPLAB, GAMMA, card(layers, head, CLASSES, output_stride=output_stride))
    file, model = export(weights, "65x97")
    assert (metadata(model)["task"], metadata(model)["res"]) == ("segment", "[65,97]")
    want = load_file(GOLDEN / f"deeplabv3_os{output_stride}.safetensors")["eval_logits"]
    images = synth.images("input", (2, 3, 65, 97), SEED)
    for rows in ([1], [0, 1, 0]):
        assert_close(f"segmentation, batch {len(rows)}", logits(file, images[rows]), want[rows])


@pytest.mark.parametrize(
    "head, shapes",
    [
        ({"fcn": {"auxiliary": False}}, fcn_shapes(SMALL, len(CLASSES))),
        ({"deep-lab-v3-plus": {"channels": 32}}, deeplab_plus_shapes(SMALL, len(CLASSES), 32)),
        ({"u-net": {"widths": WIDTHS}}, unet_shapes(SMALL, len(CLASSES), WIDTHS)),
    ],
)
def test_own_classes_of_pixels(tmp_path, head, shapes):
    weights = tmp_path / "w.safetensors"
    write_weights(weights, shapes, GAMMA, card(SMALL, head, CLASSES, output_stride=16))
    file, _ = export(weights, "65x97")
    pictures = synth.images("input", (2, 3, 65, 97), SEED)
    assert_close(f"{head}", logits(file, pictures), own_logits(weights, pictures, "--outputs"))


def test_golden_depths(tmp_path):
    weights = tmp_path / "w.safetensors"
    head = {"dense-depth": {"widths": WIDTHS, "max_m": 10.0}}
    write_weights(weights, depth_shapes(SMALL, WIDTHS), GAMMA, card(SMALL, head, ["depth"]))
    file, model = export(weights, "64x96")
    assert metadata(model)["task"] == "depth"
    want = load_file(GOLDEN / "depth.safetensors")["eval_depth"]
    images = synth.images("input", (2, 3, 64, 96), SEED)
    for rows in ([1], [0, 1, 0]):
        assert_close(f"depth, batch {len(rows)}", answer(file, images[rows])["depth"], want[rows])


def test_golden_boxes(tmp_path):
    weights = tmp_path / "w.safetensors"
    write_retinanet(weights, GOLDEN_BIAS)
    file, model = export(weights, "128x160")
    assert (metadata(model)["task"], json.loads(metadata(model)["classes"])) == ("detect", CLASSES)
    want = load_file(GOLDEN / "retinanet.safetensors")
    images = synth.images("input", (2, 3, 128, 160), SEED)
    for rows in ([1], [0, 1, 0]):
        got = answer(file, images[rows])
        assert list(got) == ["logits", "boxes", "anchors"]
        for name in ("logits", "boxes"):
            assert_close(f"{name}, batch {len(rows)}", got[name], want[f"eval_{name}"][rows])
        assert (got["anchors"] == want["anchors"]).all()


def test_golden_detections(tmp_path):
    weights = tmp_path / "w.safetensors"
    write_retinanet(weights, GOLDEN_BIAS)
    file, _ = export(weights, "128x160", "--with-nms")
    want = load_file(GOLDEN / "retinanet.safetensors")
    images = synth.images("input", (2, 3, 128, 160), SEED)
    for rows in ([1], [0, 1, 0]):
        got = answer(file, images[rows])
        assert list(got) == ["boxes", "scores", "classes", "pictures"]
        assert (np.diff(got["pictures"]) >= 0).all() and set(got["pictures"]) == set(range(len(rows)))
        for n, row in enumerate(rows):
            of_picture = {name: got[name][got["pictures"] == n] for name in ("boxes", "scores", "classes")}
            assert 20 < len(of_picture["scores"]) <= 300
            assert (np.diff(of_picture["scores"]) <= 0).all() and of_picture["scores"].min() > 0.05
            # The golden file holds the best 20.
            for name, golden in (("boxes", "boxes"), ("scores", "scores"), ("classes", "labels")):
                got_best = of_picture[name][:20]
                assert_close(f"{name}, picture {n} of {len(rows)}", got_best, want[f"found.{row}.{golden}"])
    # No picture with a detection.
    write_retinanet(weights, -99.0)
    file, _ = export(weights, "128x160", "--with-nms")
    assert {name: list(values.shape) for name, values in answer(file, images).items()} == {
        "boxes": [0, 4],
        "scores": [0],
        "classes": [0],
        "pictures": [0],
    }
