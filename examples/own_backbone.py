"""Train on the features of any frozen network: here of fixed random filters, for you of one that knows such images.

python examples/own_backbone.py [DATA [RUN]]
"""

import sys

import torch
from torch import nn

import tercet


class Filters(nn.Module):
    """Pixels [B, 3, H, W], scaled as (x - 127) / 128, to features [B, 256]: any module that does so will serve."""

    def __init__(self) -> None:
        super().__init__()
        self.filters = nn.Conv2d(3, 64, kernel_size=5, stride=2)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """What each filter finds in each quarter of the image."""
        return nn.functional.adaptive_max_pool2d(self.filters(pixels).relu(), 2).flatten(1)


def main(data: str = "digits", run: str = "runs/own-backbone") -> None:
    """Train a small network on the features, and load the model again."""
    torch.manual_seed(0)  # the same filters each time, so that the same command again finds its run
    tercet.train(data, out=run, backbone=Filters())
    bundle = tercet.load(run, backbone=Filters())  # its weights come from the run
    test = tercet.open_dataset(data, size=bundle.settings["size"]).test
    names = bundle.predict(test.images.permute(0, 2, 3, 1).numpy())
    right = sum(name == test.classes[label] for name, label in zip(names, test.labels.tolist(), strict=True))
    print(f"{right} of {len(test)} test images recognised")


if __name__ == "__main__":
    main(*sys.argv[1:])
