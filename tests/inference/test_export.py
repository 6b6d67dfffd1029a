"""The ONNX file gives what the Bundle gives, for every kind of encoder, and is written only then."""

import json
import logging
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image
from torch import nn

from bundles import CLASSES, bundle_on, new_bundle, small_bundle, small_onnx
from pictures import write_folder
from tercet.cli import main
from tercet.errors import DataError, ModelError, UsageError
from tercet.inference import export
from tercet.inference.export import compare, export_onnx, to_onnx
from tercet.model.bundle import Bundle, load_bundle
from tercet.model.pretrained import imagenet_network, is_available


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return small_bundle()


@pytest.fixture(scope="module")
def content() -> bytes:
    return small_onnx()


def agrees(bundle: Bundle, content: bytes) -> None:
    session = onnxruntime.InferenceSession(content)
    side = bundle.side
    for count in (1, 5):  # the batch is dynamic
        images = np.random.default_rng(count).integers(256, size=(count, side, side, 3), dtype=np.uint8)
        embeddings, probabilities = session.run(["embeddings", "probabilities"], {"images": images})
        assert embeddings.dtype == probabilities.dtype == np.float32
        np.testing.assert_allclose(embeddings, bundle.embed(images), atol=1e-5, rtol=1e-5)
        np.testing.assert_allclose(probabilities, bundle.predict_proba(images), atol=1e-5)
    assert compare(bundle, content).noise == 16


@pytest.mark.parametrize(
    ("name", "size", "normalize"),
    [
        pytest.param("fast", 64, False, marks=pytest.mark.slow),  # a stride in the stem, and images stored at 73
        ("classic", 16, True),
        pytest.param("classic", 90, False, marks=pytest.mark.slow),  # averages 11 places to 4
        pytest.param("fast", 224, True, marks=pytest.mark.slow),
    ],
)
def test_every_encoder_is_exported(name: str, size: int, normalize: bool) -> None:
    bundle = new_bundle(name, size, normalize=normalize)
    agrees(bundle, to_onnx(bundle))


@pytest.mark.slow
def test_members_are_exported_as_one_encoder() -> None:
    bundle = new_bundle("fast", 16, members=3)
    agrees(bundle, to_onnx(bundle))


@pytest.mark.slow
@pytest.mark.skipif(not is_available(), reason="the ImageNet weights (tercet[pretrained]) are missing")
def test_the_pretrained_encoder_is_exported() -> None:
    for size in (128, 97):
        bundle = bundle_on(imagenet_network(), size, 1280)
        agrees(bundle, to_onnx(bundle))


class Colors(nn.Module):
    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return pixels.mean((2, 3))


class Undecided(Colors):
    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return super().forward(pixels if pixels.sum() > 0 else -pixels)


def test_a_network_of_ones_own_is_exported_or_refused_in_a_sentence(tmp_path: Path) -> None:
    bundle = bundle_on(Colors(), 16, 3)
    agrees(bundle, to_onnx(bundle))
    with pytest.raises(ModelError, match="cannot write this model as ONNX") as refused:
        export_onnx(bundle_on(Undecided(), 16, 3), tmp_path / "a.onnx")
    assert "\n" not in str(refused.value)
    assert not list(tmp_path.iterdir())


def test_what_the_file_says_of_itself(bundle: Bundle, content: bytes) -> None:
    session = onnxruntime.InferenceSession(content)
    described = session.get_modelmeta().custom_metadata_map
    assert json.loads(described["classes"]) == list(CLASSES)
    assert described["side"] == "16"
    assert "LANCZOS" in described["resizing"]
    assert described["tercet"]
    (images,) = session.get_inputs()
    assert (images.name, images.type, images.shape) == ("images", "tensor(uint8)", ["batch", 16, 16, 3])
    assert [(output.name, output.shape) for output in session.get_outputs()] == [
        ("embeddings", ["batch", 8]),
        ("probabilities", ["batch", 3]),
    ]
    onnx.checker.check_model(content, full_check=True)
    assert not any(tensor.external_data for tensor in onnx.load_from_string(content).graph.initializer)  # all is inside
    assert str(Path(export.__file__).parent.parent).encode() not in content  # no paths of the machine it was made on


def test_no_images_give_no_embeddings(content: bytes) -> None:
    found = onnxruntime.InferenceSession(content).run(None, {"images": np.empty((0, 16, 16, 3), np.uint8)})
    assert [output.shape for output in found] == [(0, 8), (0, 3)]


def test_exporting_again_is_quiet_gives_the_same_bytes_and_leaves_the_bundle_as_it_was(
    bundle: Bundle, content: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    before = {name: tensor.clone() for name, tensor in bundle.encoder.state_dict().items()}
    level, filters = logging.getLogger("torch.onnx").level, list(warnings.filters)
    assert to_onnx(bundle) == content
    assert capfd.readouterr() == ("", "")
    assert (logging.getLogger("torch.onnx").level, list(warnings.filters)) == (level, filters)
    assert all(torch.equal(tensor, before[name]) for name, tensor in bundle.encoder.state_dict().items())
    assert not bundle.encoder.training


def changed(content: bytes, name: str, change: float | np.ndarray) -> bytes:
    """The model with something added to all numbers of one weight."""
    model = onnx.load_from_string(content)
    (weight,) = [tensor for tensor in model.graph.initializer if tensor.name == name]
    weight.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weight) + np.float32(change), name))
    return model.SerializeToString()


@pytest.mark.parametrize(
    ("weight", "change", "says"),
    [
        ("encoder.backbone.project.weight", 0.1, "gives embeddings that differ by"),
        ("head.layers.2.bias", np.array([0, 1e-3, 0]), "gives probabilities that differ by"),
        ("head.layers.2.bias", np.nan, "gives probabilities that differ by nan"),
    ],
)
def test_a_file_that_gives_something_else_is_not_written(
    bundle: Bundle,
    content: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    weight: str,
    change: float | np.ndarray,
    says: str,
) -> None:
    monkeypatch.setattr(export, "to_onnx", lambda _: changed(content, weight, change))
    (tmp_path / "kept.onnx").write_bytes(b"precious")
    for file in ("new.onnx", "kept.onnx"):
        with pytest.raises(ModelError, match=says):
            export_onnx(bundle, tmp_path / file)
    assert [path.name for path in tmp_path.iterdir()] == ["kept.onnx"]
    assert (tmp_path / "kept.onnx").read_bytes() == b"precious"


def test_another_class_counts_where_it_leads_by_more_than_rounding(bundle: Bundle, content: bytes) -> None:
    expected = np.array([[0.5, 0.5, 0], [0.50003, 0.49997, 0]], np.float32)
    found = np.array([[0.4999999, 0.5000001, 0], [0.49999, 0.50001, 0]], np.float32)
    assert export._other_classes(found, expected) == 1
    assert export._other_classes(expected, expected) == 0
    with pytest.raises(ModelError, match="cannot load the exported model"):
        compare(bundle, content[:-100])


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_without_the_extra(
    package: str, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle.save(tmp_path / "model")
    monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed
    assert main(["export", "--model", str(tmp_path / "model"), "--onnx", str(tmp_path / "a.onnx")]) == 1
    assert capsys.readouterr().err == (
        f"tercet: found no {package}, which an export needs; install it: pip install 'tercet[export]'.\n"
    )
    assert not (tmp_path / "a.onnx").exists()


@pytest.mark.slow
def test_the_command_compares_on_the_test_part_and_says_nothing_else(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a process of its own: the exporter says most when it is first used."""
    folder = write_folder(tmp_path / "my pictures", 10)
    bundle.save(tmp_path / "run" / "model")
    file = tmp_path / "größer und schöner.onnx"
    command = ["export", "--model", str(tmp_path / "run"), "--onnx", str(file), "--check"]
    line = [sys.executable, "-m", "tercet", *command, str(folder)]
    finished = subprocess.run(line, capture_output=True, encoding="utf-8", check=False)
    assert (finished.returncode, finished.stderr) == (0, "")
    assert finished.stdout.startswith(
        f"{file}: ONNX Runtime agrees; on 16 images of noise and 6 test images embeddings"
    )
    assert finished.stdout.count("\n") == 1
    picture = next(folder.rglob("*.png"))
    pixels = np.asarray(Image.open(picture).resize((16, 16), Image.Resampling.LANCZOS, reducing_gap=3.0))[None]
    found = onnxruntime.InferenceSession(file).run(["probabilities"], {"images": pixels})[0]
    np.testing.assert_allclose(found, load_bundle(tmp_path / "run").predict_proba([picture]), atol=1e-5)
    assert main([*command, str(tmp_path / "nowhere")]) == 1
    assert "found nothing at" in capsys.readouterr().err


def test_a_path_that_cannot_be_written(
    bundle: Bundle, content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "to_onnx", lambda _: content)
    (tmp_path / "folder.onnx").mkdir()
    for file in (tmp_path / "folder.onnx", tmp_path / "nowhere" / "a.onnx"):
        with pytest.raises(DataError, match=r"--onnx .* cannot be written \(.*\); give another path"):
            export_onnx(bundle, file)
    assert not list(tmp_path.parent.glob("*.part"))
    with pytest.raises(UsageError, match=r"--onnx is model\.safetensors; expected a name that ends in \.onnx"):
        export_onnx(bundle, "model.safetensors")
