"""Features beside timm's own `features_only`: its transform, its network, the same weights.

Runs only where timm is installed, which brings PyTorch:
pip install timm, then PYTHONPATH=target/python pytest python/tests/test_timm.py.
"""

import numpy as np
import pytest
import resnet_rs
import synth
from networks import EFFICIENTNET_GAMMA, GAMMA, RS50, efficientnet_shapes, write_weights
from safetensors.numpy import load_file

torch = pytest.importorskip("torch")
timm = pytest.importorskip("timm")
Image = pytest.importorskip("PIL.Image")

NETWORKS = {
    "resnetrs50": (lambda: RS50, GAMMA),
    "tf_efficientnet_b0": (efficientnet_shapes, EFFICIENTNET_GAMMA),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_features_are_timms(tmp_path, name):
    weights = tmp_path / "w.safetensors"
    shapes, gamma = NETWORKS[name]
    write_weights(weights, shapes(), gamma)
    ours = resnet_rs.Features(weights)

    theirs = timm.create_model(name, features_only=True).eval()
    tensors = {key: torch.from_numpy(value) for key, value in load_file(weights).items()}
    missing, _ = theirs.load_state_dict(tensors, strict=False)
    assert not [key for key in missing if not key.endswith("num_batches_tracked")]
    transform = timm.data.create_transform(
        (3, ours.res, ours.res), mean=ours.mean, std=ours.std, crop_pct=ours.crop_pct, interpolation=ours.interpolation
    )

    # The size to which pictures are resized, so that all values are exact until they reach the network.
    side = int(ours.res / ours.crop_pct)
    values = synth.value("picture", side * side * 3, 1).reshape(side, side, 3)
    picture = (127.5 * (values + 1)).astype(np.uint8)
    with torch.no_grad():
        want = theirs(transform(Image.fromarray(picture))[None])
    got = ours.extract(picture)
    assert [ours.res // map.shape[1] for map in got] == theirs.feature_info.reduction()
    assert [map.shape[0] for map in got] == theirs.feature_info.channels()
    for map, expected in zip(got, want):
        expected = expected[0].numpy().astype(np.float64)
        off = np.abs(map - expected).max() / np.abs(expected).max()
        print(f"{name}, {map.shape}: {off:.1e}")
        assert off <= 1e-4
