"""The script for a lent card starts on a CPU, and a part that fails stops no other."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

BENCH = Path(__file__).resolve().parents[1] / "bench"


def test_its_parts_run_on_a_cpu(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.syspath_prepend(str(BENCH))
    import gpu_smoke  # type: ignore[import-not-found]

    smoke = gpu_smoke.Smoke(torch.device("cpu"), True)
    parts: dict[str, Any] = dict(smoke.parts())
    assert {"syncs", "training", "load", "speed", "compile", "batch"} < parts.keys()
    assert parts["adapter, dora True"]() == {"applied": 0.0, "merged": 0.0}
    assert parts["training"]() == {"equal": True}

    def broken() -> None:
        raise RuntimeError("no kernel")

    monkeypatch.setattr(gpu_smoke.Smoke, "parts", lambda self: [("a", broken), ("load", self.loading)])
    monkeypatch.setattr(sys, "argv", ["gpu_smoke.py", "--device", "cpu", "--small"])
    gpu_smoke.main()
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["part"] for one in lines] == ["device", "a", "load"]
    assert lines[1]["error"] == "RuntimeError: no kernel"
    assert lines[2]["GB a second"] > 0
