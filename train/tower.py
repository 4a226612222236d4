"""FastViTHD (arXiv 2412.13303) at small widths, in the form that trains fastest: one convolution and one batch norm where the
published model has several branches. Module names are timm's `fastvit_mci3` in inference mode, so `folded` gives its weights.
"""

import torch
import torch.nn.functional as F
from torch import nn

LAYERS = [1, 1, 3, 2, 1]
WIDTHS = [16, 32, 64, 128, 256]
HEAD = 32
SCALE = 0.3  # layer scale at the start; the published 1e-5 is for much deeper networks


class ConvNorm(nn.Module):
    """Convolution without bias, then batch norm; `skip` adds the input, scaled or not."""

    def __init__(self, inputs, outputs, kernel, stride=1, groups=1, act=False, skip=None):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(outputs)
        self.act, self.skip = act, skip
        self.gamma = nn.Parameter(torch.full((outputs, 1, 1), SCALE)) if skip == "scaled" else None
        nn.init.kaiming_normal_(self.conv.weight, nonlinearity="linear" if skip else "relu")

    def forward(self, x):
        y = self.bn(self.conv(x))
        if self.skip:
            y = x + (y if self.gamma is None else self.gamma * y)
        return F.gelu(y) if self.act else y

    def fold(self):
        """The one convolution this computes in evaluation: weight and bias, f64."""
        gain = self.bn.weight.double() / (self.bn.running_var.double() + self.bn.eps).sqrt()
        weight = self.conv.weight.double() * gain[:, None, None, None]
        bias = self.bn.bias.double() - self.bn.running_mean.double() * gain
        if self.gamma is not None:
            weight, bias = weight * self.gamma.double()[..., None], bias * self.gamma.double().flatten()
        if self.skip:
            middle = weight.shape[-1] // 2
            weight[:, 0, middle, middle] += 1
        return weight, bias


class ConvFfn(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Module()
        self.conv.conv = nn.Conv2d(channels, channels, 7, 1, 3, groups=channels, bias=False)
        self.conv.bn = nn.BatchNorm2d(channels)
        self.fc1 = nn.Conv2d(channels, 4 * channels, 1)
        self.fc2 = nn.Conv2d(4 * channels, channels, 1)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(self.conv.bn(self.conv.conv(x)))))


class LayerScale(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.gamma = nn.Parameter(torch.full((channels, 1, 1), SCALE))

    def forward(self, x):
        return x * self.gamma


class RepMixerBlock(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.token_mixer = ConvNorm(channels, channels, 3, groups=channels, skip="scaled")
        self.mlp = ConvFfn(channels)
        self.layer_scale = LayerScale(channels)

    def forward(self, x):
        x = self.token_mixer(x)
        return x + self.layer_scale(self.mlp(x))


class Attention(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.qkv = nn.Linear(channels, 3 * channels, bias=False)
        self.proj = nn.Linear(channels, channels)

    def forward(self, x):
        b, c, h, w = x.shape
        q, k, v = self.qkv(x.flatten(2).transpose(1, 2)).reshape(b, h * w, 3, c // HEAD, HEAD).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, h * w, c)
        return self.proj(mixed).transpose(1, 2).reshape(b, c, h, w)


class AttentionBlock(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.norm = nn.LayerNorm(channels, eps=1e-5)
        self.token_mixer = Attention(channels)
        self.layer_scale_1 = LayerScale(channels)
        self.mlp = ConvFfn(channels)
        self.layer_scale_2 = LayerScale(channels)

    def forward(self, x):
        normed = self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        x = x + self.layer_scale_1(self.token_mixer(normed))
        return x + self.layer_scale_2(self.mlp(x))


class Stage(nn.Module):
    def __init__(self, index):
        super().__init__()
        width = WIDTHS[index]
        if index:
            before = WIDTHS[index - 1]
            self.downsample = nn.Module()
            self.downsample.proj = nn.Sequential(
                ConvNorm(before, width, 7, 2, before, act=True), ConvNorm(width, width, 1, act=True)
            )
        if index >= 3:
            self.pos_emb = ConvNorm(width, width, 7, groups=width, skip="whole")
        self.blocks = nn.Sequential(*[(AttentionBlock if index >= 3 else RepMixerBlock)(width) for _ in range(LAYERS[index])])

    def forward(self, x):
        if hasattr(self, "downsample"):
            x = self.downsample.proj(x)
        if hasattr(self, "pos_emb"):
            x = self.pos_emb(x)
        return self.blocks(x)


class FinalConv(ConvNorm):
    """Depthwise to twice the width, squeeze-excite, GELU."""

    def __init__(self, channels):
        super().__init__(channels, 2 * channels, 3, groups=channels)
        self.se = nn.Module()
        self.se.fc1 = nn.Conv2d(2 * channels, channels // 8, 1)
        self.se.fc2 = nn.Conv2d(channels // 8, 2 * channels, 1)

    def forward(self, x):
        x = super().forward(x)
        return F.gelu(x * self.se.fc2(self.se.fc1(x.mean((2, 3), keepdim=True)).relu()).sigmoid())


class FastViTHD(nn.Module):
    """Pixels in [0, 1] [B, 3, S, S] → features [B, (S/64)², 512]."""

    def __init__(self):
        super().__init__()
        first = WIDTHS[0]
        self.stem = nn.Sequential(
            ConvNorm(3, first, 3, 2, act=True), ConvNorm(first, first, 3, 2, first, act=True), ConvNorm(first, first, 1, act=True)
        )
        self.stages = nn.Sequential(*[Stage(i) for i in range(5)])
        self.final_conv = FinalConv(WIDTHS[4])

    def forward(self, pixels):
        return self.both(pixels)[0]

    def both(self, pixels):
        """Features, and the map after the third stage [B, 64, S/16, S/16]."""
        middle = self.stages[:3](self.stem(pixels))
        return self.final_conv(self.stages[3:](middle)).flatten(2).transpose(1, 2), middle


def folded(tower: FastViTHD) -> dict[str, torch.Tensor]:
    """Weights of timm's model in inference mode."""
    state = dict(tower.state_dict())
    for name, module in tower.named_modules():
        if isinstance(module, ConvNorm):
            for key in [key for key in state if key.startswith((f"{name}.conv.", f"{name}.bn.")) or key == f"{name}.gamma"]:
                del state[key]
            state[f"{name}.reparam_conv.weight"], state[f"{name}.reparam_conv.bias"] = (t.float() for t in module.fold())
    return state
