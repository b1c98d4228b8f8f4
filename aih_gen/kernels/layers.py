"""Two hands, each drawn alone, composited by depth over what is behind them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aih_gen.kernels.compiled import compiled

Float32 = NDArray[np.float32]
Int64 = NDArray[np.int64]
Mask = NDArray[np.bool_]
UInt8 = NDArray[np.uint8]

NOTHING, HAND, ARM = 0, 1, 2
"""Values of ``part``."""


@compiled
def resolve_visibility(part: UInt8, depth: Float32, masks: Mask, removed: Mask) -> None:
    """Owners of the pixels of layers (2,H,W) by depth: the nearer hand with its arm, at equal depths the right one.

    ``masks`` (6,H,W) becomes the amodal masks of both hands, the visible ones, and the visible arms; ``removed``
    (2,H,W) is True where the other hand owns a pixel.
    """
    height, width = part.shape[1:]
    for row in range(height):
        right, left, right_removed, left_removed = part[0, row], part[1, row], removed[0, row], removed[1, row]
        both = False
        for j in range(width):
            right_removed[j], left_removed[j] = left[j] != 0, right[j] != 0
            both |= (left[j] != 0) & (right[j] != 0)
        if both:  # few rows: depths are four fifths of what there is to read
            right_depth, left_depth = depth[0, row], depth[1, row]
            for j in range(width):
                nearer = left_depth[j] < right_depth[j]
                right_removed[j] &= nearer
                left_removed[j] &= not nearer
        for side in range(2):
            reached, own = part[side, row], removed[1 - side, row]
            amodal, visible, arm = masks[side, row], masks[2 + side, row], masks[4 + side, row]
            for j in range(width):
                amodal[j] = reached[j] == HAND
                visible[j] = own[j] & (reached[j] == HAND)
                arm[j] = own[j] & (reached[j] == ARM)


@compiled
def premultiply(image: UInt8) -> UInt8:
    """An image (H,W,4) whose colours are multiplied by the share covered, in the fourth channel."""
    result = np.empty_like(image)
    colours, made = image.reshape(image.size), result.reshape(image.size)
    half, unit = np.float32(0.5), np.float32(1 / 255)
    for j in range(image.size // 4):
        alpha = np.float32(colours[4 * j + 3]) * unit
        for channel in range(3):
            made[4 * j + channel] = np.uint8(np.float32(colours[4 * j + channel]) * alpha + half)
        made[4 * j + 3] = colours[4 * j + 3]
    return result


@compiled
def composite(
    background: UInt8,
    behind: UInt8,
    premultiplied: bool,
    colour: UInt8,
    shaded_colour: UInt8,
    part: UInt8,
    removed: Mask,
    images: UInt8,
) -> None:
    """``images`` (3,H,W,3): both hands, the right one alone, the left one alone.

    ``background`` (H,W,3) with props ``behind`` (N,H,W,4) over it, one for each image, the same for all, or none;
    ``colour`` and ``shaded_colour`` (2,H,W,4) each hand alone, and with the other one's shadow. The fourth channel is
    the share covered, by which the props' colours are multiplied where they are ``premultiplied``. Edges
    are blended with what is behind, but not where the other hand reaches the pixel too, and is farther away.
    """
    height, width = part.shape[1:]
    under, made = background.reshape(height, 3 * width), images.reshape(3, height, 3 * width)
    props = behind.reshape(len(behind), height, 4 * width)
    hands, shaded = colour.reshape(2, height, 4 * width), shaded_colour.reshape(2, height, 4 * width)
    alphas, shares = np.empty(width, np.float32), np.empty(width, np.float32)
    for row in range(height):
        for layer in range(3):
            drawn = layer < len(behind)
            source, line = made[0, row] if layer and not drawn else under[row], made[layer, row]
            for j in range(3 * width):
                line[j] = source[j]
            if drawn:
                prop = props[layer, row]
                for j in range(width):
                    alphas[j] = prop[4 * j + 3]
                    shares[j] = np.float32(255) if premultiplied else alphas[j]
                _blend(prop, shares, alphas, line)
        for side in range(2):
            first, count = _extent(part[side, row])
            if count == 0:
                continue
            covered, inside = hands[side, row, 4 * first : 4 * (first + count)], slice(3 * first, 3 * (first + count))
            reached, other = part[side, row, first : first + count], part[1 - side, row, first : first + count]
            owned = removed[1 - side, row, first : first + count]
            for j in range(count):
                alpha = np.float32(255) if owned[j] & (other[j] != 0) else np.float32(covered[4 * j + 3])
                alphas[j] = alpha if reached[j] != 0 else np.float32(0)
            _blend(covered, alphas[:count], alphas[:count], made[1 + side, row, inside])
            for j in range(count):
                alphas[j] = alphas[j] if owned[j] else np.float32(0)
            _blend(
                shaded[side, row, 4 * first : 4 * (first + count)], alphas[:count], alphas[:count], made[0, row, inside]
            )


@compiled
def _extent(line: UInt8) -> tuple[int, int]:
    """The first number other than 0, and how many there are up to the last such one."""
    first, end = 0, len(line)
    while first < end and line[first] == 0:
        first += 1
    while first < end and line[end - 1] == 0:
        end -= 1
    return first, end - first


@compiled
def _blend(front: UInt8, shares: Float32, alphas: Float32, under: UInt8) -> None:
    """A row of pixels (4W,), times ``shares`` (W,), over one (3W,), of which ``alphas`` (W,) are covered, in 255ths."""
    most, half, unit = np.float32(255), np.float32(0.5), np.float32(1 / 255)
    for j in range(len(alphas)):
        share, rest = shares[j], most - alphas[j]
        for channel in range(3):
            level = np.float32(front[4 * j + channel]) * share + np.float32(under[3 * j + channel]) * rest
            under[3 * j + channel] = np.uint8(min(level * unit + half, most))


@compiled
def mark_shaded(images: UInt8, removed: Mask, shaded: Mask) -> None:
    """``shaded`` (H,W) becomes True where a target, of ``images`` (3,H,W,3), differs from the first though nothing was
    ``removed`` (2,H,W) there."""
    height, width = shaded.shape
    rows = images.reshape(3, height, 3 * width)
    differs = np.empty((2, 3 * width), np.uint8)
    for row in range(height):
        image = rows[0, row]
        for side in range(2):
            target, differing = rows[1 + side, row], differs[side]
            for j in range(3 * width):
                differing[j] = image[j] ^ target[j]
        right, left, line = differs[0], differs[1], shaded[row]
        right_removed, left_removed = removed[0, row], removed[1, row]
        for j in range(width):
            right_differs = (right[3 * j] | right[3 * j + 1] | right[3 * j + 2]) != 0
            left_differs = (left[3 * j] | left[3 * j + 1] | left[3 * j + 2]) != 0
            line[j] = (right_differs & (not right_removed[j])) | (left_differs & (not left_removed[j]))
