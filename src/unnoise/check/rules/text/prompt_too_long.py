"""The prompt is longer than the limit of the text encoder; its end is cut off.

Why: CLIP reads 77 tokens, two of which mark the begin and the end. diffusers cuts off the rest with only a line in the
log: of a prompt of 100 words at least 25 do nothing, often the words about style at the end. ComfyUI and AUTOMATIC1111
encode chunks of 75 tokens and cut off nothing.
Shown: the least number of tokens of the prompt (words, digits and signs; rare words have more), and the limit.
Instead: shorten it, or encode it in chunks (compel, sd_embed) and pass prompt_embeds; for T5 raise max_sequence_length.
Fix: none.
Source: openai/CLIP, clip/simple_tokenizer.py; diffusers/pipelines/stable_diffusion/pipeline_stable_diffusion.py,
encode_prompt; defaults of max_sequence_length in diffusers 0.42.1.
"""

from collections.abc import Iterator

from unnoise.check.effective_settings import identity
from unnoise.check.examples import script
from unnoise.check.rule import WARN, Finding, Rule
from unnoise.check.rules.text._shared import fewest, is_plain, prompts
from unnoise.check.subject import GenerationRun, Subject

RULE = Rule(id="UN801", name="prompt-too-long", severity=WARN, checks="run")
CLIP, WORDS = 75, 1  # tokens of text without begin and end; T5 marks the end only
# The start of a pipeline's class, and how many T5 tokens it reads. Source: max_sequence_length, diffusers 0.42.1
T5 = {
    "StableDiffusion3": 256, "Flux": 512, "ChromaPipeline": 512, "PixArtAlpha": 120, "PixArtSigma": 300,
    "CogVideoX": 226, "Mochi": 256, "Wan": 512, "AuraFlow": 256, "LTXPipeline": 128, "LTXImageToVideo": 128,
}  # fmt: skip
INSTEAD = "shorten it, or pass prompt_embeds encoded in chunks (compel, sd_embed)"


def check(run: GenerationRun) -> Iterator[Finding]:
    if not is_plain(run):
        return
    clip, words = _reads_clip(run), _reads_t5(run)
    for prompt in prompts(run):
        count = fewest(prompt.value) if clip else len(prompt.value.split()) + WORDS
        most = CLIP if clip else words
        if most is not None and count > most:
            message = "the prompt is longer than the limit of the text encoder, and its end is cut off"
            suggestion = INSTEAD if clip else "shorten it, or raise max_sequence_length where the model takes more"
            yield Finding(RULE, prompt.place, message, f"at least {count} tokens", f"at most {most}", suggestion)


def _reads_clip(run: GenerationRun) -> bool:
    """Return whether only CLIP reads the prompt."""
    return identity(run).family in ("sd1", "sd2", "sdxl")


def _reads_t5(run: GenerationRun) -> int | None:
    if "prompt_2" in run.others or "prompt_3" in run.others:
        return None
    argument = run.others.get("max_sequence_length")
    if argument is not None:
        return argument.value if type(argument.value) is int and argument.value > 0 else None
    return next((most for name, most in T5.items() if run.pipeline.startswith(name)), None)


def bad() -> Subject:
    return script("""
        from diffusers import StableDiffusionXLPipeline
        pipe = StableDiffusionXLPipeline.from_pretrained("stabilityai/stable-diffusion-xl-base-1.0")
        scene = "a lighthouse on a cliff above the sea at dawn, gulls in the wind, a path of white stones, " * 4
        pipe(scene + "in the style of a woodcut")
    """)


def good() -> Subject:
    return script("""
        from diffusers import StableDiffusionXLPipeline
        pipe = StableDiffusionXLPipeline.from_pretrained("stabilityai/stable-diffusion-xl-base-1.0")
        scene = "a lighthouse on a cliff above the sea at dawn, gulls in the wind, a path of white stones, " * 2
        pipe(scene + "in the style of a woodcut")
    """)
