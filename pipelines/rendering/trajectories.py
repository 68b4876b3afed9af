"""Guided trajectories: encodes prompts, and starts the trajectory of one cell."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from pipelines.denoising.condition_schedule import AnyCondition, ConditionSchedule
from pipelines.denoising.guided_trajectory import GuidedTrajectory
from pipelines.denoising.guiders.base import Guider, Text
from pipelines.denoising.guiders.registry import fields_read
from pipelines.denoising.row import Condition, ScheduledControl
from pipelines.denoising.trajectory import Eval, initial_noise, trajectory
from pipelines.devices.out_of_memory import is_out_of_memory
from pipelines.errors import ContactSheetError, OutOfMemory
from pipelines.families import weighted_prompts
from pipelines.families.base import Family, LoadedModel, build_scheduler
from pipelines.families.capabilities import Capabilities
from pipelines.families.textual_inversion import embedded
from pipelines.request.prompts.prompt_schedule import Clause, Span, split_clauses, texts_of
from pipelines.request.request import Request

if TYPE_CHECKING:
    from torch import Tensor


Key: TypeAlias = "str | tuple[str | None, int] | None"
"""A text that is encoded, None where there is no negative prompt; with the layers that are skipped,
where some are."""
Encoded: TypeAlias = "Condition | Exception"
"""What a text was encoded to, or what kept it from that."""

log = logging.getLogger(__name__)


def guidance_for(request: Request, supports: Capabilities) -> Guider:
    """Build the guider of one trajectory, from what its Request asks for and its model takes.

    Raises: UnknownName, InvalidRequest: if the Request names a guider that is not here.
    """
    acting: dict[str, float] = {}
    if supports.guidance == "negative_prompt" and not request.negative_prompt:
        acting["guidance_scale"] = 1.0
    if supports.distilled_guidance is not None and request.distilled_guidance is None:
        acting["distilled_guidance"] = supports.distilled_guidance
    choice = supports.guider(request)
    return choice.guider(request.model_copy(update=acting), supports.network_inputs)


def guidance_key(request: Request) -> tuple[Hashable, ...]:
    """Key of what a guider reads: Requests with equal ones have guiders that ask for equal rows."""
    read = set(fields_read(request.guider)) - {"prompt"}
    values = (getattr(request, name) for name in sorted(read))
    weights = tuple(weight for _, weight in split_clauses(request.prompt))
    negative = bool(request.negative_prompt)
    return (request.model, request.guider, request.steps, negative, weights, *values)


def guided_trajectory(
    family: Family,
    model: LoadedModel,
    request: Request,
    conditions: Mapping[Any, Encoded],
    controls: Sequence[ScheduledControl] = (),
) -> GuidedTrajectory:
    """Start the guided trajectory of one cell, with its own scheduler and generator.

    Args:
        conditions: by Key; that of no negative prompt by None, where it differs from an empty
            text's.
    Raises: InvalidRequest: if the scheduler or the guider cannot do what is asked. What kept a
        text from being encoded, if its guider sees that.
    """
    assert request.width and request.height, "a cell's size is resolved before it is made"
    scheduler = build_scheduler(family, model.configs, request)
    shape = family.latent_shape(model, request.width, request.height)
    noise, generator = initial_noise(shape, request.seed)
    walk = trajectory(scheduler, noise.to(model.device, model.dtype), generator)
    supports = family.spec.capabilities(model.configs)
    guider = guidance_for(request, supports)

    def condition(clause: Clause, clip_skip: int = 0, absent: str | None = "") -> AnyCondition:
        """By step, where the text changes."""
        spans = tuple(
            (span.last, _condition(conditions[_key(span.text or absent, clip_skip)]))
            for span in clause.spans
        )
        return spans[0][1] if len(spans) == 1 else ConditionSchedule(spans, request.steps)

    no_negative = None in conditions and not request.negative_prompt
    clauses = supports.clauses(request)
    read: dict[Text, Callable[[], AnyCondition]] = {
        "prompt": lambda: condition(clauses[0], request.clip_skip),
        "negative": lambda: condition(
            supports.negative(request), absent=None if no_negative else ""
        ),
        "empty": lambda: condition(Clause(1.0, (Span(request.steps, ""),))),
    }

    def denoised(asked: Eval, output: Tensor) -> Tensor:
        return family.denoised(model, asked.x, asked.t, output)

    # ControlNets see the prompt also beside a row that does not.
    seen = {text: read[text]() for text in {"prompt", *guider.texts}}
    others = [condition(one, request.clip_skip) for one in clauses[1:]]
    return GuidedTrajectory(walk, guider, seen, controls, denoised, others)


def encode_prompts(
    family: Family,
    model: LoadedModel,
    requests: Sequence[Request],
    alone: bool = False,
    free_memory: Callable[[], bool] = lambda: False,
) -> dict[Key, Encoded]:
    """Encode every text in use once; one by one if `alone`.

    If they cannot be encoded together, each is encoded by itself, so that one bad text fails its
    own cells.

    Args:
        free_memory: called when memory ran out; true if it freed something worth a retry.
    Returns: conditions by Key; what went wrong, for a text that has none.
    """
    supports = family.spec.capabilities(model.configs)
    model = embedded(model, family.spec)
    prompts: dict[int, set[str]] = {0: set()}
    negatives: set[str] = set()
    for request in requests:
        try:
            texts = guidance_for(request, supports).texts
        except ContactSheetError:
            continue  # its own cell says so, when it starts
        prompts.setdefault(request.clip_skip, set()).update(texts_of(supports.clauses(request)))
        prompts[0] |= {""} if "empty" in texts else set()
        negatives |= {*texts_of((supports.negative(request),))} if "negative" in texts else set()
    found: dict[Key, Encoded] = {}
    for clip_skip, some in prompts.items():
        # As in diffusers, the layers of a negative prompt are not skipped.
        others = set() if clip_skip else negatives
        texts_here = sorted(some | others)
        encoded = _encoded(family, model, texts_here, alone, "" in others, free_memory, clip_skip)
        found |= {_key(text, clip_skip): one for text, one in encoded.items()}
    return found


def _key(text: str | None, clip_skip: int) -> Key:
    return (text, clip_skip) if clip_skip else text


def _encoded(
    family: Family,
    model: LoadedModel,
    texts: Sequence[str],
    alone: bool,
    no_negative: bool,
    free_memory: Callable[[], bool],
    clip_skip: int,
) -> dict[str | None, Encoded]:
    """Conditions by text, or errors; that of no negative prompt too, if `no_negative`."""
    try:
        encoded = weighted_prompts.conditions(family, model, texts, alone, clip_skip)
        if no_negative:
            encoded[None] = family.without_negative(model, encoded[""])
        return {**encoded}
    except Exception as error:  # one bad text must not lose the others
        log.exception("%d texts could not be encoded", len(texts))
        failure = error.with_traceback(None)
    # Outside the handler, whose error keeps what did not fit in memory.
    if is_out_of_memory(failure) and free_memory():
        return _encoded(family, model, texts, alone, no_negative, free_memory, clip_skip)
    if len(texts) == 1:
        if is_out_of_memory(failure):
            failure = OutOfMemory(f"the text encoder does not fit in memory: {failure}")
        return dict.fromkeys((texts[0], None) if no_negative else texts, failure)
    one_by_one: dict[str | None, Encoded] = {}
    for text in texts:
        blank = no_negative and not text
        one_by_one |= _encoded(family, model, [text], alone, blank, free_memory, clip_skip)
    return one_by_one


def _condition(encoded: Encoded) -> Condition:
    if isinstance(encoded, Exception):
        raise encoded
    return encoded
