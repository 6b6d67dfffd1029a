"""The public names, what an import costs, and the examples in docstrings."""

import doctest
import importlib
import pkgutil
import subprocess
import sys

import pytest

import tercet

# `__main__` runs the command line when imported.
MODULES = [
    module.name
    for module in pkgutil.walk_packages(tercet.__path__, prefix="tercet.")
    if not module.name.endswith("__main__")
]


def test_the_public_names():
    functions = {"load", "open_dataset", "run", "train", "triplet_loss"}
    assert set(tercet.__all__) == functions | {"TripletClassifier", "TripletEmbedder"}
    assert tercet.__all__ == sorted(tercet.__all__)
    assert set(dir(tercet)) == {*tercet.__all__, "__version__"}


@pytest.mark.parametrize("name", tercet.__all__)
def test_every_public_name_is_there_and_documented(name):
    found = getattr(tercet, name)
    assert callable(found)
    assert found.__doc__


def test_other_names_are_not():
    with pytest.raises(AttributeError, match="'tercet' has no attribute 'pickle_everything'"):
        tercet.pickle_everything  # noqa: B018


@pytest.mark.parametrize(
    ("module", "spared"),
    [
        ("tercet", {"torch", "numpy", "sklearn"}),
        ("tercet.cli", {"torch", "numpy", "scipy", "sklearn", "matplotlib", "PIL", "rich", "httpx"}),
        ("tercet.commands", {"scipy", "sklearn", "matplotlib", "rich", "httpx"}),  # which predict does without
    ],
)
def test_importing_tercet_imports_nothing_heavy(module, spared):
    line = f"import sys, {module}; print(*sorted(sys.modules))"
    found = subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, check=True).stdout.split()
    assert module in found
    assert spared.isdisjoint(found)


@pytest.mark.parametrize("name", [*MODULES, "benchmarks.pages", "benchmarks.records", "benchmarks.tables"])
def test_the_examples_in_docstrings_are_true(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_examples_are_found():
    examples = [doctest.testmod(importlib.import_module(name)).attempted for name in MODULES]
    assert sum(examples) >= 8
