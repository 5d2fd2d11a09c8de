"""Writes boxes.json: what torchvision's parts of a RetinaNet make of a few boxes.

Made with torchvision 0.29.2 and torch 2.15.0.
"""

import json
import math

import torch
from torchvision.models.detection._utils import BoxCoder, Matcher
from torchvision.models.detection.retinanet import _default_anchorgen
from torchvision.ops import batched_nms, box_iou, nms

anchors = [[0.0, 0.0, 32.0, 32.0], [10.0, 20.0, 74.0, 52.0], [100.0, 100.0, 132.0, 164.0]]
truths = [[4.0, 2.0, 30.0, 40.0], [12.0, 18.0, 80.0, 60.0], [90.0, 110.0, 140.0, 150.0]]
# Two of the sides are above the largest.
deltas = [[0.1, -0.2, 5.0, -3.0], [0.0, 0.0, 0.0, 0.0], [1.0, 1.0, math.log(1000 / 16) + 1, 0.0]]
boxes = [[0, 0, 10, 10], [1, 1, 11, 11], [0, 0, 10, 5], [20, 20, 30, 30], [0, 0, 10, 10]]
scores = [0.9, 0.8, 0.7, 0.6, 0.85]
classes = [0, 0, 0, 1, 1]
# Of 3 true boxes with 5 anchors.
overlaps = [[0.60, 0.45, 0.39, 0.10, 0.30], [0.20, 0.48, 0.10, 0.35, 0.35], [0.05, 0.10, 0.20, 0.05, 0.02]]

coder = BoxCoder((1.0, 1.0, 1.0, 1.0))
a, s, c = (torch.tensor(values) for values in (anchors, scores, classes))
b = torch.tensor(boxes).float()
known = {
    "cells": [cell.tolist() for cell in _default_anchorgen().cell_anchors],
    "anchors": anchors,
    "truths": truths,
    "encode": coder.encode_single(torch.tensor(truths), a).tolist(),
    "deltas": deltas,
    "decode": coder.decode_single(torch.tensor(deltas), a).tolist(),
    "matrix": overlaps,
    "matches": Matcher(0.5, 0.4, True)(torch.tensor(overlaps)).tolist(),
    "boxes": boxes,
    "scores": scores,
    "classes": classes,
    "overlaps": box_iou(b, b).tolist(),
    "nms": nms(b, s, 0.5).tolist(),
    "nms by class": batched_nms(b, s, c, 0.5).tolist(),
}
with open("boxes.json", "w") as file:
    json.dump(known, file)
    file.write("\n")
