"""Writes retinanet.safetensors: torchvision's RetinaNet on a narrow ResNet-RS of timm's parts, in f64.

Two pictures of 128 x 160, 4 classes of which the first is the background, a pyramid of 32 channels. Weights and
pictures are synth.py's, the weights by the names that this project gives them: those of torchvision, with timm's names
below `backbone.body.`; only the bias of the last convolution of the classes is -2, so that there are detections.

`eval_logits` and `eval_boxes` are the outputs with running statistics, and `found.I` the detections of picture I among
them: scores above 0.05, the best 100 of a level, the best 20 of all. `logits` and `boxes` are the outputs with the
statistics of the batch, `loss_class` and `loss_box` their losses, and `grad_norms` the norms of the gradients, in the
order of the parameters. `matched.I` says what an anchor learns: the index of a true box, -1 for the background, or -2
for nothing.

Made with torchvision 0.29.2, torch 2.15.0 and timm 1.0.31.
"""

from collections import OrderedDict

import synth
import torch
from tiny import SEED, filled, levels, resnet_rs, save
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.retinanet import RetinaNet
from torchvision.ops import box_iou
from torchvision.ops.feature_pyramid_network import FeaturePyramidNetwork, LastLevelP6P7

SIZE = (128, 160)
TRUTHS = [([[10.0, 12.0, 60.0, 80.0], [55.0, 20.0, 140.0, 95.0]], [1, 3]), ([[5.0, 30.0, 50.0, 120.0]], [2])]


class Backbone(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.body = resnet_rs()
        self.fpn = FeaturePyramidNetwork([128, 256, 512], 32, LastLevelP6P7(32, 32))
        self.out_channels = 32

    def forward(self, x):
        return self.fpn(OrderedDict((str(i), map) for i, map in enumerate(levels(self.body, x)[2:])))


net = RetinaNet(Backbone(), 4, score_thresh=0.05, topk_candidates=100, detections_per_img=20)
filled(net, head_classification_head_cls_logits_bias=-2.0)
pictures = torch.from_numpy(synth.images("input", (2, 3, *SIZE), SEED)).double()
truths = [{"boxes": torch.tensor(boxes).double(), "labels": torch.tensor(labels)} for boxes, labels in TRUTHS]


def run():
    features = list(net.backbone(pictures).values())
    anchors = net.anchor_generator(ImageList(pictures, [SIZE] * 2), features)
    per_level = [f.shape[2] * f.shape[3] * 9 for f in features]
    return net.head(features), [boxes.double() for boxes in anchors], per_level


net.eval()
with torch.no_grad():
    out, anchors, per_level = run()
    by_level = {name: list(values.split(per_level, 1)) for name, values in out.items()}
    found = net.postprocess_detections(by_level, [list(boxes.split(per_level)) for boxes in anchors], [SIZE] * 2)
known = {"anchors": anchors[0], "eval_logits": out["cls_logits"], "eval_boxes": out["bbox_regression"]}
for i, detections in enumerate(found):
    known |= {f"found.{i}.{name}": values for name, values in detections.items()}

net.train()
out, _, _ = run()
known |= {"logits": out["cls_logits"], "boxes": out["bbox_regression"]}
losses = net.compute_loss(truths, out, anchors)
known |= {"loss_class": losses["classification"].reshape(1), "loss_box": losses["bbox_regression"].reshape(1)}
sum(losses.values()).backward()
for i, (truth, boxes) in enumerate(zip(truths, anchors)):
    known[f"matched.{i}"] = net.proposal_matcher(box_iou(truth["boxes"], boxes)).to(torch.int32)

save("retinanet", known, net)
