"""Results of photos in the viewer rerun: photo, masks, each hand alone, and joints and meshes in 3D, photo by photo."""

from __future__ import annotations

from aih_gen.compose.masks import hidden
from aih_gen.config import SIDES
from aih_gen.reports.rerun import Recording, by_label
from hdr_model.inference.result import HandResult, Result


def photos_recording() -> Recording:
    """A recording without photos yet.

    Raises:
        AIHError: rerun is not installed.
    """
    recording = Recording("--rerun", "hdr infer", "photo")
    for name in SIDES:
        recording.axes(f"from_wrist/{name}")
    return recording


def add_result(recording: Recording, number: int, photo: str, result: Result) -> None:
    """Show the result of a photo, its ``number`` on the timeline, under the name ``photo``.

    With meshes, hands are before the photo's camera, SHPE's joints on the mesh's wrist; without, each hand's joints are
    in a space of their own whose origin is the wrist.
    """
    height, width = result.image.shape[:2]
    visible, amodal, arm = ([result.masks[f"{side}_{kind}"] for side in SIDES] for kind in ("visible", "amodal", "arm"))
    recording.step(number)
    recording.text("photo", f"{photo}: {result.found}")
    if result.right.mesh is not None:
        recording.camera("camera", result.right.mesh.camera, width, height)
    recording.image("camera/image", result.image, lossless=False)
    recording.masks("camera/visible", by_label(visible, arm))
    recording.masks("camera/hidden", by_label(map(hidden, amodal, visible)))
    for side, name in enumerate(SIDES):
        recording.image(f"alone/{name}", result[name].image, lossless=False)
        recording.joints_2d(f"camera/joints/{name}", side, result[name].joints_2d)
        _add_hand(recording, side, name, result[name])


def _add_hand(recording: Recording, side: int, name: str, hand: HandResult) -> None:
    if hand.mesh is None:
        recording.joints_3d(f"from_wrist/{name}/joints", side, hand.joints_3d)
        return
    wrist = hand.mesh.joints[0]
    recording.joints_3d(f"hands/{name}/joints", side, hand.joints_3d + wrist)
    recording.mesh(f"hands/{name}/mesh", side, hand.vertices if hand.present else None, hand.faces)
