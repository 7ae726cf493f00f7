"""What `unnoise check` costs from cold: a 7 GB file, a workflow of 200 nodes, a folder of 1,000 files, at three sizes.

python bench/check.py
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from math import prod
from pathlib import Path
from statistics import median
from time import perf_counter

from unnoise.check.sample_headers import SAMPLE_HEADERS
from unnoise.formats.header import BITS

RUNS = 7
CHECK = [sys.executable, "-m", "unnoise", "check"]


def checkpoint(path: Path, size: int) -> Path:
    """Write a checkpoint of SDXL of `size` bytes and 2,500 tensors; what is behind the header is a hole in the file."""
    shapes = dict(SAMPLE_HEADERS["sdxl", ""])
    for number in range(2500 - len(shapes)):
        block = f"output_blocks.{number // 100}.1.transformer_blocks.{number % 100}"
        shapes[f"model.diffusion_model.{block}.ff.weight"] = ("F16", (640, 640))
    entries, at = {}, 0
    for name, (dtype, shape) in shapes.items():
        bits = BITS[dtype]
        for length in shape:
            bits *= length
        entries[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + bits // 8]}
        at += bits // 8
    if at < size:  # what is left is one tensor more
        entries["model.diffusion_model.rest"] = {"dtype": "U8", "shape": [size - at], "data_offsets": [at, size]}
    text = json.dumps(entries).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + max(size, at))
    return path


def workflow(path: Path, nodes: int) -> Path:
    """Write a workflow of ComfyUI with `nodes` nodes: samplers, each with its prompts and its decoder, on one model."""
    content: dict[str, object] = {"1": node("CheckpointLoaderSimple", ckpt_name="sd_xl_base_1.0.safetensors")}
    for branch in range((nodes - 1) // 6):
        names = [str(2 + 6 * branch + offset) for offset in range(6)]
        content[names[0]] = node("EmptyLatentImage", width=1024, height=1024, batch_size=1)
        content[names[1]] = node("CLIPTextEncode", text="a lighthouse at dawn", clip=["1", 1])
        content[names[2]] = node("CLIPTextEncode", text="blurry", clip=["1", 1])
        wires = {"model": ["1", 0], "positive": [names[1], 0], "negative": [names[2], 0], "latent_image": [names[0], 0]}
        said = {"seed": branch, "steps": 25, "cfg": 7.0, "denoise": 1.0}
        said |= {"sampler_name": "dpmpp_2m", "scheduler": "karras"}
        content[names[3]] = node("KSampler", **wires, **said)
        content[names[4]] = node("VAEDecode", samples=[names[3], 0], vae=["1", 2])
        content[names[5]] = node("SaveImage", images=[names[4], 0], filename_prefix="x")
    path.write_text(json.dumps(content, indent=2))
    return path


def node(class_type: str, **inputs: object) -> dict[str, object]:
    return {"class_type": class_type, "inputs": inputs}


def lora(path: Path) -> Path:
    """Write a LoRA of Stable Diffusion 1 of rank 4: 264 layers with up, down and alpha, as sd-scripts writes it."""
    entries, at = {}, 0
    for number in range(264):
        layer = f"lora_unet_down_blocks_1_attentions_0_transformer_blocks_{number}_attn2_to_k"
        shapes = {"lora_down.weight": [4, 768], "lora_up.weight": [640, 4], "alpha": []}
        for end, shape in shapes.items():
            size = 2 * prod(shape)
            entries[f"{layer}.{end}"] = {"dtype": "F16", "shape": shape, "data_offsets": [at, at + size]}
            at += size
    text = json.dumps(entries).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(at))
    return path


def folder(path: Path, files: int) -> Path:
    """Write a folder of small files: a third each of workflows, scripts and LoRAs."""
    path.mkdir()
    for number in range(files):
        if number % 3 == 0:
            workflow(path / f"{number}.json", 7)
        elif number % 3 == 1:
            lines = ["from diffusers import StableDiffusionXLPipeline"]
            lines += ['pipe = StableDiffusionXLPipeline.from_pretrained("stabilityai/stable-diffusion-xl-base-1.0")']
            lines += ['pipe("a lighthouse", guidance_scale=7.0, num_inference_steps=30)']
            (path / f"{number}.py").write_text("\n".join(lines) + "\n")
        else:
            lora(path / f"{number}.safetensors")
    return path


def cold(path: Path) -> tuple[float, float]:
    """Time one whole process, and give its peak memory, in seconds and megabytes."""
    start = perf_counter()
    process = subprocess.Popen([*CHECK, str(path)], stdout=subprocess.PIPE, text=True)
    said = process.stdout.read() if process.stdout else ""
    _, _, used = os.wait4(process.pid, 0)
    seconds = perf_counter() - start
    if " checked in " not in said:
        raise SystemExit(f"unnoise check {path} failed")
    return seconds, used.ru_maxrss / 1024


def rows(home: Path) -> Iterator[tuple[str, Path]]:
    for gigabytes in (1, 7, 20):
        path = checkpoint(home / f"{gigabytes}.safetensors", gigabytes << 30)
        yield f"single file of {gigabytes} GB, 2,500 tensors", path
    for nodes in (50, 200, 800):
        yield f"workflow of {nodes} nodes", workflow(home / f"{nodes}.json", nodes)
    for files in (100, 1000, 3000):
        yield f"folder of {files} small files", folder(home / f"folder-{files}", files)


def main() -> None:
    """Print a table: seconds from cold, the median of several runs, and peak memory."""
    print("| what | seconds | MB |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as home:
        for what, path in rows(Path(home)):
            runs = [cold(path) for _ in range(3 if "folder" in what else RUNS)]
            print(f"| {what} | {median(run[0] for run in runs):.2f} | {max(run[1] for run in runs):.0f} |", flush=True)


if __name__ == "__main__":
    main()
