"""Ray-cast solids: geometry against algebra, maps against each other, light, captions."""

from dataclasses import replace

import numpy as np
import pytest

from training.data import solids
from training.data.colours import NAMED, nearest_background
from training.data.lighting import Light
from training.data.rays import KINDS, WALL, Camera, Solid, cast, normal
from training.data.samples import Wording
from training.data.solids import MOST_HIDDEN, Scene, caption, draw, hidden_shares, random_scene

COUNT = 40
SCENES = [random_scene(np.random.default_rng(seed)) for seed in range(COUNT)]
DRAWN = [draw(scene) for scene in SCENES]
CAMERA = Camera(elevation=28, distance=6, target=0.5, focal=230, centre=(64, 64))
LIGHT = Light(azimuth=50, elevation=50)


def scene_of(*things: Solid) -> Scene:
    return Scene(things, CAMERA, LIGHT, (224, 240))


def one(kind: str, colour: str = "red") -> Scene:
    return scene_of(Solid(kind, colour, 0, 0, 0.5, 20))


def test_a_seed_decides_the_sample() -> None:
    once, again, other = (solids.sample(np.random.default_rng(s)) for s in (4, 4, 5))
    assert once.caption == again.caption
    assert np.array_equal(once.pixels, again.pixels)
    assert np.array_equal(once.maps["depth"], again.maps["depth"])
    assert not np.array_equal(once.pixels, other.pixels)


@pytest.mark.parametrize("kind", KINDS)
def test_hits_lie_on_the_surface_and_normals_face_the_camera(kind: str) -> None:
    solid = Solid(kind, "red", 0.2, -0.1, 0.5, 30)
    rays = CAMERA.rays(128, 1)
    depth, met = cast([solid], CAMERA, rays, 128, 1)
    mask = met == 1
    assert mask.sum() > 500
    at = CAMERA.position.along(rays, depth).at(mask)
    x, y, z = at.x - solid.x, at.y - solid.y, at.z
    r, h = solid.girth, solid.height
    turn = np.radians(30)
    u, v = np.cos(turn) * x + np.sin(turn) * y, np.cos(turn) * y - np.sin(turn) * x
    radius = np.hypot(x, y)
    distance = {
        "sphere": np.sqrt(radius**2 + (z - r) ** 2) / r,
        "cube": np.max([np.abs(u) / r, np.abs(v) / r, np.abs(z - h / 2) / (h / 2)], axis=0),
        "cylinder": np.maximum(radius / r, np.abs(z - h / 2) / (h / 2)),
        "cone": np.maximum(radius / r + z / h, 1 - z / h),
    }[kind]
    assert np.abs(distance - 1).max() < 1e-3
    faces = normal(solid, at)
    assert faces.dot(faces) == pytest.approx(1, abs=1e-4)
    assert (rays.at(mask).dot(faces) < 1e-3).all()


def test_the_camera_projects_what_its_rays_meet() -> None:
    rays = CAMERA.rays(128, 1)
    points = np.stack(CAMERA.position.along(rays, np.full((128, 128), 5, np.float32)), -1)
    found = CAMERA.project(points.reshape(-1, 3)).reshape(128, 128, 2)
    columns, rows = np.meshgrid(np.arange(128) + 0.5, np.arange(128) + 0.5)
    assert np.abs(found - np.stack([columns, rows], -1)).max() < 1e-3


def test_depth_is_inverse_and_solids_stand_before_the_floor() -> None:
    for scene, sample in zip(SCENES, DRAWN, strict=True):
        depth, met = sample.maps["depth"], sample.maps["segments"]
        assert depth.dtype == np.float32
        assert depth.max() == 1
        assert depth.min() > 0
        empty, _ = cast([], scene.camera, scene.camera.rays(128, 1), 128, 1)
        full, _ = cast(scene.solids, scene.camera, scene.camera.rays(128, 1), 128, 1)
        assert np.allclose(depth, full.min() / full)
        assert (full[met > 0] < empty[met > 0]).all()
        assert np.array_equal(full[met == 0], empty[met == 0])
        assert empty.max() < WALL + 12


def test_the_nearer_solid_hides_the_farther_one_in_any_order() -> None:
    front, back = Solid("cube", "red", 0, -0.6, 0.4), Solid("cylinder", "blue", 0, 0.6, 0.6)
    rays = CAMERA.rays(128, 1)
    depth, met = cast([front, back], CAMERA, rays, 128, 1)
    swapped, other = cast([back, front], CAMERA, rays, 128, 1)
    assert np.array_equal(depth, swapped)
    assert np.array_equal(met, np.array([0, 2, 1])[other])
    shown = cast([front], CAMERA, rays, 128, 1)[1] == 1
    assert (met[shown] == 1).all()


def test_a_sphere_is_nearer_in_the_middle_than_at_its_rim() -> None:
    sample = draw(one("sphere"))
    depth, mask = sample.maps["depth"], sample.maps["segments"] == 1
    rows, columns = np.nonzero(mask)
    middle = depth[int(rows.mean()), int(columns.mean())]
    row = int(rows.mean())
    across = columns[rows == row]
    assert middle > max(depth[row, across.min()], depth[row, across.max()]) * 1.03
    # The nearest point lies on the line from the eye to the centre, one radius before it.
    eye = np.array([float(c) for c in CAMERA.position])
    far = np.linalg.norm(eye - np.array([0, 0, 0.5]))
    full, _ = cast(one("sphere").solids, CAMERA, CAMERA.rays(128, 1), 128, 1)
    assert full[mask].min() == pytest.approx(far - 0.5, rel=2e-3)


def test_every_solid_is_seen_inside_the_margin() -> None:
    for scene, sample in zip(SCENES, DRAWN, strict=True):
        met = sample.maps["segments"]
        assert set(np.unique(met)) == set(range(len(scene.solids) + 1))
        assert not met[:8].any()
        assert not met[-8:].any()
        assert not met[:, :8].any()
        assert not met[:, -8:].any()
        assert max(hidden_shares(scene.solids, scene.camera)) <= MOST_HIDDEN
        for i, a in enumerate(scene.solids):
            for b in scene.solids[:i]:
                assert np.hypot(a.x - b.x, a.y - b.y) > a.footprint + b.footprint


def test_one_two_and_three_of_every_kind_and_colour() -> None:
    assert {len(scene.solids) for scene in SCENES} == {1, 2, 3}
    assert {s.kind for scene in SCENES for s in scene.solids} == set(KINDS)
    assert {s.colour for scene in SCENES for s in scene.solids} == set(NAMED)


@pytest.mark.parametrize("colour", list(NAMED))
def test_lit_paint_is_nearest_to_its_own_name(colour: str) -> None:
    for kind in KINDS:
        sample = draw(one(kind, colour))
        median = np.median(sample.pixels[sample.maps["segments"] == 1], axis=0)
        assert nearest_background(tuple(median)) == colour, kind


def test_a_shadow_falls_away_from_the_lamp() -> None:
    scene = one("cube")
    empty = draw(scene_of()).pixels.astype(int).sum(2)
    for azimuth in (-50, 50):
        sample = draw(replace(scene, light=Light(azimuth, 50)))
        floor = sample.maps["segments"] == 0
        dark = (empty - sample.pixels.astype(int).sum(2) > 90) & floor
        assert dark.sum() > 150
        middle = np.nonzero(dark)[1].mean()
        assert (middle < 60) if azimuth > 0 else (middle > 68)


def test_one_solid_darkens_another() -> None:
    tall, low = Solid("cylinder", "red", 0.5, -0.4, 0.6), Solid("cube", "white", -0.5, 0.4, 0.5)
    alone, both = draw(scene_of(low)), draw(scene_of(low, tall))
    mask = (alone.maps["segments"] == 1) & (both.maps["segments"] == 1)
    change = alone.pixels[mask].astype(int) - both.pixels[mask]
    assert (change > 40).any()
    assert (change >= 0).all()


@pytest.mark.parametrize(
    ("things", "text"),
    [
        ((("cube", "red"),), "a red cube"),
        ((("cone", "orange"),), "an orange cone"),
        ((("cone", "green"), ("cone", "green")), "two green cones"),
        ((("sphere", "blue"),) * 3, "three blue spheres"),
    ],
)
def test_plain_captions(things: tuple[tuple[str, str], ...], text: str) -> None:
    placed = [Solid(kind, colour, 1.5 * i, 0, 0.5) for i, (kind, colour) in enumerate(things)]
    assert draw(scene_of(*placed)).caption == text


def test_captions_name_what_is_there() -> None:
    rng = np.random.default_rng(0)
    a, b, c = (Solid(k, "red", i, 0, 0.3) for i, k in enumerate(("cube", "cone", "cylinder")))
    c = replace(c, colour="blue")
    plain = Wording(article=1, synonym=0, unsaid_colours=0, beside=0)
    two = {caption(scene_of(a, c), plain, rng) for _ in range(40)}
    assert two == {"a red cube and a blue cylinder", "a blue cylinder and a red cube"}
    three = {caption(scene_of(a, b, c), plain, rng) for _ in range(100)}
    assert len(three) == 6
    assert "a blue cylinder, a red cone and a red cube" in three
    silent = replace(plain, unsaid_colours=1)
    assert caption(scene_of(a, replace(a, colour="pink")), silent, rng) == "two cubes"
    for scene in SCENES:
        words = caption(scene, Wording(unsaid_colours=0), rng).replace(",", "").split()
        assert {w for w in words if w in NAMED} == {s.colour for s in scene.solids}
