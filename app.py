"""Contact Sheet's entry: `python app.py` serves the page; the sub-commands need no browser.

Exit status: 0 done, 1 some picture could not be made, 2 bad input (nothing was written), 130 ended
by Ctrl+C, 143 by SIGTERM (what was finished is written).
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated

# Before any library that might phone home is imported.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

if __name__ == "__main__":
    # Before the libraries, which a signal would otherwise find half imported.
    from ui.cli.interruption import install

    install()

import typer

from pipelines import Sheet
from pipelines.denoising.guiders.registry import GUIDERS, MODIFIERS
from pipelines.request.axis_grammar import parse_axis, prompt_variants
from pipelines.request.labels import cell_text
from pipelines.runs.earlier_sheet import files_to_replace
from pipelines.runs.png_metadata import write_png
from pipelines.runs.sheet_folder import Finished, SheetFolder, check_folder
from pipelines.samplers import SAMPLERS
from presets import styles_for, wildcard_folders
from ui.cli.console import (
    Group,
    at_home,
    bad_input_ends_here,
    check_writable,
    follow,
    said_if_slow,
    shape_line,
    show,
    warn,
    warn_of_equal_pictures,
)
from ui.cli.control_option import read_controls
from ui.cli.download import add_download
from ui.cli.guider_table import guider_row, modifier_row
from ui.cli.interruption import ended_by, leave_if_interrupted
from ui.cli.library_output import log_with_times, start_process, take_verbose
from ui.cli.model_table import model_row
from ui.cli.options import Machine, ModelName, Models, Settings, takes
from ui.cli.page_options import PageOptions
from ui.cli.preprocessors import add_commands
from ui.cli.style_option import axis_in_style, style_row

app = typer.Typer(
    cls=Group,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="See choices of a prompt, a guidance scale or a sampler side by side.",
)
add_commands(app)
add_download(app)

AsJson = Annotated[bool, typer.Option("--json", help="JSON instead of a table.")]


@app.callback(invoke_without_command=True)
def main(
    context: typer.Context,
    verbose: Annotated[  # taken out by `Group`, wherever it stands
        bool, typer.Option("--verbose", help="Show what other libraries say; may stand anywhere.")
    ] = False,
) -> None:
    """Serve when no command is named."""
    if context.invoked_subcommand is None:
        serve()


@app.command()
@takes(PageOptions)
def serve(
    page: PageOptions,
    outputs: Annotated[Path, typer.Option(help="Folder for finished pictures.")] = Path("outputs"),
) -> None:
    """Serve the page."""
    log_with_times()
    with bad_input_ends_here():
        from ui.server import serve as serve_page

        serve_page(page.studio(outputs), **page.of_server())
    leave_if_interrupted()


@app.command()
@takes(Settings)
def generate(
    settings: Settings,
    out: Annotated[Path, typer.Option(help="The PNG file to write.", callback=at_home)],
) -> None:
    """Make one picture and write it as PNG, with its settings inside."""
    with bad_input_ends_here():
        controls = read_controls(settings.control)
        request = controls.add_to(settings.request())
        check_writable(out)
        studio = settings.studio()
        controls.add_pictures(studio)
        request = controls.treated(studio, request).add_to(request)
        plan = studio.plan(Sheet(base=request))
        warn(plan.warning_lines)
        run = studio.submit(plan, previews=False)
        with ended_by(run.stop):
            outcomes = follow(run)
        leave_if_interrupted()
        if not outcomes:
            typer.echo(f"error: {run.snapshot().error or 'the run was stopped'}", err=True)
            raise typer.Exit(1)
        cell = run.snapshot().cells[0]
        if cell.image is not None and cell.error is None:
            write_png(out, cell.image, cell.request)
    if cell.error is not None:
        typer.echo(f"error: {cell.error}", err=True)
        raise typer.Exit(1)
    typer.echo(out)


@app.command("sheet")
@takes(Settings)
def make_sheet(
    settings: Settings,
    out: Annotated[Path, typer.Option(help="The folder to write.", callback=at_home)],
    axis: Annotated[
        list[str],
        typer.Option(
            help="field=values, such as guidance_scale=1,3,5 or seed=100-107; may be given "
            "several times, the last runs along the columns."
        ),
    ],
    outputs: Annotated[
        Path, typer.Option(help="Folder of finished pictures: what is there is not made again.")
    ] = Path("outputs"),
    force: Annotated[
        bool, typer.Option("--force", help="Replace another sheet that is in the folder.")
    ] = False,
    skip_misfits: Annotated[
        bool,
        typer.Option(
            "--skip-misfits",
            help="Leave out combinations that cannot be made, such as a schedule that a sampler "
            "does not have.",
        ),
    ] = False,
) -> None:
    """Make a sheet: every value of every axis, denoised together."""
    with bad_input_ends_here():
        folders = wildcard_folders()
        axes = [
            axis_in_style(parse_axis(text, folders), settings.style, settings.model)
            for text in axis
        ]
        controls = read_controls(settings.control, axes)
        sheet = Sheet(base=controls.add_to(settings.request()), axes=controls.axes)
        check_folder(out)
        replaced = files_to_replace(out, sheet, replace=force)
        # Checked without a store first: bad input must leave no folder behind.
        checker = settings.studio()
        controls.add_pictures(checker)
        controls = controls.treated(checker, sheet.base)
        sheet = sheet.model_copy(update={"base": controls.add_to(sheet.base)})
        with said_if_slow(sheet):
            plan = checker.plan(sheet, skip_misfits=skip_misfits)
        sheet = plan.sheet
        typer.echo(shape_line(sheet), err=True)
        warn(plan.warning_lines)
        folder = SheetFolder(out, sheet)
        studio = settings.studio(outputs)
        controls.add_pictures(studio)
        for line in studio.store.notices:
            typer.echo(f"note: {line}", err=True)
        for file in replaced:
            file.unlink()
        run = studio.submit(plan, previews=False)
    with ended_by(run.stop), bad_input_ends_here(1):
        outcomes = follow(run, folder.add)
        end = run.snapshot()
        finished = folder.finish(end.stats) if outcomes else Finished()
    leave_if_interrupted()
    warn_of_equal_pictures(plan, outcomes)
    failed = [outcome for outcome in outcomes if outcome.error is not None]
    if end.status == "failed" and end.error:
        typer.echo(f"error: {end.error}", err=True)
    else:
        for outcome in failed:
            label = cell_text(sheet, outcome.cell) or "picture"
            typer.echo(f"error: {label}: {outcome.error}", err=True)
    for line in filter(None, (finished.note, finished.error and f"error: {finished.error}")):
        typer.echo(line, err=True)
    stats = end.stats
    where = out / ("sheet.json" if finished.error else "sheet.png")
    typer.echo(
        f"{stats.cells} cells ({stats.cells_cached} were there), {stats.rows_computed} of "
        f"{stats.rows_naive} rows in {stats.batches} batches, {stats.seconds:.1f} s: {where}"
    )
    if failed or finished.error or len(outcomes) < stats.cells or end.status != "done":
        raise typer.Exit(1)


@app.command("models")
def list_models(models: Models = None, as_json: AsJson = False) -> None:
    """List the models, ControlNets, LoRAs and embeddings that are here."""
    with bad_input_ends_here():
        studio = Machine(models=models).studio()
        # LoRAs and embeddings in single files are no models, and stand among their like.
        known = [info for info in studio.models() if info.source not in ("lora", "embedding")]
        found = [*known, *studio.controlnets(), *studio.loras(), *studio.embeddings()]
        rows = [model_row(studio, info, as_json) for info in found]
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


@app.command("guiders")
def list_guiders(as_json: AsJson = False) -> None:
    """List the guidance methods and what they cost."""
    chosen = [guider_row(row) for row in GUIDERS.values()]
    show([*chosen, *(modifier_row(row) for row in MODIFIERS.values())], as_json)


@app.command("styles")
def list_styles(model: ModelName = "emoji", as_json: AsJson = False) -> None:
    """List the styles for a model."""
    show([style_row(name, one) for name, one in styles_for(model).items()], as_json)


@app.command("variants")
def list_variants(
    template: Annotated[str, typer.Argument(help="Such as: a {red|green} apple, __look__ [5]")],
    as_json: AsJson = False,
) -> None:
    """List the prompts that --axis prompt_variants=TEMPLATE makes."""
    with bad_input_ends_here():
        prompts = prompt_variants(template, wildcard_folders())
    typer.echo(json.dumps(prompts, indent=2, ensure_ascii=False) if as_json else "\n".join(prompts))


@app.command()
def info(file: Annotated[Path, typer.Argument(help="A picture with settings inside.")]) -> None:
    """Print the settings found in a picture, as JSON."""
    from pipelines.runs.png_metadata import read_settings

    with bad_input_ends_here():
        typer.echo(json.dumps(read_settings(file), indent=2, ensure_ascii=False))


if __name__ == "__main__":
    start_process(verbose=take_verbose(sys.argv[1:])[0])
    app()
