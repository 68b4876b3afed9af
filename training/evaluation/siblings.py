"""The shipped model's siblings: the LoRA, the flow model, the score. Part of `training.evaluate`.

- `lcm_*`: the shipped model with `emoji-lcm` laid over it, 4 steps of `lcm`, guidance off.
- `flow_*`: `emoji-flow`, 8 steps of `flow_euler`.
- `clip_*`: `emoji-clip` on real renderings it never met, see `training.stages.clip.measure`.

A sibling whose folder is not there is left out.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diffusers import FlowMatchEulerDiscreteScheduler, LCMScheduler, StableDiffusion3Pipeline
from transformers import CLIPModel, CLIPTokenizer

from training.data.concepts import Concept
from training.data.drawings import Drawings
from training.data.pairs import PairMaker
from training.data.scenes import load_scenes
from training.judges.classifier import Classifier
from training.judges.verdicts import Ask, as_array, judge, share
from training.stages.clip import HELD_OUT_SEED, measure
from training.stages.clip import Config as ClipConfig
from training.stages.flow import Config as FlowConfig
from training.stages.samples import generate
from training.stages.shipped import load_shipped

LCM_STEPS = 4
FLOW_STEPS = 8


def judged(
    pipeline: Any, asks: Sequence[Ask], classifier: Classifier, **how: Any
) -> dict[str, float]:
    """Figures of the judge on one picture a caption."""
    pictures = generate(pipeline, [a.caption for a in asks], 0, batch=20, **how)
    found = judge(as_array(pictures), asks, classifier)
    return {
        "top1": share(found.rank < 1),
        "top5": share(found.rank < 5),
        "style_right": share(found.style),
        "background_right": share(found.background),
    }


def lcm_figures(
    model: Path, lora: Path, asks: Sequence[Ask], classifier: Classifier
) -> dict[str, Any]:
    """The shipped model in a few steps, with its LoRA and, to compare, without."""
    pipeline = load_shipped(str(model))
    how = {"steps": LCM_STEPS, "guidance_scale": 1.0, "sampler": LCMScheduler}
    without = judged(pipeline, asks, classifier, **how)
    pipeline.load_lora_weights(lora)
    return {
        **{f"lcm_{k}": v for k, v in judged(pipeline, asks, classifier, **how).items()},
        "lcm_top5_without_lora": without["top5"],
    }


def flow_figures(folder: Path, asks: Sequence[Ask], classifier: Classifier) -> dict[str, Any]:
    """The flow model in a few steps."""
    pipeline = StableDiffusion3Pipeline.from_pretrained(folder, use_safetensors=True)
    scale = FlowConfig.guidance
    found = judged(
        pipeline, asks, classifier, steps=FLOW_STEPS, guidance_scale=scale,
        sampler=FlowMatchEulerDiscreteScheduler,
    )  # fmt: skip
    return {f"flow_{k}": v for k, v in found.items()} | {"flow_guidance": scale}


def clip_figures(
    folder: Path, drawings: Drawings, concepts: list[Concept], cache: Path
) -> dict[str, Any]:
    """The score on real pictures it never met."""
    model = CLIPModel.from_pretrained(folder, use_safetensors=True).float().eval()
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    share_ = ClipConfig.scene_share
    maker = PairMaker(drawings, concepts, load_scenes(cache), share_, HELD_OUT_SEED, held_out=True)
    return {f"clip_{k}": v for k, v in measure(model, tokenizer, maker, concepts).items()}


def evaluate_siblings(
    model: Path, asks: Sequence[Ask], classifier: Classifier, drawings: Drawings,
    concepts: list[Concept], cache: Path,
) -> dict[str, dict[str, Any]]:  # fmt: skip
    """The figures of every sibling that lies beside the model; each also in its own folder."""
    lora, flow, clip = (model.with_name(f"{model.name}-{kind}") for kind in ("lcm", "flow", "clip"))
    found: dict[str, dict[str, Any]] = {}
    if (lora / "pytorch_lora_weights.safetensors").exists():
        found["lcm"] = lcm_figures(model, lora, asks, classifier)
    if (flow / "model_index.json").exists():
        found["flow"] = flow_figures(flow, asks, classifier)
    if (clip / "config.json").exists():
        found["clip"] = clip_figures(clip, drawings, concepts, cache)
    for name, figures in found.items():
        path = model.with_name(f"{model.name}-{name}") / "evaluation.json"
        path.write_text(json.dumps(figures, indent=2) + "\n")
    return found
