"""Registry of guiders: the table that menus, checks, the command line and the renderer read.

Nothing here loads torch, and neither do the files of the guiders.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pipelines.denoising.guiders.base import Guider
from pipelines.denoising.guiders.checked import Checked, NetworkInputs
from pipelines.denoising.guiders.classifier_free import ClassifierFree, Rescaled
from pipelines.denoising.guiders.composed import Composed
from pipelines.denoising.guiders.embedded import Distilled, Embedded
from pipelines.denoising.guiders.skip_layer import SkipLayer
from pipelines.errors import InvalidRequest, UnknownName
from pipelines.preprocessors.base import Parameter, Value
from pipelines.request.request import Request

Values = Mapping[str, Value]
"""A guider's own parameters, by name, each with its value."""
Build = Callable[[Request, Values], Guider]
"""Makes a guider for one trajectory, from its Request and its own parameters."""
Wrap = Callable[[Guider, Request], Guider]
"""Puts a modifier around a guider if a Request asks for it; else returns the guider."""

_LISTED = "python app.py guiders lists them"
_WINDOW = ("guidance_start", "guidance_stop")


@dataclass(frozen=True, slots=True)
class GuiderSpec:
    """A guider that a Request may choose: `Request.guider` is its id, alone or with parameters.

    Attributes:
        rows: denoiser rows of one evaluation, at most.
        fields: Request fields that it reads.
        parameters: its own, beside those.
        embedded: it is for networks that take the guidance scale as an input, and no other is;
            the rest are for all other networks.
        version: raise it when the same values give other pixels; pictures of Requests that name
            the guider are then made anew.
    """

    id: str
    label: str
    paper: str
    rows: int
    build: Build
    fields: tuple[str, ...] = ("guidance_scale", *_WINDOW)
    parameters: tuple[Parameter, ...] = ()
    embedded: bool = False
    version: int = 1

    def check(self) -> None:
        """Raises: InvalidRequest: if no guider can have such a row."""
        fault = _fault(self)
        if fault is not None:
            raise InvalidRequest(f"guider {self.id!r}: {fault}")

    def values(self, given: Mapping[str, object]) -> dict[str, Value]:
        """Every parameter with its value, those that were left out with their default.

        Raises: UnknownName: for a parameter there is not.
            InvalidRequest: for a value out of range.
        """
        known = {one.name: one for one in self.parameters}
        for name in given:
            if name not in known:
                where = f"it has {', '.join(known)}" if known else f"{self.id} has none"
                raise UnknownName.of(f"parameter of guider {self.id!r}:", name, known, where)
        return {
            name: one.canonical(given[name]) if name in given else one.default
            for name, one in known.items()
        }


@dataclass(frozen=True, slots=True)
class ModifierSpec:
    """A guider around the chosen one, for Requests that ask for it.

    Attributes:
        rows: denoiser rows that it adds to one evaluation, at most; for each AND, in `composed`.
        fields: Request fields that it reads; the first switches it on.
        embedded: whether it may stand around a guider that asks for one row.
    """

    id: str
    label: str
    paper: str
    rows: int
    wrap: Wrap
    fields: tuple[str, ...]
    embedded: bool = True


_GUIDERS = (
    GuiderSpec(
        "cfg",
        "Classifier-free",
        "arXiv:2207.12598",
        2,
        lambda request, values: ClassifierFree.of(request),
    ),
    GuiderSpec(
        "embedded",
        "Embedded",
        "arXiv:2210.03142",
        1,
        lambda request, values: Embedded.of(request),
        embedded=True,
    ),
)
_MODIFIERS = (
    ModifierSpec(
        "skip_layer",
        "Skip-layer",
        "github.com/Stability-AI/sd3.5",
        1,
        SkipLayer.around,
        ("skip_layers", "skip_layer_scale", "skip_layer_start", "skip_layer_stop"),
    ),
    ModifierSpec(
        "rescale",
        "Rescale",
        "arXiv:2305.08891",
        0,
        Rescaled.around,
        ("guidance_rescale",),
    ),
    ModifierSpec(
        "distilled",
        "Distilled",
        "github.com/black-forest-labs/flux",
        0,
        Distilled.around,
        ("distilled_guidance",),
    ),
    ModifierSpec(
        "composed",
        "Composed",
        "arXiv:2206.01714",
        1,
        Composed.around,
        ("prompt",),
        embedded=False,
    ),
)
GUIDERS = {row.id: row for row in _GUIDERS}
"""Guiders to choose from, by id, in the order of menus."""
MODIFIERS = {row.id: row for row in _MODIFIERS}
"""Guiders around those, the outermost last."""


def register(row: GuiderSpec) -> Callable[[], None]:
    """Add a guider that stands outside this package.

    Returns: what takes it away again.
    Raises: InvalidRequest: if its id is taken, or the row cannot be right.
    """
    if row.id in GUIDERS:
        raise InvalidRequest(f"there is a guider {row.id!r} already; give it another id")
    row.check()
    GUIDERS[row.id] = row

    def undo() -> None:
        if GUIDERS.get(row.id) is row:
            del GUIDERS[row.id]

    return undo


def version_mark(guider: str) -> str:
    """Mark a guider's version in a cell's address; "" for the first.

    Args:
        guider: `Request.guider`; the model's own, "", changes with `engine.VERSION`.
    """
    row = GUIDERS.get(guider.partition(":")[0].strip())
    return "" if row is None or row.version == 1 else f" {row.id} version {row.version}"


def _fault(row: GuiderSpec) -> str | None:
    """What is wrong with a row; None where nothing is."""
    if not row.id.isidentifier():
        return "it has no id of letters, digits and underscores"
    for name, number in (("rows", row.rows), ("version", row.version)):
        if number < 1:
            return f"{name} is {number}; it must be 1 or more"
    unknown = [name for name in row.fields if name not in Request.model_fields]
    if unknown:
        return f"it reads {unknown[0]!r}, which is no field of a Request"
    names = [one.name for one in row.parameters]
    for parameter in row.parameters:
        if not parameter.name.isidentifier():
            return f"parameter {parameter.name!r} has no name of letters, digits and underscores"
        if names.count(parameter.name) > 1:
            return f"it has the parameter {parameter.name!r} twice"
        for choice in parameter.choices:
            if choice != choice.strip() or not choice or set(choice) & set(":="):
                return (
                    f"choice {choice!r} of {parameter.name} cannot be written as :name=value; "
                    "it must have no ':', no '=' and no space at its ends"
                )
        try:
            parameter.canonical(parameter.default)
        except InvalidRequest as error:
            return f"its default is not allowed: {error}"
    return None


def fields_read(guider: str) -> tuple[str, ...]:
    """List the Request fields that a guider and the modifiers around it read.

    Args:
        guider: `Request.guider`; all guiders' fields for the model's own, "".
    """
    row = GUIDERS.get(guider.partition(":")[0].strip())
    own = [row] if row is not None else list(GUIDERS.values())
    rows: list[GuiderSpec | ModifierSpec] = [*own, *MODIFIERS.values()]
    return tuple(dict.fromkeys(field for one in rows for field in one.fields))


def guiders_for(embedded: bool) -> tuple[str, ...]:
    """Ids of the guiders for a network; its own, for a Request that names none, comes first."""
    return tuple(id for id, row in GUIDERS.items() if row.embedded == embedded)


@dataclass(frozen=True, slots=True)
class Choice:
    """A guider with the values of its parameters."""

    row: GuiderSpec
    values: Values

    @classmethod
    def read(cls, text: str) -> Choice:
        """A choice from `Request.guider`, such as `cfg`, or `name:parameter=0.5:other=1`.

        Raises: UnknownName: for a guider or parameter there is not.
            InvalidRequest: for what is no such text, or a value out of range.
        """
        id, *settings = (part.strip() for part in text.split(":"))
        if id not in GUIDERS:
            raise UnknownName.of("guider", id, GUIDERS, _LISTED)
        given: dict[str, str] = {}
        for setting in settings:
            name, equals, value = (part.strip() for part in setting.partition("="))
            if not equals or name in given:
                raise InvalidRequest(
                    f"guider is {text!r}; after {id!r} write each parameter once, as :name=value"
                )
            given[name] = value
        return cls(GUIDERS[id], GUIDERS[id].values(given))

    @property
    def text(self) -> str:
        """The choice as `read` takes it: equal choices are equal texts. Defaults are left out."""
        default = {one.name: one.default for one in self.row.parameters}
        changed = (f":{k}={v}" for k, v in self.values.items() if v != default[k])
        return f"{self.row.id}{''.join(changed)}"

    def guider(self, request: Request, takes: NetworkInputs) -> Guider:
        """The guider for one trajectory, with the modifiers that its Request asks for.

        Args:
            takes: what the network takes, which the guider may not exceed.
        Raises: InvalidRequest: if it cannot be built.
        """
        row = self.row
        guider: Guider = Checked.build(
            row.id, row.rows, takes, lambda: row.build(request, self.values)
        )
        for modifier in MODIFIERS.values():
            if modifier.embedded or not row.embedded:
                guider = modifier.wrap(guider, request)
        return guider
