"""The API reference as it is built: every public name is there, in words and with its shapes, and no link is dead."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

import tercet

ROOT = Path(__file__).parents[1]
TYPES = ("Config", "PRESETS", "Bundle", "Results", "ImageSet", "Dataset")
ERRORS = ("TercetError", "UsageError", "DataError", "ModelError", "TrainingError")
SHAPES = {
    "triplet_loss": ["Float[Tensor, 'B D']", "Int64[Tensor, 'B']", "Float[Tensor, '']"],
    "TripletEmbedder.transform": ["Float[ndarray, 'N D']"],
    "TripletClassifier.predict": ["Shaped[ndarray, 'N']"],
    "TripletClassifier.predict_proba": ["Float[ndarray, 'N C']"],
    "Bundle.embed": ["Float[ndarray, 'N D']"],
    "Bundle.pixels": ["UInt8[Tensor, 'N 3 H H']"],
    "ImageSet": ['UInt8[Tensor, "N 3 H W"]', 'Int64[Tensor, " N"]'],
    "Config": ["widths tuple[int, ...] = (", "margin float | None = None: in squared distance"],
    "run": ['config: Config = PRESETS["quick"]', "-> Results"],
    "train": ["backbone: Module | str | Path | None = None", "-> Bundle"],
    "open_dataset": ["source: str | Path", "-> Dataset"],
}


class Page(HTMLParser):
    """Text of each part of the page that has an id, docstrings apart, and where its links go."""

    def __init__(self, text):
        super().__init__()
        self.open, self.texts, self.docstrings, self.links = [], {}, {}, []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.links += [found["href"]] if "href" in found else []
        if tag in ("section", "div"):
            self.open.append((found.get("id"), "docstring" in (found.get("class") or "")))
        if "id" in found:
            self.texts.setdefault(found["id"], "")

    def handle_endtag(self, tag):
        if tag in ("section", "div"):
            self.open.pop()

    def handle_data(self, data):
        if names := [name for name, _ in self.open if name]:
            self.texts[names[-1]] += data
            if any(is_docstring for _, is_docstring in self.open):
                self.docstrings[names[-1]] = self.docstrings.get(names[-1], "") + data

    def dead_links(self):
        return [
            link for link in self.links if not link.startswith("https://") and link.removeprefix("#") not in self.texts
        ]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Built in a process of its own, since for that the package is dressed up."""
    folder = tmp_path_factory.mktemp("api")
    command = [sys.executable, "-W", "error::UserWarning", ROOT / "docs" / "reference" / "build.py", folder]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stderr == ""
    return Page((folder / "index.html").read_text(encoding="utf-8"))


@pytest.mark.slow
@pytest.mark.parametrize("name", [*tercet.__all__, *TYPES, *ERRORS])
def test_every_public_name_has_its_place_and_says_what_it_is(page, name):
    assert len(page.docstrings[name].split()) > 3
    assert f"#{name}" in page.links  # in the list at the side


@pytest.mark.slow
def test_nothing_else_is_told_of(page):
    assert {name.split(".")[0] for name in page.docstrings} == {*tercet.__all__, *TYPES, *ERRORS}


@pytest.mark.slow
@pytest.mark.parametrize("name", SHAPES)
def test_shapes_and_types_read_as_in_the_source(page, name):
    text = " ".join(page.texts[name].split())
    for shape in SHAPES[name]:
        assert shape in text


@pytest.mark.slow
def test_no_link_is_dead_and_nothing_shows_how_it_lies_in_memory(page):
    assert page.dead_links() == []
    whole = " ".join(page.texts.values())
    assert not re.search(r"jaxtyping|<lambda>|<function| at 0x|torch\._C|unknown\)", whole)


def test_a_dead_link_is_found():
    text = (
        '<section id="a"><a href="#a">x</a><a href="#b">x</a><a href="c.html">x</a><a href="https://d">x</a></section>'
    )
    assert Page(text).dead_links() == ["#b", "c.html"]
