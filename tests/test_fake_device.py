"""What a device would wait for, counted on one that computes nothing; fake_device.py runs in a process of its own."""

import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

STEPS = 4  # that are counted, of 5; the first also prepares


@cache
def found() -> dict[str, Any]:
    script = Path(__file__).with_name("fake_device.py")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    counted: dict[str, Any] = json.loads(done.stdout)
    return counted


@pytest.mark.parametrize("part", ["generate", "guided", "stochastic", "edit", "lora"])
def test_a_step_waits_once_and_copies_its_levels_once(part: str) -> None:
    one = found()[part]
    noise = 2 * STEPS if part == "stochastic" else 0  # two samples draw theirs on the CPU
    assert one.get("syncs", 0) == 0, one["where"]
    assert one["to_host"] <= STEPS, one["where"]
    assert one["to_device"] <= STEPS + noise, one["where"]


def test_a_training_step_waits_once() -> None:
    one = found()["train"]
    assert one.get("syncs", 0) + one.get("to_host", 0) <= 2, one["where"]


def test_no_number_of_64_bits_is_on_the_device() -> None:
    assert not [part["where"] for part in found().values() if part.get("float64")]
