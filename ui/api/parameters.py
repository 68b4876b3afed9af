"""Parameters shared by all endpoints: most of a Request's fields."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from functools import wraps
from inspect import Parameter, Signature, signature
from types import NoneType, UnionType
from typing import Any, TypeVar, cast, get_args

from pydantic import TypeAdapter, ValidationError

from pipelines import InvalidRequest, Request
from pipelines.errors import shortened
from pipelines.request.axis_grammar import value_type
from pipelines.request.field_labels import FIELD_LABELS
from presets.loader import RECOMMENDED
from ui.errors import shown
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

_PICTURE = "image"
"""`uploads.opened` says what to send."""
_KINDS: Mapping[Any, tuple[TypeAdapter[Any], str]] = {
    str: (TypeAdapter(str), "a text"),
    list[str]: (TypeAdapter(list[str]), "a list of texts"),
    dict[str, Any]: (TypeAdapter(dict[str, Any]), "an object"),
    list[dict[str, Any]]: (TypeAdapter(list[dict[str, Any]]), "a list of objects"),
}
"""What an argument may be, for messages. Numbers are not here: a Request reads and checks them."""


def check_types(values: Mapping[str, Any], signature: Signature) -> None:
    """Check what a program sent in place of texts, lists and objects.

    Raises: InvalidRequest: for the first that is something else.
    """
    for name, value in values.items():
        kind = signature.parameters[name].annotation
        if isinstance(kind, UnionType):
            if value is None:
                continue
            kind = next(one for one in get_args(kind) if one is not NoneType)
        if kind not in _KINDS or name == _PICTURE:
            continue
        adapter, what = _KINDS[kind]
        try:
            adapter.validate_python(value, strict=True)
        except ValidationError:
            came = shortened(repr(value), 60)
            raise InvalidRequest(f"{name} is {came}; it must be {what}") from None


Endpoint = Callable[..., Awaitable[Made]]
AnyEndpoint = TypeVar("AnyEndpoint", bound=Callable[..., Awaitable[Any]])


def typed(endpoint: AnyEndpoint) -> AnyEndpoint:
    """Check the types of an endpoint's arguments before it is called."""
    public = signature(endpoint, eval_str=True)

    @wraps(endpoint)
    async def checked(*args: Any, **kwargs: Any) -> Any:
        with shown():
            check_types(public.bind(*args, **kwargs).arguments, public)
        return await endpoint(*args, **kwargs)

    return cast(AnyEndpoint, checked)


def with_settings(*, without: Collection[str] = ()) -> Callable[[Endpoint], Endpoint]:
    """Give an endpoint the parameters in SHARED besides its own.

    It is called with the Fields first, then with its own parameters by name.
    Args:
        without: those it does not get, because it varies them.
    """
    shared = [one for one in SHARED if one.name not in without]

    def decorate(endpoint: Endpoint) -> Endpoint:
        own = list(signature(endpoint, eval_str=True).parameters.values())[1:]
        public = Signature([*own, *shared], return_annotation=Made)

        @wraps(endpoint)
        async def with_fields(*args: Any, **kwargs: Any) -> Made:
            given = public.bind(*args, **kwargs)
            given.apply_defaults()
            values = given.arguments
            with shown():
                check_types(values, public)
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
