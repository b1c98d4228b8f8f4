"""The authors' AIH as folders of JPEG and PNG files -> samples. The layout is the published viewer's.

    AIH_render/{human,machine}_annot/{train,val}/images/{r_images,l_images}/{IH,DR_gt}/NAME.jpg
        .../labels/in_r_images/{r_amodal,rl_visible}/NAME.png    .../labels/in_l_images/{l_amodal,rl_visible}/NAME.png
    AIH_syn/filtered_list/*.txt, syn_cfgs/*.npy, {human,machine}_annot/SPLIT/images, .../labels

An image of AIH_render knows one hand whole, ``r_images`` the right and ``l_images`` the left one (not mirrored), and
of the other only what is visible; that one's ``occlusion`` is NaN. Where both folders hold the same image under one
name, as `aih_gen.exports.aih_folders` writes them, both hands are known and become one sample.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from tqdm import tqdm

from aih_gen.compose.sample import Sample
from aih_gen.config import SIDES, RenderConfig, SourceConfig
from aih_gen.errors import AIHError
from aih_gen.io.images import image_fault, read_image
from aih_gen.sources.image_only import image_only_sample
from aih_gen.sources.records import ReadReport
from aih_gen.typing import AIHBranch

RENDER, LETTERS = "AIH_render", "rl"
VISIBLE_VALUES = (1, 2)
"""Of the right and the left hand in ``rl_visible``."""


@dataclass(frozen=True)
class AIHRenderConfig(SourceConfig):
    """The authors' AIH_Render: one split of one branch."""

    subset: ClassVar[str] = RenderConfig.subset

    split: str = "train"
    branch: AIHBranch = "machine"


@dataclass(frozen=True)
class RenderFiles:
    """The four files of one hand in one image."""

    image: Path
    target: Path
    amodal: Path
    visible: Path


def render_folder(root: Path, branch: AIHBranch, split: str) -> Path:
    """The folder of a branch's split."""
    return root / RENDER / f"{branch}_annot" / split


def render_files(folder: Path, side: int, name: str) -> RenderFiles:
    """The files below ``folder``, a branch's split."""
    letter = LETTERS[side]
    images, labels = folder / "images" / f"{letter}_images", folder / "labels" / f"in_{letter}_images"
    return RenderFiles(
        image=images / "IH" / f"{name}.jpg",
        target=images / "DR_gt" / f"{name}.jpg",
        amodal=labels / f"{letter}_amodal" / f"{name}.png",
        visible=labels / "rl_visible" / f"{name}.png",
    )


class AIHRenderFolder:
    """Images sorted by name; of a name that shows two images, the right hand's comes first."""

    def __init__(self, config: AIHRenderConfig) -> None:
        self.config = config
        self.folder = render_folder(Path(config.source), config.branch, config.split)
        self.report = ReadReport("images")
        names = [
            {
                path.stem
                for path in render_files(self.folder, side, "*").image.parent.glob("[!.]*.jpg")
                if path.is_file()
            }
            for side in (0, 1)
        ]
        if not names[0] | names[1]:
            raise AIHError(f"{self.folder}: expected images/r_images/IH/NAME.jpg or images/l_images/IH, found neither")
        self.records = list(self._usable(names))
        self.report.used = len(self.records)

    def __len__(self) -> int:
        return len(self.records)

    def samples(self, indices: Sequence[int]) -> list[Sample]:
        """The samples of these positions, in their order."""
        return [self._sample(index, *self.records[index]) for index in indices]

    def describe(self) -> dict[str, Any]:
        """Number of samples; the images' bytes are not read for it."""
        return {"source": {"samples": len(self)}}

    def _usable(self, names: Sequence[set[str]]) -> Iterator[tuple[str, tuple[int, ...]]]:
        for name in tqdm(sorted(names[0] | names[1]), desc="images", unit="image", leave=False, mininterval=1):
            sides = []
            for side in (0, 1):
                if name not in names[side]:
                    continue
                fault = self._fault(side, name)
                if fault:
                    self.report.add_broken(fault, f"{LETTERS[side]}_images/{name}")
                else:
                    sides.append(side)
            files = [render_files(self.folder, side, name).image for side in sides]
            if len(sides) == 2 and files[0].read_bytes() == files[1].read_bytes():
                yield name, (0, 1)
            else:
                yield from ((name, (side,)) for side in sides)

    def _fault(self, side: int, name: str) -> str | None:
        files, size = render_files(self.folder, side, name), (self.config.size, self.config.size)
        for what in ("image", "target", "amodal", "visible"):
            fault = image_fault(getattr(files, what), size)
            if fault:
                return fault.replace("image", what)
        return None

    def _sample(self, index: int, name: str, sides: tuple[int, ...]) -> Sample:
        files = [render_files(self.folder, side, name) for side in (0, 1)]
        image = np.asarray(read_image(files[sides[0]].image, "RGB"))
        labels = np.asarray(read_image(files[sides[0]].visible, "L"))
        visible = np.stack([labels == value for value in VISIBLE_VALUES])
        amodal, targets = visible.copy(), [image, image]
        for side in sides:
            amodal[side] |= np.asarray(read_image(files[side].amodal, "L")) > 0
            hole = (amodal[side] & ~visible[side]) | (visible[1 - side] & ~amodal[side])
            # Two JPEGs differ a little everywhere: outside the hole the image itself stands, as everywhere in AIH.
            target = np.asarray(read_image(files[side].target, "RGB"))
            targets[side] = np.where(hole[..., None], target, image)
        provenance = {
            "dataset": "AIH_render, authors' folders",
            "branch": self.config.branch,
            "split": self.config.split,
            "file": name,
            "known": [SIDES[side] for side in sides],
        }
        return image_only_sample(index, image, targets, amodal, visible, provenance, [side in sides for side in (0, 1)])
