"""Parameters shared by all endpoints: most of a Request's fields."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from functools import wraps
from inspect import Signature, signature
from typing import Any

from pipelines import Request

File = dict[str, Any]
"""A file as `gradio_client.handle_file` sends it and as endpoints return it."""
Made = tuple[list[File], str]
"""PNG files, and their settings as a JSON list."""
Fields = dict[str, Any]
"""A Request's fields by name; None leaves one to what suits the model best."""


def _settings(
    negative_prompt: str = "",
    model: str = Request.model_fields["model"].default,
    sampler: str | None = None,
    schedule: str | None = None,
    steps: int | None = None,
    guidance_scale: float | None = None,
    guidance_rescale: float = 0.0,
    guidance_start: float = 0.0,
    guidance_stop: float = 1.0,
    distilled_guidance: float | None = None,
    skip_layers: str | None = None,
    skip_layer_scale: float | None = None,
    skip_layer_start: float | None = None,
    skip_layer_stop: float | None = None,
    seed: int = 0,
    width: int | None = None,
    height: int | None = None,
    loras: list[str] | None = None,
) -> None:
    """The parameters; `loras` is a list such as `["NAME", "NAME:0.8"]`, `skip_layers` a text
    such as `7+8+9`."""


Endpoint = Callable[..., Awaitable[Made]]


def with_settings(*, without: Collection[str] = ()) -> Callable[[Endpoint], Endpoint]:
    """Give an endpoint the parameters of `_settings` besides its own.

    It is called with the Fields first, then with its own parameters by name.
    Args:
        without: those it does not get, because it varies them.
    """
    common = signature(_settings, eval_str=True).parameters.values()
    shared = [one for one in common if one.name not in without]

    def decorate(endpoint: Endpoint) -> Endpoint:
        own = list(signature(endpoint, eval_str=True).parameters.values())[1:]
        public = Signature([*own, *shared], return_annotation=Made)

        @wraps(endpoint)
        async def with_fields(*args: Any, **kwargs: Any) -> Made:
            given = public.bind(*args, **kwargs)
            given.apply_defaults()
            values = given.arguments
            fields = {one.name: values.pop(one.name) for one in shared}
            fields["loras"] = fields["loras"] or ()
            return await endpoint(fields, **values)

        # What Gradio reads; it would follow `wraps` to the endpoint otherwise.
        described: Any = with_fields
        described.__signature__ = public
        described.__annotations__ = {one.name: one.annotation for one in (*own, *shared)}
        described.__annotations__["return"] = Made
        return with_fields

    return decorate
