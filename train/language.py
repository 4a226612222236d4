"""Phi3 (grouped-query attention, rotary positions, SwiGLU, RMS norm) with weights named as transformers names them, for packed
sequences: many conversations side by side, each seeing its own picture and itself only.
"""

import torch
import torch.nn.functional as F
from torch import nn

HIDDEN, INNER, LAYERS, HEADS, KV_HEADS, HEAD = 192, 384, 4, 6, 2, 32
THETA = 10000.0
EPS = 1e-5


class Norm(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(HIDDEN))

    def forward(self, x):
        return F.rms_norm(x, (HIDDEN,), self.weight, EPS)


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.input_layernorm, self.post_attention_layernorm = Norm(), Norm()
        self.self_attn = nn.Module()
        self.self_attn.qkv_proj = nn.Linear(HIDDEN, (HEADS + 2 * KV_HEADS) * HEAD, bias=False)
        self.self_attn.o_proj = nn.Linear(HEADS * HEAD, HIDDEN, bias=False)
        self.mlp = nn.Module()
        self.mlp.gate_up_proj = nn.Linear(HIDDEN, 2 * INNER, bias=False)
        self.mlp.down_proj = nn.Linear(INNER, HIDDEN, bias=False)

    def forward(self, x, cos, sin, mask):
        b, t, _ = x.shape
        qkv = self.self_attn.qkv_proj(self.input_layernorm(x)).view(b, t, HEADS + 2 * KV_HEADS, HEAD)
        qk, v = qkv[:, :, : HEADS + KV_HEADS], qkv[:, :, HEADS + KV_HEADS :].transpose(1, 2)
        qk = (qk * cos + qk.roll(HEAD // 2, -1) * sin).transpose(1, 2)  # the sign of rotate_half is in sin
        q, k = qk[:, :HEADS], qk[:, HEADS:]
        repeat = HEADS // KV_HEADS
        k, v = k.repeat_interleave(repeat, 1), v.repeat_interleave(repeat, 1)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = x + self.self_attn.o_proj(mixed.transpose(1, 2).reshape(b, t, HEADS * HEAD))
        gate, up = self.mlp.gate_up_proj(self.post_attention_layernorm(x)).chunk(2, -1)
        return x + self.mlp.down_proj(F.silu(gate) * up)


class Phi3(nn.Module):
    def __init__(self, vocabulary: int):
        super().__init__()
        self.embed_tokens = nn.Embedding(vocabulary, HIDDEN)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
        self.norm = Norm()
        for parameter in self.parameters():
            if parameter.dim() == 2:
                nn.init.normal_(parameter, std=0.02 if parameter is not self.embed_tokens.weight else 0.05)

    def forward(self, x, positions, mask):
        """Embeddings [B, T, D], positions [B, T], additive mask [B, 1, T, T] → hidden states [B, T, D]."""
        frequency = THETA ** (-torch.arange(0, HEAD, 2, dtype=torch.float32) / HEAD)
        angle = positions[..., None] * frequency
        cos = torch.cat([angle.cos()] * 2, -1)[:, :, None]
        sin = torch.cat([-angle.sin(), angle.sin()], -1)[:, :, None]
        for layer in self.layers:
            x = layer(x, cos, sin, mask)
        return self.norm(x)

    def logits(self, hidden):
        return hidden @ self.embed_tokens.weight.T
