"""A data set of images as samples for one's own loop: a torch Dataset."""

from torch import Tensor

from unnoise.data.dataset import ImageDataset
from unnoise.data.view import plain_view, render_views
from unnoise.errors import InputError


class ImageSamples:
    """The images of a data set as x (3, H, W) in [-1, 1]; with labels, as (x, number of the class).

    Raises:
        InputError: the data set has captions, which such a sample has not.
    """

    def __init__(self, dataset: ImageDataset) -> None:
        if dataset.captioned:
            raise InputError(f'{dataset.name}: captions have no numbers; set captions = "none", or train by a recipe')
        self.dataset = dataset
        self.numbers = {name: k for k, name in enumerate(dataset.classes)}

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, i: int) -> Tensor | tuple[Tensor, int]:
        (x,) = render_views(self.dataset, [plain_view(self.dataset, i)])
        return (x, self.numbers[self.dataset.labels[i]]) if self.numbers else x
