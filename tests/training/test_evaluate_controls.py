"""The measure from end to end, on a tiny model in the shape of the shipped one."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from training.data.tokenizer import build_text_encoder, learn_tokenizer
from training.evaluation import controls_together
from training.evaluation.control_asks import unseen
from training.evaluation.control_sheets import LEFT
from training.evaluation.controls import SHEET, drawn_with, drawn_without, measure
from training.judges import map_reader, scene_judge
from training.judges.scene_judge import SceneJudge
from training.optim.checkpoint import prefixed, save_checkpoint
from training.stages.controlnet import build_controlnet
from training.stages.controlnet import export as export_controlnet
from training.stages.export import export
from training.stages.samples import make_pipeline
from training.stages.unet import Config as UnetConfig
from training.stages.unet import build_unet
from training.stages.vae import Config as VaeConfig
from training.stages.vae import build_vae

STEPS = 2


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random model; beside it ControlNets that say nothing (pose) and something (depth)."""
    torch.manual_seed(0)
    tokenizer = learn_tokenizer(["a person standing, red shirt, blue trousers"], 700)
    unet = build_unet(UnetConfig(channels=(32, 32, 32), heads=2, text_hidden=16))
    torch.nn.init.normal_(unet.conv_out.weight, std=0.05)
    vae = build_vae(VaeConfig(channels=(8, 8, 8, 8), norm_groups=4))
    text = build_text_encoder(len(tokenizer), 16, 2)
    folder = tmp_path_factory.mktemp("models") / "emoji"
    export(make_pipeline(unet, text, tokenizer, vae), folder)
    for kind in ("pose", "depth"):
        controlnet = build_controlnet(unet.float())
        if kind == "depth":
            for block in controlnet.controlnet_down_blocks:
                torch.nn.init.normal_(block.weight, std=1.0)
        export_controlnet(controlnet, folder.with_name(f"emoji-controlnet-{kind}"))
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Untrained readers and an untrained judge."""
    torch.manual_seed(1)
    folder = tmp_path_factory.mktemp("cache")
    for domain in map_reader.DOMAINS:
        config = map_reader.Config(domain=domain)
        reader = map_reader.Reader(map_reader.OUTPUTS[domain], config.channels, config.width)
        path = map_reader.checkpoint(folder, domain)
        path.parent.mkdir()
        save_checkpoint(path, prefixed("model", reader.state_dict()), {})
    path = folder / scene_judge.CHECKPOINT
    path.parent.mkdir()
    judge = SceneJudge(scene_judge.Config().channels)
    save_checkpoint(path, prefixed("model", judge.state_dict()), {"accuracy": {}})
    return folder


def test_a_control_net_that_says_nothing_changes_no_figure(model: Path, cache: Path) -> None:
    found: dict[str, float] = {}
    for more in measure("pose", model, 3, STEPS, cache, proof=False):
        found |= more
    for name in ("joints", "limbs", "shirt"):
        assert found[f"{name}_with"] == found[f"{name}_without"]
    assert {"joints_real", "joints_shuffled", "joints_ceiling", "joints_ratio"} <= found.keys()
    with Image.open(model.with_name("emoji-controlnet-pose") / SHEET) as sheet:
        assert sheet.width > LEFT + 3 * 128


def test_the_same_noise_and_only_the_map_differs(model: Path, cache: Path) -> None:
    asks = unseen("depth", 3, cache)
    captions, maps = [ask.caption for ask in asks], np.stack([ask.map for ask in asks])
    pose, depth = (model.with_name(f"emoji-controlnet-{kind}") for kind in ("pose", "depth"))
    plain = drawn_without(model, captions, STEPS)
    silent = drawn_with(model, [pose], captions, [maps], STEPS, "silent")
    loud = drawn_with(model, [depth], captions, [maps], STEPS, "loud")

    def apart(pictures: list[Image.Image]) -> int:
        pairs = zip(pictures, plain, strict=True)
        return max(
            int(np.abs(np.asarray(a, np.int16) - np.asarray(b, np.int16)).max()) for a, b in pairs
        )

    assert apart(silent) <= 1
    assert apart(loud) > 8
    both = drawn_with(model, [pose, depth], captions, [maps[::-1], maps], STEPS, "both")
    for ours, theirs in zip(both, loud, strict=True):
        assert np.abs(np.asarray(ours, np.int16) - np.asarray(theirs, np.int16)).max() <= 1


def test_proof_needs_no_control_net(model: Path, cache: Path) -> None:
    found: dict[str, float] = {}
    for more in measure("seg", model, 2, STEPS, cache, proof=True):
        found |= more
    assert {"regions_real", "regions_shuffled", "regions_ceiling", "regions_without"} <= set(found)
    assert not any(name.endswith("_with") for name in found)


def test_both_at_once_are_on_one_sheet(model: Path, cache: Path) -> None:
    found: dict[str, float] = {}
    for more in controls_together.measure(model, 3, STEPS, cache):
        found |= more
    for name in ("both", "pose_alone", "depth_alone", "neither", "real", "ceiling"):
        assert {f"joints_{name}", f"relief_{name}"} <= found.keys()
    assert found["joints_pose_alone"] == found["joints_neither"]
    with Image.open(model.with_name("emoji-controlnet-pose") / "pose-and-depth.png") as sheet:
        assert sheet.height == 6 * (128 + 4) - 4
