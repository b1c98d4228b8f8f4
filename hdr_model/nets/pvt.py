"""The transformer block of PVTv2 (Wang et al. 2022, *PVT v2: Improved Baselines with Pyramid Vision Transformer*)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from aih_gen.errors import AIHError

_EPSILON = 1e-6


class SpatialReductionAttention(nn.Module):
    """Multi-head attention whose keys and values come from a map made smaller by ``reduction`` a side."""

    def __init__(self, width: int, heads: int, reduction: int) -> None:
        super().__init__()
        if width % heads:
            raise AIHError(f"heads: expected a divisor of {width} channels, found {heads}")
        self.heads = heads
        self.q = nn.Linear(width, width)
        self.kv = nn.Linear(width, 2 * width)
        self.proj = nn.Linear(width, width)
        self.sr = nn.Conv2d(width, width, reduction, reduction) if reduction > 1 else None
        self.norm = nn.LayerNorm(width) if reduction > 1 else None

    def forward(self, tokens: Tensor, height: int, width: int) -> Tensor:
        """(B, height * width, C) -> the same."""
        memory = tokens
        if self.sr is not None and self.norm is not None:
            memory = self.norm(_to_tokens(self.sr(_to_map(tokens, height, width))))
        query, (key, value) = self.q(tokens), self.kv(memory).chunk(2, -1)
        attended = F.scaled_dot_product_attention(self._split(query), self._split(key), self._split(value))
        return self.proj(attended.transpose(1, 2).flatten(2))

    def _split(self, tokens: Tensor) -> Tensor:
        return tokens.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class ConvolutionalMLP(nn.Module):
    """Two linear layers with a depth-wise 3x3 convolution between them."""

    def __init__(self, width: int, ratio: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, width * ratio)
        self.dwconv = nn.Conv2d(width * ratio, width * ratio, 3, padding=1, groups=width * ratio)
        self.fc2 = nn.Linear(width * ratio, width)

    def forward(self, tokens: Tensor, height: int, width: int) -> Tensor:
        """(B, height * width, C) -> the same."""
        spread = self.dwconv(_to_map(self.fc1(tokens), height, width))
        return self.fc2(F.gelu(_to_tokens(spread)))


class TransformerBlock(nn.Module):
    """Attention, then MLP, each pre-normalised and residual; then a final LayerNorm. (B, C, H, W) -> the same."""

    def __init__(self, width: int, heads: int, mlp_ratio: int, reduction: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=_EPSILON)
        self.attn = SpatialReductionAttention(width, heads, reduction)
        self.norm2 = nn.LayerNorm(width, eps=_EPSILON)
        self.mlp = ConvolutionalMLP(width, mlp_ratio)
        self.norm = nn.LayerNorm(width, eps=_EPSILON)

    def forward(self, features: Tensor) -> Tensor:
        height, width = features.shape[-2:]
        tokens = _to_tokens(features)
        tokens = tokens + self.attn(self.norm1(tokens), height, width)
        tokens = tokens + self.mlp(self.norm2(tokens), height, width)
        return _to_map(self.norm(tokens), height, width)


def _to_tokens(features: Tensor) -> Tensor:
    return features.flatten(2).transpose(1, 2)


def _to_map(tokens: Tensor, height: int, width: int) -> Tensor:
    return tokens.transpose(1, 2).unflatten(2, (height, width))
