"""Writes deeplabv3_os8, deeplabv3_os16, deeplabv3plus and depth: heads on a narrow ResNet-RS of timm's parts, in f64.

`eval_logits` and `eval_depth` are the outputs with running statistics. `logits`, `aux` and `depth` are those with the
statistics of the batch, `loss` is their loss, and `grad_norms` are the norms of its gradients, in the order of the
parameters. Weights and pictures are synth.py's, the weights by the names that this project gives them.

Segmentation: two pictures, 4 classes; the first five rows of the masks do not count. DeepLabV3 is torchvision's, whose
auxiliary loss counts half. DeepLabV3+ has the decoder of segmentation-models-pytorch; maps are enlarged by half-pixel
positions, where that has aligned corners.

Depth: two pictures whose first three rows are unknown, and DenseDepth's decoder: a 1x1 convolution, four fusions with
the maps before, and a sigmoid of up to 10 m. The loss is BTS's at the input's size.

Made with torchvision 0.29.2, torch 2.15.0, timm 1.0.31 and segmentation-models-pytorch 0.6.0.
"""

import numpy as np
import synth
import torch
import torch.nn.functional as F
from segmentation_models_pytorch.decoders.deeplabv3.decoder import DeepLabV3PlusDecoder
from tiny import SEED, filled, levels, resnet_rs, save
from torch import nn
from torchvision.models.segmentation.deeplabv3 import ASPP
from torchvision.models.segmentation.fcn import FCNHead


def resized(x, size):
    return F.interpolate(x, size, mode="bilinear", align_corners=False)


class DeepLabV3(nn.Module):
    def __init__(self, output_stride):
        super().__init__()
        self.backbone = resnet_rs((1, 1, 2, 2), output_stride)
        self.classifier = nn.Sequential(
            ASPP(512, [12, 24, 36], 32),
            nn.Conv2d(32, 32, 3, padding=1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.Conv2d(32, 4, 1),
        )
        self.aux_classifier = FCNHead(256, 4)

    def forward(self, x):
        maps, size = levels(self.backbone, x), x.shape[-2:]
        return {
            "logits": resized(self.classifier(maps[-1]), size),
            "aux": resized(self.aux_classifier(maps[-2]), size),
        }


class DeepLabV3Plus(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = resnet_rs((1, 1, 2, 2), 16)
        channels = [3, 16, 64, 128, 256, 512]
        self.decoder = DeepLabV3PlusDecoder(channels, 5, 32, (12, 24, 36), 16, True, 0.0)
        self.segmentation_head = nn.Sequential(nn.Conv2d(32, 4, 1))

    def forward(self, x):
        _, fine, *_, last = levels(self.backbone, x)
        decoder = self.decoder
        coarse = resized(decoder.aspp(last), fine.shape[-2:])
        merged = decoder.block2(torch.cat([coarse, decoder.block1(fine)], 1))
        return {"logits": resized(self.segmentation_head(merged), x.shape[-2:])}


class Up(nn.Module):
    def __init__(self, inputs, skip, outputs):
        super().__init__()
        self.a = nn.Conv2d(inputs + skip, outputs, 3, padding=1, bias=False)
        self.b = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.na, self.nb = nn.BatchNorm2d(outputs), nn.BatchNorm2d(outputs)

    def forward(self, x, skip):
        x = torch.cat([resized(x, skip.shape[-2:]), skip], 1)
        return F.relu(self.nb(self.b(F.relu(self.na(self.a(x))))))


class Decoder(nn.Module):
    def __init__(self, channels, widths):
        super().__init__()
        self.first = nn.Conv2d(channels[-1], widths[0], 1)
        skips = reversed(channels[:-1])
        self.ups = nn.ModuleList(Up(*sides) for sides in zip(widths, skips, widths[1:]))
        self.last = nn.Conv2d(widths[-1], 1, 3, padding=1)


class DenseDepth(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = resnet_rs()
        self.decoder = Decoder([16, 64, 128, 256, 512], [64, 32, 32, 16, 16])

    def forward(self, x):
        maps, decoder = levels(self.backbone, x), self.decoder
        y = decoder.first(maps[-1])
        for up, skip in zip(decoder.ups, reversed(maps[:-1])):
            y = up(y, skip)
        return {"depth": 10.0 * torch.sigmoid(decoder.last(y)).clamp(min=1e-4)}


def pictures(name, shape):
    return torch.from_numpy(synth.images(name, shape, SEED)).double()


def make(case, net, x, loss_of):
    net = filled(net)
    with torch.no_grad():
        name, answer = next(iter(net.eval()(x).items()))
    known = {f"eval_{name}": answer} | net.train()(x)
    loss = loss_of(known)
    loss.backward()
    save(case, known | {"loss": loss.reshape(1)}, net)


def segment(case, net, size):
    values = synth.value("mask", 2 * size[0] * size[1], SEED).astype(np.float64)
    mask = torch.from_numpy(np.minimum((values + 1) / 2 * 4, 3).astype(np.int64).reshape(2, *size))
    mask[:, :5] = 255
    cross_entropy = lambda logits: F.cross_entropy(logits, mask, ignore_index=255)
    auxiliary = lambda known: 0.5 * cross_entropy(known["aux"]) if "aux" in known else 0.0
    loss = lambda known: cross_entropy(known["logits"]) + auxiliary(known)
    make(case, net, pictures("input", (2, 3, *size)), loss)


def depth(case, net, size):
    truth = 5.25 + pictures("depth", (2, 1, *size)) * 4.75 / 1.7
    truth[:, :, :3] = 0
    known_pixels = truth > 0

    def bts(known):
        difference = resized(known["depth"], size)[known_pixels].log() - truth[known_pixels].log()
        return 10 * ((difference**2).mean() - 0.85 * difference.mean() ** 2).sqrt()

    make(case, net, pictures("input", (2, 3, *size)), bts)


for stride in (8, 16):
    segment(f"deeplabv3_os{stride}", DeepLabV3(stride), (65, 97))
segment("deeplabv3plus", DeepLabV3Plus(), (33, 49))
depth("depth", DenseDepth(), (64, 96))
