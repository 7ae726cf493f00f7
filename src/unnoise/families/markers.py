"""Names of bases inside the names of fine-tunes and merges, and of the folders that they are sorted into.

Names are in lower case, with "-" for each run of other characters and between words in camel case. The first match
counts. What a name says of distillation ("turbo", "lightning") is not read here: a merge of a distilled model need not
be one. Source: the names and base models of model cards at Civitai and Hugging Face.
"""

from collections.abc import Mapping

from unnoise.families.patterns import Pattern

MARKERS: tuple[Pattern, ...] = (
    (r"(^|-)pony-?v?7", "auraflow", ""),
    (r"flux.*(de-?distil|undistil)|(de-?distil|undistil).*flux", "flux1", "dedistilled"),
    (r"flux-?2-?klein|(^|-)klein(-|$)", "flux2", "klein"),
    (r"flux-?2", "flux2", ""),
    (r"(in|re|con|ef)flux|flux-?3", "", ""),
    (r"flux.*schnell|schnell.*flux", "flux1", "schnell"),
    (r"flux.*kontext|^kontext(-|$)", "flux1", "kontext"),
    (r"flux.*krea", "flux1", "krea"),
    (r"flux.*-fill(-|$)", "flux1", "fill"),
    (r"flux", "flux1", ""),
    (r"zeta-?chroma|chroma.*radiance", "", ""),
    (r"(^|-)zit(-|$|v?\d)|z-?image-?turbo", "z-image", "turbo"),
    (r"z-?image|(^|-)zib(-|$)", "z-image", ""),
    (r"qwen.*edit|(^|-)qie(-|$|\d)", "qwen-image", "edit"),
    (r"qwen-?(image|lightning)", "qwen-image", ""),
    (r"(^|-)wan-?(video-?)?2-?[12]|(^|-)wan-?(i2v|t2v|video)", "wan", ""),
    (r"(^|-)hunyuan-?video", "hunyuan-video", ""),
    (r"(^|-)neta-?(yume|lumina)|(^|-)lumina-?2", "lumina2", ""),
    (r"(^|-)hidream-?i1", "hidream", ""),
    (r"(^|-)sd-?3-?5", "sd3", ""),
    (r"(noob|xl|illustrious).*v-?pred|v-?pred.*(noob|xl|illustrious)", "sdxl", "v-pred"),
    (r"sd-?xl|(^|[a-wyz0-9-])xl(-|$|v?\d)", "sdxl", ""),
    (r"illustrious|illust-?xl|(^|-)(il|ill|ilxl|ilv\d+|illu)(-|$)|noob-?ai|(^|-)noob", "sdxl", ""),
    (r"(^|-)pdxl|(^|-)pony-?(diffusion|realism|xl|v\d|$)|pony$|-pony-", "sdxl", ""),
    (r"(^|-)anima(-(?!pencil)|$|v?\d)", "anima", ""),
    (r"playground-v2-(1024|512|base)|(^|-)playground-v2$", "sdxl", ""),
    (r"(^|-)wd-?1-?[45](-|$)|(^|-)sd-?v?2-?[01](-|$)", "sd2", ""),
    (r"(^|[a-z-])sd-?v?1-?[1-5](v\d|-|$)|-1-5(-|$)|^v1-[1-5]$|(^|-)wd-?v?1-?[123](-|$)", "sd1", ""),
)
# Folders, without signs.
FOLDERS: Mapping[str, str] = {
    "sd1": "sd1", "sd15": "sd1", "sdv15": "sd1", "sd1x": "sd1", "v15": "sd1", "v1x": "sd1", "15": "sd1", "sd14": "sd1",
    "stablediffusion15": "sd1", "sd2": "sd2", "sd20": "sd2", "sd21": "sd2", "sdxl": "sdxl", "xl": "sdxl",
    "sdxl10": "sdxl", "pony": "sdxl", "ponyxl": "sdxl", "illustrious": "sdxl", "illustriousxl": "sdxl", "il": "sdxl",
    "noobai": "sdxl", "noob": "sdxl", "flux": "flux1", "flux1": "flux1", "flux1d": "flux1", "fluxdev": "flux1",
    "flux2": "flux2", "sd3": "sd3", "sd35": "sd3", "wan": "wan", "wan21": "wan", "wan22": "wan", "wanvideo": "wan",
    "hunyuanvideo": "hunyuan-video", "qwen": "qwen-image", "qwenimage": "qwen-image", "zimage": "z-image",
    "zimageturbo": "z-image", "chroma": "chroma", "hidream": "hidream", "kolors": "kolors", "ltxv": "ltx",
    "cogvideo": "cogvideox", "cogvideox": "cogvideox", "pixart": "pixart", "auraflow": "auraflow", "anima": "anima",
}  # fmt: skip
