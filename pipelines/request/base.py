"""Frozen data model: validates values and reports errors in plain sentences."""

from __future__ import annotations

import json
from typing import Annotated, Any, ClassVar, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails

from pipelines.errors import InvalidRequest, UnknownName, shortened

PROMPT_MAX = 4000


class FrozenModel(BaseModel):
    """Frozen, validated value whose errors read like sentences, not like a validator's report."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    error_prefix: ClassVar[str] = ""
    """What stands before a field's name in an error, such as "control "."""

    @model_validator(mode="wrap")
    @classmethod
    def _speak_plainly(cls, data: Any, handler: Any) -> Any:
        try:
            return handler(data)
        except ValidationError as error:
            raise _explain(cls, error.errors()[0]) from None

    @classmethod
    def model_validate_json(cls, json_data: str | bytes | bytearray, **options: Any) -> Self:
        """Read JSON text. Raises: InvalidRequest: if it is none, or says what is not possible."""
        return cls.model_validate(read_json(json_data), **options)


def read_json(text: str | bytes | bytearray) -> Any:
    """Read JSON of whatever kind. Raises: InvalidRequest: if it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"settings are not JSON: {shortened(str(error))}") from None


def _explain(cls: type[FrozenModel], detail: ErrorDetails) -> InvalidRequest | UnknownName:
    """One clear sentence for the first thing that is wrong."""
    name = str(detail["loc"][0]) if detail["loc"] else cls.__name__
    said = f"{cls.error_prefix}{name}"
    if detail["type"] == "extra_forbidden":
        known = list(cls.model_fields)
        return UnknownName.of(
            f"{cls.error_prefix}setting", name, known, f"known: {', '.join(known)}"
        )
    if detail["type"] == "string_unicode":
        return InvalidRequest(f"{said} holds half a character (a lone surrogate); type it again")
    if detail["type"] == "string_too_long":
        return InvalidRequest(
            f"{said} has {len(detail['input'])} characters; at most {PROMPT_MAX} are allowed"
        )
    info = cls.model_fields.get(name)
    allowed = info.description if info is not None and info.description else detail["msg"]
    return InvalidRequest(f"{said} is {_short(detail['input'])}; {allowed}")


def _short(value: Any) -> str:
    """How a value is quoted in an error: a long one is cut."""
    try:
        text = repr(value)
    except ValueError:  # Python writes no number of more than 4,300 digits
        return "a number of thousands of digits"
    return text if len(text) <= 80 else f"{text[:77]}…"


# Adding 0 turns -0.0 into 0.0: the two are equal, so their JSON must be too.
Number = Annotated[float, AfterValidator(lambda value: value + 0.0)]
Fraction = Annotated[Number, Field(ge=0.0, le=1.0)]
