"""Ten thousand mutated files a run: a reader gives a value or one line, soon, in little memory, and runs nothing."""

import random

import pytest
from fuzz import Target, Watch, mutate, run
from fuzz_targets import targets

CASES = 10_000
TARGETS = targets()
SLOW = {"configs": 60, "tokenizer": 40}  # cases of targets that build what they read
EACH = (CASES - sum(SLOW.values())) // (len(TARGETS) - len(SLOW)) + 1


@pytest.fixture(scope="module")
def watch() -> Watch:
    return Watch()


@pytest.mark.parametrize("target", TARGETS, ids=lambda one: one.name)
def test_mutated_files_are_read_or_refused(target: Target, watch: Watch) -> None:
    failures = run(target, 1, SLOW.get(target.name, EACH), watch)
    assert not failures, "\n".join(map(str, failures[:5]))


def test_mutations_change_files_and_are_repeatable() -> None:
    contents = [content for target in TARGETS for content in target.files.values()]
    changed = [mutate(content, random.Random(3)) for content in contents]
    assert changed == [mutate(content, random.Random(3)) for content in contents]
    assert sum(one != other for one, other in zip(contents, changed, strict=True)) > 0.9 * len(contents)
