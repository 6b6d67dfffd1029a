"""Files that would do something where they are trusted: refused in a sentence or harmless, and the canary untouched."""

import html.parser
import pickle
from collections import Counter
from itertools import chain

import pytest
import yaml
from PIL import Image

from malice import Files, Payload, hostile_batches, hostile_data, hostile_models, run_commands
from pictures import write_folder
from reliability.tiers import counts

PLAIN = ("stripes", "checks", "plain")
EVIL = (
    "<img src=x onerror=alert(1)>",
    "!!python/object/apply:os.system ['touch canary']",
    '"><svg onload=alert(1)>\n---',
)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("images") / "pictures", 12)


@pytest.fixture(scope="module")
def finished(images, tmp_path_factory):
    """A run, with an index over the same images in it."""
    folder = tmp_path_factory.mktemp("runs")
    commands = [
        ["run", str(images), "--out", str(folder / "run")],
        ["index", str(images), "--model", str(folder / "run"), "--out", str(folder / "run" / "index")],
    ]
    assert [status for status, *_ in run_commands(commands, folder / "canary", [])] == [0, 0]
    return folder / "run"


@counts(1, 6)
def test_nothing_is_executed(images, finished, tmp_path, record_property, count):
    canary, commands, expected = tmp_path / "canary", [], []
    for way in range(count):
        files, payload = Files(tmp_path / f"way {way}", finished), Payload(canary, way)
        image = images / "plain" / "000.png"
        for command, says in chain(hostile_data(files, payload), hostile_models(files, image, payload)):
            commands.append(command)
            expected.append(says)
    archives = list(hostile_batches(tmp_path / "archives", canary))
    commands += [["fetch", "cifar10", "--archive", str(archive), "--data-dir", str(tmp_path)] for archive in archives]
    expected += ["it names"] * len(archives)
    answers = run_commands(commands, canary, archives)
    wrong = [
        (command, said)
        for command, says, (status, said, touched) in zip(commands, expected, answers, strict=True)
        if touched or status != bool(says) or says not in said or (says and said.count("\n") != 1)
    ]
    assert wrong == []
    record_property("commands", len(commands))


def test_the_canary_would_be_seen(tmp_path):
    """What the payload does where it is trusted."""
    for way in range(3):
        pickle.loads(pickle.dumps(Payload(tmp_path / f"{way}", way)))
        assert (tmp_path / f"{way}").exists()


@pytest.mark.slow
def test_trust_would_be_noticed(finished, tmp_path):
    canary = tmp_path / "canary"
    trusting = "from numpy.lib import format\nread = format.read_array\n"
    trusting += "format.read_array = lambda stream, **_: read(stream, allow_pickle=True)\n"
    hostile = hostile_data(Files(tmp_path / "files", finished), Payload(canary, 0))
    commands = [command for command, _ in hostile if command[1].endswith(".npz")]
    assert any(touched for *_, touched in run_commands(commands, canary, [], before=trusting))


@counts(1, 1)
def test_a_state_that_is_replaced_is_made_anew(images, finished, tmp_path, count):
    """A checkpoint and the cache of images: a training goes on without them."""
    canary, out = tmp_path / "canary", tmp_path / "run"
    command = ["train", str(images), "--out", str(out)]
    assert [status for status, *_ in run_commands([command], canary, [])] == [0]
    content = pickle.dumps(Payload(canary, 0))
    states = [*(out / "checkpoints").rglob("*.sealed"), *(tmp_path / "cache").glob("*.safetensors")]
    assert len(states) >= 2
    for state in states:
        state.write_bytes(content)
    (out / "model" / "config.json").unlink()
    ((status, said, touched),) = run_commands([command], canary, [])
    assert status == 0, said
    assert not touched
    assert (out / "model" / "config.json").is_file()


class Tags(html.parser.HTMLParser):
    """What a page consists of: its elements, and which have an attribute that a browser would execute."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.handlers = Counter(), []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags[tag] += 1
        self.handlers += [name for name, _ in attributes if name.startswith("on")]


@counts(1, 1)
def test_names_and_exif_that_are_code_are_text_in_report_and_card(images, finished, tmp_path, count):
    for plain, evil in zip(PLAIN, EVIL, strict=True):
        for number, file in enumerate(sorted((images / plain).iterdir())):
            folder = tmp_path / "data" / evil.replace("/", "\\")
            folder.mkdir(parents=True, exist_ok=True)
            exif = Image.Exif()
            exif[0x010E] = exif[0x013B] = "<script>alert(1)</script>"
            Image.open(file).save(folder / f"<b onclick=alert({number})>\x1b[31m.png", exif=exif, comment=EVIL[0])
    ((status, said, _),) = run_commands(
        [["run", str(tmp_path / "data"), "--out", str(tmp_path / "run")]], tmp_path / "canary", []
    )
    assert status == 0, said
    page, card = ((tmp_path / "run" / name).read_text() for name in ("report.html", "README.md"))
    found, harmless = Tags(page), Tags((finished / "report.html").read_text())
    assert found.handlers == harmless.handlers == []
    assert found.tags["script"] == harmless.tags["script"]
    assert found.tags["svg"] == harmless.tags["svg"]
    assert found.tags["b"] == page.count("</b>")  # the names' own is never closed
    assert "<script>alert" not in page
    header = card.split("---\n")[1]
    assert yaml.load(header, Loader=yaml.UnsafeLoader)["library_name"] == "tercet"
    assert not (tmp_path / "canary").exists()
