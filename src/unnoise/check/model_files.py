"""Find the models under folders by the names that workflows, scripts and configurations write."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from unnoise.check.read.file_kinds import WEIGHTS

# Names that every folder has; without its folder, such a name tells nothing.
COMMON = re.compile(
    r"(?:(?:diffusion_)?pytorch_model|model|adapter_model|pytorch_lora_weights|pytorch_custom_diffusion_weights|ema)"
    r"(?:\.fp16)?\.\w+"
)


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """Hold the files of weights and the folders of diffusers below some folders.

    Args:
        by_name: their paths, by the last part
    """

    by_name: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.by_name)

    def __contains__(self, name: str) -> bool:
        return any(last in self.by_name for last in endings(name))

    def find(self, name: str) -> Path | None:
        """Find a model by its name, whatever its folder is: a file names a folder of the machine that wrote it.

        Args:
            name: as a file writes it, with or without folders and ending

        Returns:
            None where it is not found, or where several models have this name and its folders do not tell them apart
        """
        parts = PurePosixPath(name.replace("\\", "/")).parts
        for last in endings(name):
            ranked = [(_shared(path, (*parts[:-1], last)), path) for path in self.by_name.get(last, ())]
            most = max((shared for shared, _ in ranked), default=0)
            best = [path for shared, path in ranked if shared == most]
            if best:
                return best[0] if len(best) == 1 and (most > 1 or not COMMON.fullmatch(last)) else None
        return None


def endings(name: str) -> tuple[str, ...]:
    """Return the file names that a name can mean: some tools leave the extension out.

    Args:
        name: with or without folders

    Returns:
        the last part, also with the extension of safetensors; nothing where the name has no such part
    """
    last = PurePosixPath(name.replace("\\", "/")).name
    return (last, f"{last}.safetensors") if last and last != ".." else ()


def _shared(path: Path, parts: tuple[str, ...]) -> int:
    """Count the parts at the end that a path and a name share."""
    count = 0
    for one, other in zip(reversed(path.parts), reversed(parts), strict=False):
        if one != other:
            break
        count += 1
    return count


def collect(paths: Iterable[Path]) -> ModelFiles:
    """Collect models.

    Args:
        paths: of files of any kind, and of folders of diffusers

    Returns:
        the models among them, by name
    """
    found: dict[str, list[Path]] = {}
    for path in dict.fromkeys(paths):
        if path.suffix.lower() in WEIGHTS or path.is_dir():
            found.setdefault(path.name, []).append(path)
    return ModelFiles({name: tuple(listed) for name, listed in found.items()})
