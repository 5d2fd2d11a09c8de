"""Makes the golden files that no other script makes: logits, training steps, crops, augmentations, an epoch of
Fashion-MNIST, by PyTorch, timm and Pillow.

    python tests/golden/make_golden.py OUT [--fashion FOLDER]

`index.json` says how each file was made, and by which versions. Networks have the weights and pictures of `synth.py`
and compute in f64; files hold f32. The epoch is made only with `--fashion`, the folder of the data set's four files.
"""

import argparse
import functools
import gzip
import json
import pathlib

import numpy as np
import PIL
import synth
import timm
import torch
import torch.nn.functional as F
from PIL import Image, ImageEnhance, ImageOps
from safetensors.torch import save_file
from timm.data import create_transform
from timm.layers import get_attn
from timm.models.resnet import Bottleneck, ResNet

SEED = 1

# The small ResNet-RS: blocks in each stage, channels of the first, pictures of a batch, their side.
DEPTHS = [1, 1, 1, 1]
WIDTH = 16
BATCH = 8
RES = 32
LABELS = torch.arange(BATCH) * 7 % 10


class Folder:
    """Where files go, and the index of what they hold."""

    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.path.mkdir(parents=True, exist_ok=True)
        versions = {"torch": torch.__version__, "timm": timm.__version__, "pillow": PIL.__version__}
        self.index = versions | {"seed": SEED, "cases": []}

    def save(self, case, tensors, **how):
        floats = {name: tensor.detach().clone().contiguous().float() for name, tensor in tensors.items()}
        save_file(floats, self.path / f"{case}.safetensors")
        self.index["cases"].append({"case": case, **how})
        print(case, flush=True)

    def finish(self):
        (self.path / "index.json").write_text(json.dumps(self.index, indent=1))


def small():
    """The small ResNet-RS: stages of WIDTH * (1, 2, 4, 8) channels, a stem of half the first."""
    attention = functools.partial(get_attn("se"), rd_ratio=0.25)
    return ResNet(
        Bottleneck,
        DEPTHS,
        num_classes=10,
        stem_width=WIDTH // 2,
        stem_type="deep",
        replace_stem_pool=True,
        avg_down=True,
        block_args=dict(attn_layer=attention),
        channels=tuple(WIDTH * m for m in (1, 2, 4, 8)),
    )


def load(model, gamma=0.2):
    """The synthetic weights, then float64: the files carry no rounding of PyTorch's own worth speaking of."""
    model.load_state_dict(synth.state_dict(model, SEED, gamma))
    return model.double()


def images(name, shape):
    return torch.from_numpy(synth.images(name, shape, SEED)).double()


def inference(folder):
    """Logits of every released depth; of depth 50 at two sizes and the stages' maps as well."""
    for depth in (50, 101, 152, 200, 270, 350, 420):
        model = load(timm.create_model(f"resnetrs{depth}")).eval()
        for size in (64, 75) if depth == 50 else (64,):
            x = images("input", (2, 3, size, size))
            with torch.no_grad():
                tensors = {"logits": model(x)}
                if depth == 50:
                    maps = model.maxpool(model.act1(model.bn1(model.conv1(x))))
                    tensors["stem"] = maps[:1, :8]
                    for i in (1, 2, 3, 4):
                        maps = getattr(model, f"layer{i}")(maps)
                        tensors[f"layer{i}"] = maps[:1, :8]
            folder.save(
                f"infer_rs{depth}_{size}",
                tensors,
                kind="infer",
                model=f"resnetrs{depth}",
                input=[2, 3, size, size],
                note="stem/layerN: first image, first 8 channels, NCHW",
            )


def training_step(folder):
    """One step of the small network: gradients and the statistics after the forward pass."""
    model = load(small()).train()
    logits = model(images("input", (BATCH, 3, RES, RES)))
    loss = F.cross_entropy(logits, LABELS, label_smoothing=0.1)
    loss.backward()
    tensors = {"logits": logits, "loss": loss.reshape(1)}
    tensors |= {f"grad.{name}": p.grad for name, p in model.named_parameters()}
    tensors |= {f"after_forward.{name}": b for name, b in model.named_buffers() if "num_batches" not in name}
    folder.save(
        "train_small_step",
        tensors,
        kind="train_step",
        width=WIDTH,
        depths=DEPTHS,
        classes=10,
        input=[BATCH, 3, RES, RES],
        labels=LABELS.tolist(),
        label_smoothing=0.1,
        bn_momentum=0.1,
        note="training-mode forward and backward; running statistics follow the framework convention "
        "new = 0.9 old + 0.1 batch, unbiased variance",
    )


def ten_steps(folder, name, optimizer, decay_all, weight_decay, **settings):
    """Ten steps of the small network by an optimiser, then its logits by the running statistics."""
    model = load(small()).train()
    kernels = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim <= 1]
    if decay_all:
        groups = [{"params": list(model.parameters()), "weight_decay": weight_decay}]
    else:
        groups = [{"params": kernels, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = optimizer(groups, lr=0.001, **settings)
    losses = []
    for step in range(10):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images(f"input{step}", (BATCH, 3, RES, RES))), LABELS, label_smoothing=0.1)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    model.eval()
    with torch.no_grad():
        logits = model(images("input", (BATCH, 3, RES, RES)))
    tensors = {
        "losses": torch.tensor(losses),
        "eval_logits": logits,
        "conv1.0.weight": model.conv1[0].weight,
        "fc.weight": model.fc.weight,
        "layer4.0.bn3.running_var": model.layer4[0].bn3.running_var,
    }
    folder.save(
        f"train_small_{name}",
        tensors,
        kind="train_10",
        width=WIDTH,
        depths=DEPTHS,
        lr=0.001,
        **settings,
        weight_decay=weight_decay,
        decay="all" if decay_all else "kernels only",
        note="step s uses images(inputS); labels as in train_small_step",
    )


def gradients_of_depth_50(folder):
    model = load(timm.create_model("resnetrs50")).train()
    labels = torch.arange(4) * 211 % 1000
    loss = F.cross_entropy(model(images("input", (4, 3, 64, 64))), labels, label_smoothing=0.1)
    loss.backward()
    tensors = {
        "loss": loss.reshape(1),
        "conv1.0.weight.grad": model.conv1[0].weight.grad,
        "layer3.2.se.fc1.bias.grad": model.layer3[2].se.fc1.bias.grad,
        "fc.bias.grad": model.fc.bias.grad,
        "grad_norms": torch.stack([p.grad.norm() for p in model.parameters()]),
    }
    folder.save(
        "train_rs50_64",
        tensors,
        kind="train_step",
        model="resnetrs50",
        input=[4, 3, 64, 64],
        labels=labels.tolist(),
        label_smoothing=0.1,
        names=[name for name, _ in model.named_parameters()],
    )


def efficientnets(folder):
    """Logits of TensorFlow's EfficientNets, and the names and shapes of B0's tensors."""
    for size in (0, 1, 4, 7):
        model = load(timm.create_model(f"tf_efficientnet_b{size}"), 0.5).eval()
        with torch.no_grad():
            logits = model(images("input", (1, 3, 64, 64)))
        folder.save(
            f"infer_b{size}_64",
            {"logits": logits},
            kind="infer",
            model=f"tf_efficientnet_b{size}",
            input=[1, 3, 64, 64],
            branch_gamma=0.5,
            names={name: list(t.shape) for name, t in model.state_dict().items()} if size == 0 else None,
        )


def evaluation_crops(folder):
    """A photograph's stand-in, and timm's standardised crops of it."""
    pixels = ((synth.value("picture", 24 * 32 * 3, SEED) + 1) * 127.5).reshape(24, 32, 3).astype(np.uint8)
    picture = Image.fromarray(pixels).resize((500, 375), Image.BICUBIC)
    picture.save(folder.path / "picture.png")
    for depth in (50, 101, 152):
        c = timm.create_model(f"resnetrs{depth}").default_cfg
        settings = {key: c[key] for key in ("interpolation", "mean", "std", "crop_pct")}
        crop = create_transform(c["input_size"], **settings)(picture)
        folder.save(
            f"preprocess_rs{depth}",
            {"pixels": crop[:, ::4, ::4]},
            kind="preprocess",
            model=f"resnetrs{depth}",
            crop_pct=c["crop_pct"],
            input=list(c["input_size"]),
            note="every fourth row and column of the standardised NCHW crop",
        )
    return picture


def augmentations(folder, picture):
    """RandAugment's operations by Pillow, one by one, at fixed arguments."""
    before = picture.resize((64, 64), Image.BICUBIC).point(lambda v: 40 + v * 5 // 8)
    before.save(folder.path / "augment_in.png")
    grey = (128, 128, 128)

    def affine(matrix):
        return before.transform(before.size, Image.AFFINE, matrix, resample=Image.BILINEAR, fillcolor=grey)

    after = {
        "autocontrast": ImageOps.autocontrast(before),
        "equalize": ImageOps.equalize(before),
        "invert": ImageOps.invert(before),
        "posterize_4": ImageOps.posterize(before, 4),
        "solarize_100": ImageOps.solarize(before, 100),
        "color_1.9": ImageEnhance.Color(before).enhance(1.9),
        "contrast_1.9": ImageEnhance.Contrast(before).enhance(1.9),
        "brightness_0.4": ImageEnhance.Brightness(before).enhance(0.4),
        "sharpness_1.9": ImageEnhance.Sharpness(before).enhance(1.9),
        "rotate_20": before.rotate(20, resample=Image.BILINEAR, fillcolor=grey),
        "shear_x_0.3": affine((1, 0.3, 0, 0, 1, 0)),
        "shear_y_-0.3": affine((1, 0, 0, -0.3, 1, 0)),
        "translate_x_10": affine((1, 0, 10, 0, 1, 0)),
        "translate_y_-7": affine((1, 0, 0, 0, 1, -7)),
    }
    for name, result in after.items():
        result.save(folder.path / f"augment_{name}.png")
    folder.index["augment"] = {
        "input": "augment_in.png",
        "ops": sorted(after),
        "note": "Pillow's operations; AFFINE maps output to input coordinates; bilinear; fill 128",
    }


def fashion_mnist(folder, data):
    """An epoch of Fashion-MNIST: file order, no augmentation, in f32."""

    def read(file, header):
        return np.frombuffer(gzip.open(f"{data}/{file}").read(), np.uint8, offset=header)

    def prepare(pixels):
        padded = F.pad(torch.from_numpy(pixels.copy()).float() / 255, (2, 2, 2, 2))
        return (padded.expand(-1, 3, -1, -1) - 0.2860) / 0.3530

    train = read("train-images-idx3-ubyte.gz", 16).reshape(-1, 1, 28, 28)
    labels = torch.from_numpy(read("train-labels-idx1-ubyte.gz", 8).astype(np.int64))
    test = read("t10k-images-idx3-ubyte.gz", 16).reshape(-1, 1, 28, 28)
    test_labels = read("t10k-labels-idx1-ubyte.gz", 8)

    model = load(small()).float().train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=4e-5)
    steps, losses = len(train) // 64, []

    def cosine(step):
        return 0.01 * (1 + np.cos(np.pi * step / steps))

    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = cosine(step) if step >= 100 else cosine(100) * step / 100
        batch = slice(step * 64, step * 64 + 64)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(prepare(train[batch])), labels[batch], label_smoothing=0.1)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    model.eval()
    with torch.no_grad():
        batches = [slice(i, i + 500) for i in range(0, 10000, 500)]
        right = [(model(prepare(test[b])).argmax(1).numpy() == test_labels[b]).mean() for b in batches]
    folder.save(
        "fashion_mnist_epoch",
        {"losses": torch.tensor(losses)},
        kind="fashion_mnist",
        width=WIDTH,
        depths=DEPTHS,
        batch=64,
        steps=steps,
        test_accuracy=float(np.mean(right)),
        lr="peak 0.02: c(s) = 0.01*(1+cos(pi*s/937)); s/100*c(100) for the first 100 steps, then c(s)",
        momentum=0.9,
        nesterov=True,
        weight_decay="4e-5 on all",
        label_smoothing=0.1,
        note="28x28 padded with 2 black pixels each side, grey copied to 3 channels, (x/255-0.2860)/0.3530 applied "
        "after padding; batches in file order; the last partial batch dropped. Training is chaotic: four PyTorch runs "
        "that differ by rounding only spread by 0.025 mean absolute loss, 0.004 mean loss, 0.019 in the loss smoothed "
        "over 50 steps, 0.007 in accuracy",
    )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out")
    parser.add_argument("--fashion")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    folder = Folder(arguments.out)
    inference(folder)
    training_step(folder)
    sgd, adamw = torch.optim.SGD, torch.optim.AdamW
    ten_steps(folder, "sgd", sgd, decay_all=True, weight_decay=4e-5, momentum=0.9, nesterov=False)
    ten_steps(folder, "nesterov", sgd, decay_all=False, weight_decay=4e-5, momentum=0.9, nesterov=True)
    ten_steps(folder, "adamw", adamw, decay_all=False, weight_decay=0.05, betas=[0.9, 0.999], eps=1e-8)
    gradients_of_depth_50(folder)
    efficientnets(folder)
    augmentations(folder, evaluation_crops(folder))
    if arguments.fashion:
        fashion_mnist(folder, arguments.fashion)
    folder.finish()


main()
