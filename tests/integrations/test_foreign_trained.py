"""U-Nets of EDM and of flow matching against diffusers' own pipelines on the same weights, noise and levels."""

import inspect
import json
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import diffusers
import pytest
import torch
from diffusers import (
    DPMSolverMultistepScheduler,
    EDMDPMSolverMultistepScheduler,
    EDMEulerScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
)

import unnoise
from integrations import peers, test_foreign_inpaint, test_foreign_sd, test_foreign_sdxl
from unnoise.diffusion.process import EDM, Flow
from unnoise.errors import InputError, InputWarning
from unnoise.families.identity import Identity
from unnoise.integrations.diffusers.autoencoder_kl import latent_space
from unnoise.integrations.diffusers.components import ForeignComponents
from unnoise.integrations.diffusers.processes import CLASSES, OTHERS, role_of
from unnoise.integrations.diffusers.trained import trained

STEPS, SIZE = 5, 64
HOW = {"prompt": peers.PROMPT, "negative_prompt": peers.NEGATIVE, "guidance_scale": 7.5, "num_inference_steps": STEPS}
PLAYGROUND = {"latents_mean": [-1.66, 1.89, -1.38, 2.52], "latents_std": [8.49, 5.9, 6.55, 5.23], "scaling_factor": 0.5}


class FlowEuler(FlowMatchEulerDiscreteScheduler):
    """The peer with what pipelines of U-Nets ask of a scheduler, and flow matching does not need."""

    init_noise_sigma = 1.0

    def scale_model_input(self, sample: torch.Tensor, timestep: Any = None) -> torch.Tensor:
        return sample


def saved(pipe: Any, peer: Any, folder: Path) -> Path:
    """Write a pipeline as it would be published with another scheduler."""
    pipe.save_pretrained(folder)
    (folder / "scheduler" / "scheduler_config.json").unlink()
    peer.save_pretrained(folder / "scheduler")
    index = json.loads((folder / "model_index.json").read_text())
    index["scheduler"] = ["diffusers", type(peer).__name__]
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


@cache
def parts(family: str) -> tuple[Any, Any, float]:
    """Make the networks of a family once: pipeline, its scheduler, its scale."""
    with TemporaryDirectory() as folder:
        made = (test_foreign_sdxl if family == "sdxl" else test_foreign_sd).pipe(Path(folder))
    made.set_progress_bar_config(disable=True)
    return made, made.scheduler, made.vae.config.scaling_factor


def edm_pipe(family: str, **vae: Any) -> Any:
    """Return the pipeline of a family with these settings of its autoencoder; there is one, so the last call counts."""
    made, made.scheduler, scale = parts(family)
    made.vae.register_to_config(**{"latents_mean": None, "latents_std": None, "scaling_factor": scale} | vae)
    return made


def drawn(pipe: Any, **how: Any) -> tuple[torch.Tensor, Any]:
    latents = pipe(**{**HOW, "height": SIZE, "width": SIZE}, output_type="latent", **how).images
    return latents, pipe(**{**HOW, "height": SIZE, "width": SIZE}, **how).images


@pytest.mark.parametrize(
    ("family", "peer", "sampler"),
    [
        ("sdxl", EDMEulerScheduler(prediction_type="epsilon"), "euler"),
        ("sdxl", EDMDPMSolverMultistepScheduler(prediction_type="epsilon"), "dpmpp-2m"),
        ("sdxl", EDMEulerScheduler(sigma_data=1.0, prediction_type="v_prediction", sigma_max=120.0), "euler"),
        (
            "sd1",
            EDMDPMSolverMultistepScheduler(sigma_data=0.7, prediction_type="v_prediction", sigma_min=0.01),
            "dpmpp-2m",
        ),
    ],
    ids=["playground-euler", "playground", "cosxl", "other"],
)
def test_edm_equals_diffusers(tmp_path: Path, family: str, peer: Any, sampler: str) -> None:
    pipe = edm_pipe(family, **(PLAYGROUND if family == "sdxl" and peer.config.sigma_data == 0.5 else {}))
    ours = unnoise.load(saved(pipe, peer, tmp_path / "model"))
    pipe.scheduler, noise = peer, test_foreign_sdxl.start()
    latents, pictures = drawn(pipe, latents=noise)
    found = ours.generate(
        peers.PROMPT,
        negative_prompt=peers.NEGATIVE,
        guidance_scale=7.5,
        sampler=sampler,
        schedule=peer.sigmas.tolist(),
        noise=noise,
        size=SIZE,
    )[0]
    peers.assert_close(found.x0[None], latents)
    peers.assert_same_images([found.image], pictures)
    process = ours.denoiser.process
    assert isinstance(process, EDM)
    assert (process.sigma_min, process.sigma_max) == (peer.config.sigma_min, peer.config.sigma_max)


@pytest.mark.parametrize("family", ["sdxl", "sd1"])
def test_flow_equals_diffusers(tmp_path: Path, family: str) -> None:
    peer = FlowEuler(shift=3.0)
    pipe = edm_pipe(family)
    ours = unnoise.load(saved(pipe, FlowMatchEulerDiscreteScheduler(shift=3.0), tmp_path / "model"))
    pipe.scheduler, noise = peer, test_foreign_sdxl.start()
    latents, pictures = drawn(pipe, latents=noise)
    found = ours.generate(
        peers.PROMPT,
        negative_prompt=peers.NEGATIVE,
        guidance_scale=7.5,
        sampler="euler",
        schedule=peers.flow_levels(pipe),
        noise=noise,
        size=SIZE,
    )[0]
    peers.assert_close(found.x0[None], latents)
    peers.assert_same_images([found.image], pictures)
    assert (ours.denoiser.process, ours.denoiser.kind, ours.card.advice.shift) == (Flow(), "flow", 3.0)


def test_cosxl_edit_equals_diffusers(tmp_path: Path) -> None:
    """Its network is given the latents of the image with the scale of x0, unlike other instruction models."""
    peer = EDMEulerScheduler(sigma_data=1.0, prediction_type="v_prediction", sigma_max=120.0)
    made = edm_pipe("sdxl").components | {"unet": test_foreign_sdxl.unet(in_channels=8), "scheduler": peer}
    kept = inspect.signature(diffusers.StableDiffusionXLInstructPix2PixPipeline.__init__).parameters
    pipe = diffusers.StableDiffusionXLInstructPix2PixPipeline(
        **{name: part for name, part in made.items() if name in kept}, is_cosxl_edit=True
    )
    pipe.set_progress_bar_config(disable=True)
    ours = unnoise.load(peers.saved(pipe, tmp_path / "model"))
    image, noise = test_foreign_inpaint.photo(), test_foreign_sdxl.start()
    latents = pipe(
        **HOW, image=image, image_guidance_scale=1.5, latents=noise, height=SIZE, width=SIZE, output_type="latent"
    ).images
    found = ours.generate(
        peers.PROMPT,
        negative_prompt=peers.NEGATIVE,
        guidance_scale=7.5,
        image_guidance=1.5,
        sampler="euler",
        schedule=peer.sigmas.tolist(),
        noise=noise,
        image=image,
    )[0]
    peers.assert_close(found.x0[None], latents)


def test_euler_in_continuous_time_equals_diffusers(tmp_path: Path) -> None:
    peer = EulerDiscreteScheduler(
        prediction_type="v_prediction", timestep_type="continuous", use_karras_sigmas=True, sigma_min=0.002,
        sigma_max=120.0, timestep_spacing="trailing",
    )  # fmt: skip
    pipe = edm_pipe("sdxl")
    ours = unnoise.load(saved(pipe, peer, tmp_path / "model"))
    pipe.scheduler, noise = peer, test_foreign_sdxl.start()
    latents, _ = drawn(pipe, latents=noise)
    grid = peer.sigmas.tolist()
    first = noise * peer.init_noise_sigma / (grid[0] ** 2 + 1) ** 0.5
    how = {"sampler": "euler", "schedule": grid, "noise": first, "size": SIZE, "guidance_scale": 7.5}
    found = ours.generate(peers.PROMPT, negative_prompt=peers.NEGATIVE, **how)[0]
    peers.assert_close(found.x0[None], latents)
    assert ours.denoiser.process == EDM(1.0, 0.002, 120.0)


def test_its_own_schedule_is_the_default_and_a_replay_needs_the_same_process(tmp_path: Path) -> None:
    pipe = edm_pipe("sdxl")
    peer = EDMEulerScheduler(sigma_data=0.5, rho=5.0)
    ours = unnoise.load(saved(pipe, peer, tmp_path / "model"))
    sample = ours.generate("a cat", steps=STEPS, seed=1, size=SIZE)[0]
    peer.set_timesteps(STEPS)
    assert peer.sigmas.tolist() == pytest.approx(sample.metadata.levels, rel=1e-5)
    assert torch.equal(ours.replay(sample.metadata).x0, sample.x0)
    other = unnoise.load(saved(pipe, EDMEulerScheduler(sigma_data=1.0, rho=5.0), tmp_path / "other"))
    assert other.card.fingerprint == ours.card.fingerprint
    with pytest.raises(InputError, match="metadata: drawn with another process, prediction type or scale"):
        other.replay(sample.metadata)


# Every scheduler class of diffusers.

EVERY = sorted(
    name
    for name in dir(diffusers)
    if name.endswith("Scheduler")
    and inspect.isclass(getattr(diffusers, name, None))
    and issubclass(getattr(diffusers, name), diffusers.SchedulerMixin)
)


def foreign(family: str = "sdxl", **config: Any) -> ForeignComponents:
    return ForeignComponents("model", Identity(family), {}, configs={"scheduler": config})


def test_every_class_of_diffusers_is_known() -> None:
    assert len(EVERY) > 40
    assert not set(CLASSES) & set(OTHERS)
    assert set(EVERY) <= set(CLASSES) | set(OTHERS)


@pytest.mark.filterwarnings("ignore:__array_wrap__ must accept:DeprecationWarning")
@pytest.mark.parametrize("name", EVERY)
def test_no_class_is_taken_for_another_process(name: str) -> None:
    """A class that has no table of betas is not run as one; what is run as a table has the same table in diffusers."""
    if name in OTHERS:
        with pytest.raises(InputError, match=rf"^model: its scheduler {name} is for .*, which is not supported$"):
            role_of(foreign(_class_name=name))
        return
    made = getattr(diffusers, name)()
    given = {**made.config, "_class_name": name}
    table = getattr(made, "alphas_cumprod", None)
    assert (CLASSES[name] == "table") is (table is not None)
    if table is not None:
        for config in (given, {"_class_name": name}):
            found = trained(foreign(**config))
            assert found.process.table() == pytest.approx(table.tolist(), rel=1e-4)


@pytest.mark.parametrize(
    ("family", "config", "message"),
    [
        ("sdxl", {"_class_name": "Mine"}, "its scheduler 'Mine' is unknown, and so is its process"),
        ("sdxl", {"_class_name": 7}, "its scheduler '7' is unknown"),
        ("sdxl", {"_class_name": ["DDIMScheduler"]}, "DDIMScheduler'.* is unknown"),
        (
            "sdxl",
            {"_class_name": "EDMEulerScheduler", "prediction_type": ["epsilon"]},
            "prediction_type .*known: epsilon",
        ),
        ("sdxl", {"_class_name": "DDIMScheduler", "prediction_type": {}}, "prediction_type '{}': known"),
        ("sdxl", {"_class_name": "DDIMScheduler", "beta_schedule": ["linear"]}, "beta_schedule"),
        ("sdxl", {"_class_name": "DDIMScheduler", "beta_start": "x"}, "beta_start x: a number from 0 to 1"),
        ("sdxl", {"_class_name": "DDIMScheduler", "num_train_timesteps": [7]}, "num_train_timesteps .7.: a number"),
        (
            "sdxl",
            {"_class_name": "CosineDPMSolverMultistepScheduler"},
            "is of process 'angle', and sdxl is",
        ),
        ("flux1", {"_class_name": "DDIMScheduler"}, "is of process 'table', and flux1 is flow"),
        ("pixart", {"_class_name": "EDMEulerScheduler"}, "is of process 'edm', and pixart is table"),
        ("sdxl", {"_class_name": "UniPCMultistepScheduler", "use_flow_sigmas": True}, "flow matching has true and"),
        (
            "sdxl",
            {"_class_name": "UniPCMultistepScheduler", "prediction_type": "flow_prediction"},
            "use_flow_sigmas false",
        ),
        ("sdxl", {"_class_name": "DDIMScheduler", "thresholding": True}, "thresholding true: not supported"),
        ("sdxl", {"_class_name": "DDIMScheduler", "rescale_betas_zero_snr": "no"}, "'no': true or false"),
        ("sdxl", {"_class_name": "FlowMatchEulerDiscreteScheduler", "invert_sigmas": True}, "not supported"),
        ("sdxl", {"_class_name": "FlowMatchEulerDiscreteScheduler", "use_dynamic_shifting": True}, "number of tokens"),
        (
            "sdxl",
            {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": -1},
            "shift -1: a number from 0.01 to 100",
        ),
        ("sdxl", {"_class_name": "EDMEulerScheduler", "sigma_data": "1"}, "sigma_data 1: a number"),
        ("sdxl", {"_class_name": "EDMEulerScheduler", "sigma_min": 80, "sigma_max": 2}, "must be below sigma_max"),
        ("sdxl", {"_class_name": "EDMEulerScheduler", "prediction_type": "sample"}, "prediction_type 'sample'"),
        ("sdxl", {"_class_name": "EDMEulerScheduler", "sigma_schedule": "x"}, "sigma_schedule 'x'"),
        ("sdxl", {"_class_name": "DDIMScheduler", "beta_schedule": "laplace"}, "beta_schedule 'laplace'"),
        ("sdxl", {"_class_name": "DDIMScheduler", "num_train_timesteps": 1e9}, "a number from 2 to 100000"),
        ("sdxl", {"_class_name": "DDIMScheduler", "trained_betas": ["a"]}, "trained_betas: 2 to 100000 numbers"),
        ("sdxl", {"_class_name": "EulerDiscreteScheduler", "timestep_type": "x"}, "timestep_type 'x'"),
    ],
)
def test_settings_of_another_process_are_refused(family: str, config: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=f"^model: .*{message}"):
        trained(foreign(family, **config))


@pytest.mark.parametrize("mean", [5, ["a"] * 4, [0.0] * 3, {}, [float("nan")] * 4])
def test_statistics_of_another_kind_are_refused(mean: Any) -> None:
    with pytest.raises(InputError, match=r"latents_mean|shift|numbers|channels"):
        latent_space(edm_pipe("sd1", latents_mean=mean, latents_std=[1.0] * 4).vae)


def test_flow_by_a_setting_and_by_a_choice(tmp_path: Path) -> None:
    peer = DPMSolverMultistepScheduler(use_flow_sigmas=True, prediction_type="flow_prediction", flow_shift=2.0)
    pipe = edm_pipe("sd1")
    folder = saved(pipe, peer, tmp_path / "model")
    ours = unnoise.load(folder)
    assert (ours.denoiser.process, ours.denoiser.kind, ours.card.advice.shift) == (Flow(), "flow", 2.0)
    with pytest.raises(InputError, match=r"prediction_type eps: .* is of flow matching"):
        unnoise.load(folder, prediction_type="eps")
    plain = peers.saved(edm_pipe("sd1"), tmp_path / "plain")
    with pytest.warns(InputWarning, match="prediction_type flow: .* states epsilon; flow is used"):
        chosen = unnoise.load(plain, prediction_type="flow")
    assert torch.equal(
        *(one.generate("a cat", steps=2, seed=1, size=SIZE, schedule=[9, 1, 0])[0].x0 for one in (ours, chosen))
    )
    with pytest.warns(InputWarning, match="prediction_type v: .* states epsilon; v is used"):
        assert unnoise.load(plain, prediction_type="v").denoiser.kind == "v"


def test_a_class_of_another_process_is_refused_before_anything_is_drawn(tmp_path: Path) -> None:
    folder = peers.saved(edm_pipe("sd1"), tmp_path / "model")
    config = folder / "scheduler" / "scheduler_config.json"
    config.write_text(json.dumps({"_class_name": "ScoreSdeVeScheduler"}))
    with pytest.raises(InputError, match="the scheduler DDIMScheduler, and the config is of ScoreSdeVe"):
        unnoise.load(folder)
    index = (folder / "model_index.json").read_text().replace("DDIMScheduler", "ScoreSdeVeScheduler")
    (folder / "model_index.json").write_text(index)
    for stated in ({"_class_name": "ScoreSdeVeScheduler"}, {}):
        config.write_text(json.dumps(stated))
        with pytest.raises(InputError, match="ScoreSdeVeScheduler is for a variance exploding process, which is not"):
            unnoise.load(folder)
    config.unlink()
    with pytest.raises(InputError, match="ScoreSdeVeScheduler is for a variance exploding process, which is not"):
        unnoise.load(folder)
