"""HASM with ``naming``: hands told apart under either name, and named by a close look at each."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
import torch
from torch import Tensor, nn

from aih_gen.errors import AssetError
from aih_gen.hands import load_hand_model
from hdr_model import HASM
from hdr_model.cli import main
from hdr_model.config import HASMConfig, training_preset
from hdr_model.data.targets import hand_axes
from hdr_model.losses import fit_exchanged, hasm_losses, naming_losses
from hdr_model.nets.hasm import HAND_MASKS, exchange
from hdr_model.nets.naming import SIDE, Named, Naming, close_looks
from hdr_model.training.checkpoint import start_from
from hdr_model.training.hasm import HASMTask, Scenes, _terms
from hdr_model.training.loop import train
from tests.data.samples import write_samples

SMALL = HASMConfig((8, 8, 16, 16), (1, 1, 1, 1), (1, 1, 2, 2), decoder_width=8, dropout=0, drop_path=0, naming=True)


def squares() -> tuple[Tensor, dict[str, Tensor]]:
    """Two pictures (2,3,64,64) of a red square hand and a blue one, and the masks of the red one as the right hand."""
    image = torch.zeros(2, 3, 64, 64)
    masks = {name: torch.zeros(2, 64, 64, dtype=torch.bool) for name in HAND_MASKS}
    for k, (red, blue) in enumerate([(slice(4, 24), slice(36, 60)), (slice(40, 60), slice(4, 28))]):
        for channel, place, side in ((0, red, "right"), (2, blue, "left")):
            image[k, channel, 20:40, place] = 1
            for kind in ("amodal", "visible"):
                masks[f"{side}_{kind}"][k, 20:40, place] = True
    return image, masks


def as_logits(masks: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: torch.stack([-8.0 * mask, 8.0 * mask - 4.0], 1) for name, mask in masks.items()}


def test_hands_are_told_apart_under_either_name() -> None:
    _, masks = squares()
    swapped_in_second = exchange(masks, torch.tensor([False, True]))
    for told in (masks, swapped_in_second):
        alike = exchange(masks, fit_exchanged(as_logits(told), masks))
        assert all(torch.equal(alike[name], told[name]) for name in HAND_MASKS)
    assert not torch.equal(swapped_in_second["right_visible"], masks["right_visible"])
    assert torch.equal(swapped_in_second["right_visible"][0], masks["right_visible"][0])
    # One hand in both masks fits neither name, and costs more than two hands under the wrong ones.
    both = dict.fromkeys(HAND_MASKS, masks["right_visible"] | masks["left_visible"])
    cost = [
        sum(hasm_losses(as_logits(told), exchange(masks, fit_exchanged(as_logits(told), masks))).values())
        for told in (swapped_in_second, both)
    ]
    assert cost[0] < 0.5 * cost[1]


class RedIsRight(nn.Module):
    """Takes a hand for a right one where the picture is red under its own mask, and nothing for a very right one."""

    def forward(self, looks: Tensor) -> Named:
        own = looks[:, 3] > 0.5
        red = ((looks[:, 0] - looks[:, 2]) * own).sum((1, 2))
        return Named(torch.where(own.flatten(1).any(1), red, 1e6), torch.zeros(len(looks), 9))


@torch.no_grad()
def test_a_close_look_at_each_hand_names_the_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    image, masks = squares()
    network = HASM(SMALL).eval()
    network.naming = cast(Naming, RedIsRight())
    for exchanged in ([False, False], [True, False], [False, True], [True, True]):
        told = as_logits(exchange(masks, torch.tensor(exchanged)))
        monkeypatch.setattr(network, "separate", lambda _, told=told: told)
        named = network(image)
        for name in HAND_MASKS:
            assert torch.equal(named[name].argmax(1) == 1, masks[name]), (exchanged, name)


@torch.no_grad()
def test_one_hand_is_named_by_its_own_look_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    image, masks = squares()
    network = HASM(SMALL).eval()
    network.naming = cast(Naming, RedIsRight())
    masks |= {name: torch.zeros_like(mask) for name, mask in masks.items() if name.startswith("left")}
    told = as_logits(exchange(masks, torch.tensor([False, True])))
    monkeypatch.setattr(network, "separate", lambda _: told)
    named = network(image)
    assert (named["right_visible"].argmax(1) == 1).sum() == masks["right_visible"].sum()
    assert not (named["left_visible"].argmax(1) == 1).any()


def test_a_hand_is_named_in_training_whatever_it_was_called_when_told_apart() -> None:
    image, masks = squares()
    scene = Scenes(image, masks, torch.full((2, 2, 21, 3), torch.nan))
    right_names = _terms(as_logits(masks), cast(Naming, RedIsRight()), image, scene)
    other_names = _terms(
        as_logits(exchange(masks, torch.tensor([True, True]))), cast(Naming, RedIsRight()), image, scene
    )
    torch.testing.assert_close(sum(other_names.values()), sum(right_names.values()))
    torch.testing.assert_close(other_names["name"], right_names["name"])
    assert right_names["name"] < 1e-3 and right_names["axes"] == 0
    # The second picture is looked at as it was told apart: what is not told apart is not named.
    both = as_logits(dict.fromkeys(HAND_MASKS, masks["right_visible"] | masks["left_visible"]))
    assert _terms(both, cast(Naming, RedIsRight()), image, scene)["name"] > 0.1


def test_a_close_look_shows_one_hand_at_one_size() -> None:
    image, masks = squares()
    image[1, :, :32] = 0  # half of the hands of the second picture
    visible = torch.stack([masks["right_visible"], masks["left_visible"]], 1).float()
    visible[1, :, :32] = 0
    looks, found = close_looks(image, visible)
    assert looks.shape == (2, 2, 5, SIDE, SIDE) and found.all()
    for k, hand, colour in ((0, 0, 0), (0, 1, 2), (1, 0, 0), (1, 1, 2)):
        own = looks[k, hand, 3] > 0.5
        assert (looks[k, hand, colour][own] > 0.5).all() and looks[k, hand, 2 - colour][own].max() == 0
        assert looks[k, hand, 4][own].max() == 0, "the other hand's share is not this one's"
        columns = own.any(0).sum().item()
        assert SIDE / 1.4 - 4 <= columns <= SIDE / 1.4 + 4
    assert not close_looks(image, torch.zeros_like(visible))[1].any()


def test_the_axes_orientation_tells_right_from_left() -> None:
    generator = torch.Generator().manual_seed(3)
    pose = torch.cat([2 * torch.rand(6, 3, generator=generator), 0.3 * torch.randn(6, 45, generator=generator)], 1)
    for side, right in (("right", True), ("left", False)):
        joints = load_hand_model("free", side=side)(pose).joints  # type: ignore[arg-type]
        along, across, out = hand_axes(joints, torch.full((6,), right)).split(3, 1)
        for a, b in ((along, across), (across, out), (out, along)):
            torch.testing.assert_close((a * b).sum(1), torch.zeros(6), atol=1e-5, rtol=0)
        orientation = (torch.linalg.cross(along, across) * out).sum(1)
        torch.testing.assert_close(orientation, torch.full((6,), 1.0 if right else -1.0), atol=1e-5, rtol=0)
        # A mirrored hand is the other one: its axes are the mirrored axes.
        flip = torch.tensor([-1.0, 1.0, 1.0])
        mirrored = hand_axes(joints * flip, torch.full((6,), not right))
        torch.testing.assert_close(mirrored, torch.cat([along, across, out], 1) * flip.repeat(3), atol=1e-5, rtol=0)


def test_hands_that_are_not_seen_and_axes_that_are_not_known_teach_nothing() -> None:
    named = Named(torch.zeros(4, requires_grad=True), torch.zeros(4, 9, requires_grad=True))
    axes = torch.ones(4, 9)
    axes[1] = torch.nan
    seen = torch.tensor([True, True, True, False])
    terms = naming_losses(named, torch.tensor([True, False, True, False]), axes, seen)
    assert terms["name"].item() == pytest.approx(3 / 4 * 0.6931, abs=1e-4)
    assert terms["axes"].item() == pytest.approx(2 / 4)
    (terms["name"] + terms["axes"]).backward()  # type: ignore[no-untyped-call]
    assert named.score.grad is not None and named.axes.grad is not None
    assert named.score.grad.ne(0).tolist() == [True, True, True, False]
    assert named.axes.grad.ne(0).all(1).tolist() == [True, False, True, False]


def test_naming_may_start_from_weights_that_have_none(tmp_path: Path) -> None:
    plain = HASM(replace(SMALL, naming=False))
    plain.save_pretrained(tmp_path / "hasm")
    network = HASM(SMALL)
    start_from(network, tmp_path)
    assert torch.equal(network.classifier.weight, plain.classifier.weight)
    with pytest.raises(AssetError, match="decoder_width 16, found 8"):
        start_from(HASM(replace(SMALL, decoder_width=16)), tmp_path)
    network.save_pretrained(tmp_path / "hasm")
    with pytest.raises(AssetError, match="naming False, found True"):
        start_from(HASM(replace(SMALL, naming=False)), tmp_path)


def test_every_parameter_of_a_network_that_names_is_saved_and_read(tmp_path: Path) -> None:
    network = HASM(SMALL)
    network.save_pretrained(tmp_path)
    read = HASM.from_pretrained(tmp_path)
    assert read.config.naming and read.naming is not None
    assert all(torch.equal(tensor, read.state_dict()[name]) for name, tensor in network.state_dict().items())


ONLY_NAMES = replace(
    training_preset("hasm", "tiny"), size=64, batch_size=4, steps=3, coarse=0.0, bfloat16=False, only_names=True
)


def test_training_only_names_leaves_the_rest_of_the_network_as_it_was(tmp_path: Path) -> None:
    write_samples(tmp_path / "aih-00000.h5", 6)
    task = HASMTask(ONLY_NAMES, SMALL, torch.device("cpu"))
    before = {name: tensor.clone() for name, tensor in task.hasm.state_dict().items()}
    train(task, ONLY_NAMES, [tmp_path], tmp_path / "run", device=torch.device("cpu"))
    after = HASM.from_pretrained(tmp_path / "run/weights").state_dict()
    same = {name for name, tensor in after.items() if torch.equal(tensor, before[name])}
    assert same == {name for name in after if not name.startswith("naming.")}


def test_names_are_learned_from_true_masks_and_from_those_of_hasm(monkeypatch: pytest.MonkeyPatch) -> None:
    image, masks = squares()
    scene = Scenes(image, masks, torch.full((2, 2, 21, 3), torch.nan))
    task = HASMTask(ONLY_NAMES, SMALL, torch.device("cpu"))
    task.hasm.naming = cast(Naming, RedIsRight())
    both = dict.fromkeys(HAND_MASKS, masks["right_visible"] | masks["left_visible"])
    terms = []
    for told in (masks, both):
        monkeypatch.setattr(task.hasm, "separate", lambda _, told=told: as_logits(told))
        terms.append(float(task._names(image, scene)["name"]))
    unseen = as_logits({name: torch.zeros_like(mask) for name, mask in masks.items()})
    monkeypatch.setattr(task.hasm, "separate", lambda _: unseen)
    assert terms[0] < 1e-3 < 0.1 < terms[1], "hands that are not told apart are not named"
    assert float(task._names(image, scene)["name"]) < 1e-3, "what HASM does not see is not asked for"


@pytest.mark.parametrize(
    ("options", "told"), [(["--preset", "nano"], "tiny or base"), ([], "expected --start-from with the HASM")]
)
def test_only_names_needs_a_hasm_that_tells_hands_apart(
    options: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["train", "hasm", "--data", str(tmp_path), "--out", str(tmp_path / "run"), "--only-names", *options]
    assert main(arguments) != 0
    assert told in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
