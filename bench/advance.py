"""What a step costs beyond its network: `advance` against `step` of diffusers, on Stable Diffusion's latent.

A run of CALLS calls on one (4, 4, 64, 64) float32 tensor, with a ready prediction in place of the network: only
`advance` and `step` are timed, noise is drawn within either. Ours and theirs run in turn; a figure is the median over
ROUNDS of the time of a call, a ratio the median of the rounds' ratios.
"""

import os
import statistics
import time
from collections.abc import Callable

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import diffusers
import torch
from catalogue import SD
from peers import HIGH, LOW, Peer

from unnoise.sampling import default, start
from unnoise.sampling.registry import grid, sampler
from unnoise.sampling.state import Sampler, calls

CALLS, ROUNDS = 20, 41
ASKED = 0.5
SHAPE = (4, 4, 64, 64)
MULTISTEP = Peer("DPMSolverMultistepScheduler", "", settings=SD)
PAIRS = {
    "ddim": Peer("DDIMScheduler", "", settings={**SD, "clip_sample": False}),
    "euler": Peer("EulerDiscreteScheduler", "", "ve", SD),
    "heun": Peer("HeunDiscreteScheduler", "", "ve", SD),
    "dpm-2": Peer("KDPM2DiscreteScheduler", "", "ve", SD),
    "dpmpp-2s": Peer("DPMSolverSinglestepScheduler", "", settings=SD),
    "dpmpp-2m": MULTISTEP,
    "dpmpp-3m": Peer("DPMSolverMultistepScheduler", "order 3", settings={**SD, "solver_order": 3}),
    "unipc": Peer("UniPCMultistepScheduler", "", settings=SD),
    "deis": Peer("DEISMultistepScheduler", "", settings=SD),
    "lms": Peer("LMSDiscreteScheduler", "", "ve", SD),
    "ipndm": Peer("IPNDMScheduler", "", "angle"),
    "sa-solver": Peer("SASolverScheduler", "", settings=SD, stochastic=True),
    "ancestral": Peer("EulerAncestralDiscreteScheduler", "", "ve", SD, stochastic=True),
    "dpmpp-2m-sde": Peer(
        "DPMSolverMultistepScheduler", "sde", settings={**SD, "algorithm_type": "sde-dpmsolver++"}, stochastic=True
    ),
}


def main() -> None:
    print(f"advance against step, diffusers {diffusers.__version__}, {SHAPE} float32, microseconds a network call")
    print(f"{'ours':14} {'theirs':34} {'advance':>9} {'step':>9} {'ratio':>7}")
    chief, levels = default(CALLS, HIGH, LOW)
    report("default", chief, levels, MULTISTEP, f"   asked {ASKED}")
    for name, peer in PAIRS.items():
        ours = sampler(name)
        fit = [grid("default", steps, HIGH, LOW) for steps in range(1, CALLS + 1)]
        report(name, ours, [one for one in fit if calls(ours, one) <= CALLS][-1], peer)


def report(name: str, ours: Sampler, levels: tuple[float, ...], peer: Peer, note: str = "") -> None:
    """Print one row."""
    x, answer = torch.randn(SHAPE), torch.randn(SHAPE)
    pairs = [(advanced(ours, levels, x, answer), stepped(peer, x, answer)) for _ in range(ROUNDS)]
    mine, theirs = (1e6 * statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(a / b for a, b in pairs)
    print(f"{name:14} {f'{peer.name} {peer.means}':34} {mine:9.0f} {theirs:9.0f} {ratio:7.2f}{note}", flush=True)


def advanced(ours: Sampler, levels: tuple[float, ...], x: torch.Tensor, answer: torch.Tensor) -> float:
    """Return the seconds of a call of `advance`, a mean over a run."""
    state, spent = start(x, levels), []
    while not state.done:
        began = time.perf_counter()
        state = ours.advance(state, answer, torch.randn(SHAPE) if ours.stochastic else None)
        spent.append(time.perf_counter() - began)
    return statistics.fmean(spent)


def stepped(peer: Peer, x: torch.Tensor, answer: torch.Tensor) -> float:
    """Return the seconds of a call of `step`, a mean over a run."""
    scheduler, spent = peer.within(CALLS), []
    step: Callable = scheduler.step
    for moment in scheduler.timesteps:
        if hasattr(scheduler, "scale_model_input"):
            scheduler.scale_model_input(x, moment)
        began = time.perf_counter()
        x = step(answer, moment, x)[0]
        spent.append(time.perf_counter() - began)
    return statistics.fmean(spent)


if __name__ == "__main__":
    with torch.no_grad():
        main()
