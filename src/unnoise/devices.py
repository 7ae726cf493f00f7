"""Devices: which there are, whether one works, what decides its bits, and its free memory."""

import os
import sys
import warnings
from functools import cache
from pathlib import Path

import torch

from unnoise.errors import InputError

AMPERE = (8, 0)  # compute capability of the first cards that compute in bfloat16
SHOWN = 40  # letters of a device's name in a message
UNITS = ("B", "kB", "MB", "GB", "TB")
LIMITS = (  # files of the limit and the use of memory in control groups 2 and 1
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


def known_device(device: str | torch.device) -> torch.device:
    """Return a device on which an operator runs; "auto" is the best that is present.

    On CUDA, TF32 is switched off at the first call, so that float32 is float32; a program can switch it on again.

    Raises:
        InputError: the device is unknown, is not present, or computes nothing.
    """
    name = present()[0] if str(device) == "auto" else device
    try:
        with warnings.catch_warnings(action="ignore"):
            found = torch.device(name)
            works = (torch.ones(2, device=found) + 1).tolist() == [2, 2]
    except Exception:  # whatever the backend of an absent device raises becomes one line
        works = False
    if not works:
        shown = str(device)[:SHOWN]
        raise InputError(f"device {shown!r}: does not work here; use auto, or one of {', '.join(present())}")
    if found.type == "cuda":
        exact()
    return found


def present() -> tuple[str, ...]:
    """List the devices of this machine, the best first."""
    cuda = [f"cuda:{k}" for k in range(torch.cuda.device_count())]
    mps = ["mps"] if torch.backends.mps.is_available() else []
    xpu = [f"xpu:{k}" for k in range(torch.xpu.device_count())]
    return (*cuda, *mps, *xpu, "cpu")


def environment(device: torch.device) -> dict[str, str]:
    """Return what decides the last bits of a result on a device, apart from the versions of programs."""
    if device.type == "cuda":
        capability = ".".join(map(str, torch.cuda.get_device_capability(device)))
        tf32 = torch.backends.cudnn.allow_tf32 or torch.backends.cuda.matmul.allow_tf32
        return {
            "card": f"{torch.cuda.get_device_name(device)} ({capability})",
            "cuda": str(torch.version.cuda),
            "cudnn": str(torch.backends.cudnn.version()),
            "tf32": "on" if tf32 else "off",
        }
    if device.type == "cpu":
        return {"threads": str(torch.get_num_threads()), "instructions": torch.backends.cpu.get_cpu_capability()}
    return {}


def narrow_dtype(device: torch.device) -> torch.dtype:
    """Return the narrow dtype that trains on a device: bfloat16, or float32 where a card only emulates it."""
    if device.type == "cuda" and torch.cuda.get_device_capability(device) < AMPERE:
        return torch.float32
    return torch.bfloat16


def autocast(device: torch.device, narrow: bool) -> torch.autocast:
    """Compute in the narrow dtype of a device within the block, where `narrow` and the device has one."""
    dtype = narrow_dtype(device)
    return torch.autocast(device.type, torch.bfloat16, enabled=narrow and dtype == torch.bfloat16)


@cache
def exact() -> None:
    """Switch TF32 off, once in a process."""
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False


def available(device: torch.device) -> int | None:
    """Return the bytes that can still be allocated on a device, None if unknown."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    if device.type != "cpu":
        return None
    free = _free()
    if free is None:
        return None
    for limit, used in LIMITS:
        most, now = _number(limit), _number(used)
        if most is not None and now is not None:
            free = min(free, max(0, most - now))
    return free


def peak_memory(device: torch.device) -> int:
    """Return the bytes at the peak so far, allocated on a CUDA device, or resident of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    import resource  # which Windows lacks

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def check_room(needed: int, device: torch.device, what: str, instead: str = "") -> None:
    """Raise InputError if `needed` bytes do not fit. what: the model; instead: what would fit."""
    free = available(device)
    if free is not None and needed > free:
        raise InputError(f"{what}: needs {size(needed)} on {device}, {size(free)} are free{instead and f'; {instead}'}")


def size(count: float) -> str:
    """Format a number of bytes in powers of 1000: 3.4 GB."""
    for unit in UNITS:
        if count < 1000 or unit == UNITS[-1]:
            return f"{count:.0f} {unit}" if unit in UNITS[:2] else f"{count:.3g} {unit}"
        count /= 1000
    raise AssertionError


def _free() -> int | None:
    """Return the free memory of the machine, with caches that can be released."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
        return int(os.sysconf("SC_AVPHYS_PAGES")) * int(os.sysconf("SC_PAGE_SIZE"))
    except (OSError, ValueError):
        return None


def _number(path: str) -> int | None:
    try:
        return int(Path(path).read_text())
    except (OSError, ValueError):
        return None
