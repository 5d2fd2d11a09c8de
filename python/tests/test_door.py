"""The Python interface: golden logits, every form of a picture, what is refused, and that Python runs on meanwhile."""

import json
import os
import pathlib
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import resnet_rs
import synth
from conftest import GOLDEN
from networks import GAMMA, RS50, SEED, SMALL, resnet_shapes, write_weights
from safetensors.numpy import load_file

# Largest error, as a share of the largest element.
TOLERANCE = 1e-4

CLASSES = [f"class {i}" for i in range(10)]


def assert_close(got, want):
    assert got.shape == want.shape and got.dtype == np.float32
    assert np.abs(got.astype(np.float64) - want).max() <= TOLERANCE * np.abs(want).max()


@pytest.fixture(scope="session")
def small_weights(tmp_path_factory):
    config = SMALL | dict(classes=10, dropout=0.0, drop_path=0.0, bn_momentum=0.1)
    card = dict(config=config, res=48, crop_pct=0.9, mean=[0.5, 0.4, 0.3], std=[0.2, 0.3, 0.25], classes=CLASSES)
    path = tmp_path_factory.mktemp("small") / "w.safetensors"
    write_weights(path, resnet_shapes(SMALL, 10), GAMMA, {"resnet-rs": json.dumps(card)})
    return path


@pytest.fixture(scope="session")
def small(small_weights):
    return resnet_rs.Classifier(small_weights, batch=2)


def picture(height, width, channels=3, seed=1):
    values = synth.value(f"picture {seed}", height * width * channels, seed)
    return (127.5 * (values.reshape(height, width, channels) + 1)).astype(np.uint8)


@pytest.mark.parametrize("size", [64, 75])
def test_golden_logits(tmp_path, size):
    weights = tmp_path / "w.safetensors"
    write_weights(weights, RS50, GAMMA)
    net = resnet_rs.Classifier(weights)
    want = load_file(GOLDEN / f"infer_rs50_{size}.safetensors")["logits"]
    x = synth.images("input", (2, 3, size, size), SEED)
    assert_close(net.logits(x), want)
    assert_close(net.logits(x[::-1]), want[::-1])


def test_every_form_of_a_picture(small):
    pictures = [picture(60, 50), picture(47, 99, seed=2), picture(48, 48, seed=3)]
    probabilities = small.classify(pictures)
    assert probabilities.shape == (3, 10) and np.allclose(probabilities.sum(1), 1)
    assert not np.allclose(probabilities[0], probabilities[1])
    for one, row in zip(pictures, probabilities):
        assert_close(small.classify(one), row)
        opaque = np.concatenate([one, np.full_like(one[..., :1], 7)], -1)
        assert_close(small.classify(opaque), row)
        backwards = np.ascontiguousarray(one[:, ::-1])[:, ::-1]
        assert_close(small.classify(backwards), row)
    stack = np.stack([pictures[2]] * 5)
    assert_close(small.classify(stack), np.stack([probabilities[2]] * 5))
    best = small.top(pictures[0], 3)
    assert [index for index, _, _ in best] == list(np.argsort(-probabilities[0], kind="stable")[:3])
    assert best[0][1] == CLASSES[best[0][0]] and best[0][2] == pytest.approx(probabilities[0].max(), rel=1e-5)
    assert small.classify([]).shape == (0, 10)


def test_what_a_network_says_of_itself(small):
    assert small.classes == CLASSES and small.res == 48 and small.crop_pct == 0.9
    assert (small.interpolation, small.crop_mode) == ("bicubic", "center")
    assert small.mean == pytest.approx((0.5, 0.4, 0.3)) and small.std == pytest.approx((0.2, 0.3, 0.25))
    assert small.device in resnet_rs.devices() and resnet_rs.__version__


def test_features(small_weights):
    features = resnet_rs.Features(small_weights, batch=2)
    assert features.res == 48 and features.crop_pct == 0.9
    assert features.mean == pytest.approx((0.5, 0.4, 0.3)) and features.std == pytest.approx((0.2, 0.3, 0.25))
    assert features.device in resnet_rs.devices()
    maps = features.extract(picture(80, 70))
    assert [map.shape for map in maps] == [(16, 24, 24), (64, 12, 12), (128, 6, 6), (256, 3, 3), (512, 2, 2)]
    assert all(map.dtype == np.float32 and map.min() >= 0 and map.max() > 0 for map in maps), "behind a ReLU"
    # Three pictures do not fit one batch.
    pictures = [picture(80, 70, seed=seed) for seed in range(1, 4)]
    stacks = features.extract_all(pictures)
    assert [len(stacks)] + [len(stack) for stack in stacks] == [5] + [3] * 5
    for i, one in enumerate(pictures):
        for stack, map in zip(stacks, features.extract(one)):
            assert_close(stack[i], map)
    with pytest.raises(ValueError, match="no pictures"):
        features.extract_all([])


def test_half_precision(small_weights, small):
    half = resnet_rs.Classifier(small_weights, precision="f16")
    one = picture(60, 50)
    off = np.abs(half.classify(one) - small.classify(one)).max()
    assert 0 < off < 0.01


def test_a_file_is_opened_upright():
    folder = pathlib.Path(__file__).parents[2] / "tests" / "golden" / "pictures"
    turned, seen = (resnet_rs.open_picture(folder / name) for name in ("deep.tif", "deep.tif.png"))
    assert turned.dtype == np.uint8 and turned.shape == (21, 19, 3)
    assert np.array_equal(turned, seen)
    with pytest.raises(resnet_rs.Error, match="not a usable picture: a text file"):
        resnet_rs.open_picture(__file__)


def test_what_is_refused(small, small_weights, tmp_path):
    with pytest.raises(resnet_rs.Error, match="no/such.safetensors"):
        resnet_rs.Classifier("no/such.safetensors")
    (tmp_path / "w.safetensors").write_bytes(b"no weights")
    with pytest.raises(resnet_rs.Error, match="not a usable safetensors file"):
        resnet_rs.Classifier(tmp_path / "w.safetensors")
    with pytest.raises(resnet_rs.Error, match="no such GPU"):
        resnet_rs.Classifier(small_weights, device="no such GPU")
    with pytest.raises(ValueError, match="bf16"):
        resnet_rs.Classifier(small_weights, precision="bf16")
    with pytest.raises(ValueError, match="batch"):
        resnet_rs.Classifier(small_weights, batch=0)
    with pytest.raises(resnet_rs.Error, match="nothing to look at"):
        small.classify(np.zeros((0, 5, 3), np.uint8))
    with pytest.raises(ValueError, match=r"\[5, 5, 2\]"):
        small.classify(np.zeros((5, 5, 2), np.uint8))
    for odd in (np.zeros((5, 5, 3)), np.zeros((5, 5), np.uint8), [1, 2], 7, "cat.jpg"):
        with pytest.raises(TypeError):
            small.classify(odd)
    with pytest.raises(resnet_rs.Error, match=r"\[2, 4, 8, 8\]"):
        small.logits(np.zeros((2, 4, 8, 8), np.float32))
    with pytest.raises(TypeError):
        small.logits(np.zeros((2, 3, 8, 8)))
    between_floats = np.frombuffer(bytes(4 * 3 * 32 * 32 + 1), np.float32, offset=1).reshape(1, 3, 32, 32)
    with pytest.raises(ValueError, match="aligned"):
        small.logits(between_floats)
    assert small.logits(between_floats.copy()).shape == (1, 10)


def test_a_machine_without_adapter_is_told_what_to_install(small_weights):
    nothing = {"VK_DRIVER_FILES": "/nonexistent", "VK_ICD_FILENAMES": "/nonexistent"}
    script = f"import resnet_rs; assert resnet_rs.devices() == []; resnet_rs.Classifier({str(small_weights)!r})"
    ended = subprocess.run([sys.executable, "-c", script], env=os.environ | nothing, capture_output=True, text=True)
    assert ended.returncode != 0
    assert "resnet_rs.Error: no GPU adapter answers: install a Vulkan driver" in ended.stderr


def test_the_hub_is_asked_as_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    for network in (resnet_rs.Classifier, resnet_rs.Features):
        with pytest.raises(resnet_rs.Error, match="acme/small@main"):
            network.from_hub("acme/small", offline=True)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    with pytest.raises(resnet_rs.Error, match="cannot reach http://127.0.0.1:9/acme/small"):
        resnet_rs.Classifier.from_hub("acme/small")


def test_threads_share_a_network(small):
    pictures = [picture(60, 50, seed=seed) for seed in range(4)]
    want = small.classify(pictures)

    def classify(one, row):
        return all(np.allclose(small.classify(one), row, atol=1e-5) for _ in range(10))

    with ThreadPoolExecutor(len(pictures)) as pool:
        answers = [pool.submit(classify, *pair) for pair in zip(pictures, want)]
    assert all(answer.result() for answer in answers)


def test_python_runs_on_meanwhile(small):
    x = synth.images("input", (64, 3, 96, 96), SEED)
    small.logits(x)  # makes the network of this shape
    done, turns = threading.Event(), [time.perf_counter()]

    def work():
        try:
            small.logits(x)
        finally:
            done.set()

    with ThreadPoolExecutor() as pool:
        answer = pool.submit(work)
        while not done.is_set():
            turns.append(time.perf_counter())
    answer.result()
    # If the interpreter were locked, there would be no turn between the beginning and the end.
    assert max(np.diff(turns)) < (turns[-1] - turns[0]) / 2
