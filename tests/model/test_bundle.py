import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from huggingface_hub import snapshot_download
from PIL import Image

from tercet.data.folder import read_folder
from tercet.errors import ModelError
from tercet.model.bundle import Bundle, load_bundle
from tercet.model.encoder import new_encoder
from tercet.model.fast import FastBackbone
from tercet.model.head import Head
from zoo import write_zoo


@pytest.fixture(scope="module")
def make_bundle(tiny_set):
    """A function that makes a Bundle of size 16 for the images of 12: they must be brought to the encoder's size."""

    def make(name):
        shape = {"dimensions": 8, "widths": [4, 8], "normalize": True, "mirrored": True}
        images = torch.nn.functional.pad(tiny_set.images, (2, 2, 2, 2))
        generator = torch.Generator().manual_seed(0)
        encoder = new_encoder(name, images, tiny_set.channel_statistics(), size=16, **shape, generator=generator)
        encoder.train()(images)  # statistics that a fresh encoder has not
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            head = Head(8, 2, 5)
        head.mean.fill_(0.1)
        settings = {"encoder": name, **shape, "size": 16, "hidden": 5}
        return Bundle(encoder.eval(), head.eval(), tiny_set.classes, settings)

    return make


@pytest.fixture(scope="module")
def bundle(make_bundle):
    return make_bundle("fast")


@pytest.fixture
def saved(bundle, tmp_path):
    bundle.save(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def pictures(tiny_set):
    """Six images as an uint8 array [N, H, W, 3]."""
    return np.ascontiguousarray(tiny_set.images[:6].permute(0, 2, 3, 1).numpy())


def test_predicts_names_from_probabilities(bundle, pictures):
    probabilities = bundle.predict_proba(pictures)
    assert probabilities.shape == (6, 2)
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-6)
    assert bundle.predict(pictures) == [bundle.classes[index] for index in probabilities.argmax(1)]
    embeddings = bundle.embed(pictures)
    assert embeddings.shape == (6, 8)
    assert embeddings.dtype == np.float32
    np.testing.assert_array_equal(bundle.probabilities(torch.from_numpy(embeddings)).numpy(), probabilities)


@pytest.mark.parametrize("name", ["fast", "classic"])
def test_a_loaded_bundle_predicts_exactly_the_same(make_bundle, name, pictures, tmp_path):
    bundle = make_bundle(name)
    bundle.save(tmp_path / "run" / "model")
    for folder in (tmp_path / "run" / "model", str(tmp_path / "run")):
        loaded = load_bundle(folder)
        np.testing.assert_array_equal(loaded.embed(pictures), bundle.embed(pictures))
        np.testing.assert_array_equal(loaded.predict_proba(pictures), bundle.predict_proba(pictures))
        assert loaded.classes == bundle.classes
        assert not loaded.encoder.training
        assert loaded.settings == bundle.settings


def test_saving_again_gives_the_same_bytes(saved, tmp_path):
    load_bundle(saved).save(tmp_path / "again")
    for path in saved.iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()


def test_a_copy_and_what_a_hub_hands_out_load_alike(bundle, saved, pictures, tmp_path):
    """A hub's snapshot is links into a store of blobs."""
    shutil.copytree(saved, tmp_path / "elsewhere ü" / "copy")
    store = tmp_path / "hub" / "models--somebody--pets"
    for folder in ("blobs", "refs", "snapshots/0a1b"):
        (store / folder).mkdir(parents=True)
    (store / "refs" / "main").write_text("0a1b")
    for number, path in enumerate(saved.iterdir()):
        shutil.copy(path, store / "blobs" / str(number))
        (store / "snapshots/0a1b" / path.name).symlink_to(f"../../blobs/{number}")
    snapshot = snapshot_download("somebody/pets", cache_dir=tmp_path / "hub", local_files_only=True)
    shutil.rmtree(saved)
    for folder in (tmp_path / "elsewhere ü" / "copy", snapshot):
        np.testing.assert_array_equal(load_bundle(folder).predict_proba(pictures), bundle.predict_proba(pictures))
    (store / "blobs" / "0").unlink()
    with pytest.raises(ModelError, match=r"found no model in|is damaged"):
        load_bundle(snapshot)


def test_the_folder_holds_no_pickle(saved):
    assert sorted(path.name for path in saved.iterdir()) == ["config.json", "model.safetensors"]
    weights = (saved / "model.safetensors").read_bytes()
    assert weights[8:9] == b"{"  # eight bytes of length, then JSON
    assert not weights.startswith((b"\x80", b"PK"))


def test_arrays_pictures_and_paths_give_the_same(bundle, pictures, tmp_path):
    images = [Image.fromarray(picture) for picture in pictures]
    paths = [tmp_path / f"{index}.png" for index in range(len(images))]
    for image, path in zip(images, paths, strict=True):
        image.save(path)
    wanted = bundle.embed(pictures)
    for given in (images, paths, list(map(str, paths)), list(pictures), [images[0], paths[1], *pictures[2:]]):
        np.testing.assert_array_equal(bundle.embed(given), wanted)


def test_gray_arrays_and_pictures_are_read_as_rgb(bundle, pictures):
    gray = pictures[..., 0]
    wanted = bundle.embed(np.repeat(gray[..., None], 3, axis=3))
    np.testing.assert_array_equal(bundle.embed(gray), wanted)
    np.testing.assert_array_equal(bundle.embed([Image.fromarray(picture) for picture in gray]), wanted)


def test_no_images_give_no_predictions(bundle):
    assert bundle.predict([]) == []
    assert bundle.embed([]).shape == (0, 8)


def test_a_folder_without_a_model(tmp_path):
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(ModelError, match=r"found no model in .*; expected a run folder, a model folder"):
            load_bundle(folder)


def test_a_run_of_several_seeds_names_one_of_them(bundle, tmp_path):
    for seed in (0, 1):
        (tmp_path / f"seed-{seed}").mkdir()
        bundle.save(tmp_path / f"seed-{seed}" / "model")
    with pytest.raises(ModelError, match=r"expected one of its seeds, such as .*seed-0\.$"):
        load_bundle(tmp_path)


def test_a_run_without_its_model_says_what_to_do(tmp_path):
    for name, says in (("run.json", "a finished run: give the command"), ("results.json", "its model/ folder")):
        (tmp_path / name).write_text("{}")
        with pytest.raises(ModelError, match=f"; expected {says}"):
            load_bundle(tmp_path)


def test_it_says_what_it_is_without_its_weights(bundle):
    assert repr(bundle) == "Bundle(fast, 16 pixels -> 8 numbers, 2 classes)"


def changed(**values):
    """Damage that gives keys of `config.json` other values, or removes those given None, where no digest tells."""

    def damage(folder):
        settings = json.loads((folder / "config.json").read_text()) | {"format": 1, "sha256": None} | values
        (folder / "config.json").write_text(json.dumps({k: v for k, v in settings.items() if v is not None}))

    return damage


def overwritten(name, content):
    return lambda folder: (folder / name).write_bytes(content)


DAMAGES = {
    "weights cut short": lambda folder: (folder / "model.safetensors").write_bytes(
        (folder / "model.safetensors").read_bytes()[:-100]
    ),
    "weights missing": lambda folder: (folder / "model.safetensors").unlink(),
    "weights empty": overwritten("model.safetensors", b""),
    "settings cut short": overwritten("config.json", b'{"format": 1,'),
    "settings no text": overwritten("config.json", b"\xff\xfe"),
    "settings a list": overwritten("config.json", b"[]"),
    "settings null": overwritten("config.json", b"null"),
    "no format": changed(format=None),
    "no classes": changed(classes=None),
    "no head": changed(hidden=None),
    "unknown encoder": changed(encoder="unheard of"),
    "another class": changed(classes=["bar", "row", "dot"]),
    "other dimensions": changed(dimensions=9),
    "dimensions in words": changed(dimensions="many"),
    "no widths": changed(widths=[]),
    "dimensions of a fraction": changed(dimensions=8.0),
    "more pixels than any memory": changed(size=10**9),
    "wider than any memory": changed(widths=[10**9, 10**9]),
    "a setting that nobody knows": changed(depth=3),
    "a digest under format 1": changed(sha256="f00d"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_folder_is_named_in_one_sentence(saved, damage):
    damage(saved)
    with pytest.raises(ModelError, match="is damaged") as refused:
        load_bundle(saved)
    assert str(saved) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_mirrored_filters_of_an_odd_number_are_damage(make_bundle, tmp_path):
    odd = make_bundle("fast")
    odd.encoder.backbone = FastBackbone(8, (4, 7), mirrored=True)
    odd.settings["widths"] = [4, 7]
    odd.save(tmp_path / "model")
    with pytest.raises(ModelError, match="is damaged"):
        load_bundle(tmp_path / "model")


def test_a_change_that_fits_is_noticed_by_the_digest(bundle, saved, pictures):
    """Other names, settings and numbers than were saved, all of them valid."""
    files = {path: path.read_bytes() for path in saved.iterdir()}
    config, weights = saved / "config.json", saved / "model.safetensors"
    changed_since = r"is damaged: config\.json or model\.safetensors is not as it was saved"
    for path, harmed, reason in {
        "a class": (config, files[config].replace(b"bar", b"car"), changed_since),
        "a setting": (config, files[config].replace(b"true", b"false"), "is damaged"),  # noticed by the weights' shapes
        "a number": (weights, files[weights][:-1] + bytes([files[weights][-1] ^ 1]), changed_since),
        "more": (weights, files[weights] + b" ", changed_since),
    }.values():
        assert harmed != files[path]
        path.write_bytes(harmed)
        with pytest.raises(ModelError, match=reason):
            load_bundle(saved)
        path.write_bytes(files[path])
    config.write_text(json.dumps(json.loads(files[config]), sort_keys=True))  # says the same
    np.testing.assert_array_equal(load_bundle(saved).predict_proba(pictures), bundle.predict_proba(pictures))


def test_images_are_read_as_in_training_whatever_they_come_as(bundle, tmp_path):
    """File, open picture and array of the zoo, for a network of 64: the same pixels as the folder's reading."""
    large = replace(bundle, settings=bundle.settings | {"size": 64})
    read = read_folder(write_zoo(tmp_path / "zoo"), size=64).parts["train"]
    files = [tmp_path / "zoo" / path for path in read.paths]
    assert large.side == read.images.shape[-1] == 73
    assert torch.equal(large.pixels(files), read.images)
    small = [position for position, file in enumerate(files) if file.name != "camera.jfif"]  # it is decoded at a half
    assert torch.equal(large.pixels([Image.open(files[position]) for position in small]), read.images[small])
    assert torch.equal(large.pixels(read.images.permute(0, 2, 3, 1).numpy()), read.images)
