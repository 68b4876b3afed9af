"""Noise process: what a checkpoint's scheduler config says of its training, and who heeds it.

A scheduler drops options that its class does not take. Those that belong to a method (its order,
its own spacing) may go; those that say how the network was trained must not.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

_VP = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas",
       "prediction_type")  # fmt: skip
_CLIP = ("clip_sample", "clip_sample_range")
_THRESHOLD = ("thresholding", "dynamic_thresholding_ratio", "sample_max_value")
_ZERO = ("rescale_betas_zero_snr",)
_SPACED = ("timestep_spacing", "steps_offset")
_FINAL = ("final_sigmas_type",)
_DPM = (*_THRESHOLD, *_FINAL, "lambda_min_clipped", "variance_type")
_EDM = ("sigma_min", "sigma_max", "sigma_data", "sigma_schedule", "rho", "num_train_timesteps",
        "prediction_type", *_FINAL)  # fmt: skip

TAKES: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        name: frozenset(keys)
        for name, keys in {
            "DDPMScheduler": (*_VP, *_SPACED, *_CLIP, *_THRESHOLD, *_ZERO, "variance_type"),
            "DDIMScheduler": (*_VP, *_SPACED, *_CLIP, *_THRESHOLD, *_ZERO),
            "PNDMScheduler": (*_VP, *_SPACED),
            "LMSDiscreteScheduler": (*_VP, *_SPACED),
            "EulerDiscreteScheduler": (
                *_VP, *_SPACED, *_ZERO, *_FINAL, "interpolation_type", "sigma_min", "sigma_max",
                "timestep_type",
            ),
            "EulerAncestralDiscreteScheduler": (*_VP, *_SPACED, *_ZERO),
            "HeunDiscreteScheduler": (*_VP, *_SPACED, *_CLIP),
            "KDPM2DiscreteScheduler": (*_VP, *_SPACED),
            "KDPM2AncestralDiscreteScheduler": (*_VP, *_SPACED),
            "DPMSolverMultistepScheduler": (*_VP, *_SPACED, *_ZERO, *_DPM, "use_flow_sigmas"),
            "DPMSolverSinglestepScheduler": (*_VP, *_DPM, "use_flow_sigmas"),
            "DPMSolverSDEScheduler": (*_VP, *_SPACED),
            "UniPCMultistepScheduler": (
                *_VP, *_SPACED, *_ZERO, *_THRESHOLD, *_FINAL, "use_flow_sigmas", "sigma_min",
                "sigma_max", "shift_terminal", "use_dynamic_shifting",
            ),
            "LCMScheduler": (*_VP, *_SPACED, *_CLIP, *_THRESHOLD, *_ZERO),
            "TCDScheduler": (*_VP, *_SPACED, *_CLIP, *_THRESHOLD, *_ZERO),
            "FlowMatchEulerDiscreteScheduler": (
                "num_train_timesteps", "shift", "use_dynamic_shifting", "shift_terminal",
                "invert_sigmas", "stochastic_sampling", "time_shift_type", "base_shift",
                "max_shift", "base_image_seq_len", "max_image_seq_len",
            ),
            "FlowMatchHeunDiscreteScheduler": ("num_train_timesteps", "shift"),
            "EDMEulerScheduler": _EDM,
            "EDMDPMSolverMultistepScheduler": (*_EDM, *_THRESHOLD),
        }.items()
    }
)  # fmt: skip
"""Diffusers' class to the keys it takes that say how a network was trained, or when steps stand."""

NEUTRAL: Mapping[str, tuple[Any, ...]] = MappingProxyType(
    {
        "rescale_betas_zero_snr": (False, None),
        "thresholding": (False, None),
        "clip_sample": (False, None),
        "final_sigmas_type": ("zero", None),
        "lambda_min_clipped": (-float("inf"), "-Infinity", "-inf", None),
        "variance_type": (None, "fixed_small", "fixed_small_log", "fixed_large", "fixed_large_log"),
        "timestep_type": ("discrete", None),
        "interpolation_type": ("linear", None),
        "sigma_min": (None,),
        "sigma_max": (None,),
        "sigma_data": (None,),
        "use_flow_sigmas": (False, None),
        "use_dynamic_shifting": (False, None),
        "shift_terminal": (None, 0, 0.0, False),
        "invert_sigmas": (False, None),
        "stochastic_sampling": (False, None),
    }
)
"""Keys that change what a network is asked, with the values at which they change nothing."""

CARRIED = ("rescale_betas_zero_snr",)
"""Those of them that we carry out ourselves where a class does not take them."""
_BELONGS = {
    # Its own class takes the key for another purpose, or our samplers undo it.
    "use_flow_sigmas": "is that of a flow model run as a diffusion model",
    "sigma_data": "is an EDM model's, whose network wants other inputs",
}
_SAMPLE = (
    "EulerAncestralDiscreteScheduler", "KDPM2DiscreteScheduler", "PNDMScheduler",
    "KDPM2AncestralDiscreteScheduler", "DPMSolverSDEScheduler",
)  # fmt: skip
PREDICTIONS: Mapping[str, tuple[str, ...]] = MappingProxyType({"sample": _SAMPLE})
"""What a network may predict, with the classes that refuse it in the middle of a run."""


def dropped(scheduler: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Find what a config asks for and a scheduler of this class would drop.

    Only what the checkpoint's own class heeds counts: configs carry keys of other classes along.

    Args:
        scheduler: diffusers' class.
        config: the checkpoint's own scheduler config.
    """
    own = TAKES.get(str(config.get("_class_name")))
    return {
        key: config[key]
        for key, neutral in NEUTRAL.items()
        if key in config
        and config[key] not in neutral
        and key not in TAKES[scheduler]
        and (own is None or key in own)
    }


def misfit(scheduler: str, config: Mapping[str, Any]) -> str:
    """Say why a scheduler of this class is wrong for a checkpoint; "" if it is right.

    Args: as `dropped`.
    """
    for key, why in _BELONGS.items():
        if config.get(key) not in NEUTRAL[key]:
            return f"its scheduler config {why} ({key} is {config[key]!r})"
    for key, value in dropped(scheduler, config).items():
        if key not in CARRIED:
            return f"its scheduler config asks for {key}={value!r}, which {scheduler} cannot do"
    prediction = config.get("prediction_type") or "epsilon"
    # Flow models' own classes have no such key.
    if "prediction_type" in TAKES[scheduler] and scheduler in PREDICTIONS.get(prediction, ()):
        return f"{scheduler} cannot work with {prediction!r} predictions"
    if prediction == "epsilon" and zero_snr(config):
        return "noise cannot be predicted where there is nothing but noise (zero terminal SNR)"
    return ""


def zero_snr(config: Mapping[str, Any]) -> bool:
    """Whether the training ended in nothing but noise."""
    return config.get("rescale_betas_zero_snr") not in NEUTRAL["rescale_betas_zero_snr"]


def unclipped(scheduler: str, config: Mapping[str, Any]) -> bool:
    """Whether a class would clip predictions that the checkpoint's own class never clips."""
    own = TAKES.get(str(config.get("_class_name")))
    return (
        own is not None
        and "clip_sample" not in config
        and "clip_sample" not in own
        and "clip_sample" in TAKES[scheduler]
    )
