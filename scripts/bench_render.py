"""The speed at which samples are made, end to end and by stages, beside a plain pyrender program.

python scripts/bench_render.py [--count 96 --size 256 --workers 16 --rounds 5]

The plain program is what most people would write: pyrender in one process, both hands and nobody else, a segmentation
pass, each hand alone, PNG files. Ours, renderer gl, writes shards with everything in them in worker processes, by
default one a core. Both make the same pairs of hands: once from scenes that are ready (drawing and writing alone), and
once with their sampling, by the same sampler, as part of the work (end to end). What is timed has run once before: a
data set is made over hours, in which programs, photographs and memory are ready. All take turns for some rounds, as
machines are not always equally fast. Prints medians of samples a second to the disk, of the time of cores that a sample
takes, and of ratios to the plain program of the same round: of passed time, and of cores' time, which other work on the
machine hardly changes. Then milliseconds of a core that each stage takes, and the rate of 16 cores by them; then one
run of ``generate``, its start included.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import tyro
from PIL import Image

from aih_gen.compose.rendered import RenderedSource, compose
from aih_gen.compose.sample import Sample
from aih_gen.config import TWO_HANDS, RenderConfig
from aih_gen.engines import BATCH, one_thread_each, open_in_worker
from aih_gen.factory import generate
from aih_gen.render.context import describe_driver
from aih_gen.scenes.backgrounds import background_image
from aih_gen.scenes.scene import Scene
from aih_gen.scenes.sensor import PERFECT
from aih_gen.shards.schema import Header
from aih_gen.shards.writer import write_shard
from aih_gen.typing import Look

Result = TypeVar("Result")
Work = Callable[[], float]
"""A run of a contender, which returns the seconds of cores that it took."""
Wanted = Sequence[Scene] | Sequence[int]
"""Scenes, or the indices of scenes that are still to be sampled."""

LOOKS: tuple[Look, ...] = ("plain", "full")
STAGES = ("scene", "drawing", "background", "composition and sensor", "writing")
CORES = 16
"""Of the machine that the goal is for."""
HEADER = Header("AIH_Render", "{}", "", 0, "free", "")


@dataclass(frozen=True)
class Arguments:
    count: int = 96
    """Scenes."""
    size: int = 256
    """Image side in pixels."""
    workers: int = len(os.sched_getaffinity(0))
    """Processes of ours; by default one a core."""
    rounds: int = 5
    seed: int = 0


def main() -> None:
    arguments = tyro.cli(Arguments, description=__doc__)
    count, workers = arguments.count, arguments.workers
    os.environ.setdefault("LP_NUM_THREADS", str(os.cpu_count()))  # the plain program's, llvmpipe's default
    os.environ.setdefault("PYOPENGL_PLATFORM", "egl")
    import pyrender

    config = RenderConfig(seed=arguments.seed, size=arguments.size, hands=TWO_HANDS)  # what the plain program draws
    source = RenderedSource(config)
    scenes = [source.scenes.sample(k) for k in range(count)]
    print(f"{count} scenes of {arguments.size} px, {workers} workers of ours, drawn by {describe_driver()}")
    print(f"{np.mean([_peopled(scene) for scene in scenes]):.0%} of the scenes show people")
    with tempfile.TemporaryDirectory() as folder, ExitStack() as pools:
        out = Path(folder)
        renderer = pyrender.OffscreenRenderer(config.size, config.size)
        plain = partial(plain_program, renderer, source, out)
        ready: dict[str, Work] = {"plain program": lambda: plain(scenes)}
        whole: dict[str, Work] = {"plain program": lambda: plain(map(source.scenes.sample, range(count)))}
        for look in LOOKS:
            work = pools.enter_context(in_workers(replace(config, look=look), workers, out))
            ready[f"ours, {look} look"] = partial(work, scenes)
            whole[f"ours, {look} look"] = partial(work, range(count))
        empty = [replace(scene, props=()) if _peopled(scene) else scene for scene in scenes]
        ready["ours, full look, without people"] = partial(work, empty)
        _compare("drawing and writing, scenes ready", ready, count, arguments.rounds)
        _compare("end to end, scenes included", whole, count, arguments.rounds)
        for look in LOOKS:
            _print_stages(replace(config, look=look), count)
        started = time.perf_counter()
        generate(config, out / "generated", 4 * count, workers=workers)
        seconds = time.perf_counter() - started
        print(f"\ngenerate, full look: {4 * count} samples in {seconds:.1f} s, {4 * count / seconds:.1f} a second")


def _peopled(scene: Scene) -> bool:
    return any("person" in name for name in scene.shows)


def _compare(title: str, runs: dict[str, Work], count: int, rounds: int) -> None:
    """Run all, the first of which the others are compared with, in turn; the first round is for warming up."""
    seconds = np.array([[_timed(run) for run in runs.values()] for _ in range(rounds + 1)])[1:] / count
    ratios = np.median(seconds[:, :1] / seconds, 0)
    print(f"\n{title:34} {'samples/s':>10} {'ms of cores':>12} {'times plain program':>20} {'by cores':>10}")
    for name, (passed, core), (faster, cheaper) in zip(runs, np.median(seconds, 0), ratios, strict=True):
        print(f"  {name:32} {1 / passed:>10.1f} {1000 * core:>12.1f} {faster:>20.2f} {cheaper:>10.2f}")


def _timed(work: Work) -> tuple[float, float]:
    """Seconds that pass, and seconds of cores."""
    started = time.perf_counter()
    core = work()
    return time.perf_counter() - started, core


def _print_stages(config: RenderConfig, count: int) -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool, one_thread_each():
        core, wall = pool.submit(profile, config, count).result()
    print(f"\nstages, {config.look} look, one process, ms a sample: {'of a core':>10} {'passed':>10}")
    for stage in STAGES:
        print(f"  {stage:52} {1000 * core[stage]:>10.2f} {1000 * wall[stage]:>10.2f}")
    total = sum(core.values())
    print(f"  {'all':52} {1000 * total:>10.2f} {1000 * sum(wall.values()):>10.2f}")
    print(f"  {CORES} cores would make {CORES / total:.0f} samples a second, if what draws keeps up")


def plain_program(renderer: Any, source: RenderedSource, folder: Path, scenes: Iterable[Scene]) -> float:
    """Nothing clever, nothing wasteful; one scene after the other. Returns seconds of cores."""
    import pyrender
    from pyrender.constants import RenderFlags

    from aih_gen.render.pyrender import FROM_OPENCV

    started, size, hands = time.process_time(), source.config.size, source.hands
    for k, scene in enumerate(scenes):
        background = background_image(scene.background, source.scenes.library, size)
        world = pyrender.Scene(bg_color=(0, 0, 0, 0), ambient_light=scene.lights.harmonics[0])
        (fx, _, cx), (_, fy, cy) = scene.camera.matrix[:2]
        world.add(pyrender.IntrinsicsCamera(fx, fy, cx + 0.5, cy + 0.5, znear=0.05, zfar=10), pose=FROM_OPENCV)
        world.add(pyrender.DirectionalLight(color=np.ones(3), intensity=2.0), pose=FROM_OPENCV)
        nodes = []
        for side in (0, 1):
            mesh, topology = hands.pose([scene], side), hands.topology[side]
            colours = np.tile(np.append(scene.skin.back, 1.0), (len(topology.rest), 1))
            primitive = pyrender.Primitive(mesh.vertices[0], mesh.normals[0], color_0=colours, indices=topology.faces)
            nodes.append(world.add(pyrender.Mesh([primitive])))
        both, _ = renderer.render(world, RenderFlags.RGBA)
        parts, _ = renderer.render(
            world, RenderFlags.SEG, seg_node_map={node: (i + 1,) * 3 for i, node in enumerate(nodes)}
        )
        images = {"both": both}
        masks = {"visible_right": parts[..., 0] == 1, "visible_left": parts[..., 0] == 2}
        for side, name in enumerate(("right", "left")):
            world.remove_node(nodes[1 - side])
            images[name], depth = renderer.render(world, RenderFlags.RGBA)
            masks[f"amodal_{name}"] = depth > 0
            world.add_node(nodes[1 - side])
        for name, image in images.items():
            alpha = image[..., 3:] / 255
            blended = (image[..., :3] * alpha + background * (1 - alpha)).astype(np.uint8)
            Image.fromarray(blended).save(folder / f"{k}_{name}.png", compress_level=1)
        for name, mask in masks.items():
            Image.fromarray(mask).save(folder / f"{k}_{name}.png")
    return time.process_time() - started


@contextmanager
def in_workers(config: RenderConfig, workers: int, out: Path) -> Iterator[Callable[[Wanted], float]]:
    """A function that makes samples of scenes, or of indices, in processes that are there; each writes a shard.

    It returns seconds of cores.
    """
    paths = [out / f"{config.look}_{k}.h5" for k in range(workers)]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_start, initargs=(config,)) as pool:

        def work(wanted: Wanted) -> float:
            with one_thread_each():  # submitting starts the workers
                done = pool.map(_to_shard, [list(wanted[k::workers]) for k in range(workers)], paths)
            return sum(done)

        yield work


_worker: RenderedSource


def _start(config: RenderConfig) -> None:
    global _worker
    source = open_in_worker(config)
    assert isinstance(source, RenderedSource)
    _worker = source
    source.samples(range(BATCH))  # whatever is made once is made


def _to_shard(wanted: Wanted, path: Path) -> float:
    started = time.process_time()
    batches = (_worker.compose_scenes(_scenes(wanted[k : k + BATCH])) for k in range(0, len(wanted), BATCH))
    write_shard(path, batches, len(wanted), HEADER, "zstd", True)
    return time.process_time() - started


def _scenes(wanted: Wanted) -> list[Scene]:
    """The scenes, or those of the indices; in the plain look through a perfect sensor and without people."""
    scenes = [_worker.scenes.sample(one) if isinstance(one, int) else one for one in wanted]
    plain = _worker.config.look == "plain"
    return [replace(scene, sensor=PERFECT, props=()) for scene in scenes] if plain else scenes


def profile(config: RenderConfig, count: int) -> tuple[dict[str, float], dict[str, float]]:
    """Seconds a sample of each stage, in this process: of the processor, and as they passed."""
    _start(config)
    with tempfile.TemporaryDirectory() as folder:
        _stages(count, Path(folder) / "x.h5")  # warms up
        return _stages(count, Path(folder) / "x.h5")


def _stages(count: int, path: Path) -> tuple[dict[str, float], dict[str, float]]:
    core, wall = dict.fromkeys(STAGES, 0.0), dict.fromkeys(STAGES, 0.0)
    size, library = _worker.config.size, _worker.scenes.library

    def timed(stage: str, work: Callable[[], Result]) -> Result:
        began = time.process_time(), time.perf_counter()
        result = work()
        core[stage] += (time.process_time() - began[0]) / count
        wall[stage] += (time.perf_counter() - began[1]) / count
        return result

    def batch(indices: Sequence[int]) -> list[Sample]:
        scenes = timed("scene", lambda: _scenes(indices))
        layers = timed("drawing", lambda: _worker.renderer.render(scenes))
        behind = timed("background", lambda: [background_image(s.background, library, size) for s in scenes])
        parts = zip(scenes, layers, behind, strict=True)
        return timed("composition and sensor", lambda: [compose(*part) for part in parts])

    batches = (batch(range(k, min(k + BATCH, count))) for k in range(0, count, BATCH))
    timed("writing", lambda: write_shard(path, batches, count, HEADER, "zstd", True))
    for seconds in (core, wall):  # the other stages ran within it
        seconds["writing"] -= sum(seconds[stage] for stage in STAGES[:-1])
    return core, wall


if __name__ == "__main__":
    main()
