"""Builds the API reference: the public names of tercet and the types that they take and give, on one page.

    python docs/reference/build.py FOLDER

writes FOLDER/index.html, by pdoc, with front.md above. What pdoc warns of is an error.
"""

import inspect
import re
import sys
import typing
import warnings
from pathlib import Path

import pdoc

import tercet
from tercet.config import PRESETS, Config
from tercet.data.imageset import ImageSet
from tercet.data.sources import Dataset
from tercet.errors import DataError, ModelError, TercetError, TrainingError, UsageError
from tercet.evaluation.results import Results
from tercet.model.bundle import Bundle

HERE = Path(__file__).parent
NAMES = ("run", "train", "open_dataset", "load", "triplet_loss", "TripletClassifier", "TripletEmbedder")
RECORDS = (Config, Bundle, Results, ImageSet, Dataset)
ERRORS = (TercetError, UsageError, DataError, ModelError, TrainingError)
PRESETS_TEXT = """How long to train, and how broad a network: "quick", "standard" and "full", each a `Config`.

`dataclasses.replace(PRESETS["quick"], size=64)` is one with another setting.
"""
FIELD = re.compile(r"    (?P<name>\w+): (?P<kind>[^=#\n]+?)(?: = (?P<default>[^#\n]+?))?(?:  # (?P<note>.*))?\n")
# How pdoc writes what the source calls by a shorter name, in its highlighted form.
DOT = '</span><span class="o">.</span><span class="n">'
LONG_NAMES = {
    f"{name.replace('.', DOT)}{DOT}": "" for name in ("jaxtyping", "pathlib", "typing", "torch.nn.modules.module")
}
LONG_NAMES[f"torch{DOT}_C{DOT}Generator"] = f"torch{DOT}Generator"


class Written(str):
    """A default value as it reads in the reference."""

    __slots__ = ()
    __repr__ = str.__str__


def with_fields(kind: type) -> str:
    """The docstring of a record, and a list of its fields with what the comments in the source say of them."""
    fields = [field for field in FIELD.finditer(inspect.getsource(kind)) if field["name"] in kind.__annotations__]
    return f"{inspect.getdoc(kind)}\n\n" + "\n".join(map(_line, fields))


def _line(field: re.Match[str]) -> str:
    default = "" if field["default"] in (None, "field(default_factory=dict)") else f" = {field['default']}"
    note = f": {field['note']}" if field["note"] else ""
    return f"* **{field['name']}** `{field['kind']}{default}`{note}"


def public_module() -> pdoc.doc.Module:
    """The package as it is to be read: its public names, then the types that these take and give."""
    assert set(NAMES) == set(tercet.__all__)
    shown = {name: getattr(tercet, name) for name in NAMES} | {"PRESETS": PRESETS}
    shown |= {kind.__name__: kind for kind in (*RECORDS, *ERRORS)}
    for kind in RECORDS:
        kind.__doc__ = with_fields(kind)
    for name in Dataset._fields:  # pdoc would say of each what is said above
        getattr(Dataset, name).__doc__ = ""
    Dataset.__new__.__doc__, Dataset.__new__.__annotations__ = "", typing.get_type_hints(Dataset)
    for function in (tercet.run, tercet.train):
        function.__kwdefaults__ |= {"config": Written('PRESETS["quick"]'), "on_progress": Written("...")}
    vars(tercet).update(shown)
    tercet.__all__, tercet.__doc__ = list(shown), (HERE / "front.md").read_text(encoding="utf-8")
    module = pdoc.doc.Module(tercet)
    module._var_docstrings["PRESETS"] = PRESETS_TEXT
    return module


def build(folder: Path) -> Path:
    """Write the page and return it."""
    pdoc.render.configure(
        docformat="numpy", include_undocumented=False, search=False, show_source=False, template_directory=HERE
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        module = public_module()
        text = pdoc.render.html_module(module, all_modules={"tercet": module})
    for long, short in LONG_NAMES.items():
        text = text.replace(long, short)
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / "index.html"
    page.write_text(text, encoding="utf-8")
    return page


if __name__ == "__main__":
    build(Path(sys.argv[1]))
