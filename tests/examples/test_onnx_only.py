"""The script that needs neither torch nor tercet gives what the Bundle gives."""

import os
import runpy
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bundles import small_bundle, small_onnx
from tercet.data.decode import read_image
from zoo import READ, encoded, turned

SCRIPT = Path(__file__).parents[2] / "examples" / "onnx_only.py"
WITHOUT = """
import runpy, sys

class Forbidden:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "tercet", "safetensors", "onnx"):
            raise ImportError(f"{name} is not to be imported")

sys.meta_path.insert(0, Forbidden())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="module")
def script() -> dict:
    return runpy.run_path(str(SCRIPT))


@pytest.mark.parametrize("side", [9, 32, 73, 146])
def test_images_are_read_as_tercet_reads_them(script: dict, side: int) -> None:
    for name, (content, _) in READ.items():
        found = script["read_pixels"](BytesIO(content), side)
        np.testing.assert_array_equal(found, read_image(BytesIO(content), side), err_msg=name)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (32, 32), (33, 32), (257, 100), (1200, 801), (3, 900)])
def test_images_of_any_shape_are_read_as_tercet_reads_them(script: dict, size: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(256, size=(size[1], size[0], 3), dtype=np.uint8)
    for kind in ("PNG", "JPEG"):
        content = encoded(Image.fromarray(pixels), kind)
        np.testing.assert_array_equal(
            script["read_pixels"](BytesIO(content), 32), read_image(BytesIO(content), 32), err_msg=kind
        )


@pytest.mark.slow
def test_it_runs_without_torch_and_tercet(tmp_path: Path) -> None:
    bundle = small_bundle()
    folder = tmp_path / "with space and ü"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(small_onnx())
    paths = [folder / "turned.jpg", folder / "grün.png"]
    paths[0].write_bytes(turned(6))
    Image.effect_noise((50, 40), 90).save(paths[1])
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"PYTHONUTF8": "1"}
    command = [sys.executable, "-c", WITHOUT, str(SCRIPT), str(folder / "model.onnx"), *map(str, paths)]
    finished = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert finished.returncode == 0, finished.stderr
    rows = [line.split("\t") for line in finished.stdout.splitlines()]
    expected = bundle.predict_proba(paths)
    assert [row[0] for row in rows] == list(map(str, paths))
    assert [row[1] for row in rows] == bundle.predict(paths)
    np.testing.assert_allclose([float(row[2]) for row in rows], expected.max(1), atol=1e-5)
