"""Layouts of embeddings: which tensors are whose vectors, and what is none."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pipelines.checkpoints.embeddings.layouts import bundled_embeddings, embedding_of
from pipelines.checkpoints.formats.header import Header, TensorRow
from pipelines.errors import ModelUnavailable

Shapes = dict[str, tuple[int, ...]]
GOOD: list[tuple[Shapes, dict[str, tuple[int, int]]]] = [
    ({"emb_params": (2, 768)}, {"": (2, 768)}),
    ({"emb_params": (768,)}, {"": (1, 768)}),
    ({"string_to_param.*": (3, 768), "string_to_token.*": ()}, {"": (3, 768)}),
    ({"<cat-toy>": (1024,)}, {"": (1, 1024)}),
    ({"clip_l": (4, 768), "clip_g": (4, 1280)}, {"clip_l": (4, 768), "clip_g": (4, 1280)}),
    ({"text_encoders_0": (2, 768), "text_encoders_1": (2, 1280)},
     {"clip_l": (2, 768), "clip_g": (2, 1280)}),
]  # fmt: skip
BAD: list[Shapes] = [
    {}, {"emb_params": ()}, {"emb_params": (1, 2, 768)}, {"emb_params": (0, 768)},
    {"emb_params": (76, 768)}, {"emb_params": (2, 0)}, {"a": (768,), "b": (768,)},
    {"clip_l": (1, 768), "other": (1, 768)}, {"clip_l": (1, 768), "text_encoders_0": (1, 768)},
]  # fmt: skip


def header(shapes: Shapes) -> Header:
    return Header({name: TensorRow("F32", shape, (0, 0)) for name, shape in shapes.items()}, {})


@pytest.mark.parametrize(("shapes", "expected"), GOOD)
def test_layouts(shapes: Shapes, expected: dict[str, tuple[int, int]]) -> None:
    found = embedding_of("x", Path("x"), header(shapes))
    assert found.shapes == expected
    assert found.vectors == max(count for count, _ in expected.values())
    names = {f"bundle_emb.y.{name}": shape for name, shape in shapes.items()}
    (bundled,) = bundled_embeddings(Path("x"), {**names, "other.lora_up.weight": (1, 1)})
    assert (bundled.name, bundled.shapes) == ("y", expected)
    assert all(name.startswith("bundle_emb.y.") for name in bundled.tensors.values())


@pytest.mark.parametrize("shapes", BAD)
def test_what_is_none(shapes: Shapes) -> None:
    with pytest.raises(ModelUnavailable, match="no embedding that is known here"):
        embedding_of("x", Path("x"), header(shapes))


def test_the_documented_conversion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The script of docs/extending.md, run on AUTOMATIC1111's and diffusers' pickles."""
    from pipelines.checkpoints.formats.tensor_files import read_header

    text = (Path(__file__).parents[4] / "docs" / "extending.md").read_text()
    script = text.split("```python\nimport torch, safetensors")[1].split("```")[0]
    monkeypatch.chdir(tmp_path)
    vector = torch.ones(2, 768)
    automatic = {"string_to_token": {"*": 265}, "string_to_param": {"*": vector}, "name": "x",
                 "step": 5, "sd_checkpoint": None}  # fmt: skip
    for pickled in (automatic, {"<x>": vector[0]}, {"clip_l": vector, "clip_g": vector.clone()}):
        torch.save(pickled, "name.pt")
        exec("import torch, safetensors" + script, {})
        file = tmp_path / "name.safetensors"
        assert embedding_of("name", file, read_header(file)).vectors == (
            1 if "<x>" in pickled else 2
        )
