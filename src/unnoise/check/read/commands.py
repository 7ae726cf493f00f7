"""Read the commands of a shell text: trainings of known scripts, and runs of stable-diffusion.cpp."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from unnoise.check.read.dataset import datasets_of
from unnoise.check.read.sdcpp import is_program, run_of
from unnoise.check.read.shell.arguments import Settings, are_complete, arguments
from unnoise.check.read.shell.branches import expanded_commands
from unnoise.check.read.shell.variables import Variables
from unnoise.check.read.shell.words import Source, Word, pieces, source_of
from unnoise.check.read.trainers.describe import describe_training
from unnoise.check.read.trainers.scripts import is_script
from unnoise.check.subject import GenerationRun, Location, ReadFault, Subject, Training

LONGEST = 1 << 18  # characters of a shell text that are read
MOST = 200  # trainings, and runs, of one file
# Programs that name a script without running it.
OTHERS = (
    "aria2c", "awk", "cat", "cd", "chmod", "code", "cp", "curl", "diff", "dos2unix", "echo", "find", "git", "grep",
    "head", "less", "ln", "ls", "mkdir", "more", "mv", "nano", "printf", "rm", "rsync", "scp", "sed", "tail", "tar",
    "rem", "tee", "test", "touch", "unzip", "vi", "vim", "wc", "wget", "write-host", "write-output", "[", "[[", "::",
)  # fmt: skip
EVALUATING = ("eval", "bash", "sh")  # run a text as a command


@dataclass(frozen=True, slots=True)
class CommandFacts:
    """Hold what the commands of a text run."""

    trainings: list[Training] = field(default_factory=list)
    runs: list[GenerationRun] = field(default_factory=list)


def read_commands(text: str, path: str) -> Subject:
    """Read the commands of a shell text.

    Args:
        text: of the file; it is not run, and only its own variables are read
        path: of the file

    Returns:
        a training or a run for each command; a fault where no command is a known one
    """
    found = command_facts(text, path)
    if not found.trainings and not found.runs:
        fault = ReadFault("unknown", Location(path), "runs no known training script, and not stable-diffusion.cpp")
        return Subject(path=path, faults=(fault,))
    tool = found.trainings[0].tool if found.trainings else found.runs[0].tool
    return with_commands(Subject(path=path, tool=tool, texts={path: text}), found)


def with_commands(subject: Subject, found: CommandFacts) -> Subject:
    """Add to a subject what the commands in its text run."""
    datasets = tuple(datasets_of(found.trainings, subject.path))
    return replace(
        subject,
        trainings=(*subject.trainings, *found.trainings),
        runs=(*subject.runs, *found.runs),
        datasets=(*subject.datasets, *datasets),
    )


def command_facts(text: str, path: str, variables: Variables | None = None) -> CommandFacts:
    """List what the commands of a text run.

    Args:
        text: of a shell
        path: of the file
        variables: that are known at its start

    Returns:
        at most 200 trainings and as many runs, each with its places
    """
    found = CommandFacts()
    source = source_of(text, path)
    windows = path.lower().endswith((".ps1", ".bat", ".cmd"))
    for words in expanded_commands(text[:LONGEST], variables or {}, windows):
        _add(_evaluated(words), source, found)
    return found


def _evaluated(words: Sequence[Word]) -> Sequence[Word]:
    """Split the text that `eval` or `bash -c` runs."""
    if words[0].text not in EVALUATING:
        return words
    return [piece for word in words[1:] for piece in pieces(word)]


def _add(words: Sequence[Word], source: Source, found: CommandFacts) -> None:
    program = PurePosixPath(words[0].text.replace("\\", "/")).name.lower().lstrip("@") if words else ""
    if program in OTHERS:
        return
    at = next((i for i, word in enumerate(words) if _script(word, words[i - 1] if i else None)), None)
    if at is not None and len(found.trainings) < MOST:
        settings = _launch(words[:at], source) | arguments(words[at + 1 :], source)
        place = source.place(words[at].start, words[at].end)
        script = _script(words[at], words[at - 1] if at else None)
        complete = are_complete(words[at + 1 :]) and "config_file" not in settings
        found.trainings.append(describe_training(settings, place, script, complete))
        return
    at = next((i for i, word in enumerate(words[:20]) if is_program(word.text)), None)
    if at is not None and len(found.runs) < MOST:
        run = run_of(arguments(words[at + 1 :], source), source.place(words[at].start, words[at].end))
        if run is not None:
            found.runs.append(run)


def _script(word: Word, before: Word | None) -> str:
    """Return the name of the training script that a word is, perhaps as a module; "" for any other word."""
    name = PurePosixPath(word.text.replace("\\", "/")).name
    if before is not None and before.text in ("-m", "--module") and word.text.replace(".", "_").isidentifier():
        name = f"{word.text.rpartition('.')[2]}.py"
    return name if is_script(name) else ""


def _launch(words: Sequence[Word], source: Source) -> Settings:
    """Return the options of `accelerate launch` that it passes on to the script."""
    return {key: value for key, value in arguments(words, source).items() if key == "mixed_precision"}
