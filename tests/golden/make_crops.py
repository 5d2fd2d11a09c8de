"""Writes crops.safetensors: timm's evaluation crops of small pictures, by every filter and in every mode.

The keys are WIDTHxHEIGHT RES CROP_PCT INTERPOLATION CROP_MODE. Made with timm 1.0.31 and Pillow 13.0.0. That version
of Pillow, unlike those before it, resizes pictures that lose much more of their height than of their width first along
the height. No picture here is such a one.
"""

import numpy as np
from PIL import Image
from safetensors.numpy import save_file
from timm.data import create_transform

MEAN = (0.485, 0.456, 0.406)


def picture(width, height):
    y, x, c = np.mgrid[0:height, 0:width, 0:3]
    return Image.fromarray(((3 * x * x + 5 * y * y + (2 + c) * x * y + 40 * c) % 256).astype(np.uint8))


crops = {}
for width, height, res, crop_pct in [(31, 23, 12, 0.875), (9, 7, 12, 0.9), (22, 27, 11, 1.0)]:
    for interpolation in ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"):
        for mode in ("center", "squash", "border"):
            transform = create_transform(
                (3, res, res),
                interpolation=interpolation,
                crop_pct=crop_pct,
                crop_mode=mode,
                mean=MEAN,
                normalize=False,
            )
            crop = transform(picture(width, height)).numpy().transpose(1, 2, 0)
            crops[f"{width}x{height} {res} {crop_pct} {interpolation} {mode}"] = np.ascontiguousarray(crop)
save_file(crops, "crops.safetensors")
