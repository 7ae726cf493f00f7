"""The training loop that diffusers documents, on our networks and latents.

Its example for text to image in our words: accelerate, a shuffled DataLoader, noise from DDPMScheduler, the mean square
error of eps, gradients clipped at 1, AdamW, a learning rate schedule, EMAModel at every step, a progress bar. It is
spared what ours is spared too: images are encoded already.
"""

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from diffusers import DDPMScheduler
from diffusers.optimization import get_scheduler
from diffusers.training_utils import EMAModel
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from tqdm.auto import tqdm

from unnoise.train.denoiser import DenoiserTask

Clock = Callable[[], float]


class FullDelta(nn.Module):
    """The text encoder and the net as one, called as the example calls its net."""

    def __init__(self, task: DenoiserTask) -> None:
        super().__init__()
        self.networks = task.networks

    def forward(self, noisy: Tensor, times: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
        return self.networks["net"](noisy, times / 1000, self.networks["text"](ids, mask))


def peer_steps(task: DenoiserTask, steps: int, precision: str, compiled: bool, clock: Clock) -> Iterator[float]:
    """Return the seconds of a step of the loop, a mean over `steps`, for each `next`.

    Args:
        precision: "float32", or "bfloat16" for autocast.
        clock: the seconds of now.
    """
    AcceleratorState._reset_state()  # one process holds loops of several precisions; the model keeps its own
    accelerator = Accelerator(mixed_precision={"float32": "no", "bfloat16": "bf16"}[precision], cpu=True)
    whole = FullDelta(task)
    if compiled:
        task.denoiser.net.compile()
    fit, (latents,) = task.options.fit, task.latents
    data = TensorDataset(latents.x0[:, 0].float(), latents.ids[:, 0], latents.lengths[:, 0])
    loader = DataLoader(data, fit.batch, shuffle=True, drop_last=True)
    noising = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    optimizer = torch.optim.AdamW(whole.parameters(), fit.learning_rate, betas=fit.betas, weight_decay=fit.weight_decay)
    schedule = get_scheduler("cosine", optimizer, num_warmup_steps=fit.warmup, num_training_steps=fit.steps)
    whole, optimizer, loader, schedule = accelerator.prepare(whole, optimizer, loader, schedule)
    averages = EMAModel(whole.parameters(), decay=0.9999)
    bar, count, began = tqdm(total=fit.steps, disable=True), 0, clock()
    while True:
        for x0, ids, lengths in loader:
            with accelerator.accumulate(whole):
                noise = torch.randn_like(x0)
                times = torch.randint(0, noising.config.num_train_timesteps, (len(x0),))
                mask = torch.arange(ids.shape[1]) < lengths[:, None]
                error = F.mse_loss(whole(noising.add_noise(x0, noise, times), times, ids, mask).float(), noise)
                accelerator.backward(error)
                if accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(whole.parameters(), 1.0)
                optimizer.step()
                schedule.step()
                optimizer.zero_grad()
            if accelerator.sync_gradients:
                averages.step(whole.parameters())
                bar.update(1)
            bar.set_postfix(step_loss=error.detach().item(), lr=schedule.get_last_lr()[0])
            accelerator.log({"train_loss": error.item()}, step=count)
            count += 1
            if count % steps == 0:
                yield (clock() - began) / steps
                began = clock()
