"""The task before the denoiser: the text encoder alone learns to predict the image from its caption.

At pure noise the best prediction of a denoiser is E[x0 | caption], and what a caption means is learnt there: slowly,
since each sample costs a pass of the whole network. Here a small decoder takes its place,

    loss = |decoder(vector(caption)) - x0|^2

which reads several times as many captions a second. In the first steps images are as they are, not moved, recoloured or
on a background: what varies without a word for it is noise to what is learnt. The last steps read the views of the
denoiser, and so the words for a colour, a background or a second thing.

The denoiser then begins with vectors and tokens of one thing near each other. Where its network reads the mean of x0
(`net.args.mean`), the decoder is the part that predicts it, which is trained on with the denoiser; otherwise it is
thrown away.
"""

from itertools import chain

import torch
from PIL import Image
from torch import Tensor, nn

from unnoise.data.shuffle import SAMPLE, nth_image
from unnoise.diffusion.noise import numbers
from unnoise.generation.decode import to_images
from unnoise.generation.media.contact_sheet import contact_sheet
from unnoise.nets.mean import MeanSample
from unnoise.nets.unet import UNet
from unnoise.pipeline import Pipeline
from unnoise.text.encode import PromptEncoder
from unnoise.train.fit_options import FitOptions
from unnoise.train.latents import Latents
from unnoise.train.recipe import TrainingRecipe
from unnoise.train.task import sheet_title

COLUMNS = 4  # of a sheet


class CaptionTask:
    """Train the text encoder, see the head of this file.

    Args:
        recipe: of the run.
        fit: the optimizer.
        plain: images as they are, with their captions.
        varied: the views of the denoiser, with theirs.
        pipeline: the untrained model, whose text encoder is trained.
        prompts: of the contact sheets.
    """

    name = "captions"

    def __init__(
        self,
        recipe: TrainingRecipe,
        fit: FitOptions,
        plain: Latents,
        varied: Latents,
        pipeline: Pipeline,
        prompts: list[str],
    ) -> None:
        assert isinstance(pipeline.text_encoder, PromptEncoder)
        assert recipe.denoiser.text is not None
        self.recipe, self.fit, self.pipeline, self.prompts = recipe, fit, pipeline, prompts
        self.plain, self.varied = plain, varied
        self.plain_steps = round(recipe.denoiser.text.plain * fit.steps)
        torch.manual_seed(recipe.seed)
        channels, *sizes = plain.x0.shape[2:]
        net = pipeline.denoiser.net
        decoder = net.mean if isinstance(net, UNet) else None
        if decoder is None:
            decoder = MeanSample(recipe.denoiser.text.width, channels, sizes).to(pipeline.device)
        self.networks = nn.ModuleDict({"text": pipeline.text_encoder.net, "decoder": decoder})
        self.learning_rate_multiples = {"text.embed.weight": recipe.denoiser.text.embedding_learning_rate_multiple}

    def loss(self, step: int, rows: range) -> Tensor:
        """Return the loss of some rows of a batch, see `Task`."""
        latents = self.plain if step < self.plain_steps else self.varied
        seed, first = self.recipe.seed, step * self.fit.batch
        assert latents.ids is not None
        assert latents.lengths is not None
        images = [nth_image(latents, seed, first + row) for row in rows]
        captions = [int(numbers(seed, SAMPLE, first + row).integers(latents.ids.shape[1])) for row in rows]
        views = [caption // latents.each for caption in captions]
        lengths, x0 = latents.lengths[images, captions], latents.x0[images, views].float()
        ids = latents.ids[images, captions]
        mask = torch.arange(ids.shape[1]) < lengths[:, None]
        predicted = self._predicted(ids * mask, mask).float()
        return (predicted - x0.to(predicted.device)).square().flatten(1).mean(1)

    def _predicted(self, ids: Tensor, mask: Tensor) -> Tensor:
        device = self.pipeline.device
        found: Tensor = self.networks["decoder"](self.networks["text"](ids.to(device), mask.to(device)).vector)
        return found

    @torch.no_grad()
    def sheet(self, step: int) -> Image.Image:
        """Draw the mean image that each prompt of the recipe means to the text encoder."""
        encoder = self.pipeline.text_encoder
        assert encoder is not None
        vectors = [cond.vector for cond in encoder(self.prompts)]
        found = [self.networks["decoder"](vector) for vector in vectors]
        images = chain.from_iterable(to_images(self.pipeline.space.decode(x0).clamp(-1, 1)) for x0 in found)
        title = sheet_title(self.recipe.name, self.name, step, self.recipe.checkpoints.ema_lengths[0])
        return contact_sheet([*images], self.prompts, title, COLUMNS)
