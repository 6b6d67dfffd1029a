"""What is settled before training: the command that repeats a run, the device."""

from dataclasses import replace
from pathlib import Path

import pytest

from tercet.config import PRESETS, Config
from tercet.errors import UsageError
from tercet.preparation import choose_device, repeating_command


@pytest.mark.parametrize(
    ("config", "seeds", "command"),
    [
        (PRESETS["quick"], 1, "tercet run 'my photos' --out r --preset quick"),
        (
            replace(PRESETS["standard"], margin=0.3, normalize=False, flip=True, seed=4),
            3,
            "tercet run 'my photos' --out r --preset standard --margin 0.3 --no-normalize --flip --seed 4 --seeds 3",
        ),
        (Config(class_weight="none"), 1, "tercet run 'my photos' --out r --preset quick --class-weight none"),
        (Config(widths=(8, 8, 8)), 1, ""),
    ],
)
def test_command_that_repeats_a_run(config: Config, seeds: int, command: str) -> None:
    assert repeating_command("run", "my photos", Path("r"), config, seeds) == command


def test_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert choose_device("cpu") == "cpu"
    with pytest.raises(UsageError, match="--device cuda is not available"):
        choose_device("cuda")
