"""Commands as people type them: what they print, where, and with which exit status."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mirror import serve
from official import members, write_archive
from pictures import write_folder
from tercet import config
from tercet.cli import main
from tercet.data import cifar10


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("pictures"), 20)


@pytest.fixture(autouse=True)
def small_preset(monkeypatch: pytest.MonkeyPatch) -> None:
    small = config.Config(epochs=1, fewest_steps=12, batch_size=24, widths=(8, 8, 8), dimensions=8, precision="fp32")
    monkeypatch.setitem(config.PRESETS, "quick", small)


@pytest.fixture(scope="module")
def model(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "model"
    with pytest.MonkeyPatch.context() as patch:
        small = config.Config(epochs=2, fewest_steps=16, widths=(8, 8, 8), precision="fp32")
        patch.setitem(config.PRESETS, "quick", small)
        assert main(["-q", "train", str(folder), "--out", str(out)]) == 0
    return out


def test_run_prints_table_verdict_and_paths(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(folder), "--out", str(tmp_path / "run")]) == 0
    printed = capsys.readouterr()
    assert "logistic regression on pixels" in printed.out
    assert "McNemar" in printed.out
    assert printed.out.splitlines()[-2:] == [
        f"report:  {tmp_path}/run/report.html",
        f"results: {tmp_path}/run/results.json",
    ]
    assert "encoder: 12 of 12" in printed.err
    assert main(["-q", "run", str(folder), "--out", str(tmp_path / "run")]) == 0  # already finished
    assert capsys.readouterr().out == printed.out


def test_predict_prints_a_line_an_image_and_does_the_rest(
    folder: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "letter.jpg"
    bad.write_text("Dear all")
    good = str(folder / "checks/000.png")
    assert main(["predict", good, str(bad), good, "--model", str(model), "--json", "-k", "2"]) == 1
    printed = capsys.readouterr()
    lines = [json.loads(line) for line in printed.out.splitlines()]
    assert [line["path"] for line in lines] == [good, good]
    assert lines[0].keys() == {"path", "predicted", "probability", "top"}
    assert lines[0]["top"][0] == [lines[0]["predicted"], lines[0]["probability"]]
    assert len(lines[0]["top"]) == 2
    assert printed.err.count("\n") == 1
    assert "letter.jpg: not a JPEG" in printed.err
    assert main(["predict", good, "--model", str(model)]) == 0
    assert capsys.readouterr().out.startswith(f"{good}\t{lines[0]['predicted']} ")


def test_predict_prints_csv_and_takes_a_list(
    folder: Path, model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{folder / 'checks/000.png'}\n{folder / 'stripes'}\n"))
    assert main(["predict", "-", "--model", str(model), "--csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert len(rows) == 21
    for row in rows:
        shares = [float(row[name]) for name in list(row)[3:]]
        assert sum(shares) == pytest.approx(1, abs=1e-5)
        assert float(row["probability"]) == max(shares) == float(row[row["predicted"]])


def test_embed_takes_files_and_folders(
    folder: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "embeddings.npz"
    assert main(["embed", str(folder), str(folder / "checks/000.png"), "--model", str(model), "--out", str(out)]) == 0
    with np.load(out, allow_pickle=False) as saved:
        assert saved["embeddings"].shape == (61, 128)
        assert saved["paths"][-1] == str(folder / "checks/000.png")
        position = list(saved["paths"]).index(str(folder / "checks/000.png"))
        np.testing.assert_allclose(saved["embeddings"][-1], saved["embeddings"][position], atol=1e-6)
    assert "61 embeddings" in capsys.readouterr().out
    assert not list(tmp_path.glob(".*"))


def test_evaluate_as_table_and_as_json(folder: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(folder), "--model", str(model), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["data"]["n_test"] == 12
    assert main(["evaluate", str(folder), "--model", str(model)]) == 0
    table = capsys.readouterr().out
    assert f"{100 * found['methods']['triplet_mlp_head']['test_accuracy']:.2f} %" in table
    assert f"recall@1 {100 * found['retrieval']['recall@1']:.1f} %, MAP@R" in table
    assert "seconds" not in table  # nothing was fitted


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["run", "nowhere", "--out", "OUT"], 1, "found nothing at 'nowhere'"),
        (["run", "digits", "--out", "OUT", "--preset", "huge"], 2, "invalid choice: 'huge'"),
        (["run", "digits", "--out", "OUT", "--seconds", "3"], 2, "arguments: --seconds 3; see `tercet run --help`"),
        (["run", "digits", "--out", "OUT", "--margin", "-1"], 2, "--margin is -1.0"),
        (["run", "digits", "--out", "OUT", "--epochs", "0"], 2, "--epochs is 0.0"),
        (["run", "digits", "--out", "OUT", "--size", "3"], 2, "--size is 3"),
        (["run", "digits", "--out", "OUT", "--seeds", "0"], 2, "--seeds is 0"),
        (["run", "digits", "--out", "/proc/nothing"], 1, "cannot be written"),
        (["run", "digits", "--out", "OUT", "--device", "mps"], 2, "--device mps is not available"),
        (["predict", "a.jpg", "--model", "nowhere"], 1, "found no model in nowhere"),
        (["report", "nowhere"], 1, "nowhere"),
        (["fetch", "digits"], 2, "invalid choice: 'digits'"),
        (["fetch", "cifar10", "--archive", "a", "--url", "b"], 2, "not allowed with"),
        (["fetch", "cifar10", "--archive", "nowhere", "--data-dir", "OUT"], 1, "cannot read the archive 'nowhere'"),
        (["dance"], 2, "invalid choice: 'dance'"),
    ],
)
def test_wrong_use_is_one_sentence(
    arguments: list[str], status: int, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(tmp_path / "out") if argument == "OUT" else argument for argument in arguments]
    try:
        found = main(["-q", *arguments])
    except SystemExit as ended:
        found = ended.code
    printed = capsys.readouterr()
    assert found == status
    assert says in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""
    assert not (tmp_path / "out").exists()


def test_wrong_data_is_one_sentence_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "only/cat").mkdir(parents=True)
    for number in range(6):
        (tmp_path / f"only/cat/{number}.jpg").write_text("this is text")
    (tmp_path / "broken.tar.xz").write_bytes(b"\xfd7zXZ\x00 and then nothing of use")
    (tmp_path / "empty").mkdir()
    one = write_folder(tmp_path / "one", 6)
    for other in ("stripes", "plain"):
        for file in (one / other).iterdir():
            file.unlink()
        (one / other).rmdir()
    for source in ("only", "broken.tar.xz", "empty", "one"):
        assert main(["-q", "run", str(tmp_path / source), "--out", str(tmp_path / "out")]) == 1
        printed = capsys.readouterr()
        assert printed.err.startswith("tercet: ")
        assert printed.err.count("\n") == 1
        assert not (tmp_path / "out").exists()


def test_damaged_model_is_one_sentence(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.json").write_bytes((model / "model/config.json").read_bytes())
    (tmp_path / "model.safetensors").write_bytes((model / "model/model.safetensors").read_bytes()[:1000])
    assert main(["predict", "a.jpg", "--model", str(tmp_path)]) == 1
    assert "is damaged" in capsys.readouterr().err


@pytest.fixture
def official(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small archive that passes for the official one."""
    archive = write_archive(tmp_path / "official.tar.gz", members("binary"))
    monkeypatch.setattr(cifar10, "CHECKSUMS", {cifar10.checksum(archive): archive.name})
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return archive


def test_fetch_says_where_the_data_lies_and_that_it_was_there(
    official: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "my data"
    command = ["fetch", "cifar10", "--archive", str(official), "--data-dir", str(folder)]
    assert main(command) == 0
    said = f"in {folder}: cifar10_train.npz, cifar10_test.npz\n"
    assert capsys.readouterr().out == f"cifar10 is {said}for `tercet run cifar10`, set TERCET_DATA='{folder}'\n"
    monkeypatch.setenv("TERCET_DATA", str(folder))
    assert main(command[:2]) == 0
    assert capsys.readouterr().out == f"cifar10 was already {said}"


@pytest.mark.slow
def test_an_interrupted_fetch_goes_on(official: Path, tmp_path: Path) -> None:
    line = f"import sys; from tercet.data import cifar10; cifar10.CHECKSUMS = {cifar10.CHECKSUMS!r}"
    line += "; from tercet.cli import main; sys.exit(main())"
    part = tmp_path / "data/cifar-10.download.part"
    with serve(official.read_bytes()) as mirror:
        mirror.faults = ["stall"]
        command = ["fetch", "cifar10", "--url", mirror.url, "--data-dir", str(tmp_path / "data")]
        process = subprocess.Popen(
            [sys.executable, "-c", line, *command],
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        deadline = time.monotonic() + 60
        while not (part.exists() and part.stat().st_size) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
        assert process.returncode == 130
        assert said.endswith("the same command goes on where it stopped.\n")
        half = part.stat().st_size
        assert main(command) == 0
        assert mirror.asked[1]["Range"] == f"bytes={half}-"
    assert sorted(path.name for path in (tmp_path / "data").glob("cifar*")) == [
        "cifar10.lock",
        "cifar10_test.npz",
        "cifar10_train.npz",
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes there")
def test_names_on_the_standard_input_may_be_no_text(tmp_path: Path) -> None:
    names = os.fsencode(tmp_path) + b"/caf\xe9.png\n"
    Image.new("RGB", (32, 32)).save(os.fsdecode(names[:-1]))
    strict = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}
    command = [sys.executable, "-m", "tercet", "-q", "predict", "-"]
    done = subprocess.run(command, input=names, capture_output=True, env=strict, check=True)
    assert b"caf\xe9.png" in done.stdout
