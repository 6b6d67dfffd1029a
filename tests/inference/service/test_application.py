"""The interface by its addresses: what is answered, what is refused and how."""

import io
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from tercet.inference.service import application as module
from tercet.inference.service import uploads
from tercet.inference.service.application import application
from tercet.inference.service.uploads import Inbox
from tercet.inference.service.workers import Workers

POSTS = ("/api/predict", "/api/embed", "/api/search", "/api/describe")


@pytest.fixture
def ask(model):
    workers = Workers(2)
    with TestClient(application(model, workers), base_url="http://127.0.0.1:8000") as client:
        yield client
    workers.close()


def test_predict_is_what_the_bundle_says(ask, model, image):
    shares = model.bundle.predict_proba([Image.open(io.BytesIO(image))])[0]
    answer = ask.post("/api/predict?k=2", content=image).json()
    assert answer["predicted"] == answer["top"][0][0] == model.bundle.classes[shares.argmax()]
    assert answer["probability"] == answer["top"][0][1]
    assert [share for _, share in answer["top"]] == pytest.approx(sorted(shares, reverse=True)[:2], abs=1e-6)
    assert len(ask.post("/api/predict?k=1000", content=image).json()["top"]) == 3  # there are no more classes


def test_embed_is_what_the_bundle_says(ask, model, image):
    found = ask.post("/api/embed", content=image).json()["embedding"]
    np.testing.assert_allclose(found, model.bundle.embed([Image.open(io.BytesIO(image))])[0], atol=1e-6)


def test_search_finds_the_training_image_itself_first(ask, image):
    answer = ask.post("/api/search?k=30", content=image).json()
    first, *others = answer["neighbors"]
    assert (first["index"], first["name"], first["label"]) == (7, "checks/Bild ä 7.png", "checks")
    assert first["squared_distance"] == pytest.approx(0, abs=1e-5)
    distances = [neighbor["squared_distance"] for neighbor in answer["neighbors"]]
    assert distances == sorted(distances)
    assert distances[1] > 1e-4
    assert {neighbor["index"] for neighbor in answer["neighbors"]} == set(range(30))
    assert answer["searched"] == 30
    assert len(others) == 29


def test_a_form_a_raw_body_and_a_wrong_type_of_content_are_the_same(ask, image):
    raw = ask.post("/api/predict", content=image).json()
    assert ask.post("/api/predict", files={"any": ("naïve name.png", image)}, data={"note": "x"}).json() == raw
    for kind in ("image/png", "application/x-www-form-urlencoded", "nonsense"):
        assert ask.post("/api/predict", content=image, headers={"Content-Type": kind}).json() == raw


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "CMYK", "1", "I;16"])
@pytest.mark.parametrize("size", [(1, 1), (3, 200), (500, 40)])
def test_images_of_any_mode_and_shape_are_answered(ask, as_image_file, mode, size):
    image = Image.new(mode, size)
    answer = ask.post("/api/describe", content=as_image_file(image, "TIFF" if mode == "CMYK" else "PNG"))
    assert answer.status_code == 200
    assert sum(share for _, share in answer.json()["top"]) == pytest.approx(1, abs=1e-5)


def refused(answer, status):
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    assert list(answer.json()) == ["error"]
    return answer.json()["error"]


@pytest.mark.parametrize("address", POSTS)
def test_what_is_no_image_is_refused_in_a_sentence(ask, image, address, as_image_file):
    assert "no image; expected a JPEG, PNG" in refused(ask.post(address, content=b"Dear all"), 415)
    assert "empty body" in refused(ask.post(address, content=b""), 400)
    assert "cannot be read: unreadable" in refused(ask.post(address, content=image[: len(image) // 2]), 400)
    assert "form without a file" in refused(ask.post(address, files={"a": (None, "text")}), 400)
    broken = {"Content-Type": "multipart/form-data; boundary=x"}
    assert "damaged form" in refused(ask.post(address, content=b"--y\r\n", headers=broken), 400)
    unbounded = {"Content-Type": "multipart/form-data"}
    assert "form" in refused(ask.post(address, content=image, headers=unbounded), 400)
    parts = {"files": [(f"part {number}", (None, "text")) for number in range(101)]}
    assert "more than 100 parts" in refused(ask.post(address, **parts), 400)
    floating = as_image_file(Image.new("F", (8, 8)), "TIFF")
    assert "floating-point" in refused(ask.post(address, content=floating), 400)


def test_large_bodies_are_refused_announced_or_not(ask, monkeypatch, image):
    monkeypatch.setattr(uploads, "MOST_BYTES", 10_000)
    assert "send a smaller image" in refused(ask.post("/api/predict", content=b"x" * 10_001), 413)
    liar = {"Content-Length": "5"}
    assert "send a smaller image" in refused(ask.post("/api/predict", content=b"x" * 10_001, headers=liar), 413)
    assert "its length" in refused(ask.post("/api/predict", content=iter([b"x" * 6_000] * 2)), 411)
    assert refused(ask.post("/api/predict", content=b"", headers={"Content-Length": "-5"}), 413)
    assert ask.post("/api/predict", content=image).status_code == 200


@pytest.mark.parametrize("side", [8_000, 30_000])  # the second is more than Pillow itself opens
def test_a_bomb_is_refused_before_it_is_decoded(ask, side, monkeypatch):
    header = Image.new("1", (1, 1))
    content = io.BytesIO()
    header.save(content, "GIF")
    bomb = bytearray(content.getvalue())
    bomb[6:10] = side.to_bytes(2, "little") * 2
    monkeypatch.setattr(uploads, "read_image", lambda *_: pytest.fail("decoded"))
    assert "more than 50 million pixels" in refused(ask.post("/api/predict", content=bytes(bomb)), 413)


def test_unknown_addresses_methods_and_options_are_refused(ask, image):
    for path in ("/nothing", "/api/", "/..%2f..%2fetc/passwd", "/page.css/", "/model/config.json"):
        assert "GET /api lists" in refused(ask.get(path), 404)
    answer = ask.get("/api/predict")
    assert "GET is not answered here" in refused(answer, 405)
    assert answer.headers["allow"] == "POST"
    assert refused(ask.post("/healthz"), 405)
    for k in ("0", "-1", "1.5", "1001", "٣", "", "9" * 5000):
        assert "expected 1 to 1,000" in refused(ask.post(f"/api/predict?k={k}", content=image), 400)


def test_a_fault_of_ours_is_one_sentence_without_the_cause(model, image, monkeypatch):
    monkeypatch.setattr(module, "embed", lambda *_: 1 / 0)
    workers = Workers(1)
    client = TestClient(application(model, workers), base_url="http://localhost", raise_server_exceptions=False)
    answer = client.post("/api/predict", content=image)
    workers.close()
    assert "its log says where" in refused(answer, 500)
    assert "content-security-policy" in answer.headers


def test_the_service_says_what_it_is(ask, model):
    about = ask.get("/api").json()
    assert (about["service"], about["model"], about["dimensions"]) == ("tercet", "patterns", 16)
    assert about["classes"] == list(model.bundle.classes)
    assert {f"POST {path}" for path in POSTS} < about["endpoints"].keys()
    assert about["training_images"] == {"count": 30, "pictured": 30, "columns": 6}
    assert about["missing"] == []
    assert ask.get("/healthz").json() == {"status": "ok"}
    assert len(ask.get("/api/map").json()["x"]) == 20
    sheet = Image.open(io.BytesIO(ask.get("/training-images.webp").content))
    assert sheet.size == (6 * 32, 5 * 32)


@pytest.mark.parametrize("path", ["/", "/page.css", "/report.css", "/page.js", "/map.js", "/icon.svg", "/nothing"])
def test_every_answer_carries_the_policy(ask, path):
    answer = ask.get(path)
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "unsafe" not in policy
    assert "http" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "access-control-allow-origin" not in answer.headers
    assert path == "/nothing" or len(answer.content) > 100


def test_more_than_fits_is_refused_and_what_is_under_way_is_answered(model, image, monkeypatch):
    begun, released, really = threading.Semaphore(0), threading.Event(), module.embed

    def slowly(*arguments):
        begun.release()
        assert released.wait(20)
        return really(*arguments)

    monkeypatch.setattr(module, "embed", slowly)
    workers = Workers(1, most_waiting=1)
    with (
        TestClient(application(model, workers), base_url="http://localhost") as client,
        ThreadPoolExecutor(3) as threads,
    ):
        first = threads.submit(client.post, "/api/predict", content=image)
        assert begun.acquire(timeout=20)
        others = [threads.submit(client.post, "/api/predict", content=image) for _ in range(2)]
        refusal = next(future for future in iter(lambda: next((f for f in others if f.done()), None), 0) if future)
        assert "busy" in refused(refusal.result(), 503)
        assert refusal.result().headers["retry-after"] == "1"
        assert client.get("/healthz").status_code == 200
        released.set()
        assert sorted(future.result().status_code for future in (first, *others)) == [200, 200, 503]
        assert client.post("/api/predict", content=image).status_code == 200
    workers.close()


def test_bodies_that_would_fill_the_memory_are_refused_and_forgotten(model, image):
    workers, inbox = Workers(1), Inbox(most_bytes=len(image))
    client = TestClient(application(model, workers, inbox), base_url="http://localhost")
    for _ in range(3):
        assert client.post("/api/predict", content=image).status_code == 200
        assert "busy" in refused(client.post("/api/predict", content=image + b"x"), 503)
    workers.close()


def test_without_a_run_folder_search_says_what_is_missing(model, image):
    from dataclasses import replace

    bare = replace(model, surroundings=replace(model.surroundings, gallery=None, map=None, missing=("Left out.",)))
    workers = Workers(1)
    client = TestClient(application(bare, workers), base_url="http://localhost")
    assert refused(client.post("/api/search", content=image), 404) == "Left out."
    assert refused(client.get("/api/map"), 404)
    described = client.post("/api/describe", content=image).json()
    assert described["neighbors"] is described["place"] is None
    assert json.dumps(client.get("/api").json()["missing"]) == '["Left out."]'
    workers.close()
