"""UN511 and UN521: schedules and gradients in training loops that accumulate."""

import pytest
import torch
from accelerate import Accelerator

from unnoise.check.catalogue import entry
from unnoise.check.engine import run_rule
from unnoise.check.examples import script
from unnoise.check.rule import NOTE, WARN


def found(rule: str, text: str) -> list[tuple[int, str]]:
    subject = script(text)
    assert not subject.faults
    return [(one.grade, one.measured) for one in run_rule(entry(rule), subject)]


MANUAL = """
def train(unet, optimizer, scaler, loader, accum=8):
    for epoch in range(10):
        for i, batch in enumerate(loader):
            {before}
            with torch.autocast("cuda"):
                loss = unet.loss(batch) / accum
            scaler.scale(loss).backward()
            if (i + 1) % {count} == 0:
                scaler.step(optimizer)
                scaler.update()
                {after}
"""
ACCELERATE = """
from accelerate import Accelerator
def train(args, unet, optimizer, loader):
    accelerator = Accelerator(gradient_accumulation_steps={count}, mixed_precision="fp16")
    unet, optimizer, loader = accelerator.prepare(unet, optimizer, loader)
    for batch in loader:
        with accelerator.accumulate(unet):
            {before}
            loss = unet.loss(batch)
            accelerator.backward(loss)
            if accelerator.sync_gradients:
                accelerator.clip_grad_norm_(unet.parameters(), 1.0)
            optimizer.step()
            {after}
"""
ZERO = "optimizer.zero_grad()"
ZEROED = {
    "by hand": (MANUAL, "accum", ZERO, "pass", [(WARN, "7 of 8 gradients lost")]),
    "by hand, right": (MANUAL, "accum", "pass", "optimizer.zero_grad(set_to_none=True)", []),
    "by hand, a number": (MANUAL, "4", "unet.zero_grad()", "pass", [(WARN, "3 of 4 gradients lost")]),
    "by hand, not stated": (MANUAL, "args.steps_of_accumulation", ZERO, "pass", [(WARN, "all but 1 gradients lost")]),
    "accelerate": (ACCELERATE, "4", ZERO, "pass", [(WARN, "3 of 4 gradients lost")]),
    "accelerate, right": (ACCELERATE, "4", "unet.train()", ZERO, []),
    "accelerate, one batch": (ACCELERATE, "1", ZERO, "pass", []),
    "accelerate, the network": (ACCELERATE, "4", "pass", "unet.zero_grad()", [(WARN, "3 of 4 gradients lost")]),
    "accelerate, not stated": (ACCELERATE, "args.batches", ZERO, "pass", [(WARN, "all but 1 gradients lost")]),
}


@pytest.mark.parametrize("name", ZEROED)
def test_gradients_that_are_zeroed(name: str) -> None:
    text, count, before, after, expected = ZEROED[name]
    assert found("UN521", text.format(count=count, before=before, after=after)) == expected


def test_an_option_that_is_one_by_default_is_a_note() -> None:
    head = "parser.add_argument('--accumulation_steps', type=int, default=1)\n"
    text = head + ACCELERATE.format(count="args.accumulation_steps", before=ZERO, after="pass")
    assert found("UN521", text) == [(NOTE, "all but 1 gradients lost")]


PLAIN = """
for i, batch in enumerate(loader):
    optimizer.zero_grad()
    loss = net(batch)
    loss.backward()
    optimizer.step()
    if i % 100 == 0:
        writer.step()
"""


TURNS = """
for i, batch in enumerate(loader):
    critic.zero_grad()
    critic_loss(batch).backward()
    critic_optimizer.step()
    if i % 5 == 0:
        optimizer.zero_grad()
        loss(batch).backward()
        optimizer.step()
    lr_scheduler.step()
"""


@pytest.mark.parametrize("text", [PLAIN, TURNS, TURNS.replace("i % 5", "(i // 4) % 2")])
def test_loops_without_accumulation(text: str) -> None:
    assert found("UN521", text) == found("UN511", text) == []


@pytest.mark.parametrize(("zero_first", "share"), [(True, 1 / 4), (False, 1.0)])
def test_what_accelerate_keeps(zero_first: bool, share: float) -> None:
    """The gradient of a step over four batches: all of it, or that of the last batch."""
    accelerator = Accelerator(gradient_accumulation_steps=4, cpu=True)
    weight = torch.nn.Linear(1, 1, bias=False)
    optimizer = torch.optim.SGD(weight.parameters(), lr=1.0)
    net, optimizer = accelerator.prepare(weight, optimizer)
    start = weight.weight.item()
    for _ in range(4):
        with accelerator.accumulate(net):
            if zero_first:
                optimizer.zero_grad()
            accelerator.backward(net(torch.ones(1, 1)).sum())
            optimizer.step()
            if not zero_first:
                optimizer.zero_grad()
    assert start - weight.weight.item() == pytest.approx(share)


SCHEDULED = """
from accelerate import Accelerator
from diffusers.optimization import get_scheduler
def train(args, unet, optimizer, loader, epochs):
    accelerator = Accelerator(gradient_accumulation_steps={count})
    lr_scheduler = get_scheduler("cosine", optimizer=optimizer, num_training_steps={length})
    {prepare}
    total = args.batch * accelerator.num_processes
    for batch in loader:
        with accelerator.accumulate(unet):
            accelerator.backward(unet.loss(batch))
            optimizer.step()
            lr_scheduler.step()
"""
PREPARED = "unet, optimizer, loader, lr_scheduler = accelerator.prepare(unet, optimizer, loader, lr_scheduler)"
LENGTHS = {
    "in batches": ("4", "len(loader) * epochs", PREPARED, [(WARN, "the number of batches, 4 times the updates")]),
    "in batches, one to a step": ("1", "len(loader) * epochs", PREPARED, []),
    "in batches, stepped in batches": ("4", "len(loader) * epochs", "unet = accelerator.prepare(unet)", []),
    "in updates": ("4", "math.ceil(len(loader) / args.gradient_accumulation_steps) * epochs", PREPARED, []),
    "without processes": ("1", "args.max_train_steps", PREPARED, [(NOTE, "1/N of the training with N processes")]),
    "with processes": ("1", "args.max_train_steps * accelerator.num_processes", PREPARED, []),
    "of its own": ("1", "args.max_train_steps", "pass", []),
}


@pytest.mark.parametrize("name", LENGTHS)
def test_lengths_of_schedules(name: str) -> None:
    count, length, prepare, expected = LENGTHS[name]
    assert found("UN511", SCHEDULED.format(count=count, length=length, prepare=prepare)) == expected


GUARDED = """
import torch
ACCUM = 4
scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max={length})
for epoch in range(epochs):
    for i, batch in enumerate(loader):
        loss = net(batch) / ACCUM
        loss.backward()
        if (i + 1) % ACCUM == 0:
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
"""


def test_a_schedule_in_batches_that_is_stepped_after_accumulation() -> None:
    measured = [(WARN, "the number of batches, 4 times the updates")]
    assert found("UN511", GUARDED.format(length="len(loader) * epochs")) == measured
    assert found("UN511", GUARDED.format(length="len(loader) * epochs // ACCUM")) == []
