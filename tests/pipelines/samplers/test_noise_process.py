"""What scheduler configs ask for, against every class: heeded, carried out, or refused."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import diffusers
import pytest

from pipelines import samplers
from pipelines.errors import ModelUnavailable
from pipelines.families.capabilities import compatible_samplers
from pipelines.samplers import SAMPLERS, misfit
from pipelines.samplers.noise_process import CARRIED, NEUTRAL, PREDICTIONS, TAKES
from pipelines.samplers.noise_table import log_snr
from tests.helpers.exact_denoisers import CONFIGS, ExactModel

ROOT = Path(__file__).parents[3]
SHIPPED = sorted(
    [*ROOT.glob("models/*/scheduler/*.json"), *ROOT.glob("tests/data/**/scheduler_config.json"),
     *ROOT.glob("pipelines/checkpoints/configs/*/scheduler.json")]
)  # fmt: skip
PLAYGROUND = {
    "_class_name": "EDMDPMSolverMultistepScheduler", "sigma_min": 0.002, "sigma_max": 80.0,
    "sigma_data": 0.5, "rho": 7.0, "solver_order": 2, "prediction_type": "epsilon",
    "num_train_timesteps": 1000, "final_sigmas_type": "zero", "sigma_schedule": "karras",
}  # fmt: skip
LCM = {
    **CONFIGS["sd 1.5"], "_class_name": "LCMScheduler", "original_inference_steps": 50,
    "timestep_scaling": 10.0, "rescale_betas_zero_snr": False, "timestep_spacing": "leading",
}  # fmt: skip
PIXART = {
    **CONFIGS["sd 1.5"], "_class_name": "DPMSolverMultistepScheduler", "solver_order": 2,
    "algorithm_type": "dpmsolver++", "solver_type": "midpoint", "lower_order_final": True,
    "lambda_min_clipped": -float("inf"), "variance_type": "learned_range",
    "final_sigmas_type": "zero", "use_karras_sigmas": False,
}  # fmt: skip
COSXL = {
    **CONFIGS["sdxl"], "sigma_min": 0.002, "sigma_max": 120.0, "timestep_type": "continuous",
    "prediction_type": "v_prediction",
}  # fmt: skip
METHOD = {
    # Belongs to a method, not to the network: another method has its own, or none.
    "skip_prk_steps", "set_alpha_to_one", "timestep_spacing", "steps_offset", "solver_order",
    "algorithm_type", "solver_type", "lower_order_final", "use_karras_sigmas",
    "use_exponential_sigmas", "use_beta_sigmas", "original_inference_steps", "timestep_scaling",
    "clip_sample_range", "dynamic_thresholding_ratio", "sample_max_value", "rho",
    "sigma_schedule", "euler_at_final", "use_lu_lambdas",
    # Of dynamic shifting and of flow matching, which only flow matching's classes run.
    "shift", "base_shift", "max_shift", "base_image_seq_len", "max_image_seq_len",
    "time_shift_type",
}  # fmt: skip


def read(path):
    return json.loads(path.read_text("utf-8"))


CONFIGS_OF_ALL = {
    **CONFIGS, "playground": PLAYGROUND, "lcm": LCM, "pixart": PIXART, "cosxl": COSXL,
    **{str(path.relative_to(ROOT)): read(path) for path in SHIPPED},
}  # fmt: skip


def test_configs_ship():
    assert len(SHIPPED) >= 6


@pytest.mark.parametrize("scheduler", TAKES)
def test_the_table_says_what_diffusers_classes_take(scheduler):
    accepted = set(inspect.signature(getattr(diffusers, scheduler).__init__).parameters)
    assert TAKES[scheduler] <= accepted
    if scheduler in {row.scheduler for row in SAMPLERS.values()}:
        assert accepted & NEUTRAL.keys() == TAKES[scheduler] & NEUTRAL.keys()


@pytest.mark.parametrize("name", CONFIGS_OF_ALL)
def test_every_key_of_every_config_is_accounted_for(name):
    """Taken by the class, neutral, a method's own, carried out by us, or the sampler is refused."""
    config = CONFIGS_OF_ALL[name]
    kind = "flow" if "shift" in config else "diffusion"
    for row in SAMPLERS.values():
        if row.kind != kind or misfit(row.scheduler, config):
            continue
        for key, value in config.items():
            if key.startswith("_") or key in METHOD or key in TAKES[row.scheduler]:
                continue
            own = TAKES.get(config.get("_class_name"))
            unused = own is not None and key not in own
            assert value in NEUTRAL[key] or key in CARRIED or unused, (row.id, key)


REFUSED = [
    ("thresholding", True, "euler"), ("clip_sample", True, "lms"),
    ("prediction_type", "sample", "dpm2"), ("timestep_type", "continuous", "heun"),
    ("interpolation_type", "log_linear", "ddim"), ("sigma_max", 120.0, "dpmpp_2m"),
    ("lambda_min_clipped", -5.1, "unipc"), ("final_sigmas_type", "sigma_min", "heun"),
    ("variance_type", "learned_range", "euler"), ("use_flow_sigmas", True, "dpmpp_2m"),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value", "sampler"), REFUSED)
def test_what_a_class_would_drop_is_refused_by_name(key, value, sampler):
    config = {k: v for k, v in CONFIGS["sdxl"].items() if k != "_class_name"}
    assert sampler in compatible_samplers("diffusion", config)
    asked = {**config, key: value}
    reason = misfit(SAMPLERS[sampler].scheduler, asked)
    assert key in reason or repr(value) in reason
    if key != "use_flow_sigmas":
        assert sampler not in compatible_samplers("diffusion", asked)


@pytest.mark.parametrize("key", ["shift_terminal", "use_dynamic_shifting", "stochastic_sampling"])
def test_flow_heun_is_refused_what_it_would_drop(key):
    config = {**CONFIGS["sd 3"], key: 0.1 if key == "shift_terminal" else True}
    assert compatible_samplers("flow", config) == ("flow_euler",)


def test_models_that_no_sampler_is_right_for_are_refused():
    with pytest.raises(ModelUnavailable, match="EDM"):
        compatible_samplers("diffusion", PLAYGROUND)


def test_a_continuous_model_keeps_the_one_sampler_that_heeds_it():
    assert compatible_samplers("diffusion", COSXL) == ("euler",)


def test_keys_of_other_classes_that_a_config_carries_along_do_not_count():
    config = {**CONFIGS["sdxl"], "thresholding": True, "clip_sample": True}
    assert "euler" in compatible_samplers("diffusion", config), "Euler's own takes neither"


def test_zero_snr_needs_another_prediction_than_noise():
    config = {**CONFIGS["zero-snr v"], "prediction_type": "epsilon"}
    with pytest.raises(ModelUnavailable, match="nothing but noise"):
        compatible_samplers("diffusion", config)


@pytest.mark.parametrize("flag", ["use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas"])
@pytest.mark.parametrize("schedule", ["karras", "exponential", "beta", "sgm_uniform"])
def test_a_schedule_replaces_the_one_of_the_config(flag, schedule):
    """Diffusers refuses two at once."""
    config = {**CONFIGS["sdxl"], "use_karras_sigmas": False, flag: True}
    plain = {k: v for k, v in config.items() if k != flag}
    for sampler in ("euler", "dpmpp_2m", "heun"):
        found, alone = (
            samplers.build(sampler, schedule, one, 10, 0).sigmas.tolist() for one in (config, plain)
        )
        assert found == alone


@pytest.mark.parametrize("sampler", ["dpmpp_2m", "dpmpp_2s"])
def test_a_stochastic_checkpoint_does_not_make_other_samplers_stochastic(sampler):
    config = {**CONFIGS["sd 1.5"], "algorithm_type": "sde-dpmsolver++"}
    assert (
        samplers.build(sampler, "default", config, 10, 0).config["algorithm_type"] == "dpmsolver++"
    )


@pytest.mark.parametrize("sampler", [row.id for row in SAMPLERS.values()])
def test_predictions_that_break_a_class_are_known(sampler):
    row = SAMPLERS[sampler]
    if row.kind == "flow" or row.id in ("lcm", "tcd"):
        return
    from tests.helpers.exact_denoisers import run

    config = {**CONFIGS["sdxl"], "prediction_type": "sample"}
    broken = row.scheduler in PREDICTIONS["sample"]
    try:
        run(ExactModel(config), sampler, "default", 3)
    except (NotImplementedError, ValueError):
        assert broken
    else:
        assert not broken


@pytest.mark.parametrize("name", ["sdxl", "zero-snr v", "cosine"])
def test_the_noise_table_is_the_papers(name):
    """What previews and guiders are worked out with."""
    exact = -2 * ExactModel(CONFIGS[name]).log_sigma
    assert float((log_snr(CONFIGS[name])[:-1] - exact[:-1]).abs().max()) < 1e-2
    assert float(log_snr(CONFIGS[name])[-1]) == pytest.approx(float(exact[-1]), rel=0.01)
