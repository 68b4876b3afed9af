"""Leftovers: names of tensors that files carry and no picture needs, and of those nobody knows."""

from __future__ import annotations

import re
from collections.abc import Iterable

_BUFFERS = (
    "betas", "alphas", "alphas_cumprod", "alphas_cumprod_prev", "sqrt_alphas_cumprod",
    "sqrt_one_minus_alphas_cumprod", "log_one_minus_alphas_cumprod", "sqrt_recip_alphas_cumprod",
    "sqrt_recipm1_alphas_cumprod", "posterior_variance", "posterior_log_variance_clipped",
    "posterior_mean_coef1", "posterior_mean_coef2", "lvlb_weights", "logvar", "scale_factor",
    "sigmas", "log_sigmas",
)  # fmt: skip
"""What CompVis' and Stability AI's samplers count anew from their settings."""
_MARKERS = ("v_pred", "ztsnr", "edm_mean", "edm_std", "edm_vpred.sigma_max", "edm_vpred.sigma_min")
"""What trainers say by a tensor's being there; `identify` reads them."""
_ENDINGS = (
    "position_ids",  # counted anew
    "logit_scale", "attn_mask",  # of CLIP's training, and OpenCLIP's constant
    "scaled_fp8",  # says that there are scales, which stand beside their weights
    "scale_input", "input_scale",  # of products in 8 bits, which are not computed so here
    "num_updates", "global_step", "epoch",
)  # fmt: skip
_GROUPS = (
    "model_ema", "ema", "loss", "optimizer", "optimizer_states", "lr_schedulers", "callbacks",
    "safety_checker", "embedding_manager",
)  # fmt: skip
"""Modules that only training or other programs use; an element of a dotted name."""

_KNOWN = re.compile(
    rf"(?:model\.|denoiser\.)?(?:{'|'.join(_BUFFERS)})"
    rf"|(?:{'|'.join(map(re.escape, _MARKERS))})"
    rf"|(?:.*\.)?(?:{'|'.join(_ENDINGS)})"
    rf"|(?:.*\.)?(?:{'|'.join(_GROUPS)})\..*"
)


def is_leftover(name: str) -> bool:
    """Tell whether a tensor is one that files carry and no picture needs."""
    return _KNOWN.fullmatch(name) is not None


def unread(names: Iterable[str], prefixes: tuple[str, ...], outer: str = "") -> list[str]:
    """List tensors that belong to no component and are no known leftovers.

    Args:
        prefixes: how the names of the components' tensors begin.
        outer: how all names begin.
    """
    return [
        name
        for name in names
        if not name.startswith(prefixes) and not is_leftover(name.removeprefix(outer))
    ]
