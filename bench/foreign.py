"""Stable Diffusion 1.5 at its real size, random weights, side by side with diffusers; `make bench` prints the table.

Both load one folder, draw 256 x 256 with DDIM at the same levels from the same noise, guidance 7.5, and decode. Runs
alternate; figures are medians. `outside` is the share of our time outside U-Net, decoder and text network. `off` is the
rms distance of the latents at the end from those of diffusers in float32 with the same weights, ours and diffusers',
in units of their rms.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
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
    import torch
    from diffusers import StableDiffusionPipeline

    import unnoise

    peer = StableDiffusionPipeline.from_pretrained(place, dtype=getattr(torch, dtype), safety_checker=None)
    peer.set_progress_bar_config(disable=True)
    ours = unnoise.load(place, dtype=dtype)
    noise = torch.randn(1, 4, SIZE // 8, SIZE // 8, generator=torch.Generator().manual_seed(0))
    peer.scheduler.set_timesteps(steps)
    table = peer.scheduler.alphas_cumprod.double()
    ends = [*table[peer.scheduler.timesteps].tolist(), float(peer.scheduler.final_alpha_cumprod)]
    grid = [((1 - a) / a) ** 0.5 for a in ends]

    def theirs() -> Any:
        how = {"height": SIZE, "width": SIZE, "guidance_scale": GUIDANCE, "num_inference_steps": steps}
        return peer("a", negative_prompt="", latents=noise.to(peer.unet.dtype), **how).images[0]

    def mine() -> Any:
        return ours.generate("a", weight=GUIDANCE, sampler="ddim", grid=grid, noise=noise, size=SIZE)[0]

    within = Within([ours.model.net.unet, ours.space.autoencoder.vae.decoder, *ours.text.net.children()])
    other = Within([peer.unet])
    theirs(), mine()
    within.seconds, other.seconds = [], []
    times: dict[str, list[float]] = {"mine": [], "theirs": []}
    shares, unets = [], []
    for _ in range(rounds):
        for name, draw in (("theirs", theirs), ("mine", mine)):
            within.seconds.clear(), other.seconds.clear()
            times[name].append(seconds(draw))
            if name == "mine":
                shares.append(1 - sum(within.seconds) / times[name][-1])
                unets.append([statistics.median(within.first), 0.0])
            else:
                slow = statistics.median(other.first)
        unets[-1][1] = slow
    how = {"height": SIZE, "width": SIZE, "guidance_scale": GUIDANCE, "num_inference_steps": steps, "output_type": "latent"}
    found = [mine().x0, peer("a", negative_prompt="", latents=noise.to(peer.unet.dtype), **how).images[0].float()]
    exact = peer.to(torch.float32)("a", negative_prompt="", latents=noise, **how).images[0]
    off = [float((one - exact).square().mean().sqrt() / exact.square().mean().sqrt()) for one in found]
    mid = {name: statistics.median(values) for name, values in times.items()}
    alone = statistics.median(theirs / mine for mine, theirs in unets)
    print(
        f"{dtype:9} {mid['mine']:>6.2f} s {mid['theirs']:>8.2f} s {mid['theirs'] / mid['mine']:>6.2f} {alone:>12.2f} "
        f"{statistics.median(shares):>8.1%}   {off[0]:.1e}, {off[1]:.1e}",
        flush=True,
    )


class Within:
    """Time the calls of modules; `first` are those of the first module alone."""

    def __init__(self, modules: list[Any]) -> None:
        self.seconds: list[float] = []
        self.first: list[float] = []
        for number, module in enumerate(modules):
            module.forward = self.timed(module.forward, number == 0)

    def timed(self, call: Callable[..., Any], first: bool) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            answer = call(*args, **kwargs)
            self.seconds.append(time.perf_counter() - began)
            if first:
                self.first.append(self.seconds[-1])
            return answer

        return run


def seconds(call: Callable[[], Any]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
