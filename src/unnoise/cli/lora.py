"""`unnoise lora`: train, merge, extract, resize and convert LoRA adapters."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from unnoise.cli.busy import busy
from unnoise.cli.model_options import ModelOptions, load_model, own_card
from unnoise.cli.options import lora_file
from unnoise.cli.processes import processes
from unnoise.cli.torch_import import import_torch
from unnoise.cli.train import DEFAULT, TrainOptions
from unnoise.cli.whole import whole
from unnoise.embedded import ADAPTERS, find
from unnoise.formats.atomic import check_writable
from unnoise.generation.request import split_network

EPILOGUE = """Examples:
  unnoise lora train recipes/ink.toml --out runs/ink
  unnoise generate "a red heart" --lora runs/ink/ink.safetensors
  unnoise generate "a red heart" --lora runs/ink/ink.safetensors:0.6
  unnoise inspect runs/ink/ink.safetensors
  unnoise lora resize runs/ink/ink.safetensors --rank 8 -o ink-8.safetensors
  unnoise lora merge --lora runs/ink/ink.safetensors -o ink-emoji.safetensors"""

HELP = "Train, merge, extract, resize and convert LoRA adapters."
app = App(name="lora", help=HELP, help_format="plaintext", help_epilogue=EPILOGUE)
Out = Annotated[Path, Parameter(name=["--out", "-o"], help="Output file.")]
File = Annotated[str, Parameter(help="Name or file of an adapter; FILE@NETWORK says which network it is for.")]
Rank = Annotated[int, Parameter(converter=whole, help="Rows of A, 1 to 1024.")]
Layout = Annotated[Literal["peft", "kohya"], Parameter(help="Tensor names of PEFT and diffusers, or of kohya.")]
EMOJI = ModelOptions()


@app.command
@processes()
def train(
    recipe: Annotated[Path, Parameter(help="A TOML file with [lora], such as recipes/ink.toml.")],
    /,
    *,
    options: Annotated[TrainOptions, Parameter(name="*")] = DEFAULT,
) -> None:
    """Train the LoRA of a recipe, and print the path of its file."""
    import_torch()
    from unnoise.train.adapter_recipe import read_adapter_recipe
    from unnoise.train.lora import train_lora

    parsed = options.applied(read_adapter_recipe(recipe))
    options.run(["lora", "train", str(recipe)], parsed.name, partial(train_lora, parsed))


@app.command
def merge(
    *,
    lora: Annotated[tuple[str, ...], Parameter(help="Adapter, FILE or FILE:WEIGHT@NETWORK; may be repeated.")],
    out: Annotated[Path, Parameter(name=["--out", "-o"], help="Output file; a new folder for a foreign model.")],
    source: Annotated[ModelOptions, Parameter(name="*")] = EMOJI,
) -> None:
    """Add adapters to the weights of a model, and write the model."""
    check_writable(out)
    if own_card(source) is None:
        with busy(f"merging into {source.model}"):
            import_torch()
            from unnoise.integrations.diffusers.export import export

            folder = None if source.components is None else Path(source.components)
            export(find(source.model), out, folder, source.prediction_type, tuple(map(lora_file, lora)))
    else:
        pipeline = load_model(source)
        from unnoise.adapters.lora.inject import inject
        from unnoise.generation.loras import read_loras
        from unnoise.model_file import save

        adapters = read_loras(lora, pipeline, partial=False)
        inject(pipeline, adapters)
        merged = [f"{adapter.name} {adapter.fingerprint[:12]} x {weight:g}" for adapter, weight in adapters]
        card = replace(pipeline.card, name=out.stem, training=pipeline.card.training | {"merged": merged})
        save(out, replace(pipeline, card=card))
    print(out)


@app.command
def extract(
    tuned: Annotated[str, Parameter(help="Fine-tuned model; its difference from --model is extracted.")],
    /,
    *,
    out: Out,
    rank: Rank = 16,
    source: Annotated[ModelOptions, Parameter(name="*")] = EMOJI,
) -> None:
    """Write the difference of two models as a LoRA."""
    check_writable(out)
    base = load_model(source)
    other = load_model(replace(source, model=tuned))
    from unnoise.adapters.lora.rank import extracted
    from unnoise.adapters.lora.write import write

    with busy("decomposing"):
        found = extracted(base, other, rank, out.name)
    write(out, found.adapter)
    print(f"{out}  rank {rank} of {len(found.adapter.deltas)} layers holds {found.share:.1%} of the change")


@app.command
def resize(
    file: File,
    /,
    *,
    rank: Rank,
    out: Out,
    layout: Layout = "peft",
    source: Annotated[ModelOptions, Parameter(name="*")] = EMOJI,
) -> None:
    """Write the nearest LoRA of another rank, also of LoHa, LoKr and DoRA."""
    check_writable(out)
    pipeline = load_model(source)
    from unnoise.adapters.lora.rank import resized
    from unnoise.adapters.lora.read import read_and_warn
    from unnoise.adapters.lora.write import write

    with busy("decomposing"):
        name, network = split_network(file)
        found = resized(read_and_warn(find(name, ADAPTERS), pipeline, network=network), pipeline, rank)
    write(out, found.adapter, layout)
    print(f"{out}  rank {rank} of {len(found.adapter.deltas)} layers holds {found.share:.1%} of the change")


@app.command
def convert(
    file: File,
    /,
    *,
    out: Out,
    layout: Layout = "peft",
    source: Annotated[ModelOptions, Parameter(name="*")] = EMOJI,
) -> None:
    """Write an adapter with the tensor names of another layout."""
    check_writable(out)
    with busy(f"reading {source.model}"):
        import_torch()
        from unnoise.adapters.lora.read import read_and_warn
        from unnoise.adapters.lora.write import write
        from unnoise.loading import meta

        name, network = split_network(file)
        adapter = read_and_warn(
            find(name, ADAPTERS),
            meta(source.model, components=source.components, prediction_type=source.prediction_type),
            network=network,
        )
    write(out, adapter, layout)
    print(f"{out}  {len(adapter.deltas)} layers")
