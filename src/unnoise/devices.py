"""Devices: whether a device works, and its free memory."""

import os
from pathlib import Path

import torch

from unnoise.errors import InputError

UNITS = ("B", "kB", "MB", "GB", "TB")
LIMITS = (  # files of the limit and the use of memory in control groups 2 and 1
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


def known_device(device: str | torch.device) -> torch.device:
    """Return a device that works on this machine. Raises InputError for another."""
    try:
        found = torch.device(device)
        torch.empty(1, device=found)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(f"device {str(device)!r}: {str(error).splitlines()[0]}") from None
    return found


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
