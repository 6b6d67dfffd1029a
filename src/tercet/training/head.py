"""Fits the small network that reads classes off frozen embeddings, and its linear sibling.

Knows embeddings and labels only. Weight decay and temperature are chosen on the validation part; the test set never
comes here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from tercet.data.batches import places_in_classes
from tercet.geometry.metrics import accuracy, balanced_accuracy, confusion_matrix
from tercet.model.head import Head
from tercet.training.checkpoint import History
from tercet.training.randomness import derived_generator

HIDDEN = 120  # the original's network: 128-120-C
BATCH = 500
EPOCHS = 10  # the loss is nearly flat by then (docs/log.md, 2026-11-23)
FEWEST_STEPS = 500  # for small data sets: a guess
PEAK_RATE = 3e-3
WEIGHT_DECAYS = (1.0, 10.0)  # decoupled; the larger one mostly wins in `quick`: docs/log.md, 2026-11-30
TEMPERATURES = tuple(10 ** (step / 40) for step in range(41))  # 1 to 10, each 6 % above the one before


def head_images(labels: Int64[Tensor, " N"], most: int, seed: int) -> Int64[Tensor, " M"]:
    """The images that the head learns from, in order: at most so many of each class, drawn by the seed."""
    order = torch.randperm(len(labels), generator=derived_generator(seed, "head images"))
    return order[places_in_classes(labels[order]) < most].sort().values


@contextmanager
def on_one_thread() -> Iterator[None]:
    """What is this small gains little from a second thread, and waits long for it beside other work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@on_one_thread()  # docs/log.md, 2026-11-30
def fit_head(
    train: tuple[Float[Tensor, "N D"], Int64[Tensor, " N"]],
    validation: tuple[Float[Tensor, "V D"], Int64[Tensor, " V"]],
    *,
    class_counts: Sequence[int],
    hidden: int | None,
    seed: int,
    class_weight: str = "balanced",
    weight_decays: Sequence[float] = WEIGHT_DECAYS,
) -> tuple[Head, History]:
    """The head of the weight decay that does best on `validation` (ties: the first), softened, and its history.

    `class_weight` "balanced" lets every class count the same in the loss and in that choice, however many images it
    has; "none" lets every image count the same, by the `class_counts` of the set that `train` was drawn from.
    """
    drawn = torch.bincount(train[1], minlength=len(class_counts)).clamp_min(1)
    shares = torch.ones(len(class_counts)) if class_weight == "balanced" else torch.tensor(class_counts)
    weights = shares / drawn
    candidates = [
        _fit(
            *(train, validation, weights),
            hidden=hidden,
            seed=seed,
            weight_decay=weight_decay,
        )
        for weight_decay in weight_decays
    ]
    score = "balanced_validation_accuracy" if class_weight == "balanced" else "validation_accuracy"
    head, history = max(candidates, key=lambda candidate: candidate[1][-1][score])
    history[-1]["temperature"] = soften(head, validation)
    return head, history


@torch.no_grad()
def soften(head: Head, validation: tuple[Float[Tensor, "V D"], Int64[Tensor, " V"]]) -> float:
    """Divide the logits by the temperature of `TEMPERATURES` by which `validation` is likeliest; return it.

    Every image counts the same. What is predicted stays. Temperatures below 1 would make a head surer for a few images
    that it happens to get right.
    Reference: Guo et al., On calibration of modern neural networks, ICML 2017, section 4.2.
    """
    embeddings, labels = validation
    logits = head(embeddings)
    temperature = min(TEMPERATURES, key=lambda tried: float(nn.functional.cross_entropy(logits / tried, labels)))
    for weight in head.layers[-1].parameters():
        weight.div_(temperature)
    return temperature


def _fit(
    train: tuple[Tensor, Tensor],
    validation: tuple[Tensor, Tensor],
    weights: Float[Tensor, " C"],
    *,
    hidden: int | None,
    seed: int,
    weight_decay: float,
) -> tuple[Head, History]:
    embeddings, labels = train
    generator = derived_generator(seed, "head")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**31, (), generator=generator)))
        head = Head(embeddings.shape[1], len(weights), hidden)
    head.mean.copy_(embeddings.mean(0))
    head.std.copy_(embeddings.std(0, correction=0).clamp_min(1e-6))
    steps_per_epoch = math.ceil(len(labels) / BATCH)
    epochs = max(EPOCHS, math.ceil(FEWEST_STEPS / steps_per_epoch))
    optimizer = torch.optim.AdamW(head.parameters(), lr=PEAK_RATE, weight_decay=weight_decay)
    decay = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=epochs * steps_per_epoch)
    history: History = []
    for epoch in range(1, epochs + 1):
        losses = []
        for indices in torch.randperm(len(labels), generator=generator).split(BATCH):
            loss = nn.functional.cross_entropy(head(embeddings[indices]), labels[indices], weights)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            decay.step()
            losses.append(float(loss.detach()))
        history.append(
            {
                "epoch": epoch,
                "step": epoch * steps_per_epoch,
                "loss": sum(losses) / len(losses),
                "weight_decay": weight_decay,
                "train_accuracy": accuracy(_confusion(head, train)),
                "validation_accuracy": accuracy(confusion := _confusion(head, validation)),
                "balanced_validation_accuracy": balanced_accuracy(confusion),
            }
        )
    return head, history


@torch.no_grad()
def _confusion(head: Head, data: tuple[Tensor, Tensor]) -> Int64[Tensor, "C C"]:
    embeddings, labels = data
    logits = head(embeddings)
    return confusion_matrix(labels, logits.argmax(1), logits.shape[1])
