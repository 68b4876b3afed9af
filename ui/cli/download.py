"""Download command: fetches a model from the hub, after saying what it is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines import InvalidRequest, ModelUnavailable, UnknownName
from pipelines.checkpoints.download import access, check_target, fetch
from presets import ModelPreset, hub_models
from ui.cli.console import bad_input_ends_here

HERE = Path(__file__).parents[2]
Name = Annotated[str, typer.Argument(help="Model id from presets/models.toml; `list` shows all.")]
Models = Annotated[
    Path | None, typer.Option("--models", help="Folder to fetch into; default: models.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be fetched, ask nobody.")]


def download(name: Name, models: Models = None, dry_run: DryRun = False) -> None:
    """Fetch a model from the hub: a pinned revision, safetensors only."""
    folder = models or HERE / "models"
    with bad_input_ends_here():
        known = hub_models()
        if name == "list":
            for id, preset in known.items():
                typer.echo(f"{id}: {_line(preset)}")
            return
        if name not in known:
            raise UnknownName.of("hub model", name, known, "python app.py download list")
        if not folder.is_dir():
            raise InvalidRequest(f"models folder {folder} does not exist")
        preset = known[name]
        check_target(folder / name, preset.gigabytes)
        for line in plan_lines(name, preset, folder):
            typer.echo(line)
        if dry_run:
            return
        try:
            place = fetch(name, preset.hub, preset.revision, preset.gigabytes, folder)
        except ModelUnavailable as error:
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(1) from None
    typer.echo(place)


def plan_lines(name: str, preset: ModelPreset, folder: Path) -> list[str]:
    """Describe what is about to be fetched, in lines for people."""
    sizes = ", ".join(f"{width} × {height}" for width, height in preset.sizes)
    guidance = f"guidance {preset.guidance_scale:g}"
    if preset.distilled_guidance is not None:
        guidance += f", distilled guidance {preset.distilled_guidance:g}"
    lines = [
        f"{preset.title}: {preset.hub} at {preset.revision}",
        f"licence: {preset.licence}",
        f"size: about {preset.gigabytes:g} GB, into {folder / name}",
        f"recommended: {preset.sampler}, {preset.schedule}, {preset.steps} steps, {guidance}; "
        f"{sizes}",
    ]
    if preset.gated:
        lines.append(f"gated: {access(preset.hub)}")
    return lines


def _line(preset: ModelPreset) -> str:
    gated = ", gated" if preset.gated else ""
    return f"{preset.title}, about {preset.gigabytes:g} GB, {preset.licence}{gated}"


def add_download(app: typer.Typer) -> None:
    """Add `download` to the command line."""
    app.command("download")(download)
