"""Model table: describes models, ControlNets, LoRAs and embeddings for the command line."""

from __future__ import annotations

from typing import Any

from pipelines import Studio
from pipelines.checkpoints.model_info import ModelInfo
from presets import model_preset


def model_row(studio: Studio, info: ModelInfo, full: bool) -> dict[str, Any]:
    """Describe a model as a row; what it can do is empty where it cannot be used.

    Args:
        full: with the lists that are too long for a terminal.
    """
    supports = None if info.problem or info.kind != "model" else studio.supports(info.id)
    row: dict[str, Any] = {
        "id": info.id,
        "title": model_preset(info.id).title,
        "family": info.family,
        "source": info.source,
        "kind": info.kind if info.kind != "model" else supports and supports.kind,
        "size": supports and "x".join(map(str, supports.sizes.native)),
        "guidance": supports and supports.guidance.replace("_", " "),
        "vectors": info.vectors or None,
        "negative_prompt": supports and supports.negative_prompt,
        "distilled_guidance": supports and supports.distilled_guidance,
        "megabytes": round(info.bytes / 1e6, 1),
        "folder": str(info.path),
        "problem": info.problem,
    }
    if full:
        if info.kind == "embedding":
            row["fits"] = _fitting_models(studio, info)
        row["samplers"] = list(supports.samplers) if supports else []
        row["steps"] = list(supports.steps) if supports else []
        row["skip_layers"] = supports and supports.skip_layers
        row["size_multiple"] = supports and supports.sizes.multiple
    return row


def _fitting_models(studio: Studio, embedding: ModelInfo) -> list[str]:
    """List the models whose prompts may name an embedding."""
    usable = [info.id for info in studio.models() if info.problem is None]
    return [id for id in usable if embedding.id in {one.id for one in studio.embeddings(id)}]
