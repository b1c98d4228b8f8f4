import math

import numpy as np
import pytest
import torch
from torchmetrics.functional.image import structural_similarity_index_measure

from hdr_model.evaluation.metrics import (
    PSNR_LIMIT,
    Overlap,
    RegionError,
    best_threshold,
    joint_errors,
    mpjpe,
    ssim_map,
)


def masks(*rows: str) -> torch.Tensor:
    return torch.tensor([[[letter == "#" for letter in row]] for row in rows])


def test_iou_over_the_set_weighs_pixels_and_per_sample_weighs_masks() -> None:
    overlap = Overlap()
    overlap.add(masks("##......", "########"), masks("#.......", "####...."))
    assert overlap.of_each() == [1 / 2, 4 / 8]
    overlap.add(masks("........"), masks("##......"))
    assert overlap.per_sample == pytest.approx((1 / 2 + 1 / 2 + 0) / 3)
    assert overlap.pooled == pytest.approx((1 + 4 + 0) / (2 + 8 + 2))


def test_an_empty_truth_has_no_iou_but_what_is_predicted_there_costs_the_set() -> None:
    overlap = Overlap()
    overlap.add(masks("##..", "####"), masks("##..", "...."))
    assert overlap.empty == 1
    assert overlap.per_sample == 1.0
    assert overlap.pooled == pytest.approx(2 / 6)


def test_nothing_measured_is_nan_not_zero() -> None:
    overlap = Overlap()
    overlap.add(masks("...."), masks("...."))
    assert math.isnan(overlap.per_sample)
    assert math.isnan(overlap.pooled)
    assert math.isnan(RegionError().psnr)
    assert math.isnan(mpjpe(np.full((2, 21), np.nan)))


def constant_error(error: RegionError, difference: float, region: torch.Tensor) -> None:
    true = torch.full((1, 3, 16, 16), 0.5)
    error.add(true + difference, true, region, ssim_map(true + difference, true))


def region(pixels: int) -> torch.Tensor:
    return (torch.arange(256) < pixels).view(1, 16, 16)


def test_psnr_of_a_constant_difference_is_its_formula() -> None:
    error = RegionError()
    constant_error(error, 0.1, region(100))
    assert error.psnr == pytest.approx(20.0, abs=1e-3)
    assert error.pooled_psnr == pytest.approx(20.0, abs=1e-3)


def test_psnr_looks_only_inside_the_region() -> None:
    true = torch.zeros(1, 3, 16, 16)
    inside = region(16)
    wrong_outside = torch.where(inside[:, None], 0.1, 0.9).expand_as(true)
    error = RegionError()
    error.add(wrong_outside, true, inside, ssim_map(wrong_outside, true))
    assert error.psnr == pytest.approx(20.0, abs=1e-3)


def test_pooled_psnr_weighs_pixels_and_the_mean_weighs_images() -> None:
    error = RegionError()
    constant_error(error, 0.1, region(30))
    constant_error(error, 0.01, region(10))
    assert error.psnr == pytest.approx((20 + 40) / 2, abs=1e-2)
    assert error.pooled_psnr == pytest.approx(-10 * math.log10((30 * 0.01 + 10 * 0.0001) / 40), abs=1e-2)


def test_an_empty_region_is_counted_and_enters_no_mean() -> None:
    error = RegionError()
    constant_error(error, 0.1, region(30))
    constant_error(error, 0.5, region(0))
    assert error.empty == 1
    assert error.psnr == pytest.approx(20.0, abs=1e-3)
    assert math.isnan(error.psnr_of_each()[1])


def test_equal_images_have_the_limit_and_ssim_one() -> None:
    error = RegionError()
    constant_error(error, 0.0, region(256))
    assert error.psnr == PSNR_LIMIT
    assert error.ssim == pytest.approx(1.0)


def test_ssim_map_is_wangs_formula_at_a_pixel() -> None:
    generator = np.random.default_rng(0)
    a, b = generator.random((2, 1, 3, 32, 32)).astype(np.float32)
    steps = np.arange(-5, 6)
    kernel = np.exp(-(steps**2) / (2 * 1.5**2))
    weight = np.outer(kernel, kernel) / kernel.sum() ** 2
    x, y = (image[0, 1, 10:21, 11:22].astype(np.float64) for image in (a, b))
    mean_x, mean_y = (weight * x).sum(), (weight * y).sum()
    var_x, var_y = (weight * x**2).sum() - mean_x**2, (weight * y**2).sum() - mean_y**2
    covariance = (weight * x * y).sum() - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    ssim = (2 * mean_x * mean_y + c1) * (2 * covariance + c2) / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))
    assert float(ssim_map(torch.from_numpy(a), torch.from_numpy(b))[0, 1, 15, 16]) == pytest.approx(ssim, abs=1e-4)


def test_ssim_map_is_torchmetrics_map_up_to_its_borders() -> None:
    generator = torch.Generator().manual_seed(0)
    true = torch.rand(2, 3, 24, 40, generator=generator)
    near = (true + 0.1 * torch.rand(2, 3, 24, 40, generator=generator)).clamp(0, 1)
    _, expected = structural_similarity_index_measure(
        near, true, data_range=1.0, reduction="none", return_full_image=True
    )
    torch.testing.assert_close(ssim_map(near, true), expected, atol=1e-4, rtol=0)


def test_mpjpe_is_the_mean_of_per_joint_means_and_leaves_unknown_joints_out() -> None:
    true = np.zeros((2, 21, 3))
    predicted = np.zeros((2, 21, 3))
    predicted[0, 1] = (3, 4, 0)
    predicted[1, 1] = (0, 0, 1)
    predicted[0, 2] = (0, 7, 0)
    true[1, 2] = np.nan
    errors = joint_errors(predicted, true)
    assert errors[0, 1] == 5.0
    assert np.isnan(errors[1, 2])
    assert mpjpe(errors) == pytest.approx(((5 + 1) / 2 + 7 + 19 * 0) / 21)


def test_best_threshold_is_the_best_of_all_thresholds() -> None:
    generator = np.random.default_rng(1)
    pixels = np.linspace(-1, 1, 12)
    shown = np.stack([(pixels**2 + (pixels[:, None] - c) ** 2) < 0.3 for c in generator.normal(0, 0.4, 25)])
    mean = shown.mean(0)

    def pooled(level: float) -> float:
        guess = mean >= level
        return float((guess & shown).sum() / (guess | shown).sum())

    best = best_threshold(mean)
    assert pooled(best) == max(pooled(level) for level in np.unique(mean))
    assert pooled(best) > pooled(0.5) or best == pytest.approx(0.5, abs=0.2)
