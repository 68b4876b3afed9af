"""Importing does nothing: no device, no network, no heavy library before it is needed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import app
from pipelines import Request

ROOT = Path(app.__file__).parent
PRELUDE = """
import json, runpy, sys
sockets = []
devices = []
def hook(event, arguments):
    if event.startswith("socket."):
        sockets.append(f"{event} {arguments!r}"[:200])
    if event == "open" and str(arguments[0]).startswith(("/dev/nvidia", "/dev/dri", "/dev/kfd")):
        devices.append(str(arguments[0]))
sys.addaudithook(hook)
def tell(**more):
    print(json.dumps({"sockets": sockets, "devices": devices, **more}))
"""
HEAVY = ["torch", "diffusers", "transformers", "gradio", "PIL", "numpy", "sd_parsers"]


def fresh(code, *arguments, env=()):
    """What a fresh interpreter, told on at every socket and device, says at its end."""
    result = subprocess.run(
        [sys.executable, "-c", PRELUDE + code, *map(str, arguments)],
        capture_output=True, text=True, timeout=180, cwd=ROOT, check=False,
        env={**os.environ, **dict(env)},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


def test_the_hook_sees_a_socket():
    """Else the tests below could not fail."""
    told = fresh("import socket\nsocket.getaddrinfo('localhost', 1)\nsocket.socket()\ntell()")
    assert any("getaddrinfo" in line for line in told["sockets"]) and len(told["sockets"]) >= 2


def test_importing_pipelines_is_light():
    told = fresh(
        f"""
from pipelines import Studio, Request, Sheet
import pipelines.checkpoints.catalog, pipelines.model_manager.manager
import pipelines.runs.png_metadata, pipelines.runs.store, presets
studio = Studio("models")
tell(heavy=[name for name in {HEAVY!r} if name in sys.modules])
"""
    )
    assert told == {"sockets": [], "devices": [], "heavy": []}


def test_the_command_line_starts_light():
    told = fresh(
        f"import app\ntell(heavy=[name for name in {HEAVY!r} if name in sys.modules])",
    )
    assert told == {"sockets": [], "devices": [], "heavy": []}


def test_importing_everything_touches_no_device():
    told = fresh(
        """
import pkgutil, importlib, pipelines
names = [m.name for m in pkgutil.walk_packages(pipelines.__path__, "pipelines.")]
for name in names:
    importlib.import_module(name)
import torch
tell(names=names, cuda=torch.cuda.is_initialized(), gradio="gradio" in sys.modules)
"""
    )
    assert {
        "pipelines.denoising.engine",
        "pipelines.rendering.renderer",
        "pipelines.families.sd",
    } <= set(told.pop("names"))
    assert told == {"sockets": [], "devices": [], "cuda": False, "gradio": False}


def test_generate_asks_nobody(models, tmp_path):
    """A whole run, in a process of its own."""
    out = tmp_path / "apple.png"
    told = fresh(
        """
import contextlib, io
printed = io.StringIO()
sys.argv = ["app.py", *sys.argv[1:]]
with contextlib.redirect_stdout(printed):
    try:
        runpy.run_path("app.py", run_name="__main__")
        status = 0
    except SystemExit as end:
        status = end.code
tell(status=status, printed=printed.getvalue(), gradio="gradio" in sys.modules)
""",
        "generate", "an apple", "--models", models, "--model", "tiny", "--steps", 2,
        "--device", "cpu", "--out", out,
    )  # fmt: skip
    assert told.pop("printed").replace("\n", "") == str(out)
    # urllib3 tries at import whether the loopback address takes a socket; it asks nobody.
    own = ("socket.__new__", "socket.bind")
    told["sockets"] = [
        line
        for line in told["sockets"]
        if not line.startswith(own) or (line.startswith(own[1]) and "('::1', 0)" not in line)
    ]
    assert told == {"sockets": [], "devices": [], "status": 0, "gradio": False}
    from pipelines.runs.png_metadata import read_settings

    wanted = Request(model="tiny", prompt="an apple", steps=2, width=32, height=32)
    assert read_settings(out) == wanted.model_dump()
