"""Contact Sheet's entry: `python app.py` serves the page; the sub-commands need no browser.

Exit status: 0 done, 1 some picture could not be made, 2 bad input (nothing was written).
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

# Before any library that might phone home is imported.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import typer
import typer.core
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from pipelines import ContactSheetError, InvalidRequest, Request, Sheet, Studio
from pipelines.runs import Run
from pipelines.samplers import SAMPLERS
from pipelines.store import write_png
from pipelines.types import CellDone, CellFailed, CellProgress
from presets import model_preset

# Typer carries its own copy of click in some versions; this is its usage error in all of them.
_UsageError: Any = typer.BadParameter.__base__


class _Group(typer.core.TyperGroup):
    """Says in one line, as all other errors are said, that the command line is wrong."""

    def main(self, *args: Any, **options: Any) -> Any:
        try:
            status = super().main(*args, **{**options, "standalone_mode": False})
        except _UsageError as error:
            typer.echo(f"error: {error.format_message()} (--help shows what there is)", err=True)
            sys.exit(2)
        except typer.Abort:  # Ctrl+C
            sys.exit(130)
        sys.exit(status if isinstance(status, int) else 0)


app = typer.Typer(
    cls=_Group,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="See choices of a prompt, a guidance scale or a sampler side by side.",
)
HERE = Path(__file__).parent

Models = Annotated[
    list[Path] | None,
    typer.Option("--models", help="Folder with models; may be given several times."),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")]
Memory = Annotated[
    float | None, typer.Option(help="GB that loaded models may take; default: from the device.")
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON instead of a table.")]


@app.callback(invoke_without_command=True)
def main(context: typer.Context) -> None:
    """Serve when no command is named."""
    if context.invoked_subcommand is None:
        serve()


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int | None, typer.Option(help="Port; default: the first free one from 7860.")
    ] = None,
    device: Device = "auto",
    models: Models = None,
    outputs: Annotated[Path, typer.Option(help="Folder for finished pictures.")] = Path("outputs"),
    memory: Memory = None,
) -> None:
    """Serve the page."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    for noisy in ("httpx", "uvicorn.access", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    with bad_input_ends_here():
        from ui import serve as serve_page

        serve_page(studio(models, device, memory, outputs), host=host, port=port)


@app.command()
def generate(
    prompt: Annotated[str, typer.Argument(help="What the picture shows; may be empty.")],
    out: Annotated[Path, typer.Option(help="The PNG file to write.")],
    model: Annotated[str, typer.Option(help="Model id, or a model's folder.")] = "emoji",
    negative_prompt: Annotated[str, typer.Option(help="What it should not show.")] = "",
    sampler: Annotated[str | None, typer.Option(help="See: python app.py samplers.")] = None,
    schedule: Annotated[str | None, typer.Option(help="Spacing of the noise levels.")] = None,
    steps: Annotated[int | None, typer.Option(help="Denoising steps, 1 to 1000.")] = None,
    guidance_scale: Annotated[
        float | None, typer.Option(help="Pull to the prompt: 1 = off, 0 = unconditional.")
    ] = None,
    guidance_rescale: Annotated[
        float, typer.Option(help="0 to 1: tames over-saturation at high guidance.")
    ] = 0.0,
    seed: Annotated[int, typer.Option(help="Seed of the noise.")] = 0,
    width: Annotated[int | None, typer.Option(help="Pixels; default: the model's own.")] = None,
    height: Annotated[int | None, typer.Option(help="Pixels; default: the model's own.")] = None,
    models: Models = None,
    device: Device = "auto",
    memory: Memory = None,
) -> None:
    """Make one picture and write it as PNG, with its settings inside."""
    quiet_libraries()
    with bad_input_ends_here():
        given = {
            "sampler": sampler,
            "schedule": schedule,
            "steps": steps,
            "guidance_scale": guidance_scale,
        }
        chosen = {name: value for name, value in given.items() if value is not None}
        request = Request(
            model=model,
            prompt=prompt,
            negative_prompt=negative_prompt,
            guidance_rescale=guidance_rescale,
            seed=seed,
            width=width,
            height=height,
            **recommended(model, chosen),
        )
        check_writable(out)
        run = studio(models, device, memory).submit(Sheet(base=request), previews=False)
        outcomes = follow(run)
        if not outcomes:
            typer.echo(f"error: {run.snapshot().error or 'the run was stopped'}", err=True)
            raise typer.Exit(1)
        outcome = outcomes[0]
        if isinstance(outcome, CellDone):
            write_png(out, outcome.image, outcome.request)
    if isinstance(outcome, CellFailed):
        typer.echo(f"error: {outcome.error}", err=True)
        raise typer.Exit(1)
    typer.echo(out)


@app.command("models")
def list_models(models: Models = None, as_json: AsJson = False) -> None:
    """List the models that are here."""
    with bad_input_ends_here():
        found = studio(models).models()
    rows = [
        {
            "id": info.id,
            "title": model_preset(info.id).title,
            "family": info.family,
            "megabytes": round(info.bytes / 1e6, 1),
            "folder": str(info.path),
            "problem": info.problem,
        }
        for info in found
    ]
    show(rows, as_json)


@app.command("samplers")
def list_samplers(as_json: AsJson = False) -> None:
    """List the samplers and what they cost."""
    show(
        [
            {
                "id": row.id,
                "label": row.label,
                "models": row.kind,
                "schedules": list(row.schedules),
                "order": row.order,
                "evaluations at 20 steps": row.evaluations(20),
                "stochastic": row.stochastic,
                "source": row.paper,
            }
            for row in SAMPLERS.values()
        ],
        as_json,
    )


@app.command()
def info(file: Annotated[Path, typer.Argument(help="A picture with settings inside.")]) -> None:
    """Print the settings found in a picture, as JSON."""
    from pipelines.metadata import read_settings

    with bad_input_ends_here():
        typer.echo(json.dumps(read_settings(file), indent=2, ensure_ascii=False))


def studio(
    models: list[Path] | None,
    device: str = "auto",
    memory: float | None = None,
    outputs: Path | None = None,
) -> Studio:
    """A studio with the command line's defaults: the models that ship lie beside this file."""
    if memory is not None and memory <= 0:
        raise InvalidRequest(f"memory is {memory:g} GB; it must be more than 0")
    for folder in models or []:
        if not folder.is_dir():
            raise InvalidRequest(f"models folder {folder} does not exist")
    return Studio(
        models or [HERE / "models"],
        outputs,
        device=device,
        budget=None if memory is None else int(memory * 1e9),
    )


def recommended(model: str, chosen: dict[str, Any]) -> dict[str, Any]:
    """The model's recommended settings under what was chosen.

    A chosen sampler drops the recommended schedule, which may not fit it.
    """
    defaults = model_preset(model).defaults()
    if "sampler" in chosen:
        del defaults["schedule"]
    return {**defaults, **chosen}


def follow(run: Run) -> list[CellDone | CellFailed]:
    """Show a run's progress on stderr until it ends; how its cells ended, in axis order."""
    ended: dict[int, CellDone | CellFailed] = {}
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:.1f}/s"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("loading", total=None, rate=0.0)
        for event in run.events():
            match event:
                case CellProgress():
                    now = run.snapshot()
                    progress.update(
                        task,
                        description="denoising",
                        completed=now.evaluations,
                        total=now.evaluations_total,
                        rate=now.rate,
                    )
                case CellDone() | CellFailed():
                    ended[event.cell] = event
    return [ended[cell] for cell in sorted(ended)]


def check_writable(out: Path) -> None:
    """Raises: InvalidRequest: before any work, if the file could not be written after it."""
    if out.suffix.lower() != ".png":
        raise InvalidRequest(f"{out} does not end in .png; pictures are written as PNG")
    try:
        if out.is_dir():
            raise InvalidRequest(f"{out} is a folder; name a file in it")
        place = next((p for p in out.absolute().parents if p.exists()), None)
        target = out if out.exists() else place
    except OSError as error:
        raise InvalidRequest(f"{out} cannot be written: {error.strerror}") from None
    if target is None or not os.access(target, os.W_OK) or (place and not place.is_dir()):
        raise InvalidRequest(f"{out} cannot be written; choose another place with --out")


@contextmanager
def bad_input_ends_here() -> Iterator[None]:
    """Turn the errors a user can cause into one line on stderr and exit status 2."""
    try:
        yield
    except ContactSheetError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from None


def quiet_libraries() -> None:
    """Keep the libraries' own progress bars and hints off the terminal."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")


def show(rows: list[dict[str, Any]], as_json: bool) -> None:
    """Rows as a table for people or as JSON for machines."""
    if as_json:
        typer.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    if not rows:
        typer.echo("none found", err=True)
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in rows[0]:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(_cell_text(value) for value in row.values()))
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def _cell_text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(value)
    return "" if value is None else str(value)


if __name__ == "__main__":
    app()
