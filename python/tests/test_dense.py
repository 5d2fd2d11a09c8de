"""Detectors, segmentation and depth networks: answers in the picture's pixels, golden outputs, what is refused."""

import json

import numpy as np
import pytest
import resnet_rs
import synth
from conftest import GOLDEN
from networks import GAMMA, SEED, SMALL, depth_shapes, fcn_shapes, retinanet_shapes, write_weights
from safetensors.numpy import load_file, save_file
from test_door import assert_close, picture

WIDTHS = [64, 32, 32, 16, 16]


def written(path, shapes, classes, head):
    config = SMALL | dict(classes=classes, dropout=0.0, drop_path=0.0, bn_momentum=0.1, head=head)
    names = [f"kind {i}" for i in range(classes)] if classes > 1 else []
    shown = dict(res=64, crop_pct=1.0, interpolation="bilinear", crop_mode="border")
    card = dict(config=config, mean=[0.5, 0.4, 0.3], std=[0.2, 0.3, 0.25], classes=names, **shown)
    write_weights(path, shapes, GAMMA, {"resnet-rs": json.dumps(card)})
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("dense")


@pytest.fixture(scope="module")
def detector(folder):
    path = folder / "detector.safetensors"
    written(path, retinanet_shapes(SMALL, 4, 32), 4, {"retina-net": {"channels": 32}})
    # The golden file's biases, so that about an eighth of all scores is above the threshold.
    tensors, bias = load_file(path), "head.classification_head.cls_logits.bias"
    tensors[bias] = np.full_like(tensors[bias], -2)
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    save_file(tensors, path, header["__metadata__"])
    return path


@pytest.fixture(scope="module")
def segmenter(folder):
    return written(folder / "segmenter.safetensors", fcn_shapes(SMALL, 3), 3, {"fcn": {"auxiliary": False}})


@pytest.fixture(scope="module")
def depth_network(folder):
    head = {"dense-depth": {"widths": WIDTHS, "max_m": 10.0}}
    return written(folder / "depth.safetensors", depth_shapes(SMALL, WIDTHS), 1, head)


def test_objects_are_in_pixels_of_the_picture(detector):
    net = resnet_rs.Detector(detector, batch=2)
    assert net.classes[1] == "kind 1" and net.crop_mode == "border"
    pictures = [picture(150, 200), picture(90, 40, seed=2)]
    for one, objects in zip(pictures, net.detect_all(pictures, score=0.2)):
        assert objects == net.detect(one, 0.2) and len(objects) > 3
        scores = [score for _, _, score, _ in objects]
        assert scores == sorted(scores, reverse=True) and scores[-1] >= np.float32(0.2)
        for index, label, _, (left, top, right, bottom) in objects:
            assert index > 0 and label == f"kind {index}"
            assert 0 <= left <= right <= one.shape[1] and 0 <= top <= bottom <= one.shape[0]
    assert len(net.detect(pictures[0])) < len(net.detect(pictures[0], 0.2))


def test_outputs_are_torchvisions(detector, depth_network):
    net = resnet_rs.Detector(detector)
    want = load_file(GOLDEN / "retinanet.safetensors")
    outputs = net.outputs(synth.images("input", (2, 3, 128, 160), SEED))
    assert sorted(outputs) == ["boxes", "logits"]
    for name, got in outputs.items():
        assert_close(got, want[f"eval_{name}"].reshape(got.shape))
    net = resnet_rs.DepthEstimator(depth_network)
    want = load_file(GOLDEN / "depth.safetensors")["eval_depth"]
    assert_close(net.outputs(synth.images("input", (2, 3, 64, 96), SEED))["depth"], want.reshape(2, 1, 32, 48))


def test_classes_and_depths_have_the_picture_s_size(segmenter, depth_network):
    pictures = [picture(150, 200), picture(90, 40, seed=2)]
    net = resnet_rs.Segmenter(segmenter)
    assert net.classes == ["kind 0", "kind 1", "kind 2"]
    for one, classes in zip(pictures, net.segment_all(pictures)):
        assert classes.dtype == np.uint16 and classes.shape == one.shape[:2] and classes.max() < 3
        assert np.array_equal(classes, net.segment(one))
    # A picture of the network's own size is not resized.
    one = picture(64, 64, seed=3)
    x = ((one / 255 - net.mean) / net.std).transpose(2, 0, 1)[None].astype(np.float32)
    likeliest = net.outputs(x)["logits"].argmax(1)[0]
    assert (net.segment(one) == likeliest).mean() > 0.99, "ties are rare"
    net = resnet_rs.DepthEstimator(depth_network)
    for one, metres in zip(pictures, net.estimate_all(pictures)):
        assert metres.dtype == np.float32 and metres.shape == one.shape[:2]
        assert np.array_equal(metres, net.estimate(one)) and 0 < metres.min() < metres.max() <= 10


def test_weights_for_another_task_are_refused(detector, segmenter):
    with pytest.raises(resnet_rs.Error, match="those of a detector: load them with Detector"):
        resnet_rs.Classifier(detector)
    with pytest.raises(resnet_rs.Error, match="those of a segmentation network: load them with Segmenter"):
        resnet_rs.DepthEstimator(segmenter)
    assert len(resnet_rs.Features(detector).extract(picture(60, 50))) == 5
