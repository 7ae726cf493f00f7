"""Stable Diffusion 1.5 at its real size, random weights, side by side with diffusers; `make bench` prints the table.

Both load one folder, draw 256 x 256 with DDIM at the same levels from the same noise, guidance scale 7.5, and decode.
Runs alternate; figures are medians. `outside` is the share of our time outside U-Net, decoder and text network. `off`
is the rms distance of the latents at the end from those of diffusers in float32 with the same weights, ours and
diffusers', in units of their rms.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
SIZE, GUIDANCE = 256, 7.5


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw with a model of Stable Diffusion 1.5's sizes, beside diffusers.")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    print(f"{'dtype':9} {'ours':>8} {'diffusers':>10} {'ratio':>6} {'U-Net alone':>12} {'outside':>8}   off")
    with tempfile.TemporaryDirectory() as folder:
        for dtype in ("float32", "bfloat16"):
            place = Path(folder) / dtype
            made = [sys.executable, str(Path(__file__).with_name("load.py")), "--make", str(place), dtype]
            subprocess.run(made, check=True, capture_output=True)
            compare(place, dtype, asked.steps, asked.rounds)


def compare(place: Path, dtype: str, steps: int, rounds: int) -> None:
    """Generate the same image with both, several times in turns, and print the figures."""
    import torch
    from diffusers import StableDiffusionPipeline

    import unnoise

    peer = StableDiffusionPipeline.from_pretrained(place, dtype=getattr(torch, dtype), safety_checker=None)
    peer.set_progress_bar_config(disable=True)
    ours = unnoise.load(place, dtype=dtype)
    noise = torch.randn(1, 4, SIZE // 8, SIZE // 8, generator=torch.Generator().manual_seed(0))
    how = {"prompt": "a", "negative_prompt": "", "height": SIZE, "width": SIZE, "guidance_scale": GUIDANCE}
    how |= {"num_inference_steps": steps}
    grid = levels(peer, steps)

    def theirs(**more: Any) -> Any:
        return peer(**how, latents=noise.to(peer.unet.dtype), **more).images[0]

    def mine() -> Any:
        return ours.generate("a", guidance_scale=GUIDANCE, sampler="ddim", schedule=grid, noise=noise, size=SIZE)[0]

    found = [mine().x0, theirs(output_type="latent").float()]
    own = [ours.denoiser.net.unet, ours.space.autoencoder.vae.decoder, ours.text_encoder.clip.net]
    slow, quick = Clock([peer.unet]), Clock(own)
    runs = [(slow.time(theirs), quick.time(mine)) for _ in range(rounds)]
    exact = peer.to(torch.float32)(**how, latents=noise, output_type="latent").images[0]
    off = [float((one - exact).square().mean().sqrt() / exact.square().mean().sqrt()) for one in found]
    their, our = (statistics.median(pair[k].whole for pair in runs) for k in range(2))
    alone = statistics.median(pair[0].call / pair[1].call for pair in runs)
    outside = statistics.median(pair[1].outside for pair in runs)
    print(
        f"{dtype:9} {our:>6.2f} s {their:>8.2f} s {their / our:>6.2f} {alone:>12.2f} {outside:>8.1%}   "
        f"{off[0]:.1e}, {off[1]:.1e}",
        flush=True,
    )


def levels(peer: Any, steps: int) -> tuple[float, ...]:
    """Return sigma of every network call of the peer's DDIM, and where it ends."""
    peer.scheduler.set_timesteps(steps)
    table = peer.scheduler.alphas_cumprod.double()
    ends = [*table[peer.scheduler.timesteps].tolist(), float(peer.scheduler.final_alpha_cumprod)]
    return tuple(((1 - a) / a) ** 0.5 for a in ends)


@dataclass(frozen=True)
class Took:
    """Seconds of a whole run, of a call of the first network, and the share outside of all networks."""

    whole: float
    call: float
    outside: float


class Clock:
    """Time runs, and the calls of networks within them."""

    def __init__(self, networks: list[Any]) -> None:
        self.calls: list[list[float]] = [[] for _ in networks]
        for network, calls in zip(networks, self.calls, strict=True):
            network.forward = self.timed(network.forward, calls)

    def timed(self, call: Callable[..., Any], calls: list[float]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            answer = call(*args, **kwargs)
            calls.append(time.perf_counter() - began)
            return answer

        return run

    def time(self, draw: Callable[[], Any]) -> Took:
        for calls in self.calls:
            calls.clear()
        began = time.perf_counter()
        draw()
        whole = time.perf_counter() - began
        return Took(whole, statistics.median(self.calls[0]), 1 - sum(map(sum, self.calls)) / whole)


if __name__ == "__main__":
    main()
