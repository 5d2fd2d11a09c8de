"""Writes accumulated.safetensors, by PyTorch in f64: the gradient of a batch of 8 computed in 2 parts, clipped to half
its norm: `python tests/golden/make_accumulated.py`.
"""

import functools
import os

import synth
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from timm.layers import get_attn
from timm.models.resnet import Bottleneck, ResNet

SEED = 1
attention = functools.partial(get_attn("se"), rd_ratio=0.25)
model = ResNet(
    Bottleneck,
    [1, 1, 1, 1],
    num_classes=10,
    stem_width=8,
    stem_type="deep",
    replace_stem_pool=True,
    avg_down=True,
    block_args=dict(attn_layer=attention),
    channels=(16, 32, 64, 128),
)
model.load_state_dict(synth.state_dict(model, SEED, 0.2))
model.double().train()
pictures = torch.from_numpy(synth.images("input", (8, 3, 32, 32), SEED)).double()
labels = torch.tensor([i * 7 % 10 for i in range(8)])
for part in (slice(0, 4), slice(4, 8)):
    (F.cross_entropy(model(pictures[part]), labels[part], label_smoothing=0.1) / 2).backward()
norm = torch.sqrt(sum(p.grad.square().sum() for p in model.parameters()))
max_norm = 0.5 * norm.item()
torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)
wanted = [
    "conv1.0.weight",
    "bn1.weight",
    "bn1.bias",
    "layer1.0.conv2.weight",
    "layer2.0.se.fc1.weight",
    "layer2.0.se.fc1.bias",
    "layer4.0.bn3.weight",
    "fc.weight",
    "fc.bias",
]
tensors = {name: p.grad.float().contiguous() for name, p in model.named_parameters() if name in wanted}
tensors["norm"] = norm.float().reshape(1)
tensors["max_norm"] = torch.tensor([max_norm]).float()
save_file(tensors, os.path.join(os.path.dirname(os.path.abspath(__file__)), "accumulated.safetensors"))
print(norm.item(), {k: tuple(v.shape) for k, v in tensors.items()})
