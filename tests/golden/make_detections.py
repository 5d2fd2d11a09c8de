"""Writes detections.json: random true objects and detections, VOC's average precision of them by numpy, in four forms
for each class and as a mean, and COCO's twelve numbers by pycocotools.

Made with numpy 2.4.6 and pycocotools 2.0.11.
"""

import contextlib
import io
import json

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

PICTURES, CLASSES = 12, 3


def overlaps(box, others, more):
    width = np.maximum(np.minimum(others[:, 2], box[2]) - np.maximum(others[:, 0], box[0]) + more, 0)
    height = np.maximum(np.minimum(others[:, 3], box[3]) - np.maximum(others[:, 1], box[1]) + more, 0)
    area = lambda b: (b[..., 2] - b[..., 0] + more) * (b[..., 3] - b[..., 1] + more)
    return width * height / (area(box) + area(others) - width * height)


def average_precision(truths, detections, eleven, more):
    """truths: for each picture its boxes, and which are difficult; detections: picture, score, box. Of one class."""
    used = [np.zeros(len(difficult), bool) for _, difficult in truths]
    hits, misses = [], []
    for picture, _, box in sorted(detections, key=lambda d: -d[1]):
        boxes, difficult = truths[picture]
        hit, miss = 0, 1
        if len(boxes):
            found = overlaps(box, boxes, more)
            best = int(found.argmax())
            if found[best] > 0.5 and difficult[best]:
                miss = 0
            elif found[best] > 0.5 and not used[picture][best]:
                used[picture][best], hit, miss = True, 1, 0
        hits.append(hit)
        misses.append(miss)
    hits, misses = np.cumsum(hits), np.cumsum(misses)
    recall = hits / max(sum(int((~difficult).sum()) for _, difficult in truths), 1)
    precision = hits / np.maximum(hits + misses, np.finfo(float).eps)
    if eleven:
        return sum(max(precision[recall >= t], default=0.0) for t in np.arange(0, 1.1, 0.1)) / 11
    recall, precision = np.r_[0, recall, 1], np.r_[0, precision, 0]
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    steps = np.where(recall[1:] != recall[:-1])[0]
    return float(((recall[steps + 1] - recall[steps]) * precision[steps + 1]).sum())


random = np.random.default_rng(0)
truth, detections = [], []


def place():
    x, y = random.integers(1, 150, 2)
    w, h = random.integers(8, 80, 2)
    return [int(x), int(y), int(x + w), int(y + h)]


for image in range(PICTURES):
    for _ in range(random.integers(1, 6)):
        box = place()
        cls, difficult = int(random.integers(CLASSES)), bool(random.random() < 0.2)
        truth.append(dict(image=image, cls=cls, box=box, difficult=difficult))
        for _ in range(random.integers(0, 3)):
            moved = box + random.normal(0, 6, 4)
            found = cls if random.random() < 0.9 else int(random.integers(CLASSES))
            score = round(float(random.random()), 3)
            box_found = [round(float(v), 1) for v in moved]
            detections.append(dict(image=image, cls=found, score=score, box=box_found))
    for _ in range(2):
        box = place()
        cls, score = int(random.integers(CLASSES)), round(float(random.random() * 0.6), 3)
        detections.append(dict(image=image, cls=cls, score=score, box=box))

expected = {}
for more, areas in ((1.0, "inclusive"), (0.0, "exclusive")):
    for eleven, name in ((True, "11-point"), (False, "area")):
        precisions = []
        for cls in range(CLASSES):
            rows = [[r for r in truth if r["image"] == i and r["cls"] == cls] for i in range(PICTURES)]
            boxes = [np.array([r["box"] for r in of], float).reshape(-1, 4) for of in rows]
            difficult = [np.array([r["difficult"] for r in of], bool) for of in rows]
            found = [(d["image"], d["score"], np.array(d["box"])) for d in detections if d["cls"] == cls]
            precisions.append(average_precision(list(zip(boxes, difficult)), found, eleven, more))
        precisions.append(float(np.mean(precisions)))
        expected[f"voc {name} {areas}"] = [round(p, 6) for p in precisions]


def coco_box(box):
    return [box[0], box[1], box[2] - box[0], box[3] - box[1]]


with contextlib.redirect_stdout(io.StringIO()):
    coco = COCO()
    annotations = [dict(image_id=r["image"], category_id=r["cls"], iscrowd=0, bbox=coco_box(r["box"])) for r in truth]
    for i, annotation in enumerate(annotations):
        annotation |= dict(id=i + 1, area=annotation["bbox"][2] * annotation["bbox"][3])
    coco.dataset = dict(
        images=[dict(id=i, width=256, height=256) for i in range(PICTURES)],
        categories=[dict(id=c, name=str(c)) for c in range(CLASSES)],
        annotations=annotations,
        info={},
    )
    coco.createIndex()
    results = [
        dict(image_id=d["image"], category_id=d["cls"], score=d["score"], bbox=coco_box(d["box"])) for d in detections
    ]
    evaluation = COCOeval(coco, coco.loadRes(results), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
names = "coco AP, AP50, AP75, S, M, L, AR1, AR10, AR100, S, M, L"
expected[names] = [round(float(number), 6) for number in evaluation.stats]

with open("detections.json", "w") as file:
    json.dump(dict(truth=truth, detections=detections, expected=expected), file)
    file.write("\n")
