"""Measures a sheet of control strengths × guidance scales against diffusers' own pipeline.

    python -m bench.controls [--pairs 5] [--model emoji] [--control ID]

Every ratio is ours by theirs, so less is better. Without a ControlNet that fits the model, one is
made from its UNet with random outputs: what it draws is noise, what it costs is not.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.__main__ import HEADER, end_with_one_line, line, ours, theirs
from bench.paired_runs import compare

if TYPE_CHECKING:
    from PIL.Image import Image

    from bench.peer import Peer
    from pipelines import Request, Studio
    from pipelines.runs.events import Stats

HERE = Path(__file__).parents[1]
STRENGTHS = (0.0, 0.4, 0.8, 1.0, 1.4, 2.0)
SCALES = (1.5, 3.0, 5.0, 8.0)


def main(
    model: Annotated[str, typer.Option(help="Model id, in models/.")] = "emoji",
    control: Annotated[
        str | None, typer.Option(help="ControlNet id; default: the first that fits.")
    ] = None,
    steps: Annotated[int, typer.Option(help="Denoising steps.")] = 20,
    pairs: Annotated[int, typer.Option(min=1, help="Turns of each side.")] = 5,
) -> None:
    """Measure and print one line, then the ControlNet's rows."""
    import torch
    from PIL import Image, ImageDraw

    from bench.limit import Limit
    from pipelines import Axis, Control, Request, Sheet, Studio
    from pipelines.utils.threads import run_in_short_lived_thread

    with tempfile.TemporaryDirectory() as folder:
        studio = Studio([HERE / "models", Path(folder)], device="cpu")
        fitting = [info.id for info in studio.controlnets(model)]
        if control is None:
            control = fitting[0] if fitting else random_control(studio, model, Path(folder))
        size = studio.native_size(model)
        drawing = Image.new("RGB", size)
        ImageDraw.Draw(drawing).ellipse([s // 4 for s in size] + [s * 3 // 4 for s in size])
        image = studio.add_picture(drawing)
        base = Request(
            model=model, prompt="a red apple", sampler="ddim", steps=steps,
            controls=[Control(image=image, model=control)],
        )  # fmt: skip
        axes = (
            Axis(field="control_strength", values=STRENGTHS),
            Axis(field="guidance_scale", values=SCALES),
        )
        sheet = Sheet(base=base, axes=axes)
        cells = [studio.resolve(cell) for cell in sheet.expand()]
        peer = run_in_short_lived_thread(lambda: controlled_peer(studio, cells[0]))
        costs: list[Stats] = []
        work = partial(ours, studio, sheet, costs)
        other = partial(studio.call, partial(theirs, peer, cells))
        limit = Limit.of(peer.pipe, *size)
        one = compare("6 strengths × 4 scales", work, other, pairs, limit.measure)
        cost = costs[-1]
        # The ControlNet is the UNet's encoder: counted as half a row, which is near enough here.
        rows = cost.rows_computed + 0.5 * cost.control_rows
        summary: dict[str, Any] = {
            **one.summary(),
            "rows": cost.rows_computed,
            "rows_naive": cost.rows_naive,
            "batches": cost.batches,
        }
        summary["of_limit"] = round(limit.share_of_rows(rows, summary["ours_seconds"]), 3)
        print(f"{control}, {torch.get_num_threads()} threads\n{HEADER}\n{line(summary)}")
        naive = len(cells) * 2 * steps
        print(f"ControlNet rows: {cost.control_rows}; diffusers computes {naive}")
        studio.close()


def random_control(studio: Studio, model: str, folder: Path) -> str:
    """A ControlNet for a model, with random outputs, written below `folder`; its id."""
    import torch
    from diffusers import ControlNetModel

    torch.manual_seed(0)
    with studio.manager.use(model) as loaded:
        factor = len(loaded.components["vae"].config.block_out_channels)
        embedding = (16, 32, 96, 256)[-factor:]
        net = ControlNetModel.from_unet(
            loaded.components["unet"], conditioning_embedding_out_channels=embedding
        )
    outputs = [*net.controlnet_down_blocks, net.controlnet_mid_block]
    for module in [*outputs, net.controlnet_cond_embedding.conv_out]:
        torch.nn.init.normal_(module.weight, std=0.02)
    net.save_pretrained(folder / "random-control")
    return "random-control"


def controlled_peer(studio: Studio, request: Request) -> Peer:
    """diffusers' ControlNet pipeline for a complete Request's model and ControlNets."""
    from diffusers import DDIMScheduler, StableDiffusionControlNetPipeline

    from bench.peer import Peer

    class ControlledPeer(Peer):
        def make(self, request: Request, **call: Any) -> Any:
            return super().make(request, **controlled_call(request, studio.picture), **call)

    names = request.controlnets
    with studio.manager.use(request.model, names) as model:
        nets = [model.controlnets[name] for name in names]
        pipe = StableDiffusionControlNetPipeline(
            **model.components,
            controlnet=nets if len(nets) > 1 else nets[0],
            scheduler=DDIMScheduler.from_config(model.configs["scheduler"]),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    return ControlledPeer(pipe)


def controlled_call(request: Request, picture: Callable[[str], Image]) -> dict[str, Any]:
    """Arguments of a ControlNet pipeline for a Request's controls, all of one mode.

    Args:
        picture: a control's picture, which is its map, by hash.
    """
    controls = request.controls
    several: dict[str, Any] = {
        "image": [picture(one.image) for one in controls],
        "controlnet_conditioning_scale": [one.strength for one in controls],
        "control_guidance_start": [one.start for one in controls],
        "control_guidance_end": [one.stop for one in controls],
    }
    given = several if len(controls) > 1 else {key: one[0] for key, one in several.items()}
    return {**given, "guess_mode": controls[0].mode == "control"}


if __name__ == "__main__":
    end_with_one_line(main)
