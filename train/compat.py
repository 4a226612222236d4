"""Lets timm and transformers import where torchvision is absent or was built for another torch."""

import torch

try:
    import torchvision  # noqa: F401
except Exception:
    # Kept alive: the operators go when the library object does.
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
