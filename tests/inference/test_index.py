"""The index over files: what is embedded when, which models may search it, what is not to be read."""

import logging
import os
import shutil
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bundles import new_bundle, small_bundle
from pictures import write_folder
from tercet.errors import DataError, ModelError, UsageError
from tercet.inference import images
from tercet.inference.images import image_paths
from tercet.inference.index import Changes, Index, fingerprint, update
from tercet.model.bundle import Bundle, load_bundle
from tercet.model.head import Head


@pytest.fixture(scope="module")
def bundle():
    return small_bundle()


@pytest.fixture
def model(bundle, tmp_path):
    bundle.save(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def photos(tmp_path):
    return write_folder(tmp_path / "my photos", 4)


@pytest.fixture
def saved(photos, model, tmp_path):
    """An index of twelve images."""
    update(str(tmp_path / "index"), str(model), add=[str(photos)], remove=[])
    return tmp_path / "index"


def test_a_path_is_kept_in_its_shortest_form(photos, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Index.create("index", model) as index:
        assert index.add(["./my photos/plain/000.png", "my photos/plain/000.png"]).added == 1
        assert index.query(["my photos/plain/000.png"], k=1)[0][0].path == "my photos/plain/000.png"
        assert index.remove(["./my photos/plain/000.png"]).removed == 1


def paths_of(folder):
    return sorted(str(path) for path in folder.rglob("*.png"))


def test_finds_each_image_itself_and_the_others_by_distance(photos, saved, bundle):
    paths = paths_of(photos)
    embeddings = bundle.embed(paths)
    every = np.square(embeddings[:, None] - embeddings[None]).sum(2)  # [N, N]
    with Index.open(saved) as index:
        assert len(index) == 12
        found = index.query(paths, k=12)
    for row, (path, matches) in enumerate(zip(paths, found, strict=True)):
        assert matches[0].path == path
        assert matches[0].distance == pytest.approx(0, abs=1e-9)
        assert [match.path for match in matches] == [paths[other] for other in every[row].argsort()]
        np.testing.assert_allclose([match.distance for match in matches], np.sort(every[row]), atol=1e-5)


def test_queries_are_arrays_and_pictures_too_and_k_may_be_large(photos, saved):
    path = paths_of(photos)[0]
    with Image.open(path) as picture, Index.open(saved) as index:
        by_path, by_picture, by_array = (
            index.query(images, 100) for images in ([path], [picture], np.array([picture]))
        )
        assert by_path == by_picture == by_array
        assert len(by_path[0]) == 12
        assert index.query([]) == []
        assert len(index.query([path])[0]) == 10
        with pytest.raises(UsageError, match=r"^-k is 0; expected 1 or more\.$"):
            index.query([path], 0)
        with pytest.raises(DataError, match=r"nowhere\.png"):
            index.query(["nowhere.png"])


def test_only_what_is_new_or_has_changed_is_embedded(photos, saved, monkeypatch):
    changed, *_, last = paths_of(photos)
    Image.new("RGB", (32, 32), "red").save(changed)
    Image.new("L", (32, 32)).save(photos / "grey and new.png")
    seen = []
    embed = Bundle.embed
    monkeypatch.setattr(Bundle, "embed", lambda bundle, images: seen.append(len(images)) or embed(bundle, images))
    with Index.open(saved) as index:
        assert index.add([photos, last]) == Changes(added=1, replaced=1, unchanged=12)
        assert seen == [2]
        assert index.query([changed])[0][0] == (changed, pytest.approx(0, abs=1e-9))  # before it is saved
        index.save()
        assert index.add([photos]) == Changes(unchanged=13)
    os.utime(last)
    assert update(str(saved), None, add=[str(photos)], remove=[]) == (Changes(replaced=1, unchanged=12), 13)


def test_a_path_named_twice_is_one_entry(photos, bundle, tmp_path):
    path = paths_of(photos)[0]
    with Index.create(tmp_path / "twice", bundle) as index:
        assert index.add([path, path]).added == 1
        assert len(index) == 1


def test_what_cannot_be_read_is_logged_and_the_rest_is_done(photos, saved, caplog):
    old = paths_of(photos)[0]
    Path(old).write_text("a letter")
    Image.new("CMYK", (40, 20)).save(photos / "print.jpg")
    Image.new("F", (8, 8)).save(photos / "float.tif")
    Image.new("RGB", (1, 1)).save(photos / "dot.png")
    Image.new("RGB", (3000, 2), "blue").save(photos / "thread.png")
    with caplog.at_level(logging.ERROR), Index.open(saved) as index:
        changes = index.add([photos, "nowhere.png"])
        assert changes == Changes(added=3, unchanged=11, failed=3)
        assert index.query([Image.new("RGB", (8, 8))], 99)[0][-1].path  # all are there, the unreadable one as it was
        assert len(index) == 15
    assert sorted(message.split(": ")[1] for message in caplog.messages) == sorted(
        [old, str(photos / "float.tif"), "nowhere.png"]
    )


def test_removal_by_file_and_folder_whether_they_are_there_or_not(photos, saved, caplog):
    shutil.rmtree(photos / "plain")
    file = str(photos / "checks/000.png")
    with Index.open(saved) as index:
        assert index.remove([photos / "plain", file, "elsewhere"]) == Changes(removed=5, failed=1)
        assert len(index) == 7
        assert file not in {match.path for match in index.query([file], 99)[0]}
    assert caplog.messages == ["tercet: elsewhere: not in the index"]


def test_removal_comes_after_adding(photos, model, tmp_path):
    inside = [str(photos / "plain")]
    found = update(str(tmp_path / "index"), str(model), add=[str(photos)], remove=inside)
    assert found == (Changes(added=12, removed=4), 8)


def test_another_model_is_refused_in_one_sentence(saved, model, tmp_path):
    new_bundle("fast", 16, seed=1).save(tmp_path / "other")
    expected = r"index was made by another model than .*other; give the one it was made by, or make a new index\.$"
    with pytest.raises(ModelError, match=expected):
        Index.open(saved, tmp_path / "other")
    with pytest.raises(ModelError, match="than the one given"):
        Index.open(saved, new_bundle("fast", 16, seed=1))


def test_a_model_that_has_moved_is_named_and_then_remembered(photos, saved, model, tmp_path):
    model.rename(tmp_path / "moved")
    with pytest.raises(
        ModelError, match=r"made by the model in .*model, which is not there; give its new place: --model\.$"
    ):
        Index.open(saved)
    with Index.open(saved, tmp_path / "moved") as index:
        assert len(index) == 12
    update(str(saved), str(tmp_path / "moved"), add=paths_of(photos)[:1], remove=[])
    with Index.open(saved) as index:
        assert len(index) == 12


def test_a_model_in_the_home_folder_is_found_again(photos, model, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(model.parent))
    update(str(tmp_path / "new"), f"~/{model.name}", add=[str(photos)], remove=[])
    monkeypatch.undo()
    assert len(Index.open(tmp_path / "new"))


def test_an_index_of_a_bundle_in_memory_asks_for_it_again(bundle, photos, tmp_path):
    with Index.create(tmp_path / "index", bundle) as index:
        index.add([photos])
        index.save()
    with pytest.raises(ModelError, match="does not know where its model lies"):
        Index.open(tmp_path / "index")
    with Index.open(tmp_path / "index", bundle) as index:
        assert len(index) == 12


def test_the_fingerprint_is_that_of_the_encoder(bundle, model):
    assert fingerprint(load_bundle(model)) == fingerprint(bundle)
    other_head = replace(bundle, head=Head(8, 3, 7), classes=("a", "b", "c"), settings={**bundle.settings, "hidden": 7})
    assert fingerprint(other_head) == fingerprint(bundle)
    assert fingerprint(new_bundle("fast", 16, seed=1)) != fingerprint(bundle)
    assert fingerprint(replace(bundle, settings={**bundle.settings, "normalize": False})) != fingerprint(bundle)


def test_nothing_to_do_and_nothing_to_make_an_index_of_are_said(photos, saved, model, tmp_path):
    new = str(tmp_path / "new")
    with pytest.raises(UsageError, match=r"there is no index in .* yet; to make it, name the images\.$"):
        update(new, str(model), add=[], remove=["a"])
    with pytest.raises(UsageError, match="found nothing to do"):
        update(str(saved), None, add=[], remove=[])
    with pytest.raises(DataError, match="found no readable image in nowhere"):
        update(new, str(model), add=["nowhere"], remove=[])
    assert not Path(new).exists()


@pytest.mark.parametrize(("error", "kept"), [(KeyboardInterrupt, 4), (RuntimeError, 0)])
def test_an_interrupted_update_keeps_what_it_has_embedded(error, kept, photos, model, tmp_path, monkeypatch):
    monkeypatch.setattr(images, "CHUNK", 4)

    def stop(done, total):
        assert (done, total) == (4, 12)
        raise error

    folder = str(tmp_path / "index")
    with pytest.raises(error):
        update(folder, str(model), add=[str(photos)], remove=[], on_progress=stop)
    found, count = update(folder, str(model), add=[str(photos)], remove=[])
    assert (found, count) == (Changes(added=12 - kept, unchanged=kept), 12)


def test_progress_reaches_the_end(photos, bundle, tmp_path, monkeypatch):
    monkeypatch.setattr(images, "CHUNK", 5)
    seen = []
    with Index.create(tmp_path / "index", bundle) as index:
        index.add([photos], lambda done, total: seen.append((done, total)))
        assert seen == [(5, 12), (10, 12), (12, 12)]
        seen.clear()
        index.add([photos], lambda done, total: seen.append((done, total)))
        assert seen == [(12, 12)]


@pytest.mark.slow
def test_many_files_need_no_more_memory_than_few(bundle, tmp_path, monkeypatch):
    """Bytes that Python holds at most while an index of 100 and one of 800 links to one image are made."""
    Image.new("RGB", (16, 16), "green").save(tmp_path / "image.png")
    monkeypatch.setattr(images, "CHUNK", 16)
    monkeypatch.setattr("tercet.data.parallel.BATCH_FILES", 16)
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    peaks = []
    for count in (100, 800):
        folder = tmp_path / f"{count}"
        folder.mkdir()
        paths = [folder / f"{number}.png" for number in range(count)]
        for path in paths:
            path.symlink_to(tmp_path / "image.png")
        with Index.create(tmp_path / f"index {count}", bundle) as index:
            index.add(paths[:50])
            tracemalloc.start()
            index.add(image_paths([str(folder)]))
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0] + 200_000, peaks
