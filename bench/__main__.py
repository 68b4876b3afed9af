"""Measures Contact Sheet against diffusers' own pipeline on this machine.

    python -m bench [--pairs 5] [--only "one picture"] [--json bench/results/latest.json]

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
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from bench.timing import Comparison, compare

if TYPE_CHECKING:
    from PIL.Image import Image

    from bench.peer import Peer
    from pipelines import Request, Sheet, Studio

HERE = Path(__file__).parents[1]


def main(
    model: Annotated[str, typer.Option(help="Model id, in models/.")] = "emoji",
    prompt: Annotated[str, typer.Option(help="What the pictures show.")] = "a red apple",
    steps: Annotated[int, typer.Option(help="Denoising steps.")] = 20,
    pairs: Annotated[int, typer.Option(min=1, help="Turns of each side.")] = 5,
    only: Annotated[
        list[str] | None, typer.Option(help="Comparisons to make; may be given several times.")
    ] = None,
    json_file: Annotated[Path, typer.Option("--json", help="Where the figures go.")] = (
        HERE / "bench" / "results" / "latest.json"
    ),
) -> None:
    """Measure, print a table, write JSON."""
    from bench.peer import Peer
    from pipelines import InvalidRequest, Request, Studio

    cold = cold_start(model, prompt)
    studio = Studio(HERE / "models", device="cpu")
    request = studio.resolve(
        Request(model=model, prompt=prompt, sampler="ddim", steps=steps, guidance_scale=5.0)
    )
    sheets = all_sheets(request)
    unknown = [name for name in only or [] if name not in sheets]
    if unknown:
        raise InvalidRequest(f"no comparison {unknown[0]!r}; there are {', '.join(sheets)}")
    peer = Peer.load(studio.manager.locate(request.model).path)
    comparisons = []
    for name in only or sheets:
        sheet = sheets[name]
        cells = [studio.resolve(cell) for cell in sheet.expand()]
        comparisons.append(
            compare(name, partial(ours, studio, sheet), partial(theirs, peer, cells), pairs)
        )
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


def all_sheets(request: Request) -> dict[str, Sheet]:
    """What is measured, by name."""
    from pipelines import Axis, Sheet
    from pipelines.samplers import SAMPLERS

    samplers = [row.id for row in SAMPLERS.values() if row.kind == "diffusion"]
    prompts = ("a red apple", "a cat face", "a house", "a rocket, on a blue background")

    def sheet(**axes: Any) -> Sheet:
        fields = [Axis(field=name, values=tuple(values)) for name, values in axes.items()]
        return Sheet(base=request, axes=tuple(fields))

    return {
        "one picture": Sheet(base=request),
        "8 seeds": Sheet.seeds(request, 8),
        "8 guidance scales": sheet(guidance_scale=(1, 2, 3, 4, 5, 7, 10, 15)),
        "12 samplers": sheet(sampler=samplers[:12]),
        "4 prompts × 4 seeds": sheet(prompt=prompts, seed=range(4)),
    }


def ours(studio: Studio, sheet: Sheet) -> list[Image]:
    """All cells in one run."""
    from pipelines.events import CellDone

    done = {event.cell: event.image for event in studio.run(sheet) if isinstance(event, CellDone)}
    return [done[cell] for cell in range(len(sheet.indices()))]


def theirs(peer: Peer, cells: Sequence[Request]) -> list[Image]:
    """One pipeline call a cell."""
    return [picture for cell in cells for picture in peer.make(cell)]


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
