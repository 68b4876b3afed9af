"""The readers of figures and solids: what they learn from, how they are read, that they learn."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from training.data.poses import KEYPOINTS
from training.judges import map_reader
from training.judges.control_scores import joints_near
from training.judges.map_reader import Reader, load_reader, read, read_joints
from training.judges.reader_data import GRID, MIRRORED, draw_rows, varied


def test_a_mirror_swaps_left_and_right() -> None:
    assert [MIRRORED[i] for i in MIRRORED] == list(range(len(KEYPOINTS)))
    assert KEYPOINTS[MIRRORED[KEYPOINTS.index("left knee")]] == "right knee"
    assert MIRRORED[KEYPOINTS.index("neck")] == KEYPOINTS.index("neck")


def test_rows_are_what_their_domain_says() -> None:
    people, things = draw_rows("figures", 3, 1), draw_rows("solids", 3, 1)
    assert people.joints is not None
    assert things.joints is None
    # The nose is on the head, where it is seen.
    for row, joints in enumerate(people.joints):
        x, y, seen = joints[0].tolist()
        if seen:
            assert people.labels[row, int(y) // 2, int(x) // 2] == people.classes - 1
    for depth, labels in zip(things.depth, things.labels, strict=True):
        assert depth.max() <= 1
        assert labels.max() > 0
        assert depth[-1].mean() > depth[0].mean(), "the floor comes nearer downwards"


def test_pictures_and_what_they_show_are_moved_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """One white cell in black pictures: where it comes to lie, all that is known of it lies too."""
    monkeypatch.setattr("training.judges.reader_data.SOFT", 0.0)
    monkeypatch.setattr("training.judges.reader_data.TINT", 0.0)
    rows = draw_rows("figures", 12, 2)
    knee = KEYPOINTS.index("left knee")
    y, x = 20, 41
    pixels, joints = np.zeros_like(rows.pixels), torch.zeros(12, 18, 3)
    pixels[:, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2] = 255
    joints[:, knee] = torch.tensor([2.0 * x + 1, 2.0 * y + 1, 1])
    marked = torch.from_numpy((pixels[:, ::2, ::2, 0] > 0).astype(np.int64))
    rows = replace(rows, pixels=pixels, labels=marked, depth=marked.float(), joints=joints)
    pictures, moved = varied(rows, torch.Generator().manual_seed(3))
    assert moved.joints is not None
    white = pictures[:, 0, ::2, ::2] > 0
    assert (white.sum((1, 2)) == 1).all()
    assert (moved.labels == white).all()
    assert (moved.depth == white.float()).all()
    columns = white.nonzero()[:, 2].tolist()
    assert len(set(columns)) == 2, "some are mirrored, some are not"
    for place, found in zip(white.nonzero().tolist(), moved.joints, strict=True):
        _, down, across = place
        joint = knee if across > GRID // 2 else MIRRORED[knee]
        assert found[joint].tolist() == [2 * across + 1, 2 * down + 1, 1]


def test_a_joint_is_read_between_its_cells() -> None:
    told = torch.full((1, len(KEYPOINTS), GRID, GRID), -9.0)
    told[:, :, 10, 20] = told[:, :, 10, 21] = 9.0
    x, y = read_joints(told)[0, 0]
    assert (x, y) == pytest.approx((2 * 21, 2 * 10.5), abs=0.05)


@pytest.mark.parametrize("domain", ["figures", "solids"])
def test_a_reader_learns(domain: str) -> None:
    torch.manual_seed(0)
    rows = draw_rows(domain, 8, 4)
    reader = Reader(map_reader.OUTPUTS[domain], (8, 12, 16, 24), 16)
    before = map_reader.accuracy(reader, domain, rows)
    optimizer = torch.optim.AdamW(reader.parameters(), lr=1e-2)
    reader.train()
    inputs = map_reader.as_input(rows.pixels)
    for _ in range(90):
        map_reader.loss_of(reader(inputs), rows, 1.5).backward()
        optimizer.step()
        optimizer.zero_grad()
    after = map_reader.accuracy(reader, domain, rows)
    told = "joints" if domain == "figures" else "depth"
    assert after[told] > 0.8 > before[told]
    assert after["overlap"] > 0.45 > before["overlap"]
    found = read(reader, domain, rows.pixels)
    assert found.labels.shape == (8, 128, 128)
    if rows.joints is not None:
        near = joints_near(found.joints, rows.joints.numpy())
        assert np.nanmean(near) > 0.8


def test_a_missing_reader_says_how_to_train_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"python -m training\.judges\.map_reader solids"):
        load_reader(tmp_path, "solids")
