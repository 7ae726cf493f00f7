"""Train a peer on Fashion-MNIST for seconds of CPU time: `python bench/fashion_peers.py NAME SECONDS FILE`.

`ddpm` is denoising-diffusion-pytorch, whose package must be installed for it; `diffusers` is the network, noise
schedule, loss and optimizer of diffusers' example `unconditional_image_generation`. Both train without classes, on one
thread in float32, with 1.5 and 1.6 M parameters, batches of 64, and a learning rate of 5e-4 that rises over 100 steps
and falls over the second half. The documented 1e-4 is raised for a short run.
"""

import copy
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from fashion_features import read, scaled
from safetensors.torch import save_file
from torch import Tensor, nn

BATCH, LEARNING_RATE, TIMES = 64, 5e-4, 1000


def ddpm_parts() -> tuple[nn.Module, Callable[[Tensor], Tensor], Tensor]:
    """Return the network, the loss of pictures in [-1, 1], and alpha-bar of denoising-diffusion-pytorch."""
    from denoising_diffusion_pytorch import GaussianDiffusion, Unet

    net = Unet(dim=24, dim_mults=(1, 2, 4), channels=1, flash_attn=False)
    diffusion = GaussianDiffusion(net, image_size=28, timesteps=TIMES)
    return net, lambda x: diffusion((x + 1) / 2), diffusion.alphas_cumprod


def diffusers_parts() -> tuple[nn.Module, Callable[[Tensor], Tensor], Tensor]:
    """Return the network, the loss of pictures in [-1, 1], and alpha-bar of diffusers' example."""
    from diffusers import DDPMScheduler, UNet2DModel

    net = UNet2DModel(
        sample_size=28,
        in_channels=1,
        out_channels=1,
        layers_per_block=2,
        block_out_channels=(32, 64, 64),
        down_block_types=("DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
    )
    noising = DDPMScheduler(num_train_timesteps=TIMES, beta_schedule="linear")

    def loss(x: Tensor) -> Tensor:
        noise, times = torch.randn_like(x), torch.randint(0, TIMES, (len(x),))
        return F.mse_loss(net(noising.add_noise(x, noise, times), times).sample, noise)

    return net, loss, noising.alphas_cumprod


PEERS: dict[str, Callable[[], Any]] = {"ddpm": ddpm_parts, "diffusers": diffusers_parts}


def endless(x: Tensor) -> Iterator[Tensor]:
    while True:
        for rows in torch.randperm(len(x))[: len(x) // BATCH * BATCH].split(BATCH):
            yield x[rows]


def train(name: str, budget: float, out: Path) -> None:
    """Train for `budget` seconds of CPU time, and write the averaged weights."""
    torch.manual_seed(0)
    net, loss, alphas = PEERS[name]()
    print(f"{name}: {sum(p.numel() for p in net.parameters()):,} parameters", flush=True)
    average = copy.deepcopy(net)
    optimizer = torch.optim.AdamW(net.parameters(), LEARNING_RATE, betas=(0.95, 0.999), weight_decay=1e-6)
    began, step = time.process_time(), 0
    for batch in endless(scaled(read("train")[0])):
        share = (time.process_time() - began) / budget
        if share >= 1:
            break
        step += 1
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * min(1, step / 100) * min(1, 2 * (1 - share))
        value = loss(batch)
        value.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        decay = min(0.995, 1 - (1 + step) ** -0.75)
        with torch.no_grad():
            torch._foreach_lerp_(list(average.parameters()), list(net.parameters()), 1 - decay)
        if step % 200 == 0:
            print(f"{name}: step {step}, {share:.0%}, loss {value.item():.4f}", flush=True)
    weights = {key: value.contiguous() for key, value in average.state_dict().items()}
    save_file(weights | {"alphas": alphas.float()}, out, {"steps": str(step), "images": str(step * BATCH)})
    print(f"{name}: {step} steps, {step * BATCH} images", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    train(sys.argv[1], float(sys.argv[2]), Path(sys.argv[3]))
