"""Two hands, each drawn alone, put together by depth over what is behind them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aih_gen.kernels.compiled import compiled

Float32 = NDArray[np.float32]
Int64 = NDArray[np.int64]
Mask = NDArray[np.bool_]
UInt8 = NDArray[np.uint8]

HAND, ARM = 1, 2
"""Values of ``part``, as ``aih_gen.render.layers`` has them."""


@compiled
def own_pixels(part: UInt8, depth: Float32, masks: Mask, removed: Mask) -> None:
    """Who owns which pixel of layers (2,H,W): the nearer hand, with its arm.

    ``masks`` (6,H,W) becomes the amodal masks of both hands, the visible ones, and the visible arms; ``removed``
    (2,H,W) is True where the other hand owns a pixel.
    """
    height, width = part.shape[1:]
    for row in range(height):
        for column in range(width):
            right, left = part[0, row, column], part[1, row, column]
            left_owns = depth[1, row, column] < depth[0, row, column]
            right_owns = not left_owns and (right | left) != 0
            removed[0, row, column] = left_owns
            removed[1, row, column] = right_owns
            masks[0, row, column] = right == HAND
            masks[1, row, column] = left == HAND
            masks[2, row, column] = right_owns and right == HAND
            masks[3, row, column] = left_owns and left == HAND
            masks[4, row, column] = right_owns and right == ARM
            masks[5, row, column] = left_owns and left == ARM


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
def put_together(
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
    ``colour`` and ``shaded_colour`` (2,H,W,4) each hand alone, and with the other one's shadow. An image's fourth channel
    is the share covered; ``premultiplied`` if the props' colours are multiplied by it. Edges are blended with what is
    behind, but not in the images of both where the other hand reaches the pixel.
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
            hand, reached, other, owned = hands[side, row], part[side, row], part[1 - side, row], removed[1 - side, row]
            nothing = True
            for j in range(width):
                covered = np.float32(255) if owned[j] and other[j] != 0 else np.float32(hand[4 * j + 3])
                alphas[j] = covered if reached[j] != 0 else np.float32(0)
                nothing &= reached[j] == 0
            if nothing:
                continue
            _blend(hand, alphas, alphas, made[1 + side, row])
            for j in range(width):
                alphas[j] = alphas[j] if owned[j] else np.float32(0)
            _blend(shaded[side, row], alphas, alphas, made[0, row])


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
