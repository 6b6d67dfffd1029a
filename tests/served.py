"""A run folder without a run, an untrained model on three kinds of pattern with all that the service reads; and the
service over one in a process of its own."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from benchmarks.serving import small_image

from pictures import CLASSES, pattern
from tercet.data.imageset import ImageSet
from tercet.evaluation.examples import save_training_images
from tercet.files import write_arrays
from tercet.model.bundle import Bundle
from tercet.model.embed import embed
from tercet.model.encoder import new_encoder
from tercet.model.head import Head

PLAN = {"size": 32, "dimensions": 16, "widths": (8, 16, 16), "normalize": True, "mirrored": True}


def patterns(count: int, seed: int, name: str = "") -> ImageSet:
    """Images whose paths are `name` with their index in it."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    images = np.stack([pattern(CLASSES[label], generator) for label in labels])
    found = ImageSet.from_arrays(images, labels, CLASSES)
    paths = tuple(f"{CLASSES[label]}/{name.format(index)}" for index, label in enumerate(labels)) if name else ()
    return ImageSet(found.images, found.labels, found.classes, paths)


def untrained(images: ImageSet) -> Bundle:
    encoder = new_encoder(
        "fast", images.images, images.channel_statistics(), generator=torch.Generator().manual_seed(0), **PLAN
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        head = Head(16, 3, 8)
    settings = {**PLAN, "encoder": "fast", "widths": list(PLAN["widths"]), "hidden": 8, "backbone": None}
    return Bundle(encoder.eval(), head.eval(), CLASSES, settings)


def write_run(folder: Path, trained_on: ImageSet) -> Path:
    """The folder of a run on these images."""
    test, bundle = patterns(24, 1), untrained(trained_on)
    bundle.save(folder / "model")
    write_arrays(
        folder / "embeddings.npz",
        train=embed(bundle.encoder, trained_on.images).numpy(),
        train_labels=trained_on.labels.numpy(),
        test=embed(bundle.encoder, test.images).numpy(),
        test_labels=test.labels.numpy(),
        classes=np.array(CLASSES),
    )
    points = np.random.default_rng(2).normal(size=(20, 2)).astype(np.float32)
    write_arrays(folder / "tsne.npz", points=points, labels=test.labels[4:].numpy(), indices=np.arange(4, 24))
    save_training_images(folder, trained_on, seed=0)
    (folder / "run.json").write_text(json.dumps({"data": {"name": "patterns"}}))
    return folder


@contextmanager
def services(log: Path) -> Iterator[Callable[..., tuple[subprocess.Popen[str], str]]]:
    """A function that starts a service with these options, and gives its process and its address; all end here."""
    started: list[subprocess.Popen[str]] = []

    def begin(*options: str, before: str = "") -> tuple[subprocess.Popen[str], str]:
        line = f"{before}; from tercet.cli import entry; entry()".removeprefix("; ")
        process = subprocess.Popen(
            [sys.executable, "-c", line, "serve", *options],
            stdout=subprocess.PIPE,
            stderr=log.open("w"),
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            # A shell that starts the tests in the background has them ignore SIGINT, and children inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        started.append(process)
        assert process.stdout is not None
        return process, process.stdout.readline().strip()

    try:
        yield begin
    finally:
        for process in started:
            process.kill()
            process.wait()
            process.stdout.close()


@contextmanager
def healthy(port: int) -> Iterator[list[float]]:
    """Ask in the background, 20 times a second; the seconds of each answer. All must be answered."""
    seconds, faults, done, image = [], [], threading.Event(), small_image()

    def go_on():
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        while not done.wait(0.05):
            begun = time.perf_counter()
            connection.request("POST", "/api/predict", image)
            answer = connection.getresponse()
            content = answer.read()
            seconds.append(time.perf_counter() - begun)
            if answer.status != 200:
                faults.append(content)
        connection.close()

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield seconds
    finally:
        time.sleep(0.2)  # so that there is one after the attack
        done.set()
        thread.join()
    assert faults == []
    assert seconds


def most_resident_bytes(process: int) -> int:
    """The most that a process has held in memory so far; Linux only."""
    status = Path(f"/proc/{process}/status").read_text()
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


def ask(port: int, sent: bytes, timeout: float = 30) -> bytes:
    """All that comes back until the end."""
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as connection:
        try:
            connection.sendall(sent)
            while part := connection.recv(65_536):
                answer += part
        except ConnectionError:  # a connection that is reset may lose its answer
            pass
    return answer
