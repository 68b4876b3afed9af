"""Quiet commands: with every optional package installed, only the program's own lines appear."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import app
from pipelines.devices.library_probes import OPTIONAL
from ui.cli.library_output import take_verbose

ROOT = Path(app.__file__).parent
NAMES = ["TRANSFORMERS_VERBOSITY", "DIFFUSERS_VERBOSITY", "TORCH_LOGS", "TF_CPP_MIN_LOG_LEVEL"]


def installed(library):
    return pytest.mark.skipif(find_spec(library) is None, reason=f"{library} is not installed")


def plain_world():
    kept = {name: value for name, value in os.environ.items() if name not in NAMES}
    return kept | {"OMP_NUM_THREADS": "1"}


def process(*arguments, code=None):
    """A command in a process of its own, whose environment asks for nothing special."""
    start = ["-c", code] if code else [str(ROOT / "app.py")]
    return subprocess.run(
        [sys.executable, *start, *map(str, arguments)],
        capture_output=True, text=True, timeout=170, cwd=ROOT, check=False,
        env=plain_world(),
    )  # fmt: skip


@pytest.mark.parametrize(
    "command",
    [
        "models", "models --json", "samplers", "guiders", "styles", "preprocessors",
        "variants {a|b}", "download list",
    ],
)  # fmt: skip
def test_tables_print_themselves_alone(command):
    done = process(*command.split())
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.strip()


QUICK = ["--models", "{models}", "--model", "tiny", "--steps", 2, "--device", "cpu"]


@pytest.mark.parametrize(
    "options",
    [
        [],
        pytest.param(["--quantize", "int8"], marks=installed("torchao")),
        pytest.param(["--quantize", "nf4"], marks=installed("bitsandbytes")),
        pytest.param(["--backend", "openvino"], marks=installed("openvino")),
    ],
    ids=lambda options: options[-1] if options else "plain",
)
def test_generate_prints_its_file_and_nothing_else(models, tmp_path, options):
    out = tmp_path / "apple.png"
    quick = [str(one).format(models=models) for one in QUICK]
    done = process("generate", "an apple", *quick, *options, "--out", out)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert done.stdout == f"{out}\n"
    told = process("info", out)
    assert (told.returncode, told.stderr) == (0, "") and '"an apple"' in told.stdout


def test_a_sheet_prints_its_shape_and_its_cost(models, tmp_path):
    quick = [str(one).format(models=models) for one in QUICK]
    done = process(
        "sheet", "an apple", "--axis", "seed=1,2", *quick, "--out", tmp_path / "sheet",
        "--outputs", tmp_path / "outputs",
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "2 cells: 2 × seed\n")
    assert done.stdout.startswith("2 cells (0 were there), ") and done.stdout.count("\n") == 1


RUN = """
import runpy, sys
sys.argv = ["app.py", *sys.argv[1:]]
try:
    runpy.run_path("app.py", run_name="__main__")
finally:
    print("imported:", *(name for name in {names!r} if sys.modules.get(name)))
"""


def test_a_run_imports_no_library_that_it_does_not_use(models, tmp_path):
    code = RUN.format(names=(*OPTIONAL, "openvino", "gradio", "controlnet_aux"))
    quick = [str(one).format(models=models) for one in QUICK]
    out = ["--out", tmp_path / "apple.png"]
    plain = process("generate", "an apple", *quick, *out, code=code)
    assert plain.stdout.splitlines()[-1] == "imported:", plain.stdout + plain.stderr


@installed("torchao")
def test_a_run_that_uses_a_library_has_it_and_only_it(models, tmp_path):
    """Diffusers is told too, or it would move these weights as if they were plain tensors."""
    code = RUN.format(names=OPTIONAL) + (
        "    from diffusers.utils import is_bitsandbytes_available, is_torchao_available\n"
        "    print(is_torchao_available(), is_bitsandbytes_available())\n"
    )
    quick = [str(one).format(models=models) for one in QUICK]
    out = ["--quantize", "int8", "--out", tmp_path / "apple.png"]
    done = process("generate", "an apple", *quick, *out, code=code)
    assert done.stdout.splitlines()[-2:] == ["imported: torchao", "True False"], done.stderr


SPEAK = """
import logging, sys, warnings
sys.argv = ["app.py", *sys.argv[1:]]
from ui.cli.library_output import start_process, take_verbose
start_process(take_verbose(sys.argv[1:])[0])
warnings.warn("a warning of a library")
logging.getLogger("some_library.part").warning("a line of a library")
logging.getLogger("some_library.part").error("an error of a library")
logging.getLogger("pipelines.part").warning("a line of ours")
import torch
logging.getLogger("torch.utils._pytree").warning("a line of torch")
"""


def test_others_are_silent_below_errors_unless_verbose():
    quiet, verbose = process(code=SPEAK), process("--verbose", code=SPEAK)
    assert quiet.stderr.splitlines() == ["an error of a library", "a line of ours"]
    for line in ("a warning of a library", "a line of a library", "a line of ours", "of torch"):
        assert line in verbose.stderr


def test_verbose_may_stand_anywhere_but_in_a_text():
    assert take_verbose(["generate", "--verbose", "x"]) == (True, ["generate", "x"])
    assert take_verbose(["generate", "--", "--verbose"]) == (False, ["generate", "--", "--verbose"])
    done = process("samplers", "--verbose", "--json")
    assert done.returncode == 0 and "dpmpp_2m" in done.stdout


def test_serving_begins_with_the_address_and_what_was_loaded(models, tmp_path):
    command = [sys.executable, str(ROOT / "app.py"), "serve", "--models", str(models)]
    with subprocess.Popen(
        [*command, "--device", "cpu", "--outputs", str(tmp_path)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=plain_world(),
    ) as server:  # fmt: skip
        assert server.stdout is not None and server.stderr is not None
        try:
            assert server.stdout.readline().startswith("Contact Sheet is at http://127.0.0.1:")
            # What is said before that would stand in front of it.
            assert ": loaded " in server.stderr.readline()
        finally:
            server.kill()


NATIVE = """
import os, sys
from pipelines.utils.native_output import hold_back_stderr
with hold_back_stderr():
    os.write(2, b"compiled\\n")
print("own", file=sys.stderr, flush=True)
try:
    with hold_back_stderr():
        os.write(2, b"why it failed\\n")
        raise ValueError
except ValueError:
    pass
"""


@pytest.mark.parametrize(
    ("level", "said"), [("3", "own\nwhy it failed\n"), ("0", "compiled\nown\nwhy it failed\n")]
)
def test_compiled_code_is_held_back_unless_it_fails(level, said):
    done = process(code=f"import os; os.environ['TF_CPP_MIN_LOG_LEVEL'] = '{level}'\n{NATIVE}")
    assert done.stderr == said
