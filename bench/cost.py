"""Measure what a model costs beyond its network calls, as ratios within one run; `make bench` prints the table.

    import      `import unnoise` beyond an empty Python, and whether it imports torch
    generate    `unnoise generate` from a cold start to the file, less its network calls, over `import torch`
    memory      its peak beyond `import torch`, less activations, over the size of the weights' file
    loop        the sampling loop outside the network, batch 4

Each figure is a median of repeated, alternating measurements. Other work on the machine makes the figures worse.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
ROOT = Path(__file__).parents[1]


def main() -> None:
    measures = {"import": imports, "generate": cold, "memory": memory, "loop": loop}
    parser = argparse.ArgumentParser(description="Measure the program's own cost.")
    parser.add_argument("which", nargs="*", help=f"of {', '.join(measures)}; all unless given")
    asked = parser.parse_args().which
    if unknown := set(asked) - set(measures):
        parser.error(f"unknown measure {', '.join(sorted(unknown))}; known: {', '.join(measures)}")
    print(f"{'measure':10} {'figure':>9}  {'asked':>9}  detail")
    for name in asked or measures:
        figure, limit, detail = measures[name]()
        print(f"{name:10} {figure:>9}  {limit:>9}  {detail}", flush=True)


def seconds(*command: str) -> float:
    """Time a process from start to end."""
    began = time.perf_counter()
    subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - began


def peak(*command: str) -> float:
    """Return the peak memory of a process in MB."""
    code = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, capture_output=True); "
    code += "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)"
    done = subprocess.run([sys.executable, "-c", code, sys.executable, *command], check=True, capture_output=True)
    return float(done.stdout)


def median(measure: Callable[[], float], rounds: int) -> float:
    return statistics.median(measure() for _ in range(rounds))


def imports() -> tuple[str, str, str]:
    beyond = median(lambda: seconds("-c", "import unnoise") - seconds("-c", "pass"), 9)
    code = "import sys, unnoise; print('torch' in sys.modules)"
    came = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    return f"{1000 * beyond:.0f} ms", "100 ms", f"torch imported: {came}"


def cold() -> tuple[str, str, str]:
    calls = network_seconds()
    with tempfile.TemporaryDirectory() as folder:
        command = ("-m", "unnoise", "generate", "a red heart", "--seed", "7", "-o", f"{folder}/a.png")
        seconds(*command)
        rows = [(seconds(*command), seconds("-c", "import torch")) for _ in range(7)]
    ratio = statistics.median((whole - calls) / torch for whole, torch in rows)
    whole, torch = (statistics.median(column) for column in zip(*rows, strict=True))
    return f"{ratio:.2f}", "1.50", f"whole {whole:.2f} s, network {calls:.2f} s, import torch {torch:.2f} s"


def clocked(net: "torch.nn.Module") -> list[float]:
    """Record the seconds of each call of a network from now on."""
    calls: list[float] = []
    inner = net.forward

    def forward(*arguments: object) -> object:
        began = time.perf_counter()
        out = inner(*arguments)
        calls.append(time.perf_counter() - began)
        return out

    net.forward = forward
    return calls


def network_seconds() -> float:
    """Time the network calls of one image with the card's defaults."""
    from unnoise import load

    pipeline = load("emoji")
    calls = clocked(pipeline.denoiser.net)

    def once() -> float:
        calls.clear()
        pipeline.generate("a red heart", seed=7)
        return sum(calls)

    return median(once, 5)


def memory() -> tuple[str, str, str]:
    with tempfile.TemporaryDirectory() as folder:
        whole = peak("-m", "unnoise", "generate", "a red heart", "--seed", "7", "-o", f"{folder}/a.png")
    torch, activations = peak("-c", "import torch"), activation_memory()
    size = (ROOT / "src/unnoise/zoo/emoji.safetensors").stat().st_size / 2**20
    detail = f"peak {whole:.0f} MB, import torch {torch:.0f} MB, file {size:.1f} MB, activations {activations:.0f} MB"
    return f"{(whole - torch - activations) / size:.2f}", "2.50", detail


def activation_memory() -> float:
    """Return what the network calls of one image add to the peak of a process that has the same networks, in MB.

    The networks have fresh weights, so that the peak before the calls includes no reading of a file. The peak is the
    kernel's figure for this program alone; `getrusage` starts from that of the parent process.
    """
    code = (
        "import re, torch; from unnoise.card import read_card; from unnoise.embedded import find; "
        "from unnoise.model_file import build; from unnoise.diffusion.conditioning import collate\n"
        "peak = lambda: int(re.search(r'VmHWM:\\s*(\\d+)', open('/proc/self/status').read())[1]) / 1024\n"
        "model = build(read_card(find('emoji'))); before = peak()\n"
        "with torch.no_grad():\n"
        "    cond = collate(model.text_encoder(['a red heart', '']))\n"
        "    for _ in range(20): x0 = model.denoiser(torch.randn(2, 4, 16, 16), torch.ones(2), cond)\n"
        "    model.space.decode(x0[:1])\n"
        "print(peak() - before)"
    )
    return float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


def loop() -> tuple[str, str, str]:
    from unnoise import load

    pipeline = load("emoji")
    calls = clocked(pipeline.denoiser.net)
    marks: list[float] = []

    def once() -> float:
        calls.clear()
        marks.clear()
        pipeline.generate(
            ["a red heart"] * 4, seed=7, batch=4, callback=lambda count, x0: marks.append(time.perf_counter())
        )
        network = sum(calls[1:])  # between the first callback and the last
        return (marks[-1] - marks[0] - network) / network

    share = median(once, 7)
    return f"{100 * share:.1f} %", "5.0 %", f"{len(calls)} calls of {1000 * statistics.median(calls):.0f} ms"


if __name__ == "__main__":
    main()
