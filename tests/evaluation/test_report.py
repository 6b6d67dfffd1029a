import csv
import json
import re
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser

import numpy as np
import pytest
import torch

from tercet.data.imageset import ImageSet
from tercet.errors import ModelError
from tercet.evaluation.examples import save_examples, save_thumbnails
from tercet.evaluation.figures import write_figures
from tercet.evaluation.report import write_report
from tercet.evaluation.report_sections import METHODS
from tercet.evaluation.results import write_predictions
from tercet.files import write_arrays

PNG = b"\x89PNG no picture, but bytes"
VOID = {"meta", "img", "input"}


class Page(HTMLParser):
    """The text, links and tags of a page; fails on a tag that is not closed in order."""

    def __init__(self, path):
        super().__init__()
        self.words, self.addresses, self.tags, self.attributes, self.open = [], [], [], [], []
        self.feed(path.read_text(encoding="utf-8"))
        assert not self.open
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes.append((tag, dict(attributes)))
        self.addresses += [value for name, value in attributes if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def figures(accuracy, classes=("cat", "dog"), count=100):
    return {
        "test_accuracy": accuracy,
        "ci95": [accuracy - 0.05, accuracy + 0.05],
        "balanced_accuracy": accuracy,
        "macro_f1": accuracy,
        "fit_seconds": 12.5,
        "per_class": {name: {"n": count, "recall": accuracy} for name in classes},
    }


def make_results(classes=("cat", "dog"), count=100, **data):
    accuracies = dict(zip(METHODS, (0.9, 0.88, 0.87, 0.8, 0.6, 0.5), strict=True))
    return {
        "data": {
            "name": "pets",
            "fingerprint": "abc123",
            "classes": list(classes),
            "n_test": 200,
            "skipped": 0,
            **data,
        },
        "methods": {name: figures(accuracy, classes, count) for name, accuracy in accuracies.items()},
        "retrieval": {"recall@1": 0.91, "map@r": 0.72},
        "calibration_error": 0.03,
        "verdict": "Ahead of the CNN & all.",
        "timing": {"encoder_seconds": 12.0},
        "peak_memory_bytes": 2**30,
    }


def make_run(folder, results, pictures=("tsne", "accuracy", "loss", "confusion")):
    (folder / "figures").mkdir(parents=True)
    for name in pictures:
        (folder / "figures" / f"{name}.png").write_bytes(PNG)
    (folder / "results.json").write_text(json.dumps(results))
    run = {"command": "tercet run pets --out runs/pets", "config": {"epochs": 4}, "seed": 7, "commit": None}
    (folder / "run.json").write_text(json.dumps({**run, "machine": {"torch": "2.13.0", "memory_bytes": 2**34}}))
    with (folder / "predictions.csv").open("w", newline="", encoding="utf-8", errors="replace") as file:
        rows = [[index, "", results["data"]["classes"][0], results["data"]["classes"][1], 0.9] for index in range(3)]
        csv.writer(file).writerows([["index", "path", "label", "predicted", "probability"], *rows])
    return folder


def with_pictures(run, shown=6, count=6, side=8):
    """What `judge` saves beside: images of noise, which compress worst, a class each in turn, half of them mistaken."""
    generator = torch.Generator().manual_seed(0)
    classes = tuple(json.loads((run / "results.json").read_text())["data"]["classes"])
    labels = torch.arange(count) % len(classes)
    images = torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=generator)
    test = ImageSet(
        images, labels, classes, tuple(f"photos/of a kind/IMG_2024_{index:05}.jpeg" for index in range(count))
    )
    probabilities = torch.eye(len(classes))[(labels + torch.arange(count) // len(classes)) % len(classes)]
    embeddings = torch.randn(count, 4, generator=generator)
    write_predictions(run / "predictions.csv", test, probabilities)
    points = torch.randn(shown, 2, generator=generator).numpy()
    write_arrays(run / "tsne.npz", points=points, labels=labels[:shown].numpy(), indices=np.arange(shown))
    save_thumbnails(run, test, torch.arange(shown))
    save_examples(run, (test, embeddings), (test, embeddings), probabilities, seed=0)
    return run


def test_the_page_holds_verdict_methods_figures_and_how_to_repeat(tmp_path):
    path = write_report(make_run(tmp_path / "run", make_results()))
    page = Page(path)
    assert path == tmp_path / "run" / "report.html"
    for title, meaning in METHODS.values():
        assert title in page.text
        assert meaning in page.text
    for expected in ("Ahead of the CNN & all.", "tercet run pets --out runs/pets", "abc123", "16.0 GiB", "2.13.0"):
        assert expected in page.text
    assert "triplet encoder + MLP head (best)" in page.text
    assert "85.0 – 95.0" in page.text
    assert page.text.index("Ahead") < page.text.index("Results") < page.text.index("How to repeat")
    assert "dog (3)" in page.text
    assert page.tags.count("img") == 4
    assert page.tags.count("h1") == 1
    assert {path.name for path in path.parent.iterdir() if path.name.endswith(".part")} == set()


def test_the_page_reaches_for_nothing_outside_and_speaks_to_all(tmp_path):
    path = write_report(make_run(tmp_path / "run", make_results()))
    page = Page(path)
    assert all(address.startswith("data:image/") for address in page.addresses)
    assert not re.search(r"https?://|@import|url\(", path.read_text())
    assert "script" not in page.tags
    assert dict(page.attributes)["html"]["lang"] == "en"
    assert all(attributes["alt"] for tag, attributes in page.attributes if tag == "img")
    assert page.tags.count("caption") == page.tags.count("table") == 2


def test_the_policy_admits_the_script_and_the_style_of_the_page_alone(tmp_path):
    page = Page(write_report(with_pictures(make_run(tmp_path / "run", make_results()))))
    meta = next(attributes for tag, attributes in page.attributes if "http-equiv" in attributes)
    text = (tmp_path / "run" / "report.html").read_text()
    for tag in ("style", "script"):
        content = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        assert len(content) == 1
        assert f"{tag}-src 'sha256-{b64encode(sha256(content[0].encode()).digest()).decode()}'" in meta["content"]
    assert "unsafe" not in meta["content"]
    assert not re.search(r"<[^>]* (style|on\w+)=", text)


def test_a_sample_is_called_one_and_sheets_and_map_are_there(tmp_path):
    page = Page(write_report(with_pictures(make_run(tmp_path / "run", make_results()), shown=4)))
    for words in ("a random sample of 4 of the 6 test images", "Nearest neighbours", "Most confident mistakes"):
        assert words in page.text
    assert "Same class or not" not in page.text  # no figure of it was drawn


@pytest.mark.slow
def test_the_page_of_ten_thousand_images_keeps_below_five_megabytes(tmp_path):
    run = make_run(tmp_path / "run", make_results(classes=[f"kind {index}" for index in range(10)]), pictures=())
    (run / "run.json").write_text(
        json.dumps({"data": {"classes": [f"kind {index}" for index in range(10)], "note": "n"}})
    )
    with_pictures(run, shown=10_000, count=10_000, side=32)
    write_figures(run)
    assert len(list((run / "figures").iterdir())) == 2
    assert write_report(run).stat().st_size < 5_000_000


def test_the_same_run_gives_the_same_bytes(tmp_path):
    run = make_run(tmp_path / "run", make_results())
    assert write_report(run).read_bytes() == write_report(run).read_bytes()


def test_what_comes_from_data_is_escaped(tmp_path):
    evil = '<script>alert("&")</script>'
    results = make_results(classes=(evil, "bad \udcff byte"), count=3, name=f"<b>{evil}", note=f"<i>{evil}")
    results["verdict"] = evil
    page = Page(write_report(make_run(tmp_path / "run", results)))
    assert not {"script", "b", "i"} & set(page.tags)
    assert page.text.count(evil) >= 4


def test_a_run_without_pictures_baselines_or_records_still_gives_a_page(tmp_path):
    results = make_results()
    results["methods"] = {"triplet_mlp_head": figures(0.9)}
    run = make_run(tmp_path / "run", results, pictures=("tsne",))
    (run / "run.json").unlink()
    (run / "predictions.csv").unlink()
    page = Page(write_report(run))
    assert page.tags.count("img") == 1
    assert "Training" not in page.text
    assert "Most often taken for" not in page.text
    assert METHODS["majority"][0] not in page.text


def test_the_barest_results_give_a_page(tmp_path):
    (tmp_path / "results.json").write_text("{}")
    assert "tercet report" in Page(write_report(tmp_path)).text


def test_help_that_training_got_is_told_under_training_and_files_left_out_under_warnings(tmp_path):
    run = make_run(tmp_path / "run", make_results(skipped=1, skipped_files=["bad.jpg: cut short"]))
    record = {"phase": "encoder", "epoch": 2, "intervention": "the rate was halved <twice>"}
    (run / "history.jsonl").write_text(json.dumps(record))
    page = Page(write_report(run))
    assert "encoder epoch 2: the rate was halved <twice>" in page.text
    assert "in 1 epoch and was helped:" in page.text
    assert "bad.jpg: cut short" in page.text
    assert "2 warnings" in page.text


def test_several_seeds_show_their_spread_their_pages_and_the_first_seeds_pictures(tmp_path):
    run, results = tmp_path / "run", make_results()
    for seed in (2, 10):
        write_report(make_run(run / f"seed-{seed}", make_results()))
    (run / "seed-2" / "figures" / "loss.png").unlink()
    for method in results["methods"].values():
        accuracy = method["test_accuracy"]
        method["seeds"] = {"n": 2, "mean": accuracy, "sd": 0.004, "values": [accuracy - 0.004, accuracy + 0.004]}
    (run / "results.json").write_text(json.dumps(results))
    page = Page(write_report(run))
    assert "90.0 ± 0.4" in page.text
    assert "means over 2 seeds" in page.text
    links = [address for address in page.addresses if not address.startswith("data:")]
    assert links == ["seed-2/report.html", "seed-10/report.html"]
    assert page.tags.count("img") == 3
    assert "Seed 2." in page.text


def test_a_folder_without_results_or_with_damaged_ones_is_refused_in_a_sentence(tmp_path):
    with pytest.raises(ModelError, match=r"found no results\.json"):
        write_report(tmp_path)
    (tmp_path / "results.json").write_text("{half")
    with pytest.raises(ModelError, match="unreadable"):
        write_report(tmp_path)
    (tmp_path / "results.json").write_text("[]")
    with pytest.raises(ModelError, match="no JSON object"):
        write_report(tmp_path)
