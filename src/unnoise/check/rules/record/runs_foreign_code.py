"""A model contains its own code, or is read as a pickle, which may run code.

Why: trust_remote_code=True and a custom_pipeline from a repository import Python code of that repository: 1 commit
there changes what runs here. A pickle can run code while it is read, and use_safetensors=False selects the pickle of a
repository with both formats.
Shown: the argument, or the module that the folder names.
Instead: a model with classes of diffusers, a fixed revision=... of a trusted repository, and safetensors.
Fix: none.
Source: diffusers, docs, "Community pipelines and components"; Python documentation, pickle; pytorch security advisory
GHSA-53q9-r3pm-6pq6.
"""

import ast
from collections.abc import Iterator

from unnoise.check.examples import script
from unnoise.check.index import index_of
from unnoise.check.rule import NOTE, WARN, Finding, Rule
from unnoise.check.subject import Location, Script, Subject
from unnoise.check.syntax import calls, constant, keyword, place_of

RULE = Rule(id="UN909", name="runs-foreign-code", severity=WARN)
MOST = 200  # components of a folder that are checked
# Libraries that an index may name: packages, and folders of diffusers/pipelines with components.
PACKAGES = frozenset(
    {"diffusers", "transformers", "onnxruntime", "optimum", "peft", "k_diffusion", "ace_step", "alt_diffusion",
     "audio_diffusion", "audioldm2", "blip_diffusion", "deepfloyd_if", "flux", "ideogram4", "kandinsky", "kolors",
     "latent_diffusion", "ltx", "ltx2", "marigold", "paint_by_example", "shap_e", "spectrogram_diffusion",
     "stable_audio", "stable_audio_3", "stable_diffusion", "stable_diffusion_safe", "unclip", "unidiffuser",
     "versatile_diffusion", "vq_diffusion", "wuerstchen"}
)  # fmt: skip
INSTEAD = "use a safetensors model with classes of diffusers, or fix the revision that you have reviewed"


def check(subject: Subject) -> Iterator[Finding]:
    if subject.script is not None:
        for node, name in calls(subject.script):
            yield from _called(subject.script, node, name)
    yield from _named(subject)


def _called(source: Script, node: ast.Call, name: str) -> Iterator[Finding]:
    for argument, what in (("trust_remote_code", True), ("use_safetensors", False)):
        given = keyword(node, argument)
        if given is not None and name.startswith("from_") and constant(given, source) is what:
            message = "this runs the repository's own code" if what else "this reads a pickle, which may run code"
            yield Finding(RULE, place_of(source, given), message, f"{argument}={what}", str(not what), INSTEAD, NOTE)
    given = keyword(node, "custom_pipeline")
    named = constant(given, source) if given is not None else None
    if given is not None and isinstance(named, str) and keyword(node, "revision") is None and "/" in named:
        message = "this runs pipeline code of another repository"
        yield Finding(RULE, place_of(source, given), message, repr(named[:80]), "a class of diffusers", INSTEAD, NOTE)
    given = keyword(node, "weights_only")
    if given is not None and name == "load" and constant(given, source) is False:
        message = "this reads a pickle, which may run code"
        yield Finding(RULE, place_of(source, given), message, "weights_only=False", "True", INSTEAD, NOTE)


def _named(subject: Subject) -> Iterator[Finding]:
    """Find components of a folder that are classes of its own modules."""
    path, index = index_of(subject)
    for role, entry in list(index.items())[:MOST]:
        library = entry[0] if isinstance(entry, list) and len(entry) == 2 else None
        own = not role.startswith("_") and isinstance(library, str) and library not in PACKAGES
        if own or (role == "_class_name" and isinstance(entry, list)):
            message = f"the folder contains its own code for {role[:60]}, which runs when it is loaded"
            yield Finding(RULE, Location(path, (role,)), message, str(entry)[:80], "a class of diffusers", INSTEAD)


def bad() -> Subject:
    return script("""
        from diffusers import DiffusionPipeline
        pipe = DiffusionPipeline.from_pretrained("someone/their-model", trust_remote_code=True)
        pipe("a lighthouse at dawn")
    """)


def good() -> Subject:
    return script("""
        from diffusers import DiffusionPipeline
        pipe = DiffusionPipeline.from_pretrained("someone/their-model", use_safetensors=True)
        pipe("a lighthouse at dawn")
    """)
