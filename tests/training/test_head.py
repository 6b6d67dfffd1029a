import pytest
import torch

from tercet.model.head import Head
from tercet.training import head as module
from tercet.training.head import fit_head, head_images, soften


def blobs(count, seed, spread=0.5):
    """Three clouds on the axes of space, 3 from the origin."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    return 3 * torch.eye(3)[labels] + spread * torch.randn(count, 3, generator=generator), labels


@pytest.fixture(autouse=True)
def few_but_large_steps(monkeypatch):
    monkeypatch.setattr(module, "PEAK_RATE", 0.05)


@pytest.mark.parametrize("hidden", [None, 16])
def test_reads_separable_classes(hidden):
    head, history = fit_head(blobs(90, 0), blobs(30, 1), class_counts=[1] * 3, hidden=hidden, seed=0)
    embeddings, labels = blobs(60, 2)
    assert float((head(embeddings).argmax(1) == labels).float().mean()) > 0.95
    assert history[-1]["validation_accuracy"] > 0.95
    assert history[-1]["loss"] < 0.5 * history[0]["loss"]


def test_the_hidden_layer_reads_what_a_linear_one_cannot():
    def rings(count, seed):
        points = torch.randn(count, 2, generator=torch.Generator().manual_seed(seed))
        labels = torch.arange(count) % 2
        return torch.nn.functional.normalize(points, dim=1) * (1 + 2 * labels[:, None]), labels

    accuracies = [
        fit_head(rings(200, 0), rings(100, 1), class_counts=[1] * 2, hidden=hidden, seed=0)[1][-1][
            "validation_accuracy"
        ]
        for hidden in (None, 32)
    ]
    assert accuracies[0] < 0.75 < 0.95 < accuracies[1]


def test_standardises_by_the_training_part():
    (embeddings, labels), validation = blobs(90, 0), blobs(30, 1)
    embeddings[:, 2] = 7.0  # a dead dimension must not divide by zero
    head, _ = fit_head((embeddings, labels), validation, class_counts=[1] * 3, hidden=None, seed=0)
    torch.testing.assert_close(head.mean, embeddings.mean(0))
    torch.testing.assert_close(head.std[:2], embeddings[:, :2].std(0, correction=0))
    assert float(head.std[2]) > 0
    assert bool(torch.isfinite(head(embeddings)).all())


@pytest.mark.parametrize(
    ("class_weight", "score"), [("balanced", "balanced_validation_accuracy"), ("none", "validation_accuracy")]
)
def test_validation_chooses_the_weight_decay(monkeypatch, class_weight, score):
    scores = {0.0: 0.7, 0.1: 0.9, 1.0: 0.9}

    def fit(train, validation, weights, *, weight_decay, **_):
        return Head(3, 3, None), [{"weight_decay": weight_decay, score: scores[weight_decay]}]

    monkeypatch.setattr(module, "_fit", fit)
    settings = {"hidden": None, "seed": 0, "class_weight": class_weight, "weight_decays": tuple(scores)}
    _, history = fit_head(blobs(6, 0), blobs(3, 1), class_counts=[1] * 3, **settings)
    assert history[-1]["weight_decay"] == 0.1  # the first of two that tie


def test_the_seed_decides_and_the_global_state_does_not():
    before = torch.get_rng_state()
    first, again, other = (
        fit_head(blobs(30, 0), blobs(9, 1), class_counts=[1] * 3, hidden=4, seed=seed)[0].state_dict()
        for seed in (0, 0, 1)
    )
    assert all(map(torch.equal, first.values(), again.values()))
    assert not torch.equal(first["layers.0.weight"], other["layers.0.weight"])
    assert torch.equal(torch.get_rng_state(), before)


def test_is_fitted_on_one_thread_and_leaves_as_many_as_there_were(monkeypatch):
    seen = []
    soften_as_is = module.soften
    monkeypatch.setattr(module, "soften", lambda *given: seen.append(torch.get_num_threads()) or soften_as_is(*given))
    torch.set_num_threads(2)
    try:
        fit_head(blobs(60, 0), blobs(60, 1), class_counts=[20, 20, 20], hidden=None, seed=0)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    assert seen == [1]


def test_takes_enough_steps_where_images_are_few_and_enough_epochs_where_they_are_many(monkeypatch):
    _, history = fit_head(blobs(30, 0), blobs(9, 1), class_counts=[1] * 3, hidden=None, seed=0)
    assert (len(history), history[-1]["step"]) == (60, 60)  # one batch an epoch
    monkeypatch.setattr(module, "BATCH", 3)
    _, history = fit_head(blobs(30, 0), blobs(9, 1), class_counts=[1] * 3, hidden=None, seed=0)
    assert (len(history), history[-1]["step"]) == (module.EPOCHS, 10 * module.EPOCHS)


def test_draws_so_many_of_a_class_and_all_of_a_rare_one():
    labels = torch.tensor([2] * 3 + [0] * 40 + [2])  # none of class 1
    chosen, again, other = (head_images(labels, 5, seed) for seed in (0, 0, 1))
    assert torch.bincount(labels[chosen]).tolist() == [5, 0, 4]
    assert torch.equal(chosen, chosen.unique())  # in order, none twice
    assert torch.equal(chosen, again)
    assert not torch.equal(chosen, other)


@pytest.mark.parametrize(("class_weight", "ratio"), [("none", 4.0), ("balanced", 1.0)])
def test_what_was_drawn_counts_for_what_it_was_drawn_from(monkeypatch, class_weight, ratio):
    seen = []

    def fit(train, validation, weights, **_):
        seen.append(weights * torch.bincount(train[1]))  # what a class counts in the loss
        return Head(3, 3, None), [{"balanced_validation_accuracy": 1.0, "validation_accuracy": 1.0}]

    monkeypatch.setattr(module, "_fit", fit)
    drawn = torch.zeros(30, 3), torch.tensor([0] * 10 + [1] * 10 + [2] * 10)
    fit_head(drawn, drawn, class_counts=[40, 10, 10], hidden=None, seed=0, class_weight=class_weight)
    assert float(seen[0][0] / seen[0][1]) == pytest.approx(ratio)
    assert float(seen[0][1] / seen[0][2]) == pytest.approx(1.0)


def mislabeled(count, seed, share):
    embeddings, labels = blobs(count, seed)
    wrong = torch.rand(count, generator=torch.Generator().manual_seed(seed)) < share
    return embeddings, torch.where(wrong, (labels + 1) % 3, labels)


@pytest.mark.parametrize(("decays", "least"), [((0.01,), 1.5), (module.WEIGHT_DECAYS, 1.0)])
def test_as_sure_as_it_is_right_on_images_that_it_did_not_learn_from(decays, least):
    settings = {"hidden": None, "seed": 0, "weight_decays": decays}
    head, history = fit_head(blobs(90, 0), mislabeled(300, 1, 0.2), class_counts=[1] * 3, **settings)
    embeddings, labels = mislabeled(300, 2, 0.2)
    shares = torch.softmax(head(embeddings).detach(), dim=1)
    assert history[-1]["temperature"] > least
    assert float(shares.amax(1).mean()) == pytest.approx(float((shares.argmax(1) == labels).float().mean()), abs=0.06)


def test_its_temperature_is_the_likeliest_and_changes_no_prediction():
    validation = mislabeled(300, 1, 0.2)
    torch.manual_seed(0)
    head = Head(3, 3, None)
    with torch.no_grad():
        head.layers[-1].weight.copy_(5 * torch.eye(3))
    before = head(validation[0]).detach()
    temperature = soften(head, validation)
    after = head(validation[0]).detach()
    torch.testing.assert_close(after, before / temperature)
    losses = [
        float(torch.nn.functional.cross_entropy(before / other, validation[1]))
        for other in (0.9 * temperature, temperature, 1.1 * temperature)
    ]
    assert min(losses) == losses[1]
    assert 1 < temperature < 10


def test_it_gets_no_surer_by_images_that_all_bear_it_out():
    validation = blobs(9, 1, spread=0.01)
    torch.manual_seed(0)
    head = Head(3, 3, None)
    with torch.no_grad():
        head.layers[-1].weight.copy_(0.1 * torch.eye(3))
        head.layers[-1].bias.zero_()
    before = head(validation[0]).detach()
    assert soften(head, validation) == 1.0
    assert torch.equal(head(validation[0]).detach(), before)


def test_balanced_weights_find_the_rare_class_and_choose_by_it():
    # Two overlapping clouds, 380 images against 20: counting images, it pays to call everything the common class.
    generator = torch.Generator().manual_seed(0)
    labels = (torch.arange(400) % 20 == 0).long()
    embeddings = labels[:, None] + torch.randn(400, 2, generator=generator)
    pair = (embeddings, labels)
    recalls = {}
    for class_weight in ("none", "balanced"):
        head, history = fit_head(pair, pair, class_counts=[380, 20], hidden=None, seed=0, class_weight=class_weight)
        found = head(embeddings).argmax(1) == labels
        recalls[class_weight] = float(found[labels == 1].float().mean())
        assert history[-1]["validation_accuracy"] == pytest.approx(float(found.float().mean()))
        halves = [float(found[labels == label].float().mean()) for label in (0, 1)]
        assert history[-1]["balanced_validation_accuracy"] == pytest.approx(sum(halves) / 2)
    assert recalls["none"] < 0.3 < 0.6 < recalls["balanced"]
