"""Whatever is sent, a refusal is the only error."""

import io
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from starlette.exceptions import HTTPException

from tercet.inference.service.uploads import image_file, read_pixels

FORM = (
    b'--x\r\nContent-Disposition: form-data; name="a"; filename="b.png"\r\nContent-Transfer-Encoding: base64\r\n\r\n'
    b"iVBORw0KGgo=\r\n--x--\r\n"
)
NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8))


def encoded(kind):
    content = io.BytesIO()
    NOISE.save(content, kind)
    return content.getvalue()


def refuses_at_most(call, *arguments):
    try:
        call(*arguments)
        return
    except HTTPException as error:
        refusal = error
    assert refusal.status_code in (400, 413, 415)
    assert refusal.detail.endswith(".")


def damaged(data, content):
    content = bytearray(content)
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=8)):
        content[place] = data.draw(st.integers(0, 255))
    return bytes(content[: data.draw(st.integers(0, len(content)))])


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_damaged_images_are_read_or_refused(kind, data):
    refuses_at_most(read_pixels, damaged(data, encoded(kind)), 32)


@given(
    kind=st.one_of(st.just("multipart/form-data; boundary=x"), st.text(st.characters(codec="latin-1"), max_size=40)),
    data=st.data(),
)
@settings(max_examples=200, deadline=None)
def test_damaged_forms_are_read_or_refused(kind, data):
    refuses_at_most(image_file, kind, damaged(data, FORM))


def test_a_form_of_megabytes_is_never_on_disk(monkeypatch):
    monkeypatch.setattr("tempfile.TemporaryFile", lambda *_, **__: pytest.fail("wrote a file"))
    monkeypatch.setattr("tempfile.NamedTemporaryFile", lambda *_, **__: pytest.fail("wrote a file"))
    content = os.urandom(4_000_000)
    head = b'--x\r\nContent-Disposition: form-data; name="a"; filename="b.png"\r\n\r\n'
    assert image_file("multipart/form-data; boundary=x", head + content + b"\r\n--x--\r\n") == content
