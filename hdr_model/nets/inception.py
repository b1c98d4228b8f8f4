"""Inception v3 (Szegedy et al. 2016) as FID knows it, whose features say how alike two sets of images are.

The network that FID was defined with pools a little otherwise than the published one: averages leave out the border,
and the last block takes the largest neighbour (Heusel et al. 2017, through the port pytorch-fid).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hdr_model.nets.external_weights import read_external
from hdr_model.nets.pretrained import load_checked

SIDE = 299


@dataclass(frozen=True)
class _Conv:
    """A convolution, its normalisation and a ReLU. With a stride, or not ``padded``, its maps are smaller."""

    name: str
    width: int
    kernel: int | tuple[int, int] = 1
    stride: int = 1
    padded: bool = True


def _average(maps: Tensor) -> Tensor:
    return F.avg_pool2d(maps, 3, 1, 1, count_include_pad=False)


def _largest(maps: Tensor) -> Tensor:
    return F.max_pool2d(maps, 3, 1, 1)


def _halve(maps: Tensor) -> Tensor:
    return F.max_pool2d(maps, 3, 2)


_Pool = Callable[[Tensor], Tensor]
_Step = _Conv | _Pool | tuple[_Conv, ...]
"""Convolutions in a tuple see the same maps, and theirs lie side by side afterwards."""
_Branch = tuple[_Step, ...]
_WIDE, _HIGH = (1, 7), (7, 1)


def _block_a(pooled: int) -> tuple[_Branch, ...]:
    return (
        (_Conv("branch1x1", 64),),
        (_Conv("branch5x5_1", 48), _Conv("branch5x5_2", 64, 5)),
        (_Conv("branch3x3dbl_1", 64), _Conv("branch3x3dbl_2", 96, 3), _Conv("branch3x3dbl_3", 96, 3)),
        (_average, _Conv("branch_pool", pooled)),
    )


_BLOCK_B: tuple[_Branch, ...] = (
    (_Conv("branch3x3", 384, 3, 2),),
    (_Conv("branch3x3dbl_1", 64), _Conv("branch3x3dbl_2", 96, 3), _Conv("branch3x3dbl_3", 96, 3, 2)),
    (_halve,),
)


def _block_c(inner: int) -> tuple[_Branch, ...]:
    kernels: tuple[int | tuple[int, int], ...] = (1, _HIGH, _WIDE, _HIGH, _WIDE)
    double = zip((inner, inner, inner, inner, 192), kernels, strict=True)
    return (
        (_Conv("branch1x1", 192),),
        (_Conv("branch7x7_1", inner), _Conv("branch7x7_2", inner, _WIDE), _Conv("branch7x7_3", 192, _HIGH)),
        tuple(_Conv(f"branch7x7dbl_{k}", width, kernel) for k, (width, kernel) in enumerate(double, 1)),
        (_average, _Conv("branch_pool", 192)),
    )


_BLOCK_D: tuple[_Branch, ...] = (
    (_Conv("branch3x3_1", 192), _Conv("branch3x3_2", 320, 3, 2)),
    (
        _Conv("branch7x7x3_1", 192),
        _Conv("branch7x7x3_2", 192, _WIDE),
        _Conv("branch7x7x3_3", 192, _HIGH),
        _Conv("branch7x7x3_4", 192, 3, 2),
    ),
    (_halve,),
)


def _block_e(pool: _Pool) -> tuple[_Branch, ...]:
    def crossed(name: str) -> tuple[_Conv, _Conv]:
        return _Conv(f"{name}a", 384, (1, 3)), _Conv(f"{name}b", 384, (3, 1))

    return (
        (_Conv("branch1x1", 320),),
        (_Conv("branch3x3_1", 384), crossed("branch3x3_2")),
        (_Conv("branch3x3dbl_1", 448), _Conv("branch3x3dbl_2", 384, 3), crossed("branch3x3dbl_3")),
        (pool, _Conv("branch_pool", 192)),
    )


_STEM: _Branch = (
    _Conv("Conv2d_1a_3x3", 32, 3, 2),
    _Conv("Conv2d_2a_3x3", 32, 3, padded=False),
    _Conv("Conv2d_2b_3x3", 64, 3),
    _halve,
    _Conv("Conv2d_3b_1x1", 80),
    _Conv("Conv2d_4a_3x3", 192, 3, padded=False),
    _halve,
)
_BLOCKS: dict[str, tuple[_Branch, ...]] = {
    "Mixed_5b": _block_a(32),
    "Mixed_5c": _block_a(64),
    "Mixed_5d": _block_a(64),
    "Mixed_6a": _BLOCK_B,
    "Mixed_6b": _block_c(128),
    "Mixed_6c": _block_c(160),
    "Mixed_6d": _block_c(160),
    "Mixed_6e": _block_c(192),
    "Mixed_7a": _BLOCK_D,
    "Mixed_7b": _block_e(_average),
    "Mixed_7c": _block_e(_largest),
}


class _ConvNormReLU(nn.Module):
    def __init__(self, channels: int, step: _Conv) -> None:
        super().__init__()
        height, width = (step.kernel, step.kernel) if isinstance(step.kernel, int) else step.kernel
        padding = (height // 2, width // 2) if step.padded and step.stride == 1 else (0, 0)
        self.conv = nn.Conv2d(channels, step.width, (height, width), step.stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(step.width, eps=1e-3)

    def forward(self, maps: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(maps)))


class _Branches(nn.Module):
    """Branches side by side."""

    def __init__(self, channels: int, branches: tuple[_Branch, ...]) -> None:
        super().__init__()
        self.branches = branches
        self.width = 0
        for branch in branches:
            width = channels
            for step in branch:
                convolutions = (step,) if isinstance(step, _Conv) else step if isinstance(step, tuple) else ()
                for convolution in convolutions:
                    self.add_module(convolution.name, _ConvNormReLU(width, convolution))
                width = sum(convolution.width for convolution in convolutions) or width
            self.width += width

    def forward(self, maps: Tensor) -> Tensor:
        return torch.cat([self._along(branch, maps) for branch in self.branches], 1)

    def _along(self, branch: _Branch, maps: Tensor) -> Tensor:
        for step in branch:
            if isinstance(step, _Conv):
                maps = self.get_submodule(step.name)(maps)
            elif isinstance(step, tuple):
                maps = torch.cat([self.get_submodule(convolution.name)(maps) for convolution in step], 1)
            else:
                maps = step(maps)
        return maps


class Inception(_Branches):
    """Images (B,3,H,W) in [0, 1], of any size -> features (B,2048)."""

    def __init__(self) -> None:
        super().__init__(3, (_STEM,))
        for name, branches in _BLOCKS.items():
            block = _Branches(self.width, branches)
            self.add_module(name, block)
            self.width = block.width

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> Inception:
        """Frozen, from the weights that pytorch-fid uses, ``pt_inception-2015-12-05-6726825d.pth``.

        Raises:
            AssetError: not a file of tensors, or another network's.
        """
        network = cls()
        found = read_external(path)
        wanted = network.state_dict()
        counts = {name: tensor for name, tensor in wanted.items() if name.endswith("num_batches_tracked")}
        state = counts | {name: found[name] for name in wanted.keys() & found.keys()}
        load_checked(network, state, str(path))
        return network.eval().requires_grad_(False)

    def forward(self, image: Tensor) -> Tensor:
        maps = super().forward(2 * F.interpolate(image, (SIDE, SIDE), mode="bilinear") - 1)
        for name in _BLOCKS:
            maps = self.get_submodule(name)(maps)
        return maps.mean((2, 3))
