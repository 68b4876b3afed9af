"""What endpoints are told alike: most of a Request's fields, as parameters of each."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from functools import wraps
from inspect import Parameter, Signature, signature
from typing import Any

from pipelines import Request
from pipelines.request.axis_grammar import value_type
from pipelines.request.field_labels import FIELD_LABELS
from presets.loader import RECOMMENDED
from ui.form.choices import SKIPPING

File = dict[str, Any]
"""A file as `gradio_client.handle_file` sends it and as endpoints return it."""
Made = tuple[list[File], str]
"""PNG files, and their settings as a JSON list."""
Fields = dict[str, Any]
"""A Request's fields by name; None leaves one to what suits the model best."""


_OWN = ("prompt", "controls")
"""Fields that each endpoint takes in its own way."""
_LEFT_TO_THE_MODEL = (*RECOMMENDED, *SKIPPING)
"""Fields that are left out by default, although a Request has a value for them."""


def _parameter(field: str) -> Parameter:
    """Describe a field as an endpoint's parameter, in types that JSON has."""
    kind: Any = list[str] if field == "loras" else value_type(field)
    default = Request.model_fields[field].default
    if field in _LEFT_TO_THE_MODEL or field == "loras":
        default = None
    annotation = kind | None if default is None else kind
    return Parameter(field, Parameter.POSITIONAL_OR_KEYWORD, default=default, annotation=annotation)


SHARED = tuple(_parameter(field) for field in FIELD_LABELS if field not in _OWN)
"""The parameters; `loras` is a list such as `["NAME", "NAME:0.8"]`, `skip_layers` a text such as
`7+8+9`."""

Endpoint = Callable[..., Awaitable[Made]]


def with_settings(*, without: Collection[str] = ()) -> Callable[[Endpoint], Endpoint]:
    """Gives an endpoint the parameters in SHARED besides its own.

    It is called with the Fields first, then with its own parameters by name.
    Args:
        without: those it does not get, because it varies them.
    """
    shared = [one for one in SHARED if one.name not in without]

    def made(endpoint: Endpoint) -> Endpoint:
        own = list(signature(endpoint, eval_str=True).parameters.values())[1:]
        public = Signature([*own, *shared], return_annotation=Made)

        @wraps(endpoint)
        async def told(*args: Any, **kwargs: Any) -> Made:
            given = public.bind(*args, **kwargs)
            given.apply_defaults()
            values = given.arguments
            fields = {one.name: values.pop(one.name) for one in shared}
            fields["loras"] = fields["loras"] or ()
            return await endpoint(fields, **values)

        # What Gradio reads; it would follow `wraps` to the endpoint otherwise.
        described: Any = told
        described.__signature__ = public
        described.__annotations__ = {one.name: one.annotation for one in (*own, *shared)}
        described.__annotations__["return"] = Made
        return told

    return made
