"""Single-file scheduler: derives the noise levels' config of a model that is one file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.checkpoints.identification.identify import Identification
from pipelines.errors import ModelUnavailable


def scheduler_config(
    path: Path, found: Identification, config: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Derive the scheduler's config from the published one and from what the file says.

    SD 2 comes in two kinds that no tensor tells apart. Where the file's metadata say nothing its
    name decides, which holds the size in all published ones: 512 predicts noise, 768 v.

    Raises: ModelUnavailable: if neither says it.
    """
    prediction = found.prediction
    if not prediction and found.family == "sd2":
        said = [kind for size, kind in _SD2_SIZES.items() if size in path.name]
        if len(said) != 1:
            raise ModelUnavailable(
                f"{path} is an SD 2.x model, and nothing in it says whether it predicts noise or "
                "v; put 512 (noise, the base model) or 768 (v) into its name"
            )
        prediction = said[0]
    changed: dict[str, Any] = {"prediction_type": prediction} if prediction else {}
    if found.zero_snr:
        changed["rescale_betas_zero_snr"] = True
    return {**config, **changed}


_SD2_SIZES = {"512": "epsilon", "768": "v_prediction"}
