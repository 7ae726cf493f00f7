"""When a run is said to memorise: the validation loss rises for a while, and the training loss falls."""

import warnings
from collections.abc import Sequence

import pytest

from unnoise.errors import InputWarning
from unnoise.train.memorising import MemorisingWatch
from unnoise.train.task import Progress

RISING = (1.0, 0.8, 0.7, 0.72, 0.75, 0.8, 0.9)
FALLING = (1.0, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)


def said(validation: Sequence[float], training: Sequence[float], resumed_at: int = 0) -> list[str]:
    """Watch ten steps for each validation."""
    every = [
        Progress(10 * k + i, 100, loss, 1.0, 1e-3, 1.0, 1.0, validation=value if i == 10 else None)
        for k, (value, loss) in enumerate(zip(validation, training, strict=True))
        for i in range(1, 11)
    ]
    earlier = [{"step": one.step, "loss": one.loss, "validation": one.validation} for one in every[:resumed_at]]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", InputWarning)
        watch = MemorisingWatch("denoiser", earlier)
        for one in every[resumed_at:]:
            watch(one)
    return [str(one.message) for one in caught]


def test_it_is_said_once_with_the_numbers() -> None:
    (line,) = said(RISING, FALLING)
    assert line == (
        "denoiser: the model memorises its images: since step 30 the validation loss rose from 0.7 to 0.8, while the "
        "training loss fell from 0.7 to 0.4; use more images, augmentation or fewer steps"
    )


@pytest.mark.parametrize(
    ("validation", "training"),
    [
        (FALLING, FALLING),
        (RISING, RISING),  # both rise: it diverges
        (RISING[:5], FALLING[:5]),  # not for long
        ((1.0, 0.8, 0.7, 0.705, 0.71, 0.7, 0.705), FALLING),  # hardly
    ],
)
def test_it_is_not_said_of_other_runs(validation: Sequence[float], training: Sequence[float]) -> None:
    assert said(validation, training) == []


@pytest.mark.parametrize(("resumed_at", "count"), [(35, 1), (59, 1), (60, 0), (70, 0)])
def test_a_resumed_run_goes_on_counting_and_does_not_repeat(resumed_at: int, count: int) -> None:
    assert len(said(RISING, FALLING, resumed_at)) == count
