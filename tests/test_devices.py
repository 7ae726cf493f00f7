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


@pytest.mark.parametrize(
    "name", ["meta", "hpu", "mps", "privateuseone", "cuda", "cuda:7", "nonsense", "x" * 999, "vulkan"]
)
def test_a_device_that_computes_nothing_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(InputError, match=r"^device 'x?\S*': does not work here; use auto, or one of cpu$") as caught:
        memory.known_device(name)
    assert len(str(caught.value)) < 120


def test_auto_takes_the_best_that_is_present(monkeypatch: pytest.MonkeyPatch) -> None:
    assert memory.known_device("auto") == memory.known_device("cpu") == CPU
    assert memory.present() == ("cpu",)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.xpu, "device_count", lambda: 1)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert memory.present() == ("cuda:0", "cuda:1", "mps", "xpu:0", "cpu")
    with pytest.raises(InputError, match="device 'auto': does not work here; use auto, or one of cuda:0, cuda:1, mps"):
        memory.known_device("auto")


def test_cards_that_emulate_bfloat16_train_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    card = torch.device("cuda:0")
    for capability, dtype in (((7, 5), torch.float32), ((8, 0), torch.bfloat16), ((9, 0), torch.bfloat16)):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, found=capability: found)
        assert memory.narrow_dtype(card) == dtype
    assert memory.narrow_dtype(CPU) == torch.bfloat16


def test_float32_is_float32_on_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """TF32 is switched off once, and what a program switches on later stays."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    memory.exact.cache_clear()
    memory.exact()
    assert not torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = True
    memory.exact()
    assert torch.backends.cudnn.allow_tf32


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
