"""Milliseconds of the three networks, and of HDRM against its literal twin: python scripts/bench_nets.py.

The twin convolves every mask with ones, as partial convolution is written down (Liu et al. 2018); it is the same
function. Medians of synchronised calls; CPU in float32, a GPU in float32 and bfloat16 where there is one.
"""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import tyro
from torch import Tensor, nn
from torch.nn import functional as F

from hdr_model.config import Preset, preset
from hdr_model.nets.hasm import HASM
from hdr_model.nets.hdrm import HDRM
from hdr_model.nets.literal_hdrm import LiteralHDRM
from hdr_model.nets.shpe import SHPE


@dataclass(frozen=True)
class Bench:
    """Time the networks of one preset."""

    preset: Preset = "paper"
    size: int = 256
    batch: int = 2
    """At least 2, for batch normalisation."""
    repeats: int = 7
    threads: int = 2

    def run(self) -> None:
        """Print the table."""
        torch.set_num_threads(self.threads)
        where = [(torch.device("cpu"), torch.float32)]
        if torch.cuda.is_available():
            where += [(torch.device("cuda"), dtype) for dtype in (torch.float32, torch.bfloat16)]
        for device, dtype in where:
            print(f"{device.type}, {str(dtype).removeprefix('torch.')}, {self.size}x{self.size}, batch {self.batch}")
            self._on(device, dtype)

    def _on(self, device: torch.device, dtype: torch.dtype) -> None:
        torch.manual_seed(0)
        autocast = torch.autocast(device.type, dtype, enabled=dtype != torch.float32)
        image = torch.randn(self.batch, 3, self.size, self.size, device=device)
        x = torch.randn(self.batch, 8, self.size, self.size, device=device)
        validity = (F.interpolate(torch.rand(self.batch, 2, 8, 8, device=device), x.shape[-2:]) > 0.3).float()
        validity = validity.repeat_interleave(4, 1)
        hdrm = HDRM(preset("hdrm", self.preset)).to(device)
        fast, twin = hdrm.eval(), LiteralHDRM(copy.deepcopy(hdrm)).eval()
        plain = image.contiguous(memory_format=torch.channels_last)
        masked = [t.contiguous(memory_format=torch.channels_last) for t in (x, validity)]
        with torch.inference_mode():
            apart = (fast(x, validity) - twin(x, validity)).abs().max() / twin(x, validity).abs().max()
        fast.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

        def painted(network: nn.Module, inputs: list[Tensor]) -> Callable[[], object]:
            def call() -> object:
                with torch.inference_mode(), autocast:
                    return network(*inputs)

            return call

        def learned(network: nn.Module, inputs: list[Tensor], mixed: torch.autocast) -> Callable[[], object]:
            optimiser = torch.optim.Adam(network.parameters(), 1e-5, fused=True)

            def call() -> None:
                with mixed:
                    loss = network(*inputs).float().abs().mean()
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()

            return call

        ours, theirs = self._median(painted(fast, masked), device), self._median(painted(twin, [x, validity]), device)
        print(f"  HDRM forward        {ours:8.1f} ms/image, twin {theirs:8.1f}: {theirs / ours:.2f} times as fast")
        print(f"                      largest difference {float(apart):.1e} of the largest value, in float32")
        full = torch.autocast(device.type, enabled=False)
        ours = self._median(learned(fast.train(), masked, autocast), device)
        theirs = self._median(learned(twin.train(), [x, validity], full), device)
        print(f"  HDRM training step  {ours:8.1f} ms/image, twin in float32 {theirs:8.1f}: {theirs / ours:.2f}")
        hasm, shpe = HASM(preset("hasm", self.preset)), SHPE(preset("shpe", self.preset))
        shpe.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        for network, inputs in ((hasm, image), (shpe, plain)):
            spent = self._median(painted(network.to(device).eval(), [inputs]), device)
            print(f"  {type(network).__name__} forward        {spent:8.1f} ms/image")

    def _median(self, call: Callable[[], object], device: torch.device) -> float:
        """Milliseconds an image: CPU time where one CPU thread computes, as others may share it; else wall time."""
        clock = time.process_time if device.type == "cpu" and self.threads == 1 else time.perf_counter

        def wait() -> None:
            if device.type == "cuda":
                torch.cuda.synchronize()

        times = []
        for _ in range(self.repeats + 2):
            wait()
            started = clock()
            call()
            wait()
            times.append(1000 * (clock() - started) / self.batch)
        return statistics.median(times[2:])


if __name__ == "__main__":
    tyro.cli(Bench).run()
