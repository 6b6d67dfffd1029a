"""A small run in a process of its own, which tests kill; run as a program it can kill itself at a write to the disk."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

CONFIG = {
    "epochs": 2,
    "fewest_steps": 16,
    "batch_size": 24,
    "widths": (8, 16, 16),
    "dimensions": 16,
    "precision": "fp32",
}
EXACT = ("model/model.safetensors", "model/config.json", "predictions.csv", "embeddings.npz", "examples.webp")


def start(verb, data, out, *, die_at="", checkpoint_seconds=0.0):
    """A process that does "run" or "train", is "stuck" in a step or has something "destroyed".

    It kills itself at the `die_at`-th fsync or rename, or at the rename to a file of this name.
    """
    root = Path(__file__).parents[2]
    paths = [str(root / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.Popen(
        [sys.executable, __file__, verb, str(data), str(out), str(die_at), str(checkpoint_seconds)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell that starts the tests in the background has them ignore SIGINT, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def finish(process):
    """Wait for a process that is to succeed; return what it tells at its end, and what it wrote to stderr."""
    printed, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    return json.loads(printed), said


def wait_for(file):
    """Until the file is there, but no longer than two minutes."""
    deadline = time.monotonic() + 120
    while not file.exists() and time.monotonic() < deadline:
        time.sleep(0.02)


def fingerprint(run):
    """What the promise "same seed, same bytes" covers in a finished run folder."""
    results = json.loads((run / "results.json").read_text())
    del results["timing"], results["peak_memory_bytes"]
    for figures in results["methods"].values():
        del figures["fit_seconds"]
    return {"results": results, **{name: (run / name).read_bytes() for name in EXACT}}


def leftovers(run):
    """Files that a finished run should not hold."""
    return [str(path) for path in run.rglob("*") if path.name.endswith(".part") or path.name == ".owner.json"] + [
        str(path) for path in run.glob("checkpoints")
    ]


def main():
    """Run; print the number of writes at the end, and which stations there were."""
    verb, data, out, die_at, checkpoint_seconds = sys.argv[1:]
    import torch

    import tercet
    from tercet import commands
    from tercet.cli import entry
    from tercet.config import Config
    from tercet.interruption import HeldSignals
    from tercet.training import head, loop

    torch.set_num_threads(1)
    loop.CHECKPOINT_SECONDS, head.FEWEST_STEPS = float(checkpoint_seconds), 20
    count, stations = 0, {}

    def counted(operation):
        def wrapper(*arguments):
            nonlocal count
            count += 1
            if die_at in (str(count), getattr(arguments[-1], "name", None)):
                os.kill(os.getpid(), signal.SIGKILL)
            return operation(*arguments)

        return wrapper

    os.fsync, Path.replace = counted(os.fsync), counted(Path.replace)

    def stuck():
        with HeldSignals():
            print("stuck", flush=True)  # noqa: T201
            while True:
                time.sleep(0.01)

    class Destroyed:
        def __del__(self):
            print("destroyed", flush=True)  # noqa: T201
            time.sleep(60)

    def destroyed():
        Destroyed()
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:  # a signal that was lost in the destructor is not heard here
            time.sleep(0.01)
        raise SystemExit(0)

    def command(**_):
        if verb == "stuck":
            stuck()
        if verb == "destroyed":
            destroyed()
        getattr(tercet, verb)(
            Path(data), out=out, config=Config(**CONFIG), on_progress=lambda name, *_: stations.setdefault(name)
        )
        print(json.dumps({"writes": count, "stations": list(stations)}))  # noqa: T201
        return 0

    commands.run = command
    sys.argv = ["tercet", "run", data, "--out", out]
    entry()


if __name__ == "__main__":
    main()
