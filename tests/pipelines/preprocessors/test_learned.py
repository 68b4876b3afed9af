"""Learned preprocessors: the real HED and BlazePose, tiny networks for depth and segments."""

from __future__ import annotations

import shutil

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    DepthAnythingConfig,
    DepthAnythingForDepthEstimation,
    DPTImageProcessor,
    SegformerConfig,
    SegformerForSemanticSegmentation,
    SegformerImageProcessor,
)

from pipelines import preprocessors
from pipelines.errors import ModelUnavailable
from pipelines.preprocessors.detectors import normal, segmentation, softedge
from pipelines.preprocessors.detectors.pose import WEIGHTS as POSE
from pipelines.preprocessors.palette import ade20k
from pipelines.preprocessors.skeletons import JOINTS
from tests.pipelines.preprocessors.photographs import photograph
from training.data import figures

needs_hed = pytest.mark.skipif(
    softedge.WEIGHTS.problem() is not None, reason="python app.py fetch-annotators hed"
)
needs_pose = pytest.mark.skipif(
    POSE.problem() is not None, reason="python app.py fetch-annotators pose"
)
LEARNED = {"softedge": "hed", "pose": "pose", "depth": "depth", "normal": "depth",
           "segmentation": "segmentation"}  # fmt: skip


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """An empty annotators folder."""
    monkeypatch.setenv("CONTACT_SHEET_ANNOTATORS", str(tmp_path))
    return tmp_path


def test_missing_weights_say_which_where_and_how(shelf):
    for name, folder in LEARNED.items():
        assert not preprocessors.available(name)
        with pytest.raises(ModelUnavailable) as caught:
            preprocessors.run(name, Image.new("RGB", (64, 64)), {}, (64, 64))
        for file in preprocessors.describe(name).weights.files:
            assert file in str(caught.value)
        assert str(shelf / folder) in str(caught.value)
        assert f"python app.py fetch-annotators {folder} " in str(caught.value)


def test_broken_weights_say_so(shelf):
    for folder, files in [("hed", softedge.WEIGHTS.files), ("pose", POSE.files)]:
        (shelf / folder).mkdir()
        for file in files:
            (shelf / folder / file).write_bytes(b"no weights")
    for name in ("softedge", "pose"):
        with pytest.raises(ModelUnavailable, match="delete it and run python"):
            preprocessors.run(name, Image.new("RGB", (64, 64)), {}, (64, 64))


@needs_hed
def test_hed_is_the_network_its_weights_were_made_for():
    """Against HED as its paper and the package define it, written out; max difference 1/255."""
    import h5py

    picture = photograph("coffee").resize((96, 64))
    made = preprocessors.run("softedge", picture, {}, picture.size)
    functional = torch.nn.functional
    with h5py.File(softedge.WEIGHTS.find()[0]) as file, torch.no_grad():

        def layer(x, name):
            kernel, bias = (torch.from_numpy(file[f"{name}/vars/{i}"][()]) for i in (0, 1))
            return functional.conv2d(x, kernel.permute(3, 2, 0, 1), bias, padding="same")

        blue_first = np.asarray(picture, np.float32)[..., ::-1]
        x = torch.from_numpy(blue_first - softedge.MEAN_RGB[::-1]).float().permute(2, 0, 1)[None]
        sides = []
        for block, count in softedge.BLOCKS.items():
            x = functional.max_pool2d(x, 2) if block > 1 else x
            for i in range(count):
                x = layer(x, f"block{block}/layers/conv2d{f'_{i}' if i else ''}").relu()
            side = layer(x, f"dsn{block}")
            sides.append(functional.interpolate(side, (64, 96), mode="bilinear"))
        fused = layer(torch.cat(sides, 1), "fuse").sigmoid()[0, 0].numpy()
    assert abs(np.asarray(made)[..., 0] / 255 - fused).max() <= 1 / 255
    assert np.ptp(fused) > 0.5


def test_the_fusion_of_hed_goes_into_its_projections():
    """Σ f·p + b, as Keras has it, equals the mean of the new projections; within 1e-5."""
    rng = np.random.default_rng(0)

    def layer(*shape):
        kernel, bias = rng.normal(size=shape), rng.normal(size=shape[-1:])
        return {"0": kernel.astype(np.float32), "1": bias.astype(np.float32)}

    named = {"fuse": layer(1, 1, 5, 1)}
    for block, count in softedge.BLOCKS.items():
        named[f"dsn{block}"] = layer(1, 1, 4, 1)
        for i in range(count):
            named[f"block{block}/layers/conv2d{f'_{i}' if i else ''}"] = layer(3, 3, 3, 4)
    state = softedge.from_keras(
        {f"{name}/vars/{i}": array for name, pair in named.items() for i, array in pair.items()}
    )
    features = rng.normal(size=(5, 4))
    sides = [features[k] @ named[f"dsn{k + 1}"]["0"][0, 0] + named[f"dsn{k + 1}"]["1"]
             for k in range(5)]  # fmt: skip
    fused = np.stack(sides, 1) @ named["fuse"]["0"][0, 0] + named["fuse"]["1"]
    ours = [features[k] @ state[f"block{k + 1}.projection.weight"][0, :, 0, 0]
            + state[f"block{k + 1}.projection.bias"] for k in range(5)]  # fmt: skip
    assert abs(np.mean(ours) - fused.item()) < 1e-5


@needs_hed
def test_soft_edges_follow_outlines_and_not_texture():
    """In the photograph of a cup: its rim, and less of the table's grain than Canny sees."""
    picture = photograph("coffee").resize((384, 256))
    soft = np.asarray(preprocessors.run("softedge", picture, {}, (384, 256)))[..., 0] / 255
    grey = cv2.GaussianBlur(np.asarray(picture.convert("L"), np.float64), (0, 0), 1)
    change = np.hypot(*np.gradient(grey))
    strong = soft > 0.5
    assert 0.01 < strong.mean() < 0.2 and change[strong].mean() > 2.5 * change[~strong].mean()
    steps = np.asarray(preprocessors.run("softedge", picture, {"levels": 2}, (384, 256)))
    assert set(np.unique(steps)) == {0, 127, 255}
    odd = preprocessors.run("softedge", picture, {}, (201, 133))
    whole = np.asarray(Image.fromarray((soft * 255).astype(np.uint8)).resize((201, 133)))
    assert np.corrcoef(np.asarray(odd)[..., 0].ravel(), whole.ravel())[0, 1] > 0.7


@needs_pose
def test_pose_of_a_photograph():
    """Places read off the photograph by eye, within 16 of its 512 px."""
    (person,) = preprocessors.find_skeletons(photograph("astronaut"))
    for joint, x, y in [
        ("nose", 213, 128), ("right eye", 200, 104), ("left eye", 247, 105),
        ("right shoulder", 108, 215), ("left shoulder", 318, 240), ("neck", 213, 228),
    ]:  # fmt: skip
        place = person.joints[JOINTS.index(joint)]
        assert place is not None and np.hypot(place[0] * 512 - x, place[1] * 512 - y) < 16, joint
        assert person.visibility[JOINTS.index(joint)] > 0.9
    below = [j for j in JOINTS if "knee" in j or "ankle" in j]
    assert all(person.joints[JOINTS.index(j)] is None for j in below), "beyond the frame"
    made = preprocessors.run("pose", photograph("astronaut"), {}, (512, 512))
    assert np.array_equal(made, preprocessors.draw_skeletons([person], (512, 512)))
    assert not np.asarray(preprocessors.run("pose", photograph("coffee"), {}, (64, 64))).any()


@needs_pose
def test_pose_of_drawn_people_whose_joints_are_known():
    """At least 85 % of the visible joints within 6 px of a picture of 128."""
    rng, near = np.random.default_rng(5), []
    for _ in range(16):
        sample = figures.sample(rng)
        picture = Image.fromarray(sample.pixels).resize((512, 512))
        found = preprocessors.find_skeletons(picture, people=1)
        for joint, (x, y, seen) in enumerate(sample.maps["keypoints"]):
            if seen:
                place = found[0].joints[joint] if found else None
                there = place and np.hypot(place[0] * 128 - x, place[1] * 128 - y) < 6
                near.append(bool(there))
    assert len(near) > 150 and np.mean(near) >= 0.85, np.mean(near)


@needs_pose
def test_two_people_are_both_found():
    """Side by side, the surest first; `people` says how many at most."""
    person = photograph("astronaut")
    pair = Image.new("RGB", (1024, 512))
    pair.paste(person, (0, 0))
    pair.paste(person, (512, 0))
    noses = [s.joints[0] for s in preprocessors.find_skeletons(pair)]
    expected = {(213, 128), (725, 128)}
    found = {min(expected, key=lambda e, n=n: abs(e[0] - n[0] * 1024)) for n in noses if n}
    assert found == expected and len(noses) == 2
    assert len(preprocessors.find_skeletons(pair, people=1)) == 1


@pytest.fixture
def depth_network(shelf):
    """A tiny random network of the kind the depth folder holds."""
    torch.manual_seed(0)
    backbone = {
        "model_type": "dinov2", "hidden_size": 16, "num_hidden_layers": 2, "image_size": 28,
        "num_attention_heads": 2, "patch_size": 14, "out_features": ["stage1", "stage2"],
        "reshape_hidden_states": False, "apply_layernorm": True,
    }  # fmt: skip
    config = DepthAnythingConfig(
        backbone_config=backbone, reassemble_hidden_size=16, neck_hidden_sizes=[8, 8],
        reassemble_factors=[2, 1], fusion_hidden_size=8, head_hidden_size=8,
    )  # fmt: skip
    model = DepthAnythingForDepthEstimation(config)
    with torch.no_grad():  # else its answer is all but flat
        model.head.conv3.weight.mul_(100)
        model.head.conv3.bias.fill_(1)
    model.save_pretrained(shelf / "depth")
    DPTImageProcessor(
        size={"height": 56, "width": 56}, ensure_multiple_of=14, keep_aspect_ratio=True
    ).save_pretrained(shelf / "depth")
    return shelf / "depth"


def test_depth_and_normals_come_from_the_folder(depth_network):
    picture = photograph("cat")
    made = np.asarray(preprocessors.run("depth", picture, {}, picture.size))
    assert made.shape == (300, 451, 3) and (made == made[..., :1]).all()
    model = DepthAnythingForDepthEstimation.from_pretrained(depth_network).eval()
    processor = DPTImageProcessor.from_pretrained(depth_network)
    with torch.no_grad():
        raw = model(**processor(images=picture, return_tensors="pt")).predicted_depth
    grown = torch.nn.functional.interpolate(raw[None], (300, 451), mode="bicubic")[0, 0].numpy()
    near = (grown - grown.min()) / (grown.max() - grown.min())
    assert abs(made[..., 0] / 255 - near).max() < 0.51 / 255, "the whole range, near = white"
    facing = np.asarray(preprocessors.run("normal", picture, {}, picture.size)) / 127.5 - 1
    assert abs(np.linalg.norm(facing, axis=2) - 1).max() < 0.02 and facing[..., 2].min() > -0.01
    background = facing[near < 0.09]
    assert len(background) and abs(background - (0, 0, 1)).max() < 0.01


def test_a_distance_is_turned_into_nearness(depth_network, monkeypatch):
    def near():
        return np.asarray(preprocessors.describe("depth").detect(photograph("cat"), {}, (9, 9)))

    relative = near()
    other = depth_network.with_name("other")
    shutil.copytree(depth_network, other / "depth")
    config = other / "depth" / "config.json"
    config.write_text(config.read_text().replace('"relative"', '"metric"'))
    assert "metric" in config.read_text()
    monkeypatch.setenv("CONTACT_SHEET_ANNOTATORS", str(other))
    ranks = [np.argsort(np.argsort(map.ravel())) for map in (relative, near())]
    assert np.corrcoef(*ranks)[0, 1] < -0.9, "what was large is now far"


def test_normals_of_known_surfaces():
    """A ramp 0.5 nearer at its right end over a square faces left: n ∝ (0.5, 0, 1)."""
    ramp = np.tile(np.linspace(0, 0.5, 101, dtype=np.float32), (101, 1))
    length = np.hypot(0.5 * 101 / 100, 1)
    wanted = (0.505 / length, 0, 1 / length)
    assert abs(normal.normals(ramp, 1.0)[50, 50] - wanted).max() < 1e-3
    left, up, front = normal.normals(ramp.T.copy(), 2.0)[50, 50]
    assert left == pytest.approx(0, abs=1e-6) and up == pytest.approx(1.01 * front, rel=1e-3)
    flat = normal.normals(np.full((20, 30), 0.3, np.float32), 5.0)
    assert np.array_equal(flat, np.broadcast_to((0, 0, 1), (20, 30, 3)))


def segment_network(folder, classes):
    torch.manual_seed(0)
    config = SegformerConfig(
        hidden_sizes=[8, 8, 8, 8], depths=[1, 1, 1, 1], num_attention_heads=[1, 1, 1, 1],
        decoder_hidden_size=8, num_labels=classes,
    )  # fmt: skip
    SegformerForSemanticSegmentation(config).save_pretrained(folder)
    SegformerImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)


def test_segments_have_the_colours_of_the_palette(shelf):
    segment_network(shelf / "segmentation", 150)
    made = preprocessors.run("segmentation", photograph("coffee"), {"resize": "pad"}, (120, 120))
    model = SegformerForSemanticSegmentation.from_pretrained(shelf / "segmentation").eval()
    processor = SegformerImageProcessor.from_pretrained(shelf / "segmentation")
    with torch.no_grad():
        logits = model(**processor(images=photograph("coffee"), return_tensors="pt")).logits
    labels = torch.nn.functional.interpolate(logits, (400, 600), mode="bilinear")[0].argmax(0)
    colours = np.asarray([s.colour for s in ade20k()], np.uint8)[labels.numpy()]
    expected = np.zeros((120, 120, 3), np.uint8)
    expected[20:100] = Image.fromarray(colours).resize((120, 80), Image.Resampling.NEAREST)
    assert np.array_equal(made, expected) and len(labels.unique()) > 3


def test_networks_that_do_not_fit_are_refused(shelf):
    segment_network(shelf / "segmentation", 19)
    with pytest.raises(ModelUnavailable, match="19 classes apart; the palette has 150"):
        preprocessors.run("segmentation", photograph("cat"), {}, (64, 64))
    (shelf / "segmentation" / "model.safetensors").write_bytes(b"cut")
    segmentation.load.cache_clear()
    with pytest.raises(ModelUnavailable, match="cannot be loaded"):
        preprocessors.run("segmentation", photograph("cat"), {}, (64, 64))


def test_the_palette_is_ade20k():
    rows = ade20k()
    assert len(rows) == 150 and len({row.name for row in rows}) == 150
    assert (rows[0].name, rows[0].colour) == ("wall", (120, 120, 120))
    assert (rows[12].name, rows[12].colour) == ("person", (150, 5, 61))
    assert (rows[149].name, rows[149].colour) == ("flag", (92, 0, 255))
