"""The student starts as its teacher, and rows are the same however a batch is split."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import tiny
import torch

from unnoise.diffusion.conditioning import Conditioning
from unnoise.distill.consistency_options import ConsistencyOptions
from unnoise.distill.imitate_options import ImitateOptions
from unnoise.distill.recipe import DistillRecipe
from unnoise.distill.rows import RowSource, prompt_pool
from unnoise.distill.student import begin_from, check_init, make_student, student_card
from unnoise.distill.task import DistillTask
from unnoise.distill.teacher import Teacher, check_teacher, ddim
from unnoise.errors import InputError
from unnoise.pipeline import Pipeline
from unnoise.sampling.level import move
from unnoise.text.labels import LabelEncoder
from unnoise.train.fit_options import FitOptions
from unnoise.train.recipe import DataOptions

RECIPE = DistillRecipe(
    "fast",
    "tiny",
    FitOptions(8, batch=4),
    guidance=(1.0, 4.0),
    data=DataOptions("emoji"),
    consistency=ConsistencyOptions(),
)


WITHOUT_PROMPTS = tiny.Part("UNet", {"channels": 4, "widths": [32, 32], "depths": [1, 1], "heads": [0, 0]})


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    return tiny.saved(tmp_path_factory.mktemp("teacher") / "tiny.safetensors")


@pytest.mark.parametrize("patch", [1, 2])
@pytest.mark.parametrize("recipe", [RECIPE, replace(RECIPE, consistency=None, imitate=ImitateOptions(points=3))])
def test_the_untrained_student_is_its_teacher(recipe: DistillRecipe, patch: int) -> None:
    net = tiny.Part("UNet", tiny.CARD.net.args | {"patch": patch})
    teacher = tiny.pipeline(replace(tiny.CARD, net=net))
    student = make_student(student_card(recipe, teacher.card), teacher)
    x, sigma = torch.randn(2, 4, 8, 8), torch.tensor([0.5, torch.inf])
    cond = Teacher(teacher, True).encode(["abc", ""])
    given = replace(cond, distilled_guidance=torch.tensor([1.0, 3.0]), end=torch.tensor([0.2, 0.6]))
    torch.testing.assert_close(student.denoiser(x, sigma, given), teacher.denoiser(x, sigma, cond))


def test_the_card_of_a_student_knows_its_levels(teacher: Pipeline) -> None:
    student = make_student(student_card(RECIPE, teacher.card), teacher)
    assert student.card.distilled is not None
    assert student.card.distilled.teacher_fingerprint == teacher.card.fingerprint
    settings = student.plan("abc").settings
    assert settings.grid == (torch.inf, 1.6, 0.0)
    assert (settings.guidance_scale, settings.distilled_guidance) == (1.0, 2.0)
    assert student.plan("abc", steps=4).settings.grid == (torch.inf, 5.0, 1.6, 0.4, 0.0)


def test_the_teacher_is_guided_row_by_row(teacher: Pipeline) -> None:
    model = Teacher(teacher, True)
    x, sigma, cond = torch.randn(2, 4, 8, 8), torch.tensor([0.7, 2.0]), model.encode(["abc", "d"])
    found = model.x0(x, sigma, cond, torch.tensor([1.0, 3.0]))
    plain, null = (teacher.denoiser(x, sigma, one) for one in (cond, model.encode(["", ""])))
    torch.testing.assert_close(found[0], plain[0])
    torch.testing.assert_close(found[1], null[1] + 3 * (plain - null)[1])


def test_the_last_prompts_are_kept_and_the_empty_one_always(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded = list[str]()

    class Recording(LabelEncoder):
        def _encode(self, name: str) -> Conditioning:
            encoded.append(name)
            return super()._encode(name)

    monkeypatch.setattr("unnoise.distill.teacher.KNOWN", 2)
    base = tiny.pipeline()
    model = Teacher(replace(base, text_encoder=Recording(("a", "b", "c"), base.denoiser.net)), True)
    for prompts in (["a", "b", "a"], ["a", "c", ""], ["a"], ["b", ""]):
        numbers = [3 if not prompt else "abc".index(prompt) for prompt in prompts]
        assert model.encode(prompts).label.tolist() == numbers  # type: ignore[union-attr]
    assert encoded == ["", "a", "b", "c", "b"]


def test_a_step_of_the_teacher_is_the_move_of_the_samplers() -> None:
    x, x0 = torch.randn(3, 2), torch.randn(3, 2)
    heres, theres = [torch.inf, 2.0, 0.5], [1.0, 0.3, 0.0]
    found = ddim(x, x0, torch.tensor(heres), torch.tensor(theres))
    for k, (here, there) in enumerate(zip(heres, theres, strict=True)):
        torch.testing.assert_close(found[k], move(x[k], x0[k], here, there))


def test_rows_do_not_depend_on_the_split_of_a_batch(teacher: Pipeline) -> None:
    rows = RowSource(RECIPE, Teacher(teacher, True), [prompt_pool(["abc", "bc", "a"], (4, 8, 8))])
    whole, part = rows(3, range(4)), rows(3, range(2, 4))
    for name in ("noise", "u", "guidance"):
        assert torch.equal(getattr(whole, name)[2:], getattr(part, name))
    assert torch.equal(whole.again(1)[2:], part.again(1))
    assert not torch.equal(whole.again(1), whole.again(2))
    assert not torch.equal(whole.noise, rows(4, range(4)).noise)
    assert 1 <= whole.guidance.min() < whole.guidance.max() <= 4


def test_a_sheet_has_student_and_teacher_at_equal_calls(teacher: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """From equal noise, at the size that is trained, the teacher at the guidance scale of the student's default."""

    def generate(pipeline: Pipeline, prompt: str, **how: object) -> list[SimpleNamespace]:
        assert how.pop("progress") is False
        assert how.pop("prompt_weighting") == "literal"
        return [SimpleNamespace(image=(pipeline.card.name, prompt, how))]

    model, pages = Teacher(teacher, True), list[tuple[object, ...]]()
    student = make_student(student_card(RECIPE, teacher.card), teacher)
    rows = RowSource(RECIPE, model, [prompt_pool(["abc"], (4, 8, 8))])
    monkeypatch.setattr(Pipeline, "generate", generate)
    monkeypatch.setattr("unnoise.distill.task.table_sheet", lambda *page: pages.append(page))
    DistillTask(RECIPE, model, student, rows, ["abc", ""]).sheet(3)
    ((images, labels, columns, title),) = pages
    assert columns == [
        f"{who}, {calls}" for calls in ("1 call", "2 calls", "4 calls") for who in ("student", "teacher")
    ]
    assert images == [
        (name, prompt, {"seed": row, "steps": steps, "size": (64, 64)} | guidance)
        for row, prompt in enumerate(["abc", ""])
        for steps in (1, 2, 4)
        for name, guidance in (("fast", {}), ("tiny", {"guidance_scale": 2.0}))
    ]
    assert labels == ["abc", "seed 1"]
    assert title == "fast: student after 3 steps, EMA length 0.05"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"modality": "video"}, "teacher 'tiny': makes video, and only models of images are distilled"),
        ({"training": {"caption_dropout": 0.0}}, "trained with caption_dropout 0"),
        ({"advice": replace(tiny.CARD.advice, distilled_guidance=2.0)}, "is itself distilled"),
        ({"text": None, "tokenizer": None, "net": WITHOUT_PROMPTS}, "takes no prompts, so it has none"),
        ({"process": tiny.Part("EDM", {"sigma_max": 4.0})}, "consistency.grid 5: teacher 'tiny' is defined from"),
    ],
)
def test_a_teacher_that_does_not_fit_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_teacher(RECIPE, tiny.pipeline(replace(tiny.CARD, **changes)))  # type: ignore[arg-type]


def test_a_student_is_no_teacher(teacher: Pipeline) -> None:
    with pytest.raises(InputError, match="is itself distilled, from 'tiny'"):
        check_teacher(RECIPE, make_student(student_card(RECIPE, teacher.card), teacher))


@pytest.mark.parametrize(("given", "own"), [(2, 6), (6, 2), (2, 1)])
def test_several_points_do_not_become_another_number(given: int, own: int, teacher: Pipeline) -> None:
    nets = [
        make_student(
            student_card(replace(RECIPE, consistency=None, imitate=ImitateOptions(points=count)), teacher.card), teacher
        ).denoiser.net
        for count in (own, given)
    ]
    before = {name: value.clone() for name, value in nets[0].state_dict().items()}
    with pytest.raises(InputError, match=f"init: its network has {given} points .*, and the student {own};"):
        begin_from(*nets)
    assert all(torch.equal(before[name], value) for name, value in nets[0].state_dict().items())
    begin_from(nets[0], teacher.denoiser.net)


def test_a_student_to_begin_from_is_the_same_network(teacher: Pipeline) -> None:
    wider = tiny.Part("UNet", tiny.CARD.net.args | {"widths": [32, 64]})
    other = tiny.pipeline(replace(tiny.CARD, net=wider))
    with pytest.raises(InputError, match="init: its network is another one"):
        begin_from(make_student(student_card(RECIPE, teacher.card), teacher).denoiser.net, other.denoiser.net)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "v"}, "init 'other': has the kind v, and the teacher flow"),
        ({"space": replace(tiny.CARD.space, args={})}, "has the space"),
        ({"process": tiny.Part("VP")}, "has the process"),
        ({"distilled": None}, "is not distilled"),
    ],
)
def test_a_student_to_begin_from_is_of_the_same_space_and_kind(
    changes: dict[str, object], message: str, teacher: Pipeline
) -> None:
    card, recipe = student_card(RECIPE, teacher.card), replace(RECIPE, init="other")
    check_init(recipe, tiny.pipeline(card), teacher)
    with pytest.raises(InputError, match=message):
        check_init(recipe, tiny.pipeline(replace(card, **changes)), teacher)  # type: ignore[arg-type]
    other = replace(card, distilled=replace(card.distilled, teacher="b", teacher_fingerprint="c"))  # type: ignore[type-var]
    with pytest.raises(InputError, match="was distilled from 'b'"):
        check_init(recipe, tiny.pipeline(other), teacher)
