"""Other people's figures, as printed by Meng et al. (ECCV 2022): measured on real data that is not shipped."""

from __future__ import annotations

from hdr_model.evaluation.table import Line

NAN = float("nan")

INTERHAND = (
    # name, SH, IH, ALL, Inter: MPJPE in mm on InterHand2.6M v1.0
    ("InterNet, ALL branch", 12.16, 16.02, 14.21, 18.04),
    ("HDR, ALL branch", 8.51, 13.12, 10.97, 14.74),
    ("InterNet, M branch", 12.52, 18.04, 15.28, NAN),
    ("HDR, M branch", 8.52, 14.98, 11.74, NAN),
    ("Boukhayma, ALL branch", NAN, NAN, 27.14, 31.46),
    ("Pose2Mesh, ALL branch", NAN, NAN, 27.10, 32.11),
    ("BiHand, ALL branch", NAN, NAN, 25.10, 28.23),
    ("Rong, ALL branch", NAN, NAN, 17.12, 20.66),
    ("DIGIT, ALL branch", NAN, 14.27, NAN, NAN),
)
GAIN = (
    # trained on, SHPE alone IH and ALL, with HDR IH and ALL: MPJPE in mm on InterHand2.6M v1.0
    ("ALL branch, SH only", 39.96, 25.90, 25.93, 18.39),
    ("ALL branch, SH + AIH", 30.23, 20.93, 23.99, 17.58),
    ("M branch, SH only", 40.98, 25.78, 25.45, 17.98),
    ("M branch, SH + AIH", 32.27, 21.66, 24.59, 17.80),
)
TZIONAS = (
    # EPE in px on Tzionas et al.
    ("Boukhayma", 12.91), ("Wang", 13.31), ("InterNet", 17.61), ("Kim", 12.42), ("SHPE", 14.88), ("SHPE + HDR", 8.70),
)  # fmt: skip
ABLATION = (25.78, 24.16, 19.69, 18.11, 18.85, 18.10, 18.35, 17.98)
"""MPJPE in mm of the ablation's rows 1 to 8, M branch."""
P40_MILLISECONDS = {"HASM": 12.6, "HDRM": 0.6, "SHPE": 34.0}
"""A photo, on one Tesla P40; HDRM's was probably taken without waiting for the device."""

INTERHAND_LINES = tuple(Line(f"{name} [InterHand2.6M]", tuple(values), published=True) for name, *values in INTERHAND)
TZIONAS_LINES = tuple(Line(f"{name} [Tzionas]", (NAN, NAN, value), published=True) for name, value in TZIONAS)


def reduction(before: float, after: float) -> float:
    """Reduction of an error in per cent."""
    return 100 * (before - after) / before if before else NAN


GAIN_LINES = tuple(
    Line(f"paper, {name} [InterHand2.6M]", (a, b, c, d, reduction(b, d)), published=True) for name, a, b, c, d in GAIN
)
