from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from hdr_model.config import HASMLossWeights, HDRMLossWeights, SHPELossWeights, preset
from hdr_model.losses import (
    composite,
    discriminator_loss,
    frozen_encoder_features,
    generator_adversarial_loss,
    hasm_losses,
    hdrm_losses,
    shpe_losses,
    total_variation,
    weighted_sum,
)
from hdr_model.nets.hasm import BOTH, HASM, LEFT, MIN_HAND_AREA, NONE, RIGHT, HASMOutput, Logits
from hdr_model.nets.shpe import SHPEOutput

REFERENCE = Path(__file__).parents[3] / "shared" / "reference"


@pytest.mark.skipif(not REFERENCE.is_dir(), reason=f"needs licensed files: {REFERENCE}")
def test_hdrm_terms_are_the_references() -> None:
    with np.load(REFERENCE / "hdrm_case.npz") as file:
        case = {name: torch.from_numpy(np.array(file[name])) for name in file.files}
    hidden = case["right_amodal"] & ~case["right_visible"]
    removal = ~case["right_amodal"] & case["left_visible"]
    terms = hdrm_losses(
        case["output"],
        case["image"],
        case["target"],
        hidden[None, None],
        removal[None, None],
        lambda image: [image] * 3,
    )
    names = {
        "valid": "loss_valid",
        "hole/de_occlusion": "loss_hole_de_occlusion",
        "hole/removal": "loss_hole_removal",
        "total_variation": "loss_tv",
        "perceptual/de_occlusion": "loss_prc_de_occlusion",
        "perceptual/removal": "loss_prc_removal",
        "style/de_occlusion": "loss_style_de_occlusion",
        "style/removal": "loss_style_removal",
    }
    assert terms.keys() == names.keys()
    for name, reference in names.items():
        assert terms[name].item() == pytest.approx(case[reference].item(), rel=1e-4)


def hdrm_example() -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    output, image, target = torch.randn(3, 2, 3, 16, 16)
    hidden, removal = torch.zeros(2, 2, 1, 16, 16, dtype=torch.bool)
    hidden[..., :4, :], removal[..., 8:, :] = True, True
    return output, image, target, hidden, removal


def test_a_region_moves_only_its_own_terms() -> None:
    output, image, target, hidden, removal = hdrm_example()
    before = hdrm_losses(output, image, target, hidden, removal)
    after = hdrm_losses(torch.where(removal, target, output), image, target, hidden, removal)
    assert after["hole/removal"] == 0 and before["hole/removal"] > 0
    assert after["hole/de_occlusion"] == before["hole/de_occlusion"]
    assert after["valid"] == before["valid"]


def test_without_a_feature_extractor_there_are_no_feature_terms() -> None:
    assert not [name for name in hdrm_losses(*hdrm_example()) if name.startswith(("perceptual", "style"))]


def test_style_is_as_exact_where_networks_compute_in_bfloat16() -> None:
    example, features = hdrm_example(), lambda image: [torch.cat([image, image**2], 1)]
    exact = hdrm_losses(*example, features)
    with torch.autocast("cpu", torch.bfloat16):
        terms = hdrm_losses(*example, features)
    assert terms == exact and terms["style/removal"] > 0


def test_outside_the_hole_the_composite_is_the_input() -> None:
    output, image, _, hidden, removal = hdrm_example()
    hole = hidden | removal
    mixed = composite(output, image, hole)
    assert torch.equal(mixed * ~hole, image * ~hole) and torch.equal(mixed * hole, output * hole)


def test_a_flat_image_has_no_total_variation() -> None:
    assert total_variation(torch.full((1, 3, 8, 8), 0.3)) == 0
    ramp = torch.arange(8.0).expand(1, 3, 8, 8)
    assert total_variation(ramp) == 1 and total_variation(2 * ramp.mT) == 2


def test_frozen_features_teach_the_image_and_not_the_encoder() -> None:
    network = HASM(preset("hasm", "nano")).train()
    extract = frozen_encoder_features(network)
    output, image, target, hidden, removal = hdrm_example()
    output, image, target, hidden, removal = (
        F.interpolate(t.float(), (64, 64)) for t in (output, image, target, hidden, removal)
    )
    output.requires_grad_()
    assert [tuple(f.shape[1:]) for f in extract(image)] == [(16, 16, 16), (32, 8, 8), (64, 4, 4)]
    terms = hdrm_losses(output, image, target, hidden, removal, extract)
    (terms["perceptual/removal"] + terms["style/removal"]).backward()
    assert output.grad is not None and output.grad.any()
    assert all(parameter.grad is None for parameter in network.parameters())
    assert network.training


def test_the_total_is_each_term_times_its_weight() -> None:
    terms = {"valid": torch.tensor(2.0), "hole/removal": torch.tensor(3.0), "hole/de_occlusion": torch.tensor(5.0)}
    assert weighted_sum(terms, HDRMLossWeights(valid=10, hole=0.5)) == 24


def test_hasm_cross_entropy_at_the_masks_resolution() -> None:
    torch.manual_seed(0)
    logits: Logits = {
        "left_amodal": torch.randn(2, 2, 4, 4),
        "left_arm": torch.randn(2, 2, 4, 4),
        "right_arm": torch.randn(2, 2, 4, 4),
    }
    masks = {"left_amodal": torch.rand(2, 16, 16) > 0.5, "left_arm": torch.rand(2, 16, 16) > 0.5}
    terms = hasm_losses(logits, masks)
    assert set(terms) == {"hand/left_amodal", "arm/left_arm", "overlap/left_amodal", "overlap/left_arm"}
    resized = F.interpolate(logits["left_amodal"], (16, 16), mode="bilinear").softmax(1)
    right = torch.where(masks["left_amodal"], resized[:, 1], resized[:, 0])
    torch.testing.assert_close(terms["hand/left_amodal"], -right.log().mean())
    total = weighted_sum(terms, HASMLossWeights(hand=1, arm=0))
    torch.testing.assert_close(total, terms["hand/left_amodal"])


def test_presence_is_the_cross_entropy_of_hands_that_are_large_enough() -> None:
    masks = {f"{side}_amodal": torch.zeros(2, 100, 100, dtype=torch.bool) for side in ("right", "left")}
    area = round(MIN_HAND_AREA * 100 * 100)
    masks["right_amodal"][0, 0, :area] = True
    masks["left_amodal"][1, 0, : area - 1] = True  # too small
    certain = 40.0 * torch.eye(4)[[RIGHT, NONE]]
    assert hasm_losses(HASMOutput({}, certain), masks)["presence"] == pytest.approx(0, abs=1e-6)
    wrong = 40.0 * torch.eye(4)[[LEFT, BOTH]]
    assert hasm_losses(HASMOutput({}, wrong), masks)["presence"] == pytest.approx(40)


def test_hasm_overlap_is_zero_for_the_true_mask_and_grows_with_what_is_too_much() -> None:
    mask = torch.zeros(1, 4, 4, dtype=torch.bool)
    mask[:, :2] = True

    def overlap(predicted: Tensor) -> float:
        logits: Logits = {"left_amodal": 40.0 * torch.stack([~predicted, predicted], 1).float()}
        return hasm_losses(logits, {"left_amodal": mask})["overlap/left_amodal"].item()

    assert overlap(mask) == pytest.approx(0, abs=1e-6)
    # |A| = 16, |B| = 8, |A B| = 8, with the one that keeps empty masks defined
    assert overlap(torch.ones_like(mask)) == pytest.approx(1 - 17 / 25, abs=1e-6)


def shpe_example() -> tuple[SHPEOutput, Tensor, Tensor, Tensor, Tensor]:
    """A perfect prediction of two hands."""
    torch.manual_seed(0)
    heatmap, delta, location = torch.rand(2, 21, 8, 8), torch.randn(2, 21, 3), torch.randn(2, 21, 3)
    delta_map, location_map = (t[..., None, None].expand(-1, -1, -1, 8, 8) for t in (delta, location))
    predicted = SHPEOutput(heatmap, delta_map, location_map, torch.zeros(2, 21, 2), location.clone())
    return predicted, heatmap, delta, location, torch.ones(2, 21)


def test_a_perfect_pose_costs_nothing_and_has_finite_gradients() -> None:
    predicted, *targets = shpe_example()
    heatmap = predicted.heatmap.clone().requires_grad_()
    terms = shpe_losses(predicted._replace(heatmap=heatmap), *targets)
    assert set(terms) == {"heat", "delta", "location", "joints"} and not any(terms.values())
    weighted_sum(terms, SHPELossWeights()).backward()
    assert heatmap.grad is not None and heatmap.grad.isfinite().all()


def test_shpe_terms_are_frobenius_norms_over_the_number_of_valid_joints() -> None:
    predicted, heatmap, delta, location, valid = shpe_example()
    valid[:, 10:] = 0
    terms = shpe_losses(
        predicted._replace(heatmap=heatmap + 0.5, location_map=predicted.location_map + 2, xyz=predicted.xyz - 3),
        heatmap,
        delta,
        location,
        valid,
    )
    assert terms["heat"].item() == pytest.approx(math.sqrt(20 * 64 * 0.25) / 20, rel=1e-5)
    norm = math.sqrt(3 * (2 * heatmap[:, :10]).square().sum().item())
    assert terms["location"].item() == pytest.approx(norm / 20, rel=1e-5)
    assert terms["delta"] == 0
    assert terms["joints"].item() == pytest.approx(3)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_map_that_is_not_finite_has_no_finite_loss(value: float) -> None:
    predicted, *targets = shpe_example()
    maps = {"heat": "heatmap", "delta": "delta_map", "location": "location_map"}
    for term, name in maps.items():
        broken = predicted._replace(**{name: torch.full_like(getattr(predicted, name), value)})
        assert not shpe_losses(broken, *targets)[term].isfinite()


def test_unknown_joints_do_not_count() -> None:
    predicted, heatmap, delta, location, valid = shpe_example()
    wrong = predicted._replace(
        heatmap=heatmap + 1,
        delta_map=predicted.delta_map + 1,
        location_map=predicted.location_map + 1,
        xyz=predicted.xyz + 1,
    )
    valid[0] = 0
    expected = shpe_losses(wrong, heatmap, delta, location, valid)
    for tensor in (heatmap, delta, location):
        tensor[0] = torch.nan
    found = shpe_losses(wrong, heatmap, delta, location, valid)
    assert found == expected and all(found.values())


def test_the_painter_gains_when_the_critic_believes_it_and_the_critic_when_it_does_not() -> None:
    unsure, high, low = torch.zeros(2, 1, 6, 6), torch.full((2, 1, 6, 6), 4.0), torch.full((2, 1, 6, 6), -4.0)
    assert generator_adversarial_loss(unsure).item() == pytest.approx(math.log(2))
    assert discriminator_loss(unsure, unsure).item() == pytest.approx(math.log(2))
    assert generator_adversarial_loss(high) < generator_adversarial_loss(low)
    assert discriminator_loss(high, low) < discriminator_loss(low, high)
