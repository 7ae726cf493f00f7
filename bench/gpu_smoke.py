"""Try the program on a device: what fails, what differs from the CPU, how often it waits, how fast it is.

    python bench/gpu_smoke.py --device cuda        under 8 minutes on a card
    python bench/gpu_smoke.py --device cpu --small the same parts, to see that they start

One JSON object a line, one part each: name, seconds, numbers or an error. A part that fails stops no other.
"""

import argparse
import json
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

import unnoise
from unnoise.adapters.lora.delta import Delta, Dora, LowRank
from unnoise.adapters.lora.inject import injected
from unnoise.adapters.lora.read import Adapter, layers_of
from unnoise.adapters.lora.targets import select_layers
from unnoise.devices import environment, known_device, present
from unnoise.integrations.diffusers.compiled import compile_blocks
from unnoise.pipeline import Pipeline
from unnoise.sampling.registry import SAMPLERS

Numbers = dict[str, Any]
HOW: dict[str, Any] = {"seed": 1, "progress": False}


class Smoke:
    """The parts. device: that is tried; small: fewer samplers, steps and sizes."""

    def __init__(self, device: torch.device, small: bool) -> None:
        self.device, self.small = device, small
        self.steps = 2 if small else 8
        self.cpu, self.other = unnoise.load("emoji"), unnoise.load("emoji", device)

    def parts(self) -> Iterator[tuple[str, Callable[[], Numbers]]]:
        """List name and work of each part."""
        names = list(SAMPLERS)[:2] if self.small else list(SAMPLERS)
        for name in names:
            yield f"sampler {name}", lambda name=name: self.compared(sampler=name, guidance_scale=3.0)
        yield "variation", lambda: self.compared(variation=0.3, variation_seed=5)
        for dora in (False, True):
            yield f"adapter, dora {dora}", lambda dora=dora: self.adapted(dora)
        yield "batch", lambda: self.compared(n=2 if self.small else 16)
        yield "syncs", self.syncs
        yield "training", self.training
        yield "load", self.loading
        yield "speed", self.speed
        yield "compile", self.compiled

    def compared(self, **how: Any) -> Numbers:
        """Draw on the CPU and on the device, and return how far apart they are."""
        how = {"steps": self.steps, **HOW, **how}
        ours, theirs = (pipeline.generate("a red heart", **how) for pipeline in (self.other, self.cpu))
        gaps = [float((one.x0.cpu() - two.x0).abs().max()) for one, two in zip(ours, theirs, strict=True)]
        return {"worst": max(gaps)}

    def adapted(self, dora: bool) -> Numbers:
        """Apply an adapter with factors on the CPU, and merge it."""
        adapter = random_adapter(self.other, dora)
        applied = self.compared(lora=adapter)
        with injected(self.other, [(adapter, 1.0)]), injected(self.cpu, [(adapter, 1.0)]):
            merged = self.compared()
        return {"applied": applied["worst"], "merged": merged["worst"]}

    def syncs(self) -> Numbers:
        """Count the waits of a run, as torch reports them on CUDA."""
        if self.device.type != "cuda":
            return {"skipped": "only CUDA reports them"}
        torch.cuda.set_sync_debug_mode("warn")
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                self.other.generate("a red heart", steps=self.steps, **HOW)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        places = [f"{Path(one.filename).name}:{one.lineno}" for one in caught if "synchron" in str(one.message)]
        return {"a step": len(places) / self.steps, "places": sorted(set(places))}

    def training(self) -> Numbers:
        """Train for some steps, stop, resume, and compare with a run that did not stop."""
        from unnoise.train.checkpoint import load_checkpoint, save_checkpoint

        def made() -> tuple[torch.nn.Module, torch.optim.Optimizer]:
            torch.manual_seed(0)
            net = torch.nn.Linear(8, 8).to(self.device)
            return net, torch.optim.AdamW(net.parameters(), fused=True)

        def run(net: torch.nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> None:
            for _ in range(steps):
                net(torch.ones(4, 8, device=self.device)).square().mean().backward()
                optimizer.step()
                optimizer.zero_grad()

        whole, half = made(), made()
        run(*whole, 4)
        run(*half, 2)
        with tempfile.TemporaryDirectory() as folder:
            save_checkpoint(Path(folder) / "c.safetensors", half[0], [half[1]], [], {})
            resumed = made()
            load_checkpoint(Path(folder) / "c.safetensors", resumed[0], [resumed[1]], [])
        run(*resumed, 2)
        pairs = zip(whole[0].parameters(), resumed[0].parameters(), strict=True)
        return {"equal": all(torch.equal(*pair) for pair in pairs)}

    def loading(self) -> Numbers:
        """Measure how fast weights reach the device."""
        count = sum(p.numel() * 4 for net in self.cpu.networks().values() for p in net.parameters())
        began = time.perf_counter()
        unnoise.load("emoji", self.device)
        self.wait()
        return {"GB a second": count / 1e9 / (time.perf_counter() - began)}

    def speed(self) -> Numbers:
        """Measure images a second, the median of some runs."""
        found = {}
        for n in (1,) if self.small else (1, 8, 64):
            times = []
            for _ in range(2 if self.small else 10):
                began = time.perf_counter()
                self.other.generate("a red heart", n=n, batch=n, steps=self.steps, **HOW)
                self.wait()
                times.append(time.perf_counter() - began)
            found[f"n {n}"] = n / sorted(times)[len(times) // 2]
        return found

    def compiled(self) -> Numbers:
        """Draw compiled, then with an adapter, which has to be applied, then without."""
        pipeline = unnoise.load("emoji", self.device)
        options = {"backend": "eager"} if self.small else {}
        compile_blocks(pipeline.denoiser.net, **options)
        adapter = random_adapter(pipeline, False)
        plain, other = ([dict[str, Any](), {"lora": adapter}, {}], [])
        for how in plain:
            drawn = [one.generate("a red heart", steps=self.steps, **HOW, **how) for one in (pipeline, self.other)]
            other.append(float((drawn[0][0].x0 - drawn[1][0].x0).abs().max()))
        return {"worst": max(other)}

    def wait(self) -> None:
        """Wait until the device is done."""
        if self.device.type != "cpu":
            torch.accelerator.synchronize(self.device)


def random_adapter(pipeline: Pipeline, dora: bool) -> Adapter:
    """Make an adapter of random factors on the CPU."""
    generator, deltas = torch.Generator().manual_seed(0), dict[str, Delta]()
    for name, layer in layers_of(pipeline, select_layers(pipeline.adaptable(), ("attention",))).items():
        rows, columns = len(layer.weight), layer.weight[0].numel()
        down, up = (torch.randn(*shape, generator=generator) * 0.1 for shape in ((4, columns), (rows, 4)))
        low = LowRank(down.reshape(4, *layer.weight.shape[1:]), up)
        deltas[name] = Dora(low, layer.weight.detach().cpu().flatten(1).norm(dim=1)) if dora else low
    return Adapter("random", deltas)


def main() -> None:
    """Run every part, and print a line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--small", action="store_true")
    given = parser.parse_args()
    device = known_device(given.device)
    print(json.dumps({"part": "device", "present": present(), "torch": torch.__version__, **environment(device)}))
    for name, work in Smoke(device, given.small).parts():
        began = time.perf_counter()
        try:
            found = work()
        except Exception as error:
            found = {"error": f"{type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else ''}"}
        print(json.dumps({"part": name, "seconds": round(time.perf_counter() - began, 2), **found}), flush=True)


if __name__ == "__main__":
    main()
