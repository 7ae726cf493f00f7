"""How a step is computed: what "auto" becomes, and that each choice acts on the networks of a task."""

from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from unnoise.errors import InputError
from unnoise.train import fit_options
from unnoise.train.fit_options import FitOptions
from unnoise.train.machine import prepared, settled


class Seen:
    """A task that notes the dtype in which it computes."""

    name = "seen"

    def __init__(self) -> None:
        net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv1d(4, 4, 1), nn.Conv3d(4, 4, 1))
        self.networks = nn.ModuleDict({"net": net, "text": nn.Linear(2, 2)})
        self.learning_rate_multiples = {"net.0.bias": 0.5}

    def loss(self, step: int, rows: range) -> Tensor:
        return self.networks["text"](torch.ones(len(rows), 2)).mean(1)  # type: ignore[no-any-return]

    def sheet(self, step: int) -> Image.Image:
        return Image.new("RGB", (step, 1))


def options(**fields: Any) -> FitOptions:
    return FitOptions(
        **{"steps": 1, "batch": 6, "precision": "float32", "compile": False, "channels_last": True, **fields}
    )


def test_a_short_run_is_exact_and_uncompiled() -> None:
    assert settled(FitOptions(1, batch=6)) == options()
    given = options(precision="bfloat16", compile=True, channels_last=False, micro_batch=2)
    assert settled(given) == given


@pytest.mark.parametrize("channels_last", [True, False])
def test_the_layout_is_that_of_the_options(channels_last: bool) -> None:
    task = Seen()
    for _ in range(2):
        prepared(task, options(channels_last=channels_last))
        weight = task.networks["net"][0].weight  # type: ignore[index]
        assert weight.is_contiguous(memory_format=torch.channels_last) == channels_last
        assert weight.is_contiguous() != channels_last


@pytest.mark.parametrize(("precision", "dtype"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
def test_the_loss_is_computed_in_the_precision_of_the_options(precision: str, dtype: torch.dtype) -> None:
    task = prepared(Seen(), options(precision=precision))
    assert task.loss(0, range(3)).dtype == dtype
    assert (task.name, task.learning_rate_multiples, task.sheet(2).size) == ("seen", {"net.0.bias": 0.5}, (2, 1))


def test_the_first_network_is_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = list[nn.Module]()

    def compile_(net: nn.Module) -> None:
        compiled.append(net)
        net._compiled_call_impl = net._call_impl  # type: ignore[assignment]

    monkeypatch.setattr(nn.Module, "compile", compile_)
    monkeypatch.setattr(fit_options.shutil, "which", lambda name: "/usr/bin/clang++" if name == "clang++" else None)
    task = Seen()
    prepared(task, options())
    assert compiled == []
    for _ in range(2):
        prepared(task, options(compile=True))
    assert compiled == [task.networks["net"]]
    monkeypatch.setattr(fit_options.shutil, "which", lambda name: None)
    with pytest.raises(InputError, match=r"compile true: needs one of g\+\+, clang\+\+, cl"):
        prepared(Seen(), options(compile=True))
