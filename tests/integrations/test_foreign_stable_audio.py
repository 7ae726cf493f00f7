"""Stable Audio against diffusers' own pipeline on the same random weights, noise and levels."""

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    AutoencoderOobleck,
    CosineDPMSolverMultistepScheduler,
    StableAudioDiTModel,
    StableAudioPipeline,
)
from diffusers.pipelines.stable_audio import StableAudioProjectionModel
from diffusers.schedulers.scheduling_utils import SchedulerOutput
from torch import Tensor

import unnoise
from integrations import peers
from unnoise.errors import InputError

STEPS = 5


class Deterministic(CosineDPMSolverMultistepScheduler):
    """The peer's own preconditioning with Euler's step, for its own step draws noise."""

    def step(self, model_output: Tensor, timestep: Any, sample: Tensor, **_: Any) -> SchedulerOutput:
        if self.step_index is None:
            self._init_step_index(timestep)
        here, there = self.sigmas[self.step_index], self.sigmas[self.step_index + 1]
        x0 = self.precondition_outputs(sample, model_output, here)
        self._step_index += 1
        return SchedulerOutput(prev_sample=x0 + (sample - x0) * (there / here))


Deterministic.__name__ = CosineDPMSolverMultistepScheduler.__name__


def pipe(length: int = 128) -> StableAudioPipeline:
    torch.manual_seed(0)
    transformer = StableAudioDiTModel(
        sample_size=4, in_channels=3, num_layers=2, attention_head_dim=4, num_attention_heads=6,
        num_key_value_attention_heads=3, out_channels=3, cross_attention_dim=24, time_proj_dim=8,
        global_states_input_dim=48, cross_attention_input_dim=24,
    )  # fmt: skip
    vae = AutoencoderOobleck(
        encoder_hidden_size=6, downsampling_ratios=[1, 2], decoder_channels=3, decoder_input_channels=3,
        audio_channels=2, channel_multiples=[2, 4], sampling_rate=4,
    )  # fmt: skip
    projection = StableAudioProjectionModel(text_encoder_dim=32, conditioning_dim=24, min_value=0, max_value=32)
    made = StableAudioPipeline(
        transformer=peers.spread(transformer, 0.2), vae=peers.spread(vae), text_encoder=peers.t5_text(),
        tokenizer=peers.t5_tokenizer(length), projection_model=peers.spread(projection), scheduler=Deterministic(),
    )  # fmt: skip
    made.set_progress_bar_config(disable=True)
    return made


@pytest.mark.parametrize(
    ("negative", "length"),
    [(None, 128), (peers.NEGATIVE, 128), (peers.NEGATIVE, 61)],
    ids=["plain", "negative", "short"],
)
def test_stable_audio_equals_diffusers(tmp_path: Path, negative: str | None, length: int) -> None:
    """Its transformer attends to the padding, so the tokenizer's own length decides what is drawn."""
    peer = pipe(length)
    ours = unnoise.load(peers.saved(peer, tmp_path / "model"))
    noise = torch.randn(1, 3, 4, generator=torch.Generator().manual_seed(3))
    how = {"prompt": peers.PROMPT, "negative_prompt": negative, "num_inference_steps": STEPS, "guidance_scale": 7.5}
    latents = peer(**how, latents=noise, audio_end_in_s=1.5, output_type="latent").audios
    sound = peer(**how, latents=noise, audio_end_in_s=1.5, output_type="pt").audios[0]
    found = ours.generate(
        peers.PROMPT, negative_prompt=negative or "", guidance_scale=7.5, sampler="euler",
        schedule=peer.scheduler.sigmas.tolist(),
        noise=noise, seconds=1.5,
    )[0]  # fmt: skip
    peers.assert_close(found.x0[None], latents)
    assert found.audio.rate == 4
    assert found.audio.waves.shape == sound.shape == (2, 6)
    assert sound.std() > 0.001
    torch.testing.assert_close(found.audio.waves, sound.clamp(-1, 1), atol=1e-4, rtol=0)


def test_audio_that_is_too_long_is_refused(tmp_path: Path) -> None:
    ours = unnoise.load(peers.saved(pipe(), tmp_path / "model"))
    with pytest.raises(InputError, match=r"seconds 3: this model generates at most 2\.0"):
        ours.generate("rain", seconds=3)
    with pytest.raises(InputError, match="size 64x64: 'model' makes audio; use seconds"):
        ours.generate("rain", size=64)
    again = ours.replay(ours.generate("rain", seconds=1, seed=5, steps=2)[0].metadata)
    assert again.audio.waves.shape == (2, 4)
