"""The wheel as a person installs it: an empty environment, another folder, no source tree."""

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from pictures import CLASSES, write_folder

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_wheel_works_in_an_empty_environment(tmp_path: Path) -> None:
    def call(*command: str | Path) -> str:
        environment = {**os.environ, "TERCET_CACHE": str(tmp_path / "cache")}
        environment.pop("PYTHONPATH", None)
        finished = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert finished.returncode == 0, finished.stderr[-2000:]
        return finished.stdout

    call(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path / "dist", ROOT)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env/bin/python"
    quiet = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile")  # most is never imported
    call(python, *quiet, "--constraint", ROOT / "constraints.txt", wheel)
    tercet = tmp_path / "env/bin/tercet"
    assert "run" in call(tercet, "--help")
    digits = "import tercet; print(*tercet.open_dataset('digits').train.classes)"
    assert call(python, "-c", digits).split() == list("0123456789")
    write_folder(tmp_path / "pictures", 8)
    training = ("train", "pictures", "--size", "16", "--out", "runs/pictures")
    assert "model: runs/pictures/model" in call(tercet, "-q", *training)
    image = f"pictures/{CLASSES[0]}/000.png"
    path, first, *_ = call(tercet, "predict", image, "--model", "runs/pictures").split("\t")
    assert path == image
    assert first.split()[0] in CLASSES
    assert call(tercet, "predict", image).startswith(f"{image}\t")  # by the model that comes with it
