import pytest

from tercet.evaluation.report_sections import (
    classes_section,
    explanation,
    measures_section,
    repetition_section,
    results_section,
    seeds_section,
    summary,
    warnings_section,
)


def results_of(n=100, data=(), **accuracies):
    """Results whose methods have the given accuracies and `n` test images of each class."""
    return {
        "data": dict(data),
        "methods": {
            name: {
                "test_accuracy": accuracy,
                "ci95": [accuracy, accuracy],
                "per_class": {"cat": {"n": n, "recall": 0.5}, "dog": {"n": n, "recall": None}},
            }
            for name, accuracy in accuracies.items()
        },
    }


def test_the_best_rows_are_marked_ties_included():
    table = results_section(results_of(triplet_mlp_head=0.9, cnn_cross_entropy=0.9, majority=0.1))
    assert table.count("class=best") == table.count("(best)") == 2


def test_a_method_of_an_unknown_name_is_shown_under_it():
    assert "new_method" in results_section(results_of(new_method=0.5))


@pytest.mark.parametrize(
    ("data", "is_quoted"),
    [
        ({"name": "cifar10"}, True),
        ({"name": "cifar10-jpeg", "note": "CIFAR-10, JPEG copy"}, True),
        ({"name": "digits", "note": ""}, False),
        ({"name": "pets"}, False),
    ],
)
def test_the_original_projects_figures_stand_under_cifar10_only(data, is_quoted):
    section = results_section(results_of(data=data, triplet_mlp_head=0.9))
    assert ("86 %" in section) == is_quoted
    assert ("JPEG copy" in section) == ("note" in data and "JPEG" in data["note"])


def test_the_summary_counts_the_data_and_the_warnings():
    data = {"n_train": 45000, "n_test": 10000, "classes": ["cat", "dog"], "size": 32}
    text = summary("tercet", results_of(data=data), ["one", "two"])
    assert "45,000 training, 10,000 test images; 2 classes; seen at 32 × 32 pixels." in text
    assert ">2 warnings<" in text
    assert ">1 warning<" in summary("tercet", results_of(), ["one"])
    assert "warning" not in summary("tercet", results_of(triplet_mlp_head=0.9), [])


def test_the_summary_says_the_result_in_a_sentence_and_what_this_is():
    text = summary("tercet", results_of(triplet_mlp_head=0.997, cnn_cross_entropy=0.9, majority=0.1), [])
    assert "for 99.7 % of the test images (the same network trained the usual way for 90.0 %, always guessing" in text
    assert "99.7 % of the test images." in summary("tercet", results_of(triplet_mlp_head=0.997), [])


def test_the_worst_class_comes_first_with_its_most_frequent_mistake():
    section = classes_section(results_of(triplet_mlp_head=0.9), {"cat": {"cow": 1, "dog": 4}})
    assert section.index("cat") < section.index(">dog<")
    assert "dog (4)" in section
    assert "–" in section  # the recall of a class without one


def test_warnings_name_the_files_left_out_but_not_all_of_them():
    skipped = [f"pic {index}.jpg: <cut short>" for index in range(25)]
    section = warnings_section(["Doubtful & odd."], skipped)
    assert "Doubtful &amp; odd." in section
    assert "pic 19.jpg: &lt;cut short&gt;" in section
    assert "pic 20.jpg" not in section
    assert "and 5 more" in section
    assert "details" not in warnings_section(["Doubtful."], [])


def test_measures_that_do_not_exist_are_left_out():
    assert "MAP@R" not in measures_section({"retrieval": {"recall@1": 0.5, "map@r": None}})
    assert "0.0 %" in measures_section({"calibration_error": 0.0})


def test_sections_with_nothing_to_say_are_empty():
    sections = (
        results_section({}),
        seeds_section([]),
        classes_section({}, {}),
        measures_section({}),
        warnings_section([], ["a file"]),
        repetition_section({}, {}),
    )
    assert set(sections) == {""}


def test_explains_how_this_encoder_was_trained():
    assert "trained by the triplet loss" in explanation({})
    assert "supervised contrastive" in explanation({"loss": "supcon", "encoder": "fast"})
    assert "stands on" not in explanation({"loss": "custom", "encoder": "fast"})
    assert "stands on EfficientNet-Lite0, trained on ImageNet, which stays" in explanation({"encoder": "pretrained"})
    assert "a network given from outside" in explanation({"encoder": "pretrained", "backbone": "Mine 0123"})
