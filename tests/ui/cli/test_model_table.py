"""Rows of `python app.py models`, from real folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines import Studio
from presets import model_preset
from ui.cli.model_table import model_row


@pytest.fixture(scope="module")
def studio(models: Path) -> Studio:
    return Studio(models)


def test_a_model_says_what_it_can_do(studio: Studio) -> None:
    (info,) = [info for info in studio.models() if info.id == "emoji"]
    row = model_row(studio, info, full=False)
    supports = studio.supports("emoji")
    assert row["title"] == model_preset("emoji").title
    assert (row["id"], row["family"], row["kind"]) == ("emoji", "sd", supports.kind)
    assert row["size"] == "32x32" and row["guidance"] == "classifier free"
    assert row["negative_prompt"] is True and row["problem"] is None
    assert row["megabytes"] == round(info.bytes / 1e6, 1) > 0
    assert row["folder"] == str(info.path)


def test_long_lists_are_for_machines(studio: Studio) -> None:
    info = studio.models()[0]
    short, full = (model_row(studio, info, full) for full in (False, True))
    supports = studio.supports(info.id)
    assert full.items() >= short.items()
    assert {name: full[name] for name in full.keys() - short.keys()} == {
        "samplers": list(supports.samplers),
        "steps": list(supports.steps),
        "skip_layers": supports.skip_layers,
        "size_multiple": supports.sizes.multiple,
    }


def test_a_controlnet_is_no_model(studio: Studio) -> None:
    row = model_row(studio, studio.controlnets()[0], full=True)
    assert (row["id"], row["kind"], row["size"]) == ("net-canny", "controlnet", None)
    assert row["samplers"] == [] == row["steps"]


def test_what_cannot_be_used_says_why_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "old.ckpt").write_bytes(b"a pickle")
    studio = Studio(tmp_path)
    (info,) = studio.models()
    row = model_row(studio, info, full=True)
    assert row["problem"] == info.problem and row["problem"]
    assert row["guidance"] is None and row["samplers"] == []
