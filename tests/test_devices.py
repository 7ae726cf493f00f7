"""Free memory, and refusals before anything is allocated."""

from pathlib import Path

import pytest
import torch
from integrations import peers, test_foreign_sd

from unnoise import devices as memory
from unnoise.errors import InputError
from unnoise.integrations.diffusers import load as foreign
from unnoise.loading import load

CPU = torch.device("cpu")


def test_free_memory_is_that_of_the_machine() -> None:
    free = memory.available(CPU)
    assert free is not None
    lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    assert 0 < free <= int(lines["MemTotal"].split()[0]) * 1024


def test_a_limit_of_a_control_group_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "max").write_text("1000000\n")
    (tmp_path / "now").write_text("400000\n")
    monkeypatch.setattr(memory, "LIMITS", ((str(tmp_path / "max"), str(tmp_path / "now")),))
    assert memory.available(CPU) == 600_000
    (tmp_path / "max").write_text("max\n")
    assert (memory.available(CPU) or 0) > 600_000


@pytest.mark.parametrize(("count", "text"), [(0, "0 B"), (999, "999 B"), (3_438_000_000, "3.44 GB"), (5.2e13, "52 TB")])
def test_formatted_sizes(count: float, text: str) -> None:
    assert memory.size(count) == text


def test_a_model_that_does_not_fit_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = peers.saved(test_foreign_sd.pipe(tmp_path), tmp_path / "model")
    monkeypatch.setattr(memory, "available", lambda device: 1_000_000)
    monkeypatch.setattr(foreign, "fill", lambda *a: pytest.fail("weights were read"))
    with pytest.raises(InputError, match=r"in float32: needs .* MB on cpu, 1 MB are free; in bfloat16 it needs .* MB"):
        load(folder)


def test_blocked_copies_need_free_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = peers.saved(test_foreign_sd.pipe(tmp_path), tmp_path / "model")

    def kinds() -> set[str]:
        return {type(module).__name__ for module in load(folder).denoiser.modules()}

    assert "PackedConv2d" in kinds()
    needed = sum(value.numel() * 4 for net in load(folder).networks().values() for value in net.parameters())
    monkeypatch.setattr(foreign, "available", lambda device: int(needed * 1.3))
    assert "PackedConv2d" not in kinds()
