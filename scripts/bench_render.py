"""The speed at which samples are made, beside a plain pyrender program, from the same scenes and in one run.

python scripts/bench_render.py [--count 96 --size 256 --workers 2 --rounds 5]

(a) what most people would write: pyrender in one process, both hands and nobody else, a segmentation pass, each hand
alone, PNG files;
(b) ours with renderer pyrender, one process; (c) ours with renderer gl, ``plain`` and ``full`` look, and full without
people, in worker processes; (b) and (c) write shards with everything in them. Scenes are sampled beforehand, and their
sampling is timed by itself. What is timed has run once before: a data set is made over hours, in which programs,
photographs and memory are ready. All take turns for some rounds, as machines are not always equally fast. Prints
medians of milliseconds a sample and of ratios to the (a) of the same round, and where (c)'s time goes.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
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
from aih_gen.factory import one_thread_each, open_in_worker
from aih_gen.scenes.backgrounds import background_image
from aih_gen.scenes.scene import Scene
from aih_gen.scenes.sensor import PERFECT
from aih_gen.shards.schema import Header
from aih_gen.shards.writer import write_shard
from aih_gen.typing import Look

Result = TypeVar("Result")

BATCH = 16
APPEARANCE_STREAM: tuple[Look, ...] = ("plain", "full")
ALONE = "(c) full without people"
HEADER = Header("AIH_Render", "{}", "", 0, "free", "")


@dataclass(frozen=True)
class Arguments:
    count: int = 96
    """Scenes."""
    size: int = 256
    """Image side in pixels."""
    workers: int = 2
    """Processes of (c)."""
    rounds: int = 5
    seed: int = 0


def main() -> None:
    arguments = tyro.cli(Arguments, description=__doc__)
    os.environ.setdefault("LP_NUM_THREADS", str(os.cpu_count()))  # (a)'s, llvmpipe's default; ours would set others
    import pyrender

    config = RenderConfig(seed=arguments.seed, size=arguments.size, hands=TWO_HANDS)  # what (a) draws
    source = RenderedSource(config)
    started = time.perf_counter()
    scenes = [source.scenes.sample(k) for k in range(arguments.count)]
    sampling = (time.perf_counter() - started) / arguments.count
    print(f"{arguments.count} scenes, {arguments.size} px, {arguments.workers} workers")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        few = scenes[: max(len(scenes) // 4, 1)]
        reference = RenderedSource(replace(config, renderer="pyrender", look="plain"))
        renderer = pyrender.OffscreenRenderer(config.size, config.size)
        runs = {
            "(a) plain pyrender program": partial(
                _timed, lambda: plain_program(renderer, source, scenes, out), len(scenes)
            ),
            "(b) ours, renderer pyrender": partial(_timed, lambda: _to_shard(reference, few, out / "b.h5"), len(few)),
        }
        with ExitStack() as pools:
            for look in APPEARANCE_STREAM:
                work = pools.enter_context(in_workers(replace(config, look=look), scenes, arguments.workers, out))
                runs[f"(c) ours, renderer gl, {look}"] = partial(_timed, work, len(scenes))
            without = [replace(scene, props=()) if _peopled(scene) else scene for scene in scenes]
            work = pools.enter_context(in_workers(config, without, arguments.workers, out))
            runs[ALONE] = partial(_timed, work, len(scenes))
            runs["(a) plain pyrender program"]()
            runs["(b) ours, renderer pyrender"]()
            seconds = np.array([[run() for run in runs.values()] for _ in range(arguments.rounds)])
    ratios = np.median(seconds[:, :1] / seconds, 0)
    print(f"\n{'':32} {'ms/sample':>10} {'samples/s':>10} {'times (a)':>10}")
    for name, each, ratio in zip(runs, np.median(seconds, 0), ratios, strict=True):
        print(f"{name:32} {1000 * each:>10.1f} {1 / each:>10.1f} {ratio:>10.2f}")
    cost = dict(zip(runs, (seconds / seconds[:, -1:]).T, strict=True))["(c) ours, renderer gl, full"]
    print(f"people: {np.mean([_peopled(s) for s in scenes]):.0%} of scenes, {np.median(cost):.2f} times as long")
    print(f"{'sampling a scene, one process':32} {1000 * sampling:>10.1f} {1 / sampling:>10.1f}")
    for look in APPEARANCE_STREAM:
        print(f"\nstages of (c), {look} look, one process, ms of processor time a sample:")
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool, one_thread_each():
            stages = pool.submit(profile, replace(config, look=look), scenes).result()
        for name, each in stages.items():
            print(f"  {name:12} {1000 * each:6.1f}  {each / sum(stages.values()):4.0%}")


def plain_program(renderer: Any, source: RenderedSource, scenes: Sequence[Scene], folder: Path) -> None:
    """(a): nothing clever, nothing wasteful; one scene after the other."""
    import pyrender
    from pyrender.constants import RenderFlags

    from aih_gen.render.pyrender import FROM_OPENCV

    size, hands = source.config.size, source.hands
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


@contextmanager
def in_workers(config: RenderConfig, scenes: Sequence[Scene], workers: int, out: Path) -> Iterator[Callable[[], None]]:
    """(c), in processes that are ready."""
    parts = [list(scenes[k::workers]) for k in range(workers)]
    paths = [out / f"{config.look}_{k}.h5" for k in range(workers)]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_start, initargs=(config,)) as pool:
        with one_thread_each():  # submitting starts the workers
            warm = pool.map(_warm, [scenes] * workers, paths, chunksize=1)
        list(warm)

        def work() -> None:
            list(pool.map(_work, parts, paths, chunksize=1))

        yield work


def profile(config: RenderConfig, scenes: Sequence[Scene]) -> dict[str, float]:
    """Processor seconds a sample of each stage, in this process."""
    _start(config)
    with tempfile.TemporaryDirectory() as folder:
        _stages(_worker, scenes, Path(folder) / "x.h5")
        return _stages(_worker, scenes, Path(folder) / "x.h5")


def _stages(source: RenderedSource, scenes: Sequence[Scene], path: Path) -> dict[str, float]:
    seconds = dict.fromkeys(("pose", "draw", "background", "compose"), 0.0)
    scenes, size, library = _as_drawn(source.config, scenes), source.config.size, source.scenes.library

    def timed(stage: str, work: Callable[[], Result]) -> Result:
        started = time.process_time()
        result = work()
        seconds[stage] += (time.process_time() - started) / len(scenes)
        return result

    def compose_batch(batch: Sequence[Scene]) -> list[Sample]:
        timed("pose", lambda: [source.hands.pose(batch, side) for side in (0, 1)])
        layers = timed("draw", lambda: source.renderer.render(batch))
        backgrounds = timed("background", lambda: [background_image(s.background, library, size) for s in batch])
        return timed("compose", lambda: [compose(*parts) for parts in zip(batch, layers, backgrounds, strict=True)])

    started = time.process_time()
    batches = (compose_batch(scenes[k : k + BATCH]) for k in range(0, len(scenes), BATCH))
    write_shard(path, batches, len(scenes), HEADER, "zstd", True)
    seconds["write"] = (time.process_time() - started) / len(scenes) - sum(seconds.values())
    seconds["draw"] -= seconds["pose"]  # drawing poses anew
    return seconds


_worker: RenderedSource


def _start(config: RenderConfig) -> None:
    global _worker
    source = open_in_worker(config)
    assert isinstance(source, RenderedSource)
    _worker = source


def _warm(scenes: Sequence[Scene], path: Path) -> None:
    _to_shard(_worker, scenes, path)
    time.sleep(0.5)  # so that every worker gets one


def _work(scenes: Sequence[Scene], path: Path) -> None:
    _to_shard(_worker, scenes, path)


def _to_shard(source: RenderedSource, scenes: Sequence[Scene], path: Path) -> None:
    scenes = _as_drawn(source.config, scenes)
    batches = (source.compose_scenes(scenes[k : k + BATCH]) for k in range(0, len(scenes), BATCH))
    write_shard(path, batches, len(scenes), HEADER, "zstd", True)


def _as_drawn(config: RenderConfig, scenes: Sequence[Scene]) -> list[Scene]:
    """The same scenes, through a perfect sensor and without people where the look is plain."""
    return [replace(scene, sensor=PERFECT, props=()) if config.look == "plain" else scene for scene in scenes]


def _peopled(scene: Scene) -> bool:
    return any("person" in name for name in scene.shows)


def _timed(work: Callable[[], None], count: int) -> float:
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) / count


if __name__ == "__main__":
    main()
