"""Measures Contact Sheet against diffusers' own pipeline on this machine.

    python -m bench [--pairs 5] [--model emoji] [--steps 20] [--json bench/results/latest.json]

Close everything else first. Every ratio is ours by theirs, so less is better, and has the
largest pixel difference beside it: a fast wrong picture would show there.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from bench.timing import Comparison, compare

if TYPE_CHECKING:
    from PIL.Image import Image

    from pipelines import Request, Studio

HERE = Path(__file__).parents[1]
PICTURES = 8


def main(
    model: Annotated[str, typer.Option(help="Model id, in models/.")] = "emoji",
    prompt: Annotated[str, typer.Option(help="What the pictures show.")] = "a red apple",
    steps: Annotated[int, typer.Option(help="Denoising steps.")] = 20,
    pairs: Annotated[int, typer.Option(min=1, help="Turns of each side.")] = 7,
    json_file: Annotated[Path, typer.Option("--json", help="Where the figures go.")] = (
        HERE / "bench" / "results" / "latest.json"
    ),
) -> None:
    """Measure, print a table, write JSON."""
    from pipelines import Request, Studio

    cold = cold_start(model, prompt)
    studio = Studio(HERE / "models", device="cpu")
    request = studio.resolve(
        Request(model=model, prompt=prompt, sampler="ddim", steps=steps, guidance_scale=5.0)
    )
    pipe = load_peer(studio, request)
    comparisons = [
        compare("one picture", lambda: ours(studio, request, 1), lambda: theirs(pipe, request, 1),
                pairs),
        compare(f"{PICTURES} seeds", lambda: ours(studio, request, PICTURES),
                lambda: theirs(pipe, request, PICTURES), pairs),
    ]  # fmt: skip
    studio.close()
    report(comparisons, cold)
    figures = {
        "settings": json.loads(request.to_json()),
        "machine": machine(),
        "cold_start_seconds": round(cold, 2),
        "comparisons": [
            {**one.summary(), "ours_all": one.ours, "peer_all": one.peer} for one in comparisons
        ],
    }
    json_file.parent.mkdir(parents=True, exist_ok=True)
    json_file.write_text(json.dumps(figures, indent=2) + "\n")
    Console().print(f"written to {json_file}")


def cold_start(model: str, prompt: str) -> float:
    """Seconds from `python app.py generate …` in a fresh process to the file on disk."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "cold.png"
        command = [sys.executable, "app.py", "generate", prompt, "--model", model]
        started = time.perf_counter()
        subprocess.run([*command, "--out", out], cwd=HERE, check=True, capture_output=True)
        seconds = time.perf_counter() - started
        if not out.is_file():
            raise FileNotFoundError(f"{' '.join(command)} wrote no picture")
    return seconds


def load_peer(studio: Studio, request: Request) -> Any:
    """diffusers' pipeline from the same folder, with the same scheduler class, in float32."""
    import diffusers
    import torch

    pipe = diffusers.StableDiffusionPipeline.from_pretrained(
        studio.manager.locate(request.model).path, safety_checker=None, torch_dtype=torch.float32
    )
    pipe.scheduler = diffusers.DDIMScheduler.from_config(pipe.scheduler.config)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def ours(studio: Studio, request: Request, count: int) -> list[Image]:
    """`count` seeds in one run."""
    from pipelines import Sheet
    from pipelines.events import CellDone

    events = studio.run(Sheet.seeds(request, count))
    done = {event.cell: event.image for event in events if isinstance(event, CellDone)}
    return [done[cell] for cell in range(count)]


def theirs(pipe: Any, request: Request, count: int) -> list[Image]:
    """`count` seeds, one pipeline call each."""
    import torch

    return [
        pipe(
            request.prompt,
            num_inference_steps=request.steps,
            guidance_scale=request.guidance_scale,
            width=request.width,
            height=request.height,
            generator=torch.Generator("cpu").manual_seed(request.seed + i),
        ).images[0]
        for i in range(count)
    ]


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "cores": os.cpu_count(),
        "processor": platform.machine(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "diffusers", "transformers")},
    }


def report(comparisons: list[Comparison], cold: float) -> None:
    """Print the figures as a table."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("what", "ours, s", "diffusers, s", "ratio", "from – to", "pixels apart"):
        table.add_column(name, justify="left" if name == "what" else "right")
    for one in comparisons:
        s = one.summary()
        table.add_row(
            str(s["name"]),
            f"{s['ours_seconds']:.2f}",
            f"{s['peer_seconds']:.2f}",
            f"{s['ratio']:.2f}×",
            f"{s['ratio_min']:.2f} – {s['ratio_max']:.2f}",
            f"{s['pixels_apart']}/255",
        )
    console = Console()
    console.print(table)
    console.print(f"cold start, fresh process to file on disk: {cold:.1f} s")


if __name__ == "__main__":
    typer.run(main)
