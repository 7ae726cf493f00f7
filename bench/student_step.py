"""What a step of a distilled student costs, as a share of its teacher's step without guidance.

    python bench/student_step.py [--widths 320,640,1280,1280] [--side 64]

A student of a network of this program has two more inputs and n points of x0; a LoRA student of a U-Net of diffusers,
of random weights, is merged, or added to the outputs of the layers. Steps are timed in turns, in seconds of CPU.
"""

import argparse
from collections.abc import Callable
from dataclasses import replace
from statistics import median
from time import process_time

import torch
from diffusers import UNet2DConditionModel

from unnoise.adapters.lora.targets import select_layers
from unnoise.adapters.lora.trainable import TrainableLora
from unnoise.diffusion.conditioning import Conditioning
from unnoise.diffusion.denoiser import Denoiser
from unnoise.diffusion.process import VP
from unnoise.distill.plain_student import LoraNet
from unnoise.integrations.diffusers.unet import ConditionUNet
from unnoise.nets.unet import UNet

TURNS, CONTEXT, LENGTH, RANK = 15, 768, 77, 64


def shares(steps: dict[str, Callable[[], object]], turns: int = TURNS) -> dict[str, float]:
    """Return the seconds of each step as a share of the first one's: medians over turns."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(turns + 1):
        for name, step in steps.items():
            began = process_time()
            step()
            if turn:  # the first allocates
                seconds[name].append(process_time() - began)
    first = next(iter(seconds))
    return {
        name: median(one / base for one, base in zip(found, seconds[first], strict=True))
        for name, found in seconds.items()
    }


def own_steps(widths: list[int], side: int) -> dict[str, Callable[[], object]]:
    """Return a step of a U-Net of this program and of its student of 8 points."""
    sizes = {"widths": widths, "depths": [2] * len(widths), "heads": [0, *(8 for _ in widths[1:])]}
    x, sigma = torch.randn(1, 4, side, side), torch.ones(1)
    cond = Conditioning(tokens=torch.randn(1, LENGTH, CONTEXT))
    told = replace(cond, end=torch.zeros(1), distilled_guidance=torch.full((1,), 3.0))
    teacher = Denoiser(UNet(4, **sizes, context=CONTEXT), VP("scaled-linear"), "v")
    student = Denoiser(UNet(4, **sizes, context=CONTEXT, guidance=True, end=True, points=8), teacher.process, "v")
    return {"teacher": lambda: teacher(x, sigma, cond), "student of 8 points": lambda: student(x, sigma, told)}


def foreign_steps(widths: list[int], side: int) -> dict[str, Callable[[], object]]:
    """Return a step of a U-Net of diffusers, with the layout of SD1.5, and of its LoRA students."""
    down = ["CrossAttnDownBlock2D"] * (len(widths) - 1) + ["DownBlock2D"]
    unet = UNet2DConditionModel(
        block_out_channels=widths,
        down_block_types=down,
        up_block_types=[name.replace("Down", "Up") for name in down[::-1]],
        cross_attention_dim=CONTEXT,
    ).eval()
    net, x, sigma = ConditionUNet(unet), torch.randn(1, 4, side, side), torch.ones(1)
    cond = Conditioning(tokens=torch.randn(1, LENGTH, CONTEXT))
    roots = {"unet": unet}
    lora = TrainableLora(roots, select_layers(roots, ("attention", "feed-forward")), RANK, RANK)
    teacher, live = (Denoiser(one, VP("scaled-linear"), "eps") for one in (net, LoraNet(net, lora)))
    return {  # merged, the student is the same network with other numbers
        "teacher": lambda: teacher(x, sigma, cond),
        "merged LoRA": lambda: teacher(x, sigma, cond),
        "LoRA beside the layers": lambda: live(x, sigma, cond),
    }


@torch.no_grad()
def main() -> None:
    """Print the shares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--widths", default="320,640,1280,1280", help="channels of each resolution")
    parser.add_argument("--side", type=int, default=64, help="cells of a latent's side")
    given = parser.parse_args()
    widths = [int(width) for width in given.widths.split(",")]
    print(f"widths {widths}, {given.side}x{given.side} latents, one row, float32, torch {torch.__version__}")
    for what, steps in (("own", own_steps), ("diffusers", foreign_steps)):
        for name, share in shares(steps(widths, given.side)).items():
            print(f"{what:10} {name:24} {share:.3f}")


if __name__ == "__main__":
    main()
