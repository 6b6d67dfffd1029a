"""The header says what the run measured, with keys and names as model hubs define them."""

import pytest
from huggingface_hub import ModelCard
from huggingface_hub.utils import validate_repo_id

from tercet.evaluation.card_header import header, hub_name

ODD_NAMES = [
    "my photos.tar.gz",
    "Käfer & Bäume",
    "a: b #c {d} [e] 'f' \"g\" \\h %i *j !k",
    "123",
    "null",
    "--- .git",
    "動物 \U0001f436",
    "line\nbreak \u2028 \x7f \x85 \udcff end",
    "x" * 300,
]


def card(name="pets", note="", **figures):
    results = {
        "data": {"name": name, "note": note},
        "methods": {"triplet_mlp_head": {"test_accuracy": 0.87654, **figures}},
    }
    return ModelCard(header(results) + "\n# A model\n").data


def test_what_a_hub_reads():
    found = card().to_dict()
    assert found.pop("model-index") == [
        {
            "name": "pets",
            "results": [
                {
                    "task": {"type": "image-classification", "name": "Image classification"},
                    "dataset": {"type": "pets", "name": "pets", "split": "test"},
                    "metrics": [{"type": "accuracy", "value": 0.8765, "name": "test accuracy"}],
                }
            ],
        }
    ]
    assert found.pop("tags")[0] == "image-classification"
    assert found == {
        "license": "unknown",
        "library_name": "tercet",
        "pipeline_tag": "image-classification",
        "datasets": ["pets"],
        "metrics": ["accuracy"],
    }


def test_known_data_bears_its_name_on_the_hub_and_a_copy_says_so():
    for name, note in (("cifar10", ""), ("cifar10-jpeg", "CIFAR-10, JPEG copy")):
        found = card(name, note)
        assert found.datasets == ["uoft-cs/cifar10"]
        assert found.eval_results[0].dataset_name == (note or name)


def test_several_seeds_are_a_mean():
    assert card(seeds={"n": 3}).eval_results[0].metric_name == "test accuracy, mean of 3 seeds"


@pytest.mark.parametrize("name", ODD_NAMES)
def test_any_name_is_text_and_has_a_name_that_a_hub_allows(name):
    found = card(name)
    assert found.model_name == "".join(sign if sign.isprintable() else " " for sign in name)
    assert found.datasets == [hub_name(name)]
    validate_repo_id(hub_name(name))


def test_a_name_without_letters():
    assert hub_name("動物") == "images"
