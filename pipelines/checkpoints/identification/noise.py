"""Noise of a checkpoint: what its network predicts, and the noise levels it was trained on.

Sources: the markers `v_pred`, `ztsnr`, `edm_mean`, `edm_vpred.sigma_max` that trainers add as
    tensors (read so by comfyanonymous/ComfyUI, `comfy/supported_models.py`); Stability AI's
    modelspec; kohya-ss/sd-scripts (`ss_v_parameterization`, `ss_zero_terminal_snr`).
"""

from __future__ import annotations

from pipelines.checkpoints.formats.header import Header

_SPEC = "modelspec.prediction_type"
_WORDS = {
    **dict.fromkeys(("v", "v_prediction", "v_pred", "velocity", "vpred"), "v_prediction"),
    **dict.fromkeys(("epsilon", "eps", "noise", "epsilon_prediction", "eps_pred"), "epsilon"),
}
_EDM = {
    "edm_mean": "EDM's noise levels with means of its own (Playground v2.5)",
    "edm_std": "EDM's noise levels with means of its own (Playground v2.5)",
    "edm_vpred.sigma_max": "EDM's noise levels with v-prediction (CosXL)",
    "edm_vpred.sigma_min": "EDM's noise levels with v-prediction (CosXL)",
}


def prediction_of(header: Header) -> str:
    """Tell what the file itself says its network predicts; empty if it does not."""
    if "v_pred" in header.rows:
        return "v_prediction"
    said = str(header.metadata.get(_SPEC, "")).strip().lower()
    if said := _WORDS.get(said.replace("-", "_").replace(" ", "_"), ""):
        return said
    return "v_prediction" if _says_yes(header, "ss_v_parameterization") else ""


def has_zero_snr(header: Header) -> bool:
    """Tell whether the last noise level has no signal left; with noise predicted none can be."""
    marked = "ztsnr" in header.rows or _says_yes(header, "ss_zero_terminal_snr")
    return marked and prediction_of(header) == "v_prediction"


def unread_noise_levels(header: Header) -> str:
    """Name the noise levels that a file was trained on, where nothing here runs them."""
    for mark, name in _EDM.items():
        if mark in header.rows:
            return name
    said = str(header.metadata.get(_SPEC, "")).strip().lower()
    return f"EDM's noise levels ({said[:40]})" if said.startswith("edm") else ""


def _says_yes(header: Header, key: str) -> bool:
    return str(header.metadata.get(key, "")).strip().lower() in ("true", "1")
