"""Heads on a narrow backbone: what the scripts of their golden files share."""

import json
from functools import partial
from pathlib import Path

import synth
import torch
from safetensors.torch import save_file
from timm.layers import get_attn
from timm.models.resnet import Bottleneck, ResNet

SEED = 1


def resnet_rs(layers=(1, 1, 1, 1), output_stride=32):
    """A ResNet-RS of timm's parts whose stages have 64, 128, 256 and 512 channels."""
    return ResNet(
        Bottleneck,
        layers,
        num_classes=5,
        channels=(16, 32, 64, 128),
        output_stride=output_stride,
        stem_width=8,
        stem_type="deep",
        replace_stem_pool=True,
        avg_down=True,
        block_args=dict(attn_layer=partial(get_attn("se"), rd_ratio=0.25)),
    )


def levels(net, x):
    """The maps of a ResNet at a half of the input's size, and after each stage."""
    maps = [net.act1(net.bn1(net.conv1(x)))]
    x = net.maxpool(maps[0])
    for layer in (net.layer1, net.layer2, net.layer3, net.layer4):
        maps.append(x := layer(x))
    return maps


def filled(net, **fixed):
    """The network in f64 with synth.py's weights, but for those that are given by their names, with _ for a dot."""
    state = synth.state_dict(net, SEED)
    for name, value in fixed.items():
        next(v for k, v in state.items() if k.replace(".", "_") == name).fill_(value)
    net.load_state_dict(state)
    for module in net.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return net.double()


def save(case, known, net):
    """Writes CASE.safetensors with the norms of the gradients, and the names of their parameters to tasks.json."""
    zero = torch.zeros(()).double()
    known["grad_norms"] = torch.stack([zero if p.grad is None else p.grad.norm() for p in net.parameters()])
    known = {name: values.detach().contiguous().clone() for name, values in known.items()}
    save_file({k: v.float() if v.is_floating_point() else v for k, v in known.items()}, f"{case}.safetensors")
    path = Path("tasks.json")
    names = json.loads(path.read_text()) if path.exists() else {}
    names[case] = [name for name, _ in net.named_parameters()]
    path.write_text(json.dumps(names, indent=0))
