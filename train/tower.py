"""FastViTHD in a form that trains fast and folds exactly into the inference form.

Each convolution of the inference graph carries one BatchNorm while training
(no parallel branches); RepMixer and the positional convolution are plain
depthwise kernels whose residual is the centre tap they start from.
"""
import torch
from torch import nn

HEAD_DIM = 32


class ConvNorm(nn.Module):
    """Convolution -> BatchNorm -> optional GELU; `fold` returns one convolution."""

    def __init__(self, c_in, c_out, kernel, stride=1, groups=1, act=True):
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(c_out)
        self.act = nn.GELU() if act else nn.Identity()

    def forward(self, x):
        return self.act(self.bn(self.conv(x)))

    def fold(self):
        t = self.bn.weight / torch.sqrt(self.bn.running_var + self.bn.eps)
        return self.conv.weight * t[:, None, None, None], self.bn.bias - self.bn.running_mean * t


def depthwise_identity(channels, kernel):
    """A depthwise convolution that starts as the identity plus small noise."""
    conv = nn.Conv2d(channels, channels, kernel, 1, kernel // 2, groups=channels)
    nn.init.normal_(conv.weight, std=0.02)
    nn.init.zeros_(conv.bias)
    with torch.no_grad():
        conv.weight[:, 0, kernel // 2, kernel // 2] += 1
    return conv


class FeedForward(nn.Module):
    """dw7x7 -> BatchNorm -> 1x1 -> GELU -> 1x1."""

    def __init__(self, c, ratio=4):
        super().__init__()
        self.conv = nn.Conv2d(c, c, 7, 1, 3, groups=c, bias=False)
        self.bn = nn.BatchNorm2d(c)
        self.fc1 = nn.Conv2d(c, ratio * c, 1)
        self.fc2 = nn.Conv2d(ratio * c, c, 1)
        for fc in (self.fc1, self.fc2):
            nn.init.trunc_normal_(fc.weight, std=(1 / fc.in_channels) ** 0.5)
            nn.init.zeros_(fc.bias)

    def forward(self, x):
        return self.fc2(nn.functional.gelu(self.fc1(self.bn(self.conv(x)))))


class RepMixerBlock(nn.Module):
    def __init__(self, c, scale):
        super().__init__()
        self.mixer = depthwise_identity(c, 3)
        self.mlp = FeedForward(c)
        self.gamma = nn.Parameter(torch.full((c, 1, 1), scale))

    def forward(self, x):
        x = self.mixer(x)
        return x + self.gamma * self.mlp(x)


class AttentionBlock(nn.Module):
    def __init__(self, c, scale):
        super().__init__()
        self.norm = nn.LayerNorm(c)
        self.qkv = nn.Linear(c, 3 * c, bias=False)
        self.proj = nn.Linear(c, c)
        self.mlp = FeedForward(c)
        self.gamma_1 = nn.Parameter(torch.full((c, 1, 1), scale))
        self.gamma_2 = nn.Parameter(torch.full((c, 1, 1), scale))

    def forward(self, x):
        b, c, h, w = x.shape
        t = self.norm(x.flatten(2).transpose(1, 2))
        q, k, v = self.qkv(t).view(b, h * w, 3, c // HEAD_DIM, HEAD_DIM).permute(2, 0, 3, 1, 4)
        a = nn.functional.scaled_dot_product_attention(q, k, v)
        a = self.proj(a.transpose(1, 2).reshape(b, h * w, c))
        x = x + self.gamma_1 * a.transpose(1, 2).reshape(b, c, h, w)
        return x + self.gamma_2 * self.mlp(x)


class Downsample(nn.Sequential):
    def __init__(self, c_in, c_out):
        super().__init__(ConvNorm(c_in, c_out, 7, 2, groups=c_in), ConvNorm(c_out, c_out, 1))


class FinalConv(nn.Module):
    """3x3 depthwise with multiplier 2 -> squeeze-excite -> GELU."""

    def __init__(self, c):
        super().__init__()
        self.conv = ConvNorm(c, 2 * c, 3, groups=c, act=False)
        self.fc1 = nn.Conv2d(2 * c, 2 * c // 16, 1)
        self.fc2 = nn.Conv2d(2 * c // 16, 2 * c, 1)

    def forward(self, x):
        x = self.conv(x)
        s = self.fc2(torch.relu(self.fc1(x.mean((2, 3), keepdim=True))))
        return nn.functional.gelu(x * torch.sigmoid(s))


class Tower(nn.Module):
    """Picture [B,3,H,W] in 0..1 -> tokens [B, H/64*W/64, 2*dims[-1]]."""

    def __init__(self, layers, dims, scale=0.1):
        super().__init__()
        c = dims[0]
        self.stem = nn.Sequential(
            ConvNorm(3, c, 3, 2), ConvNorm(c, c, 3, 2, groups=c), ConvNorm(c, c, 1))
        self.down = nn.ModuleList(Downsample(a, b) for a, b in zip(dims, dims[1:]))
        self.pos = nn.ModuleList(depthwise_identity(d, 7) for d in dims[3:])
        self.stages = nn.ModuleList(
            nn.Sequential(*[(RepMixerBlock if s < 3 else AttentionBlock)(d, scale) for _ in range(n)])
            for s, (n, d) in enumerate(zip(layers, dims)))
        self.final = FinalConv(dims[-1])

    def forward(self, x):
        x = self.stem(x)
        for s, stage in enumerate(self.stages):
            if s:
                x = self.down[s - 1](x)
            if s >= 3:
                x = self.pos[s - 3](x)
            x = stage(x)
        return self.final(x).flatten(2).transpose(1, 2)

    def export(self):
        """State under timm's names in inference form (`reparam_conv`)."""
        out = {}

        def put(name, pair):
            out[name + ".reparam_conv.weight"], out[name + ".reparam_conv.bias"] = pair

        def mlp(prefix, m):
            out[prefix + ".mlp.conv.conv.weight"] = m.conv.weight
            for k, v in m.bn.state_dict().items():
                out[f"{prefix}.mlp.conv.bn.{k}"] = v
            for fc in ("fc1", "fc2"):
                for k, v in getattr(m, fc).state_dict().items():
                    out[f"{prefix}.mlp.{fc}.{k}"] = v

        for i, m in enumerate(self.stem):
            put(f"stem.{i}", m.fold())
        for s, stage in enumerate(self.stages):
            if s:
                for i, m in enumerate(self.down[s - 1]):
                    put(f"stages.{s}.downsample.proj.{i}", m.fold())
            if s >= 3:
                put(f"stages.{s}.pos_emb", (self.pos[s - 3].weight, self.pos[s - 3].bias))
            for b, m in enumerate(stage):
                p = f"stages.{s}.blocks.{b}"
                if s < 3:
                    put(p + ".token_mixer", (m.mixer.weight, m.mixer.bias))
                    out[p + ".layer_scale.gamma"] = m.gamma
                else:
                    for sub, mod in (("norm", m.norm), ("token_mixer.qkv", m.qkv), ("token_mixer.proj", m.proj)):
                        for k, v in mod.state_dict().items():
                            out[f"{p}.{sub}.{k}"] = v
                    out[p + ".layer_scale_1.gamma"] = m.gamma_1
                    out[p + ".layer_scale_2.gamma"] = m.gamma_2
                mlp(p, m.mlp)
        put("final_conv", self.final.conv.fold())
        for fc in ("fc1", "fc2"):
            for k, v in getattr(self.final, fc).state_dict().items():
                out[f"final_conv.se.{fc}.{k}"] = v
        return {k: v.detach().clone() for k, v in out.items()}
