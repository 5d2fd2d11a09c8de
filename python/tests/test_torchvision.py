"""Files of torchvision's detectors and segmenters beside torchvision itself: recognised, answered, exported.

Runs only where torchvision is installed, which brings PyTorch: pip install torchvision onnxruntime.
"""

import json
import subprocess

import numpy as np
import onnxruntime
import pytest
import synth
from conftest import PROGRAM
from networks import GAMMA, SEED
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

torch = pytest.importorskip("torch")
torchvision = pytest.importorskip("torchvision")
from torchvision.models import detection, segmentation  # noqa: E402
from torchvision.models.detection.image_list import ImageList  # noqa: E402

# Largest error, as a share of the largest number.
TOLERANCE = 1e-4

BARE = dict(weights=None, weights_backbone=None)
SEGMENTERS = {
    "deeplabv3": lambda **options: segmentation.deeplabv3_resnet50(**BARE, **options),
    "fcn": lambda **options: segmentation.fcn_resnet50(**BARE, **options),
}


def filled(model, path):
    """Gives a network synth.py's weights and running statistics, and writes them. A detector's outputs become small, so
    that no score is rounded to 1."""
    state = synth.state_dict(model, SEED, GAMMA)
    for name in ("classification_head.cls_logits", "regression_head.bbox_reg"):
        if f"head.{name}.weight" in state:
            state[f"head.{name}.weight"] *= 0.05
            state[f"head.{name}.bias"].fill_(-2.0 if "class" in name else 0.0)
    model.load_state_dict(state)
    save_file({name: values.numpy() for name, values in state.items()}, path)
    return model.eval().double()


def run(*arguments):
    subprocess.run([PROGRAM, *map(str, arguments), "--quiet"], check=True)


def exported(weights, side, pictures, *flags):
    """What the exported network answers, by name."""
    file = weights.with_suffix(".onnx")
    run("export", "--weights", weights, file, "--res", side, *flags)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"input": pictures})))


def predicted(weights, pictures):
    """What the program answers, by name."""
    tensor, outputs = weights.with_suffix(".input"), weights.with_suffix(".outputs")
    save_file({"input": pictures}, tensor)
    run("predict", "--weights", weights, "--tensor", tensor, "--outputs", outputs)
    return load_file(outputs)


def answers(weights, side, pictures):
    return {"ONNX": exported(weights, side, pictures), "predict": predicted(weights, pictures)}


def off(got, want):
    want = want.detach().numpy().astype(np.float64)
    assert got.shape == want.shape
    return np.abs(got - want).max() / np.abs(want).max()


def assert_close(what, got, want):
    print(f"\n{what}: largest error {off(got, want):.1e} of the largest number")
    assert off(got, want) <= TOLERANCE, what


@pytest.mark.parametrize("name", SEGMENTERS)
@pytest.mark.parametrize("aux_loss", [False, True])
def test_classes_of_pixels_are_torchvisions(tmp_path, name, aux_loss):
    weights = tmp_path / "w.safetensors"
    model = filled(SEGMENTERS[name](num_classes=21, aux_loss=aux_loss), weights)
    pictures = synth.images("input", (2, 3, 97, 97), SEED)
    with torch.no_grad():
        want = model(torch.from_numpy(pictures).double())["out"]
    for how, got in answers(weights, 97, pictures).items():
        assert list(got) == ["logits"]
        assert_close(f"{name}, {how}", got["logits"], want)


def retinanet_answer(model, pictures):
    """Features, logits, boxes and anchors of pictures that are standardised and of the final size."""
    x = torch.from_numpy(pictures).double()
    with torch.no_grad():
        features = list(model.backbone(x).values())
        out = model.head(features)
        anchors = model.anchor_generator(ImageList(x, [tuple(x.shape[2:])] * len(x)), features)
    return features, {"logits": out["cls_logits"], "boxes": out["bbox_regression"], "anchors": anchors[0]}


def test_boxes_are_torchvisions(tmp_path):
    weights = tmp_path / "w.safetensors"
    model = filled(detection.retinanet_resnet50_fpn(**BARE, num_classes=91), weights)
    pictures = synth.images("input", (2, 3, 160, 160), SEED)
    features, want = retinanet_answer(model, pictures)
    found = answers(weights, 160, pictures)
    for how, got in found.items():
        for name in ("logits", "boxes"):
            assert_close(f"{name}, {how}", got[name], want[name])
    raw = found["ONNX"]
    assert (raw["anchors"] == want["anchors"].numpy()).all()

    # torchvision's choice among the exported network's own outputs, so that no score is near another by rounding.
    got = exported(weights, 160, pictures, "--with-nms")
    per_level = [map.shape[2] * map.shape[3] * 9 for map in features]
    heads = {"cls_logits": raw["logits"], "bbox_regression": raw["boxes"]}
    heads = {name: list(torch.from_numpy(values).split(per_level, 1)) for name, values in heads.items()}
    anchors = list(torch.from_numpy(raw["anchors"]).split(per_level))
    chosen = model.postprocess_detections(heads, [anchors] * 2, [(160, 160)] * 2)
    assert sum(len(of_picture["scores"]) for of_picture in chosen) == len(got["scores"])
    for n, of_picture in enumerate(chosen):
        mine = got["pictures"] == n
        assert mine.sum() == len(of_picture["scores"]) > 20 and of_picture["scores"].max() < 0.999
        scores, labels, boxes = (of_picture[name].numpy() for name in ("scores", "labels", "boxes"))
        assert np.abs(got["scores"][mine] - scores).max() < 1e-6
        # Scores that differ by rounding may change places, of the last ones with some that are left out.
        same = (got["classes"][mine][:, None] == labels) & (np.abs(got["scores"][mine][:, None] - scores) < 1e-6)
        same &= np.abs(got["boxes"][mine][:, None] - boxes).max(2) < 1e-3
        apart = scores > scores.min() + 1e-6
        assert same.any(0)[apart].all() and same.any(1)[apart].all()


def test_another_epsilon_is_kept(tmp_path):
    """The RetinaNet that torchvision released adds nothing to the variance, which matters where that is small."""
    weights, converted = tmp_path / "w.safetensors", tmp_path / "converted.safetensors"
    model = filled(detection.retinanet_resnet50_fpn(**BARE, num_classes=91), weights)
    state = load_file(weights)
    small = "backbone.body.bn1.running_var"
    state[small][:8] = 1e-5
    save_file(state, weights)
    model.load_state_dict({name: torch.from_numpy(values) for name, values in state.items()})
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eps = 0.0
    pictures = synth.images("input", (1, 3, 96, 96), SEED)
    _, want = retinanet_answer(model, pictures)
    run("export", "--weights", weights, converted, "--bn-eps", 0)
    assert_close("logits", exported(converted, 96, pictures)["logits"], want["logits"])
    assert off(exported(weights, 96, pictures)["logits"], want["logits"]) > TOLERANCE


def test_files_are_told_by_their_tensors(tmp_path):
    """Only an exported file has a card, which says what was recognised."""
    weights, carded = tmp_path / "w.safetensors", tmp_path / "carded.safetensors"
    filled(segmentation.fcn_resnet50(**BARE, num_classes=21, aux_loss=True), weights)
    run("export", "--weights", weights, carded)
    card = json.loads(safe_open(carded, "np").metadata()["resnet-rs"])
    assert card["config"]["head"] == {"fcn": {"auxiliary": True}} and card["config"]["output_stride"] == 8
    assert card["classes"][0] == "background" and card["classes"][-1] == "tvmonitor"
