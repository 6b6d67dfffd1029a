"""The service over many requests: memory and descriptors stay flat, and every answer is that of the command line."""

import http.client
import json
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from benchmarks.serving import CLIENTS, resident_bytes, service
from PIL import Image

from pictures import write_folder
from reliability.tiers import counts
from served import patterns, untrained
from tercet.cli import main
from tercet.inference.predictions import describe_prediction
from tercet.model.bundle import load_bundle

BAD_SHARE = 0.05
MOST_GROWTH = 16_000_000  # bytes after the first tenth: less than 200 a request of the full set
BAD = (
    ("POST", "/api/predict", b"no image", 415),
    ("POST", "/api/predict", b"", 400),
    ("POST", "/api/predict", bytes(5_000_001), 413),
    ("POST", "/api/predict?k=0", b"x", 400),
    ("POST", "/api/search", b"x", 415),
    ("POST", "/nothing", b"x", 404),
    ("GET", "/../../etc/passwd", None, 404),
    ("DELETE", "/api/predict", None, 405),
    ("HANG UP", "/api/predict", None, None),
)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    untrained(patterns(30, seed=0)).save(folder)
    return folder


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Sixty files of several sizes and kinds."""
    folder = write_folder(tmp_path_factory.mktemp("images") / "all", 20)
    for place, file in enumerate(sorted(folder.rglob("*.png"))):
        if place % 3:
            image = Image.open(file).resize((40 + 7 * place, 300 - 4 * place))
            image.save(file.with_suffix((".jpg", ".webp")[place % 2]))
            file.unlink()
    return sorted(path for path in folder.rglob("*") if path.is_file())


def expected_answers(images, model, capsys):
    """By path: what the Bundle says of each image alone, which is what the command line says of all together."""
    bundle = load_bundle(model)
    expected = {
        str(path): json.loads(json.dumps(describe_prediction(bundle.classes, bundle.predict_proba([path])[0], 3)))
        for path in images
    }
    capsys.readouterr()
    assert main(["predict", *expected, "--model", str(model), "--json"]) == 0
    said = list(map(json.loads, capsys.readouterr().out.splitlines()))
    assert len(said) == len(expected)
    assert all(is_same(answer, expected[answer["path"]]) for answer in said)
    return expected


def ask_on(port, expected, count, seed):
    """One client's requests over one connection; how many were bad. Each answer is that to its image, to the bit."""
    chance, contents = random.Random(seed), {path: Path(path).read_bytes() for path in expected}
    connection, paths = http.client.HTTPConnection("127.0.0.1", port, timeout=60), sorted(contents)
    bad = 0
    for _ in range(count):
        if chance.random() < BAD_SHARE:
            bad += 1
            misbehave(connection, *chance.choice(BAD))
            connection.close()  # as the service may do, which does not wait for the rest of what it refuses
            continue
        path = chance.choice(paths)
        status, answer = reply(connection, "POST", "/api/predict", contents[path])
        assert status == 200
        assert json.loads(answer) == expected[path], path
    connection.close()
    return bad


def misbehave(connection, method, path, body, status):
    if method == "HANG UP":
        connection.putrequest("POST", path)
        connection.putheader("Content-Length", "1000")
        connection.endheaders(b"x")
    else:
        assert reply(connection, method, path, body)[0] == status


def reply(connection, method, path, body):
    connection.request(method, path, body)
    answer = connection.getresponse()
    return answer.status, answer.read()


def is_same(answer, expected):
    """The same classes and numbers, but for the last digits, which a larger batch may round otherwise."""
    (names, shares), (others, expected_shares) = (zip(*said["top"], strict=True) for said in (answer, expected))
    return answer["predicted"] == expected["predicted"] and (
        names == others and np.allclose(shares, expected_shares, rtol=0, atol=1e-6)
    )


def descriptors(process):
    return len(list(Path(f"/proc/{process}/fd").iterdir()))


@counts(1_000, 100_000)
def test_memory_and_descriptors_stay_flat_and_answers_right(images, model, capsys, record_property, count):
    expected = expected_answers(images, model, capsys)
    with service(model) as (process, port), ThreadPoolExecutor(CLIENTS) as clients:

        def go_on(requests, seed):
            seeds = range(seed, seed + CLIENTS)
            return sum(clients.map(lambda seed: ask_on(port, expected, requests // CLIENTS, seed), seeds))

        go_on(count // 10, seed=0)
        warm, open_before = resident_bytes(process), descriptors(process)
        bad = go_on(count, seed=1_000)
        growth = resident_bytes(process) - warm
        left_open = descriptors(process) - open_before
    record_property("growth_bytes", growth)
    record_property("descriptors_left_open", left_open)
    record_property("bad_requests", bad)
    assert growth < MOST_GROWTH
    assert left_open <= CLIENTS  # connections that the service has not yet seen end
    assert 0.03 * count < bad < 0.07 * count


def test_the_comparison_sees_a_difference():
    answer = {"predicted": "a", "probability": 0.7, "top": [("a", 0.7), ("b", 0.3)]}
    assert is_same(answer, answer)
    assert not is_same(answer, answer | {"predicted": "b"})
    assert not is_same(answer, answer | {"top": [("a", 0.70001), ("b", 0.29999)]})
