"""Whatever lies in a file, a request or a setting: it is taken, or refused by an error of its kind, and by no other."""

import json
from contextlib import suppress
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from safetensors.torch import load, save
from torch import nn

from bundles import small_bundle
from inference.service import test_uploads
from official import batch, pickled
from reliability.tiers import counts, for_all
from tercet.config import CHOICES, Config, resolve
from tercet.data import cache
from tercet.data.cifar10 import _combined, _read_batch
from tercet.data.folder import Reading
from tercet.data.imageset import ImageSet
from tercet.errors import DataError, ModelError, UsageError
from tercet.files import read_sealed, write_sealed
from tercet.inference.gallery import Gallery, Stamp
from tercet.model.bundle import load_bundle
from tercet.run_folder import RunFolder
from tercet.training.checkpoint import PROGRESS, Checkpoint, TrainingState

pytestmark = pytest.mark.usefixtures("unchecked")  # annotations are checked in tests only, and not where it counts

# Whole numbers are small or beyond any memory: a network of a size between would be built.
NUMBERS = st.integers(-3, 300) | st.integers(2**62, 2**70) | st.floats()
SCALARS = st.none() | st.booleans() | NUMBERS | st.text(max_size=8)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner))


@st.composite
def harmed_bytes(draw, content):
    """Up to eight bytes changed, and perhaps the end cut off."""
    content = bytearray(content)
    anywhere, near_the_ends = st.integers(0, len(content) - 1), st.integers(-min(200, len(content)), 99)
    for place in draw(st.lists(anywhere | near_the_ends, min_size=1, max_size=8)):
        place %= len(content)
        content[place] = draw(st.integers(0, 255))
    return bytes(content[: draw(st.integers(0, len(content)) | st.just(len(content)))])


@st.composite
def harmed_json(draw, text):
    """The text of a JSON object with bytes changed, an entry changed or gone, or something else in its place."""
    found = json.loads(text)
    name, how = (
        draw(st.sampled_from(sorted(found))),
        draw(st.sampled_from(["bytes", "value", "inner", "gone", "other"])),
    )
    if how == "bytes":
        return draw(harmed_bytes(text.encode()))
    if how == "inner" and isinstance(found[name], dict) and found[name]:
        found[name] = {**found[name], draw(st.sampled_from(sorted(found[name]))): draw(VALUES)}
    elif how == "gone":
        del found[name]
    else:
        found = draw(VALUES) if how == "other" else {**found, name: draw(VALUES)}
    return json.dumps(found).encode()


@counts(few=30, full=500)
def test_the_description_of_a_model(count, tmp_path):
    small_bundle().save(tmp_path)
    file = tmp_path / "config.json"

    @for_all(count, content=harmed_json(file.read_text()))
    def holds(content):
        file.write_bytes(content)
        with suppress(ModelError):
            load_bundle(tmp_path).predict(np.zeros((1, 16, 16, 3), np.uint8))


@counts(few=30, full=500)
def test_the_record_of_a_run(count, tmp_path):
    RunFolder(tmp_path).describe({"epochs": 4}, Config(), {"name": "digits", "fingerprint": "f00d"}, "tercet run")
    file = tmp_path / "run.json"

    @for_all(count, content=harmed_json(file.read_text()))
    def holds(content):
        file.write_bytes(content)
        with suppress(UsageError), RunFolder(tmp_path) as folder:
            begun = folder.claim({"epochs": 4}, "f00d", overwrite=False)
            assert begun["asked"] == {"epochs": 4}
            replace(Config(), encoder=begun["config"].get("encoder"), precision=begun["precision"])  # as `prepare` does


@counts(few=30, full=500)
def test_the_description_of_an_index(count, tmp_path):
    gallery = Gallery.create(tmp_path, 2, model="runs/a", fingerprint="f00d")
    gallery.put([("a", Stamp(1, 1)), ("b", Stamp(1, 1))], np.eye(2, dtype=np.float32))
    gallery.save()
    gallery.close()
    file = tmp_path / "index.json"

    @for_all(count, content=harmed_json(file.read_text()))
    def holds(content):
        file.write_bytes(content)
        with suppress(ModelError):
            opened = Gallery.open(tmp_path)
            assert [match.path for match in opened.nearest(np.eye(1, 2, dtype=np.float32), 2)[0]] == ["a", "b"]
            opened.close()


def harmed_tensors(content, metadata):
    """A safetensors file with bytes changed, in the header as often as elsewhere, or with other metadata."""
    tensors, begin = load(content), 8 + int.from_bytes(content[:8], "little")
    return st.one_of(
        harmed_bytes(content),
        harmed_bytes(content[:begin]).map(lambda header: header + content[begin:]),
        *(
            harmed_json(text).map(lambda other, name=name: save(tensors, {**metadata, name: other.decode("latin-1")}))
            for name, text in metadata.items()
            if text.startswith("{")
        ),
    )


def metadata_of(content):
    size = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + size])["__metadata__"]


@counts(few=30, full=500)
def test_a_checkpoint(count, tmp_path):
    def state():
        network = nn.Linear(2, 2)
        return TrainingState(network, nn.Linear(2, 2), [torch.optim.SGD(network.parameters(), 0.1)])

    Checkpoint(tmp_path, "key").save(state())
    (file,) = tmp_path.iterdir()
    whole, content = file.read_bytes(), read_sealed(file)
    tensors, metadata = load(content), metadata_of(content)
    progress = tensors[PROGRESS].numpy().tobytes().decode()

    def with_progress(other):
        return save({**tensors, PROGRESS: torch.tensor(list(other), dtype=torch.uint8)}, metadata)

    @for_all(count, harmed=harmed_bytes(whole), sealed=st.none() | harmed_json(progress).map(with_progress))
    def holds(harmed, sealed):
        if sealed is None:
            file.write_bytes(harmed)
        else:
            write_sealed(file, sealed)
        with suppress(ModelError):
            Checkpoint(tmp_path, "key").restore(state())


@counts(few=30, full=500)
def test_a_file_of_the_cache(count, tmp_path):
    images = ImageSet(
        torch.arange(24, dtype=torch.uint8).reshape(2, 3, 2, 2), torch.tensor([0, 1]), ("a", "b"), ("1", "2")
    )
    file = tmp_path / "a.safetensors"
    cache.save(file, Reading({"train": images}, 2, ()))
    content = file.read_bytes()

    @for_all(count, harmed=harmed_tensors(content, metadata_of(content)))
    def holds(harmed):
        file.write_bytes(harmed)
        reading = cache.load(file)
        assert reading is None or reading.parts["train"].fingerprint() == images.fingerprint()


@counts(few=30, full=500)
def test_the_batches_of_cifar10(count):
    rows, labels = batch("data_batch_1")
    plain = np.column_stack([labels, rows]).astype(np.uint8).tobytes()
    kinds = {"data_batch_1.bin": plain, "data_batch_1": pickled(rows, labels)}

    @for_all(
        count,
        batch=st.sampled_from(sorted(kinds)).flatmap(lambda name: st.tuples(st.just(name), harmed_bytes(kinds[name]))),
    )
    def holds(batch):
        with suppress(DataError):
            found = _combined([_read_batch(*batch)])
            assert found["images"].shape == (len(found["labels"]), 32, 32, 3)


@counts(few=100, full=500)
def test_any_value_of_any_setting(count):
    names = [field.name for field in fields(Config)]
    settings = st.dictionaries(st.sampled_from(names), VALUES | st.sampled_from(sum(CHOICES.values(), ())), max_size=4)

    @for_all(count, settings=settings)
    def holds(settings):
        with suppress(UsageError):
            resolve(Config(**settings), image_count=100, size=32, flip=True)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
@counts(few=5, full=500)
def test_an_uploaded_image(count, kind):
    property_of_one = test_uploads.test_damaged_images_are_read_or_refused.hypothesis.inner_test
    for_all(count, data=st.data())(lambda data: property_of_one(kind=kind, data=data))


@counts(few=5, full=500)
def test_an_uploaded_form(count):
    kinds = st.just("multipart/form-data; boundary=x") | st.text(st.characters(codec="latin-1"), max_size=40)
    property_of_one = test_uploads.test_damaged_forms_are_read_or_refused.hypothesis.inner_test
    for_all(count, kind=kinds, data=st.data())(lambda kind, data: property_of_one(kind=kind, data=data))
