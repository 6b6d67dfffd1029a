"""How fast: the machine's own matrix product, the operations of a training, and seconds turned into steps.

Knows nothing of what is trained.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import psutil
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook

from tercet.config import Config
from tercet.training.passes import steps_per_epoch

SIDE = 2048  # of the matrices
REPETITIONS = 5
PACE_STEPS, PACE_ROUNDS = 24, 3
MOST_OTHER_WORK = 0.03  # of the processor's time, beside a measurement: a guess
UNUSED = ("idle", "iowait", "guest", "guest_nice")  # guests' times are in the user's already


def matrix_product_rates(device: str, precision: str) -> dict[str, float]:
    """GFLOP/s of a product of two square matrices in float32 and at the precision of training, the best of several."""
    rates = {}
    for name in dict.fromkeys(("fp32", precision)):  # one that is only emulated would take minutes
        kind = {"fp32": torch.float32, "bf16": torch.bfloat16}[name]
        matrix = torch.rand(SIDE, SIDE, device=device).to(kind)
        seconds = []
        for _ in range(REPETITIONS + 1):  # the first warms up
            started = time.perf_counter()
            matrix @ matrix
            if device == "cuda":
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - started)
        rates[name] = round(2 * SIDE**3 / min(seconds[1:]) / 1e9, 1)
    return rates


def watch() -> Callable[[], float]:
    """A function that gives the share of all cores' time that other processes have had since."""

    def used_by_others() -> float:
        times: dict[str, float] = psutil.cpu_times()._asdict()
        return sum(seconds for use, seconds in times.items() if use not in UNUSED) - time.process_time()

    before, started = used_by_others(), time.perf_counter()
    return lambda: (used_by_others() - before) / ((time.perf_counter() - started) * psutil.cpu_count())


class DisturbedError(RuntimeError):
    """Something else kept the processor busy while a measurement ran."""


@contextmanager
def undisturbed() -> Iterator[None]:
    """Raise DisturbedError at the end where other processes have had more than `MOST_OTHER_WORK` meanwhile."""
    others = watch()
    yield
    if (share := others()) > MOST_OTHER_WORK:
        raise DisturbedError(
            f"found other processes at work in {100 * share:.0f} % of the processor's time; expected at most "
            f"{100 * MOST_OTHER_WORK:.0f} %: let them end and give the command again."
        )


@dataclass
class Operations:
    """Floating-point operations, a multiplication and an addition being two."""

    count: int = 0


@contextmanager
def counted_operations() -> Iterator[Operations]:
    """Count what the convolutions and linear layers of any network in training do, forward and backward.

    A backward pass costs as much as the forward one for the weights, if they learn, and as much again for the layer's
    input, if anything before it learns. Losses, norms and all else are not counted.
    """
    operations = Operations()

    def count(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if not isinstance(module, nn.Conv2d | nn.Linear) or not (module.training and torch.is_grad_enabled()):
            return
        passes = 1 + module.weight.requires_grad + inputs[0].requires_grad
        operations.count += 2 * passes * output.numel() * module.weight[0].numel()

    handle = register_module_forward_hook(count)
    try:
        yield operations
    finally:
        handle.remove()


def seconds_per_step(
    trainings: Mapping[str, tuple[Callable[[int], float], int]], rounds: int = PACE_ROUNDS
) -> dict[str, float]:
    """Each training's seconds a step: the median over rounds in which they take turns, after one that warms up.

    A training takes a number of steps, which stands beside it, and returns the seconds they took. It runs its whole
    schedule in so few, so that a schedule which makes some steps dearer than others is paid in proportion.
    """
    found: dict[str, list[float]] = {name: [] for name in trainings}
    for _ in range(rounds + 1):
        for name, (train, steps) in trainings.items():
            found[name].append(train(steps) / steps)
    return {name: median(seconds[1:]) for name, seconds in found.items()}


def with_steps(config: Config, labels: Tensor, steps: int) -> Config:
    """The resolved configuration with the epochs that make so many steps."""
    return replace(config, epochs=steps / steps_per_epoch(labels, config))
