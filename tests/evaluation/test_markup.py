from tercet.evaluation.markup import data_address, definitions, folded, gibibytes, in_seconds, listing, percent, section


def test_what_has_no_content_is_nothing():
    assert section("Heading", "") == definitions({}) == listing([], "warnings") == folded("More", "") == ""


def test_text_of_the_data_means_nothing_to_html():
    evil = '<img onerror="x">'
    for piece in (section(evil, "x"), definitions({evil: evil}), listing([evil], "files"), folded(evil, "x")):
        assert "<img" not in piece
        assert "&lt;img onerror=&quot;x&quot;&gt;" in piece


def test_numbers_in_words():
    assert [percent(0.1234), percent(None)] == ["12.3 %", "–"]
    assert [in_seconds(3.14), in_seconds(1234.5), in_seconds(None)] == ["3.1", "1,234", "–"]
    assert [gibibytes(3 * 2**29), gibibytes(None)] == ["1.5 GiB", ""]
    assert data_address(b"\x00", "webp") == "data:image/webp;base64,AA=="
