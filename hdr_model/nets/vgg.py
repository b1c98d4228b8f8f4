"""VGG16's blocks of convolutions (Simonyan and Zisserman 2015), whose features judge what HDRM paints."""

from __future__ import annotations

import os

from torch import Tensor, nn
from torch.nn import functional as F

from hdr_model.nets.external_weights import read_external
from hdr_model.nets.pretrained import load_checked

BLOCKS = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))
"""The convolutions before each pool, as torchvision numbers them in ``features``."""
WIDTHS = (64, 128, 256, 512, 512)


class VGG16Features(nn.Module):
    """Normalised images (B, 3, H, W) -> the maps after pools 1 to 3: 64, 128 and 256 channels, H / 2, / 4, / 8.

    ``blocks`` of the five are there; each ends in a pool.
    """

    def __init__(self, blocks: int = 3) -> None:
        super().__init__()
        self.features = nn.ModuleDict()
        self.blocks = BLOCKS[:blocks]
        channels = 3
        for convolutions, width in zip(self.blocks, WIDTHS, strict=False):
            for number in convolutions:
                self.features[str(number)] = nn.Conv2d(channels, width, 3, padding=1)
                channels = width

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], blocks: int = 3) -> VGG16Features:
        """Frozen, from weights in torchvision's layout, ``features.N.weight`` and ``.bias``; later layers are ignored.

        Raises:
            AssetError: not a file of tensors, or not VGG16's.
        """
        network = cls(blocks)
        wanted = network.state_dict().keys()
        state = read_external(path)
        load_checked(network, {name: state[name] for name in wanted & state.keys()}, str(path))
        return network.eval().requires_grad_(False)

    def forward(self, image: Tensor) -> list[Tensor]:
        return [F.max_pool2d(maps, 2) for maps in self.before_pools(image)]

    def before_pools(self, image: Tensor) -> list[Tensor]:
        """The same maps before their pools."""
        maps: list[Tensor] = []
        for convolutions in self.blocks:
            if maps:
                image = F.max_pool2d(image, 2)
            for number in convolutions:
                image = F.relu(self.features[str(number)](image))
            maps.append(image)
        return maps
