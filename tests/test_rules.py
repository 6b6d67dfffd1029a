"""Rules that no linter knows: nothing is unpickled, nothing printed, nothing seeded for everybody."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "tercet"
MODULES = {path.relative_to(SOURCE).as_posix(): ast.parse(path.read_text()) for path in sorted(SOURCE.rglob("*.py"))}
UNSAFE_MODULES = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
UNSAFE_CALLS = {"torch.load", "torch.save", "yaml.load", "yaml.unsafe_load", "eval", "exec", "os.system"}
GLOBAL_SEEDS = {"torch.manual_seed", "torch.seed", "np.random.seed", "numpy.random.seed", "random.seed"}
UNSAFE_CALLS |= {"pickle.load", "pickle.loads", "pickle.Unpickler"}
# The two exceptions: CIFAR-10's Python archive holds pickles, and its Unpickler knows three names and calls none of
# what they name; the ImageNet weights come as a .pth file, read as weights only after a check of its SHA-256.
ADMITTED = {"data/pickled_batch.py": ["pickle"], "model/pretrained.py": ["torch.load"]}
SPEAKERS = {"cli.py", "commands.py", "terminal.py"}  # whose business is to talk to a person


def calls(tree):
    return [(ast.unparse(node.func), node) for node in ast.walk(tree) if isinstance(node, ast.Call)]


def seeds_for_everybody(tree):
    """Calls that seed a global generator outside of `with ...fork_rng(...)`."""
    sheltered = {
        node
        for block in ast.walk(tree)
        if isinstance(block, ast.With)
        and any("fork_rng" in ast.unparse(manager.context_expr) for manager in block.items)
        for node in ast.walk(block)
    }
    return [name for name, node in calls(tree) if name in GLOBAL_SEEDS and node not in sheltered]


def unpickles(tree):
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
    }
    allowing = [
        keyword.arg
        for _, node in calls(tree)
        for keyword in node.keywords
        if keyword.arg == "allow_pickle" and ast.unparse(keyword.value) != "False"
    ]
    return sorted(imported & UNSAFE_MODULES) + allowing + [name for name, _ in calls(tree) if name in UNSAFE_CALLS]


@pytest.mark.parametrize("name", MODULES)
def test_no_pickle_in_any_disguise(name):
    assert unpickles(MODULES[name]) == ADMITTED.get(name, [])


def test_the_exception_reads_weights_only():
    loads = [node for call, node in calls(MODULES["model/pretrained.py"]) if call == "torch.load"]
    assert [{keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords} for node in loads] == [
        {"weights_only": "True"}
    ]


@pytest.mark.parametrize("name", MODULES)
def test_no_onnx_is_read_but_the_one_just_made(name):
    """An ONNX file may name others, anywhere; `inference/export.py` runs bytes that it has, and no file."""
    found = {call for call, _ in calls(MODULES[name]) if call.startswith(("onnx", "onnxruntime"))}
    allowed = (
        {"onnx.helper.set_model_props", "onnxruntime.InferenceSession"} if name == "inference/export.py" else set()
    )
    assert found <= allowed


@pytest.mark.parametrize("name", sorted(MODULES.keys() - SPEAKERS))
def test_the_library_does_not_print_or_configure_logging(name):
    found = [call for call, _ in calls(MODULES[name])]
    assert {"print", "pprint", "sys.stdout.write", "logging.basicConfig", "logging.disable"}.isdisjoint(found)


@pytest.mark.parametrize("name", MODULES)
def test_nothing_seeds_globally(name):
    assert seeds_for_everybody(MODULES[name]) == []


def test_the_rules_find_what_they_look_for():
    assert unpickles(ast.parse("import pickle")) == ["pickle"]
    assert unpickles(ast.parse("import pickle\npickle.loads(text)")) == ["pickle", "pickle.loads"]
    assert unpickles(ast.parse("from joblib import load")) == ["joblib"]
    assert unpickles(ast.parse("np.load(path, allow_pickle=True)")) == ["allow_pickle"]
    assert unpickles(ast.parse("np.load(path, allow_pickle=False)")) == []
    assert unpickles(ast.parse("torch.load(path)")) == ["torch.load"]
    assert seeds_for_everybody(ast.parse("torch.manual_seed(0)")) == ["torch.manual_seed"]
    assert seeds_for_everybody(ast.parse("with torch.random.fork_rng():\n    torch.manual_seed(0)")) == []
