"""Import this before timm or transformers.

A torchvision build that does not match the installed torch lacks two compiled
operators that it wants to register at import; declaring them lets both
libraries load. Nothing here ever calls them.
"""
import torch

_library = torch.library.Library("torchvision", "FRAGMENT")
for _schema in (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
):
    try:
        _library.define(_schema)
    except RuntimeError:  # a matching torchvision has already declared it
        pass
