"""A network of one's own: two calls train and sample it, every kind of data, its bits, and what is refused."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import unnoise
from unnoise.diffusion.conditioning import Conditioning
from unnoise.diffusion.denoiser import Denoiser
from unnoise.diffusion.process import EDM
from unnoise.errors import InputError, NonFiniteError
from unnoise.generation.own_net import net_inputs
from unnoise.nets.unet import UNet
from unnoise.train import fit, load_net
from unnoise.train.fit_net import PROCESSES
from unnoise.train.net_task import points_sheet
from unnoise.train.own_data import measured, own_data
from unnoise.train.task import Progress

FEW: dict[str, Any] = {"steps": 6, "batch": 16}


class Plain(nn.Module):
    def __init__(self, width: int = 32, out: int = 2) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.layers.append(nn.Linear(width, out))

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        return self.layers(torch.cat([x, time[:, None]], 1))  # type: ignore[no-any-return]


class Labelled(Plain):
    def __init__(self, classes: int = 3) -> None:
        super().__init__(64)
        self.embed = nn.Embedding(classes, 3)

    def forward(self, x: Tensor, time: Tensor, cond: Tensor) -> Tensor:  # type: ignore[override]
        return self.layers(torch.cat([x, time[:, None]], 1) + self.embed(cond))  # type: ignore[no-any-return]


class Named(Plain):
    def forward(self, x: Tensor, time: Tensor, cond: dict[str, Tensor]) -> Tensor:  # type: ignore[override]
        return super().forward(x + cond["shift"] + cond["label"][:, None], time)


def seeded(net: type[nn.Module], *args: Any) -> nn.Module:
    torch.manual_seed(0)
    return net(*args)


def moons(count: int = 2000) -> tuple[Tensor, Tensor]:
    """Two half circles of radius 3, and on which of them a point is."""
    stream = torch.Generator().manual_seed(1)
    angle, label = torch.rand(count, generator=stream) * torch.pi, torch.arange(count) % 2
    sign = 1 - 2 * label
    x = torch.stack([3 * angle.cos() * sign + 3 * label, 3 * angle.sin() * sign + 1.5 * label], 1)
    return x + 0.1 * torch.randn(x.shape, generator=stream), label


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(one, other) for one, other in zip(a.parameters(), b.parameters(), strict=True))


def test_two_calls_learn_the_moons_and_keep_their_units() -> None:
    x, _ = moons()
    model = fit(seeded(Plain, 64), x + 100, process="flow", steps=300, batch=256)
    drawn = unnoise.sample(model, 500, steps=16, seed=3)
    near = torch.cdist(drawn, x + 100).min(1).values
    assert drawn.mean(0) == pytest.approx(x.mean(0) + 100, abs=0.3)
    assert near.median() < 0.25, near.median()
    assert model.figures["steps"] == 300
    assert not model.net.training
    assert torch.allclose(unnoise.sample(model, 2, steps=16, seed=5), drawn[2:4], atol=1e-4)


def test_a_class_decides_the_moon_and_guidance_needs_its_dropout() -> None:
    x, label = moons()
    torch.manual_seed(0)
    model = fit(Labelled(3), (x, label), steps=300, batch=256, cond_dropout=0.1)
    for k in (0, 1):
        drawn = unnoise.sample(model, 200, cond=k, guidance_scale=2)
        nearest = label[torch.cdist(drawn, x).min(1).indices]
        assert (nearest == k).float().mean() > 0.95
    plain = fit(Labelled(2), (x, label), **FEW)
    for cond, message in (
        (2, "cond 2: a class, 0 to 1"),
        (None, "was trained with one tensor; give one row"),
        ([0], "one tensor of 1 rows; one tensor, 4 rows"),
        ({"a": [0] * 4}, "cond: a of 4 rows; one tensor"),
    ):
        with pytest.raises(InputError, match=message):
            unnoise.sample(plain, 4, cond=cond)
    with pytest.raises(InputError, match="trained without cond_dropout"):
        unnoise.sample(plain, 4, cond=0, guidance_scale=2)
    with pytest.raises(InputError, match="with cond_dropout there are 3 classes"):
        fit(Labelled(2), (x, label), cond_dropout=0.1, **FEW)


@pytest.mark.parametrize("process", PROCESSES)
def test_every_process_trains_and_samples(process: str) -> None:
    model = fit(seeded(Plain), moons()[0], process=process, **FEW)
    assert unnoise.sample(model, 3, steps=4).shape == (3, 2)


def test_the_same_seeds_give_the_same_bits() -> None:
    x = moons()[0]
    nets = [seeded(Plain) for _ in range(4)]
    for net, more in zip(nets, ({}, {}, {"seed": 1}, {"micro_batch": 16}), strict=True):
        fit(net, x, **FEW, **more)
    assert same(nets[0], nets[1])
    assert same(nets[0], nets[3])
    assert not same(nets[0], nets[2])


def test_every_kind_of_data_trains_the_same_net() -> None:
    x, label = moons(64)

    class Stream(IterableDataset[Any]):
        def __iter__(self) -> Iterator[Any]:
            return iter(zip(x, label, strict=True))

    def drawn(n: int, generator: torch.Generator) -> Any:
        index = torch.randint(64, (n,), generator=generator)
        return x[index], label[index]

    pair, listed = (x, label), TensorDataset(x, label)
    nets = {}
    for name, data in {
        "pair": pair, "numpy": (x.numpy(), label.numpy()), "dataset": listed, "loader": DataLoader(listed, 10),
        "stream": Stream(), "function": drawn, "generator": iter([pair, pair]),
    }.items():  # fmt: skip
        model = fit(seeded(Labelled), data, steps=4, batch=16)
        assert model.facts.shape == (2,)
        nets[name] = model.net
    assert same(nets["pair"], nets["numpy"])
    assert same(nets["pair"], nets["dataset"])
    assert same(nets["loader"], nets["stream"])


def test_batches_of_any_size_are_read_once_in_their_order() -> None:
    x = torch.arange(24.0)[:, None]
    source = own_data([x[:5], x[5:12], x[12:]].__iter__(), 0, 8)
    first = source.rows(0, range(8), 8)[0]
    assert first.flatten().tolist() == list(range(8))
    assert source.rows(2, range(2, 4), 8)[0].flatten().tolist() == [18, 19]


def test_a_dict_of_conditioning_and_a_conditioning_reach_the_net() -> None:
    x, label = moons(64)
    model = fit(seeded(Named), (x, {"shift": torch.ones(64, 2), "label": label}), cond_dropout=0.5, **FEW)
    cond = {"shift": torch.zeros(3, 2), "label": torch.tensor([0, 1, 0])}
    assert unnoise.sample(model, 3, cond=cond, guidance_scale=2).shape == (3, 2)
    images = torch.rand(20, 3, 8, 8)
    net = UNet(3, [32, 32], [1, 1], [0, 0], labels=3)
    model = fit(net, (images, label[:20]), cond_dropout=0.2, steps=2, batch=4)
    assert unnoise.sample(model, 2, steps=2, cond=[0, 1]).shape == (2, 3, 8, 8)
    assert net_inputs([1, 2]).conditioning.given().keys() == {"label"}
    assert net_inputs({"vector": [[1.0]]}).conditioning.given().keys() == {"vector"}
    with pytest.raises(InputError, match=r"cond 'labl': the net takes a Conditioning; did you mean 'label'"):
        _ = net_inputs({"labl": [1]}).conditioning


def test_ones_own_loss_optimizer_process_levels_and_hooks() -> None:
    x, seen, steps = moons(64)[0], list[Progress](), list[int]()

    def loss(denoiser: Denoiser, x0: Tensor, noise: Tensor, sigma: Tensor, cond: Conditioning) -> Tensor:
        return (denoiser(x0 + noise, sigma, cond) - x0).abs().mean(1)

    def sgd(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters, 1e-2, momentum=0.9)

    fit(
        seeded(Plain), x, EDM(sigma_min=0.01), loss=loss, optimizer=sgd, levels=lambda u: u + 0.1,
        callback=[seen.append, lambda progress: steps.append(progress.step)], **FEW,
    )  # fmt: skip
    assert steps == [1, 2, 3, 4, 5, 6]
    assert seen[-1].steps == 6
    for wrong, message in (
        ({"loss": lambda *_: torch.ones(())}, r"loss: returned \(\); one number for each sample"),
        ({"levels": lambda u: -u - 1}, "levels: the function must return sigma"),
        ({"levels": (0,)}, r"levels \(0,\): \(mean, deviation\)"),
        ({"callback": 3}, "callback 3: a function"),
    ):
        with pytest.raises(InputError, match=message):
            fit(seeded(Plain), x, **FEW, **wrong)  # type: ignore[arg-type]


def test_a_run_in_a_folder_resumes_to_the_same_bits(tmp_path: Path) -> None:
    x = moons(64)[0]

    def stop(progress: Progress) -> None:
        if progress.step == 15:
            raise KeyboardInterrupt

    how: dict[str, Any] = {"steps": 20, "batch": 8}
    whole, net = fit(seeded(Plain), x, out=tmp_path / "whole", **how), seeded(Plain)
    with pytest.raises(KeyboardInterrupt):
        fit(net, x, out=tmp_path / "stopped", callback=stop, **how)
    steps = list[Progress]()
    again = fit(seeded(Plain), x, out=tmp_path / "stopped", callback=steps.append, **how)
    assert len(steps) < 20
    assert same(whole.net, again.net)
    with pytest.raises(InputError, match=r"facts|data|objective"):
        fit(seeded(Plain), x + 1, out=tmp_path / "stopped", **how)
    loaded = load_net(tmp_path / "whole" / "net.safetensors", Plain())
    assert torch.equal(unnoise.sample(loaded, 4, steps=3), unnoise.sample(whole, 4, steps=3))
    with pytest.raises(InputError, match="is of another network than Plain"):
        load_net(tmp_path / "whole" / "net.safetensors", Plain(8))
    with pytest.raises(InputError, match="no network that TrainedNet"):
        load_net(tmp_path / "whole" / "net" / "checkpoint.safetensors", Plain())


@pytest.mark.parametrize(
    ("net", "data", "options", "message"),
    [
        (Plain(out=3), 0, {}, r"net: returned \(2, 3\); it must return the shape of x, \(2, 2\)"),
        (Labelled(), 0, {}, r"net Labelled: takes 3 arguments, and the data has none"),
        (Plain(), 1, {}, r"net Plain: takes 2 arguments, and the data has conditioning"),
        (3, 0, {}, "net 3: a torch.nn.Module"),
        (Plain(), "a", {}, "data 'a': "),
        (Plain(), torch.full((9, 2), torch.nan), {}, "NaN or infinity in sample 0"),
        (Plain(), torch.ones(9, 2), {}, "data: every value is 1"),
        (Plain(), (torch.rand(9, 2), torch.ones(8)), {}, "cond of 8 rows for 9 samples"),
        (Labelled(), (torch.rand(9, 2), -torch.ones(9).long()), {}, "cond -1: a class, 0 to 0"),
        (Labelled(), (torch.rand(9, 2), torch.full((9,), 7)), {"classes": 3}, "cond 7: a class, 0 to 2"),
        (Plain(), [], {}, "data: "),
        (Plain(), iter([]), {}, "data: the iterable has no batches"),
        (Plain(), lambda n, generator: torch.ones(n + 1, 2), {}, "returned 4097 samples, 4096 were asked for"),
        (Plain(), 0, {"process": "flows"}, "process 'flows': did you mean 'flow'"),
        (Plain(), 0, {"kind": "noise"}, "kind 'noise'"),
        (Plain(), 0, {"kind": "eps"}, "kind 'eps': does not determine x0 at sigma inf"),
        (Plain(), 0, {"lr": 1}, "lr: unknown; 'learning_rate' here"),
        (Plain(), 0, {"stepz": 1}, "stepz: unknown; did you mean 'steps'"),
        (Plain(), 0, {"steps": 0}, "steps 0: a whole number"),
        (Plain(), 0, {"optimizer": "adam"}, "optimizer 'adam': 'adamw', 'muon'"),
        (Plain(), 0, {"precision": "half"}, "precision 'half': 'auto' or 'float32'"),
        (Plain(), 0, {"cond_dropout": 0.1}, "the data has no conditioning"),
        (Plain(), 0, {"weighting": "snr"}, "weighting 'snr'"),
    ],
)
def test_what_does_not_fit_is_one_line(net: Any, data: Any, options: dict[str, Any], message: str) -> None:
    given = moons(64)[0] if isinstance(data, int) and data == 0 else moons(64) if isinstance(data, int) else data
    with pytest.raises(InputError, match=message) as raised:
        fit(net, given, **{"steps": 2, "batch": 4, **options})
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps 0"), ({"n": 0}, "n 0"), ({"seed": -1}, "seed -1"), ({"sampler": "eulr"}, "eulr"),
        ({"schedule": "flowy"}, "flowy"), ({"cond": 1}, "trained without conditioning"),
        ({"schedule": (10.0, 1.0, 0.0), "steps": 5}, "steps 5: the schedule has 2 steps"),
    ],
)  # fmt: skip
def test_wrong_arguments_of_a_sample_are_one_line(options: dict[str, Any], message: str) -> None:
    model = fit(seeded(Plain), moons(64)[0], steps=2, batch=4)
    with pytest.raises(InputError, match=message):
        unnoise.sample(model, **{"n": 1, **options})


def test_a_net_that_returns_nan_stops() -> None:
    class Broken(Plain):
        def forward(self, x: Tensor, time: Tensor) -> Tensor:
            return super().forward(x, time) * torch.nan

    with pytest.raises(NonFiniteError, match="net: loss is nan at step 1"):
        fit(Broken(), moons(64)[0], **FEW)


def test_each_channel_has_its_own_scale_unless_one_hardly_varies() -> None:
    x = torch.randn(500, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 50.0])
    assert measured(x).scale == pytest.approx(x.std(0, correction=0).tolist(), rel=1e-4)
    x[:, 0] = 0
    assert len(measured(x).scale) == 1
    assert measured(x).to_x0(x).std(correction=0) == pytest.approx(1, rel=1e-4)
    assert measured(x[:, 1]).to_x0(x[:, 1]).std(correction=0) == pytest.approx(1, rel=1e-4)


def test_points_are_drawn_at_one_scale_with_the_second_axis_upwards() -> None:
    page = points_sheet(torch.tensor([[0.0, 0.0]] * 20 + [[0.0, 1.0]] * 10))
    dark = [(x, y) for x in range(512) for y in range(512) if page.getpixel((x, y)) != (255, 255, 255)]
    assert min(y for _, y in dark) < 60
    assert {x for x, _ in dark} <= set(range(250, 262))


def test_the_names_are_lazy_and_public() -> None:
    assert unnoise.train.fit is fit
    assert {"fit", "train", "FitOptions", "Task"} <= set(dir(unnoise.train))
    with pytest.raises(AttributeError, match="no attribute 'fits'"):
        _ = unnoise.train.fits  # type: ignore[attr-defined]
