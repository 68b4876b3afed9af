"""Console output of the command line: progress bars, tables, one-line errors."""

from __future__ import annotations

import json
import math
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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

from pipelines import ContactSheetError, InvalidRequest, Sheet, StorageUnavailable
from pipelines.rendering.run_plan import RunPlan
from pipelines.request.labels import axis_title
from pipelines.runs.events import CellDone, CellFailed, CellProgress, RunNotice, Warnings
from pipelines.runs.run import Run
from pipelines.runs.sheet_folder import nearest_existing
from pipelines.runs.warning_lines import warning_lines
from ui.cli.library_output import take_verbose

# Typer carries its own copy of click in some versions; this is its usage error in all of them.
_UsageError: Any = typer.BadParameter.__base__


class Group(typer.core.TyperGroup):
    """Command group that reports a wrong command line in one line, as all other errors are.

    `--verbose` may stand anywhere in it.
    """

    def main(self, args: Sequence[str] | None = None, *rest: Any, **options: Any) -> Any:
        _, given = take_verbose(list(sys.argv[1:] if args is None else args))
        try:
            status = super().main(given, *rest, **{**options, "standalone_mode": False})
        except _UsageError as error:
            typer.echo(f"error: {error.format_message()} (--help shows what there is)", err=True)
            sys.exit(2)
        except typer.Abort:  # Ctrl+C
            sys.exit(130)
        sys.exit(status if isinstance(status, int) else 0)


@dataclass(frozen=True, slots=True)
class EndedCell:
    """How a cell ended, without its picture: those of a large sheet do not fit in memory."""

    cell: int
    error: str | None
    warnings: Warnings


def follow(
    run: Run, ended_cell: Callable[[CellDone | CellFailed], None] = lambda event: None
) -> list[EndedCell]:
    """Show a run's progress on stderr until it ends; return how its cells ended, in axis order.

    Args:
        ended_cell: called for every cell as it ends. If it raises, the run is stopped.
    """
    ended: dict[int, EndedCell] = {}
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:.1f}/s"),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    # Into a file or a pipe it would write an empty line.
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        task = progress.add_task("loading", total=None, rate=0.0)
        for event in run.watch():
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
                case RunNotice(text=str(text)):
                    progress.console.print(text, style=None, markup=False, highlight=False)
                case CellDone() | CellFailed():
                    why = event.error if isinstance(event, CellFailed) else None
                    ended[event.cell] = EndedCell(event.cell, why, event.warnings)
                    ended_cell(event)
    return [ended[cell] for cell in sorted(ended)]


def shape_line(sheet: Sheet) -> str:
    """Write what a sheet will make, such as `6 cells: 3 × prompt, 2 × seed`."""
    counts = [f"{len(axis.values)} × {axis_title(axis)}" for axis in sheet.axes]
    return f"{math.prod(sheet.shape)} cells: {', '.join(counts)}"


def at_home(out: Path) -> Path:
    """Read `~` as the home folder: shells leave it in `--out=~/a.png` and in quotes."""
    try:
        return out.expanduser()
    except RuntimeError:
        return out  # of nobody here


_LARGE = 400  # cells, that are checked in less than half a second


@contextmanager
def said_if_slow(sheet: Sheet) -> Iterator[None]:
    """Say on stderr that a large sheet is being checked, if it takes longer than half a second.

    A small one is not worth a line, however busy the machine is.
    """
    if math.prod(sheet.shape) < _LARGE:
        yield
        return
    line = f"checking {shape_line(sheet)} …"
    timer = threading.Timer(0.5, lambda: typer.echo(line, err=True))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def warn(lines: Iterable[str]) -> None:
    """Say on stderr what is not carried out, a line each."""
    for line in lines:
        typer.echo(f"warning: {line}", err=True)


def warn_of_equal_pictures(plan: RunPlan, outcomes: Iterable[EndedCell]) -> None:
    """Say what only the pictures have shown, beside what was said of the plan."""
    found = {}
    for outcome in outcomes:
        known = plan.warnings.get(outcome.cell, ())
        found[outcome.cell] = tuple(one for one in outcome.warnings if one not in known)
    warn(warning_lines(plan.sheet, found))


def check_writable(out: Path) -> None:
    """Check, before any work, that a PNG file can be written after it.

    Raises: InvalidRequest: if it cannot.
    """
    if out.name.lower() == ".png":
        raise InvalidRequest(f"{out} has no name before .png; write one, such as apple.png")
    if out.suffix.lower() != ".png":
        raise InvalidRequest(f"{out} does not end in .png; pictures are written as PNG")
    try:
        if out.is_dir():
            raise InvalidRequest(f"{out} is a folder; name a file in it")
        place = nearest_existing(out)
    except OSError as error:
        raise InvalidRequest(f"{out} cannot be written: {error.strerror}") from None
    usable = place is not None and (place.is_dir() or place == out.absolute())
    if place is None or not usable or not os.access(place, os.W_OK):
        raise InvalidRequest(f"{out} cannot be written; choose another place with --out")


@contextmanager
def bad_input_ends_here(status: int = 2) -> Iterator[None]:
    """Turn the errors a user can cause into one line on stderr and an exit status.

    Args:
        status: 2 where nothing was written yet, 1 after that.
    """
    try:
        yield
    except ContactSheetError as error:
        typer.echo(f"error: {error}", err=True)
        # Nothing is wrong with what was asked for where a disk is full or a database locked.
        raise typer.Exit(1 if isinstance(error, StorageUnavailable) else status) from None


def show(rows: list[dict[str, Any]], as_json: bool) -> None:
    """Print rows as a table for people or as JSON for machines.

    The table leaves out what is empty in all rows, and names files from the folder one is in.
    """
    if as_json:
        typer.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    if not rows:
        typer.echo("none found", err=True)
        return
    names = [name for name in rows[0] if any(_cell_text(row[name]) for row in rows)]
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in names:
        number = all(isinstance(row[name], int | float) for row in rows)
        table.add_column(
            name.replace("_", " "),
            overflow="fold",
            no_wrap=name == names[0],
            justify="right" if number and not isinstance(rows[0][name], bool) else "left",
        )
    for row in rows:
        table.add_row(*(_cell_text(row[name]) for name in names))
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def _cell_text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(value)
    return "" if value is None else str(value).removeprefix(f"{Path.cwd()}{os.sep}")
