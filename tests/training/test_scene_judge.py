"""The judge of figures and solids: its labels, how its logits are read, and that it learns."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from training.data.rays import KINDS
from training.data.scenes import load_scenes
from training.evaluation.scenes import figure_asks, solid_asks, solids_right
from training.judges.scene_judge import (
    COLOURS,
    SceneJudge,
    read_solids,
    same_things,
    targets,
    varied,
)
from training.judges.scene_labels import Label, scene_labels


def test_labels_are_walked_from_the_same_numbers(tmp_path: Path) -> None:
    scenes = load_scenes(tmp_path, each=6)
    labels = scene_labels(scenes)
    for caption, label in zip(scenes.captions, labels, strict=True):
        if label.shirt:
            assert "shirt" not in caption or f"{label.shirt} " in caption
            assert not label.things
        else:
            assert 1 <= sum(label.things.values()) <= 3
            for colour, kind in label.things:
                assert kind in caption.replace("ball", "sphere").replace("block", "cube")
                assert colour in caption or not any(c in caption for c in COLOURS)
    with pytest.raises(ValueError, match="scene 0"):
        scene_labels(replace(scenes, captions=["something else", *scenes.captions[1:]]))


def logits(*pairs: tuple[str, str]) -> torch.Tensor:
    """Sure of these, the first most."""
    row = torch.full((len(COLOURS) * len(KINDS),), -5.0)
    for rank, (colour, kind) in enumerate(pairs):
        row[COLOURS.index(colour) * len(KINDS) + KINDS.index(kind)] = 5.0 - rank
    return row


def test_logits_are_read_as_solids() -> None:
    red, blue = ("red", "cube"), ("blue", "sphere")
    there = torch.stack([logits(red, blue), logits(red, blue), logits(red), logits()])
    count = torch.eye(3)[[1, 0, 1, 0]]
    found = read_solids(there, count)
    assert found[:3] == [{red: 1, blue: 1}, {red: 1}, {red: 2}]
    assert sum(found[3].values()) == 1, "something is always named"
    assert same_things({red: 2}, {red: 2})
    assert not same_things({red: 1}, {red: 2})
    assert not same_things({red: 1, blue: 1}, {red: 1, ("blue", "cube"): 1})


def test_targets_and_reading_are_each_other_s_reverse() -> None:
    labels = [Label("pink", {}), Label("", {("red", "cone"): 2}), Label("", {("black", "cube"): 1})]
    shirts, there, counts = targets(labels)
    assert shirts.tolist() == [COLOURS.index("pink"), -1, -1]
    assert counts.tolist() == [-1, 1, 0]
    found = read_solids(there[1:] * 10 - 5, torch.eye(3)[counts[1:]])
    assert found == [dict(label.things) for label in labels[1:]]


def test_asks_say_all_that_they_are_judged_by() -> None:
    for ask in figure_asks(4):
        assert f"{ask.label.shirt} shirt" in ask.caption
    for ask in solid_asks(6):
        assert sum(ask.label.things.values()) <= 2
        assert all(f"{colour} {kind}" in ask.caption for colour, kind in ask.label.things)
        assert ask.pixels.shape == (128, 128, 3)


def test_it_learns_which_solids_are_there() -> None:
    torch.manual_seed(0)
    asks = solid_asks(8)
    pictures = np.stack([ask.pixels for ask in asks]).astype(np.float32)
    small = torch.nn.functional.interpolate(
        torch.from_numpy(pictures).permute(0, 3, 1, 2) / 127.5 - 1, (64, 64), mode="area"
    )
    model = SceneJudge((8, 16, 32))
    before = solids_right(model.eval(), pictures, asks).mean()
    _, there, counts = targets([ask.label for ask in asks])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    model.train()
    for _ in range(80):
        _, found, count = model(small)
        loss = torch.nn.functional.cross_entropy(count, counts)
        (loss + 10 * torch.nn.functional.binary_cross_entropy_with_logits(found, there)).backward()
        optimizer.step()
        optimizer.zero_grad()
    after = solids_right(model.eval(), pictures, asks).mean()
    assert after > 0.8 > before


def test_variations_stay_pictures() -> None:
    generator = torch.Generator().manual_seed(0)
    picture = torch.rand(3, 3, 64, 64) * 2 - 1
    found = varied(picture, generator)
    assert found.shape == picture.shape
    assert found.abs().max() <= 1
    assert not found.equal(varied(picture, generator))
