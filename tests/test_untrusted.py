import io

import pytest

from tercet.untrusted import MOST_BRACKETS, MOST_BYTES, parse_object, read_header, read_object


def test_an_object_is_read_from_bytes_and_files(tmp_path):
    (tmp_path / "file").write_text('{"B\\u00e4r": [1, 2.5, null, {"a": {"a": true}}]}')
    assert read_object(tmp_path / "file") == {"Bär": [1, 2.5, None, {"a": {"a": True}}]}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "Expecting value"),
        (b"[]", "no JSON object"),
        (b"\xff", "utf-8"),
        (b'{"a": NaN}', "found NaN"),
        (b'{"a": [-Infinity]}', "found -Infinity"),
        (b'{"a": 1, "a": 1}', "a key twice"),
        (b'{"a": {"b": 1, "b": 2}}', "a key twice"),
        (b'{"a":' * 10_000, "nested too deep"),
        (b'{"a": [' + b"[]," * MOST_BRACKETS + b"0]}", "more than 50,000 objects and arrays"),
        (b'{"a": ' + b"9" * 5_000 + b"}", "integer string conversion"),
        (b" " * MOST_BYTES + b"{}", "more than 2,097,152 bytes"),
    ],
)
def test_what_is_no_object_is_a_value_error(tmp_path, content, says):
    with pytest.raises(ValueError, match=says):
        parse_object(content)
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(ValueError, match=says):
        read_object(tmp_path / "file")


def header(length, content):
    return io.BytesIO(length.to_bytes(8, "little") + content)


def test_a_header_is_read_and_no_more():
    stream = header(8, b'{"a": 1}the tensors')
    assert read_header(stream) == {"a": 1}
    assert stream.read() == b"the tensors"


@pytest.mark.parametrize(
    ("stream", "says"),
    [
        (io.BytesIO(b""), "Expecting value"),
        (header(2**63, b"{}"), "a header of 9,223,372,036,854,775,808 bytes"),
        (header(2, b"[]"), "no JSON object"),
        (header(1, b"{}"), "Expecting property name"),
    ],
)
def test_what_is_no_header_is_a_value_error(stream, says):
    with pytest.raises(ValueError, match=says):
        read_header(stream)
