"""`python app.py download`: what it says, what it takes from a hub, and what a failure leaves.

The hub is a real HTTP server on this machine that answers as the hub's API does; the client is
huggingface_hub's own, in a process of its own. No test asks any other host.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

import app
from pipelines.checkpoints.catalog import find
from pipelines.checkpoints.download import STAGING
from presets import hub_models

ROOT = Path(app.__file__).parent
NAME = "stable-diffusion-v1-5"
UNWANTED = {
    "run.py", "whole.safetensors", "safety_checker/model.safetensors", "unet/pytorch_model.ckpt",
    "unet/diffusion_pytorch_model.bin", "unet/diffusion_pytorch_model.fp16.safetensors",
}  # fmt: skip


def call(*arguments):
    return CliRunner().invoke(app.app, ["download", *map(str, arguments)])


def process(endpoint, *arguments):
    return subprocess.run(
        [sys.executable, str(ROOT / "app.py"), "download", *map(str, arguments)],
        capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "HF_ENDPOINT": endpoint, "HF_HUB_DISABLE_XET": "1", "no_proxy": "*",
             "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip


class Hub(BaseHTTPRequestHandler):
    """The three questions that the client asks, answered from a folder."""

    folder: Path
    gated = False
    cut = 0
    """Bytes after which a larger answer breaks off; 0 for never."""
    asked: list[str]
    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self.do_GET(body=False)

    def do_GET(self, body=True):
        path = self.path.partition("?")[0]
        self.asked.append(f"{self.command} {path} {self.headers.get('Range', '')}".strip())
        if path.startswith("/api/"):
            rows = [
                {"type": "file", "path": name, "size": len(data), "oid": tag(data)}
                for name, data in self.files().items()
            ]
            return self.send(200, json.dumps(rows).encode(), {}, body)
        if match := re.fullmatch(r"/.+/resolve/([0-9a-f]{40})/(.+)", path):
            if self.gated:
                return self.send(403, b'{"error": "gated"}', {"X-Error-Code": "GatedRepo"}, body)
            data = self.files()[match[2]]
            headers = {"ETag": f'"{tag(data)}"', "X-Repo-Commit": match[1]}
            start = int((self.headers.get("Range") or "bytes=0-")[6:].split("-")[0])
            return self.send(206 if start else 200, data[start:], headers, body)
        return self.send(200, b"", {}, body)

    def files(self):
        return {
            path.relative_to(self.folder).as_posix(): path.read_bytes()
            for path in self.folder.rglob("*")
            if path.is_file()
        }

    def send(self, code, data, headers, body):
        self.send_response(code)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if body and self.cut and len(data) > self.cut:
            self.wfile.write(data[: self.cut])
            self.close_connection = True
        elif body:
            self.wfile.write(data)

    def log_message(self, *_):
        pass


def tag(data):
    return hashlib.sha256(data).hexdigest()[:40]


@pytest.fixture
def hub(shelf):
    """A hub with the tiny model, and beside it what must not be fetched; its address."""
    _, add = shelf
    model = add("published")
    for extra in UNWANTED:
        (model / extra).parent.mkdir(exist_ok=True)
        (model / extra).write_bytes(b"not wanted")
    handler = type("H", (Hub,), {"folder": model, "asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield handler, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "into"
    place.mkdir()
    return place


def test_every_row_is_pinned_and_says_its_terms():
    assert NAME in hub_models() and "emoji" not in hub_models()
    for id, preset in hub_models().items():
        assert re.fullmatch(r"[0-9a-f]{40}", preset.revision), id
        assert preset.licence and preset.gigabytes > 1 and preset.sizes, id
        result = call(id, "--dry-run")
        assert result.exit_code == 0 and preset.revision in result.output
        assert preset.licence in result.output and f"{preset.steps} steps" in result.output
        assert ("gated: accept its licence at https://" in result.output) == preset.gated
    assert [line.partition(":")[0] for line in call("list").output.splitlines()] == [*hub_models()]


def test_a_dry_run_asks_nobody_and_writes_nothing(folder):
    result = process("http://127.0.0.1:9", NAME, "--models", folder, "--dry-run")
    assert (result.returncode, result.stderr) == (0, "")
    assert "size: about 4.3 GB, into" in result.stdout
    assert not list(folder.iterdir())


def test_bad_arguments(folder):
    assert call("stable-difusion-v1-5").exit_code == 2
    assert "did you mean 'stable-diffusion-v1-5'" in call("stable-difusion-v1-5").output
    assert "does not exist" in call(NAME, "--models", folder / "nowhere").output
    (folder / NAME).mkdir()
    result = call(NAME, "--models", folder)
    assert result.exit_code == 2 and "is there already" in result.output


def test_without_a_network_one_line_and_nothing_left(folder):
    result = process("http://127.0.0.1:9", NAME, "--models", folder)
    assert result.returncode == 1
    assert result.stderr == (
        f"error: the hub cannot be reached, so {NAME} cannot be fetched; with a network, run "
        f"`python app.py download {NAME}` again to go on where it stopped\n"
    )
    assert not list(folder.rglob("*"))


def test_a_model_comes_whole_and_nothing_else(hub, folder):
    handler, endpoint = hub
    result = process(endpoint, NAME, "--models", folder)
    assert result.returncode == 0, result.stderr
    (info,) = find([folder])
    assert (info.id, info.problem) == (NAME, None)
    came = {p.relative_to(folder / NAME).as_posix() for p in info.path.rglob("*") if p.is_file()}
    there = set(handler.files(handler))
    assert there - came == UNWANTED
    assert came <= there and [p.name for p in folder.iterdir()] == [NAME]
    pinned = [line for line in handler.asked if "/resolve/" in line]
    assert pinned and all(hub_models()[NAME].revision in line for line in pinned)


def test_a_gated_model_says_how_to_get_access(hub, folder):
    handler, endpoint = hub
    handler.gated = True
    result = process(endpoint, NAME, "--models", folder)
    assert result.returncode == 1
    assert "is gated: accept its licence at https://" in result.stderr.splitlines()[-1]
    assert not list(folder.rglob("*"))


def test_what_was_cut_off_is_no_model_and_goes_on(hub, folder):
    handler, endpoint = hub
    handler.cut = 20_000
    result = process(endpoint, NAME, "--models", folder)
    assert result.returncode == 1 and "again to go on where it stopped" in result.stderr
    assert find([folder]) == []
    waiting = folder / STAGING / NAME
    came = [p for p in waiting.rglob("*") if p.is_file() and ".cache" not in p.parts]
    assert came
    handler.cut = 0
    handler.asked.clear()
    assert process(endpoint, NAME, "--models", folder).returncode == 0
    assert find([folder])[0].problem is None
    for file in came:
        name = file.relative_to(waiting).as_posix()
        assert not any(line.startswith("GET") and name in line for line in handler.asked), name
    assert [p.name for p in folder.iterdir()] == [NAME]
