"""The Ray engine on a cluster of two nodes, both on this machine. Ray is the extra ``ray``; without it nothing runs."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from aih_gen.config import RenderConfig, SynConfig
from aih_gen.errors import AIHError
from aih_gen.factory import generate
from aih_gen.shards.manifest import ManifestEntry
from tests.data.samples import write_samples

ray = pytest.importorskip("ray", reason="ray is not installed (pip install 'aih-hdr[ray]')")
COUNT, SHARD_SIZE = (1000, 100) if os.environ.get("AIH_PROOF") == "1" else (12, 2)
NODE = {"num_cpus": 1, "object_store_memory": 80 << 20, "include_dashboard": False}

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def two_nodes(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a cluster with one processor on each of its nodes."""
    from ray.cluster_utils import Cluster

    project = str(Path(__file__).parents[2])  # for the workers, which start elsewhere
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([project, os.environ.get("PYTHONPATH", "")]))
    cluster = Cluster(initialize_head=True, head_node_args=NODE)
    try:
        cluster.add_node(**NODE)
        cluster.wait_for_nodes()
        yield cluster.address
    finally:
        ray.shutdown()
        cluster.shutdown()


def contents(folder: Path) -> dict[str, str]:
    files = [*folder.glob("*.h5"), folder / "manifest.json"]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_cluster_of_two_nodes_makes_the_same_shards(tmp_path: Path, two_nodes: str) -> None:
    write_samples(tmp_path / "source" / "aih_render-00000.h5", 40)
    config = SynConfig(source=str(tmp_path / "source"), seed=1, size=64)
    ray.init(address=two_nodes, log_to_driver=False)
    assert sum(node["Alive"] for node in ray.nodes()) == 2
    generate(config, tmp_path / "local", COUNT, shard_size=SHARD_SIZE)
    generate(config, tmp_path / "ray", COUNT, shard_size=SHARD_SIZE, engine="ray")
    assert contents(tmp_path / "ray") == contents(tmp_path / "local")
    print(f"{COUNT} samples in shards of {SHARD_SIZE}: local and on two Ray nodes, the same SHA-256")


def test_a_run_that_ends_early_leaves_no_task_that_writes(tmp_path: Path, two_nodes: str) -> None:
    write_samples(tmp_path / "source" / "aih_render-00000.h5", 40)
    config = SynConfig(source=str(tmp_path / "source"), seed=1, size=64)
    ray.init(address=two_nodes, log_to_driver=False)

    def stop(_: ManifestEntry) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(config, tmp_path / "out", 2000, shard_size=50, engine="ray", finished=stop)
    there = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert 1 <= sum(name.endswith(".h5") for name in there) < 40
    time.sleep(3)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == there
    assert not list((tmp_path / "out").glob(".*.tmp"))


def test_a_device_that_a_machine_of_the_cluster_lacks_is_one_sentence(tmp_path: Path, two_nodes: str) -> None:
    config = RenderConfig(size=64, people=0.0, contact=False)
    ray.init(address=two_nodes, log_to_driver=False)
    generate(config, tmp_path / "local", 2)
    generate(config, tmp_path / "ray", 2, engine="ray", gl_device=0)
    assert contents(tmp_path / "ray") == contents(tmp_path / "local")
    with pytest.raises(AIHError) as caught:
        generate(config, tmp_path / "none", 2, engine="ray", gl_device=[99])
    assert str(caught.value).startswith("gl_device: expected a device that is there (EGL has ")
    assert not list((tmp_path / "none").glob("*.h5"))
