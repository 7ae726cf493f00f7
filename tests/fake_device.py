"""Run the program on a device that computes nothing, and count what a host would wait for. A process of its own: the
name of the device stays. Prints one JSON object: for each part, host syncs, blocking copies and float64 on the device.

Source: torch, utils/backend_registration.py; torch, _subclasses/fake_tensor.py.
"""

import json
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils import _pytree
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend

NAME = "fakegpu"


class Absent(_DummyBackendModule):
    """A backend that factories of torch do not ask for streams."""

    def is_available(self) -> bool:
        return False

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16, torch.float16]


class Count(TorchDispatchMode):
    """Answer what a program reads from the device, and count it."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()
        self.where: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func._schema.name.removeprefix("aten::")
        if name in ("_local_scalar_dense", "item"):
            if args[0].device.type == NAME:
                self._add("syncs")
            return (args[0].dtype != torch.bool and 1) or True
        out = func(*args, **kwargs)
        made = [one for one in _pytree.tree_leaves(out) if isinstance(one, torch.Tensor)]
        if any(one.device.type == NAME and one.dtype == torch.float64 for one in made):
            self._add("float64")
        if name == "_to_copy" and args[0].device.type != made[0].device.type:
            self._add("to_host" if made[0].device.type == "cpu" else "to_device")
        return out

    def _add(self, kind: str) -> None:
        self.found[kind] += 1
        frame: Any = sys._getframe(2)
        while frame is not None and "/unnoise/" not in frame.f_code.co_filename:
            frame = frame.f_back
        place = "?" if frame is None else f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
        self.where[f"{kind} {place}"] += 1


def count(work: Callable[[], Any]) -> dict[str, Any]:
    with Count() as counter:
        work()
    return {**counter.found, "where": dict(counter.where)}


def generated(masked: bool = False, **how: Any) -> dict[str, Any]:
    """Draw with the tiny model, decoding aside, and count what all network calls together ask of the device."""
    import tiny

    from unnoise import model_file
    from unnoise.generation import engine
    from unnoise.pipeline import Pipeline

    pipeline = Pipeline.of(model_file.build(tiny.CARD, f"{NAME}:0"))
    engine.decode = lambda components, settings, x0, images: [x0[:, 0]] * len(x0)  # type: ignore[assignment]
    engine.metadata_of = lambda *given: None  # type: ignore[assignment]
    drawn, prepare = engine.Engine(pipeline), engine.prepare
    if masked:  # as a mask in the cells of x0; the checks of a mask read values, and there are none
        mask = torch.ones(1, 1, 4, 4, device=f"{NAME}:0")
        engine.prepare = lambda *given: replace(found := prepare(*given), known=found.begin, mask=mask)

    def begin() -> None:
        drawn.admit(pipeline.plan("a", seed=1, size=16, **how))
        drawn.step()

    count(begin)  # what is computed once
    engine.prepare = prepare

    def work() -> None:
        while not drawn.idle:
            drawn.step()

    return count(work)


def with_lora() -> dict[str, Any]:
    """Draw with a LoRA whose factors are on the CPU."""
    import tiny

    from unnoise.adapters.lora.delta import LowRank
    from unnoise.adapters.lora.read import Adapter, layers_of
    from unnoise.adapters.lora.targets import select_layers

    model = tiny.pipeline()
    layers = layers_of(model, select_layers(model.adaptable(), ("attention",)))
    deltas = {
        name: LowRank(torch.zeros(2, layer.weight.shape[1]), torch.zeros(len(layer.weight), 2))
        for name, layer in layers.items()
    }
    return generated(steps=5, sampler="ddim", guidance_scale=3.0, lora=Adapter("a", deltas))


def trained() -> dict[str, Any]:
    """Take two steps of training, the second of which is counted."""
    from types import SimpleNamespace

    from unnoise.train.checkpoint_options import CheckpointOptions
    from unnoise.train.fit_options import FitOptions
    from unnoise.train.loop import _Clock, _Run
    from unnoise.train.loss_scale import LossScale
    from unnoise.train.processes import World

    net = torch.nn.Sequential(*(torch.nn.Linear(4, 4, device=f"{NAME}:0") for _ in range(2)))
    task: Any = SimpleNamespace(
        name="a",
        networks=torch.nn.ModuleDict({"net": net}),
        learning_rate_multiples={},
        loss=lambda step, rows: net(torch.ones(len(rows), 4, device=f"{NAME}:0")).square().mean(1),
        own_optimizer=lambda parameters: torch.optim.AdamW(parameters, foreach=False),
    )
    with torch.enable_grad():
        run = _Run(task, FitOptions(steps=9, batch=2), CheckpointOptions(), None, LossScale(False), World())
        clock = _Clock(2, 0.0)
        count(lambda: run.step(clock))
        return count(lambda: run.step(clock))


def picture(colour: tuple[int, int, int]) -> Image.Image:
    return Image.new("RGB", (16, 16), colour)


def main() -> None:
    _setup_privateuseone_for_python_backend(NAME, backend_module=Absent())
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        found = {
            "generate": generated(steps=5, sampler="ddim", guidance_scale=1.0),
            "guided": generated(steps=5, sampler="ddim", guidance_scale=3.0, n=2),
            "stochastic": generated(steps=5, sampler="euler-ancestral", guidance_scale=3.0, n=2),
            "edit": generated(
                masked=True, steps=5, sampler="ddim", guidance_scale=3.0, image=picture((200, 30, 30)), strength=1.0
            ),
            "lora": with_lora(),
            "train": trained(),
        }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
