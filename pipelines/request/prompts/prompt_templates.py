"""Prompt templates: expands `a {red|green} apple, __look__` to several prompts.

| text | stands for |
| --- | --- |
| `{red\\|green}` | red, green |
| `{2$$ and $$red\\|green\\|blue}` | two of them, joined by ` and ` |
| `__look__` | every line of `look.txt` in a wildcard folder |
| `__animals/*__`, `__**/cats__` | every line of all files that such a name fits |
| `\\{`, `\\}`, `\\_`, `\\$`, `\\%` and `\\` before a bar | the character itself |

The grammar is that of the library dynamicprompts, without its comments: `#` and `//` are text.
A text without `{` or `__name__` stands for itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from pipelines.errors import InvalidRequest
from pipelines.request.base import PROMPT_MAX
from pipelines.utils.wildcard_files import named, ring, wildcards

if TYPE_CHECKING:
    from dynamicprompts.wildcards import WildcardManager
    from dynamicprompts.wildcards.collection import WildcardCollection

MOST_PROMPTS = 1000
"""Prompts that one template may stand for."""
_POOL = 10_000
"""A sample of so many prompts or fewer is drawn from the list of all, hence without repeats."""
_TRIES = 50
"""Draws for each prompt of a sample from more than that."""

_SPECIAL = "{}|#$%_/"
_HIDDEN = {character: chr(0xE000 + i) for i, character in enumerate(_SPECIAL)}
_SHOWN = str.maketrans({hidden: character for character, hidden in _HIDDEN.items()})
_LITERAL = re.compile(r"\\([{}|#$%_/])|(#|%(?!\{)|(?<!\$)\$(?![{$])|/(?=[/*]))")
_TEMPLATE = re.compile(r"\{|__.+?__")


def is_template(text: str) -> bool:
    """Tell whether a text may stand for anything but itself."""
    return _TEMPLATE.search(text) is not None


def expand(
    template: str,
    folders: Sequence[Path] = (),
    sample: int | None = None,
    seed: int = 0,
) -> tuple[str, ...]:
    """Expand a template to its prompts, each once.

    Args:
        folders: with wildcard files; of equal names the last wins.
        sample: how many to draw of them; None gives all, the last choice changing fastest.
        seed: of the draw; equal seeds draw equal prompts, in the order of all where it is known.
    Raises:
        UnknownName: for a wildcard that no folder has.
        InvalidRequest: if the template cannot be read, or stands for too many or too few prompts.
    """
    if sample is not None and not 1 <= sample <= MOST_PROMPTS:
        raise InvalidRequest(f"the sample is {sample}; it must be from 1 to {MOST_PROMPTS}")
    found, whole = _listed(template, folders, seed, MOST_PROMPTS if sample is None else _POOL)
    if whole and not found:
        raise InvalidRequest(f"{template!r} stands for no prompt at all")
    if sample is None:
        if not whole:
            many = f"stands for more than {MOST_PROMPTS} prompts"
            if len(found) < MOST_PROMPTS:
                many = f"takes too many tries to list ({len(found)} prompts were found)"
            raise InvalidRequest(f"{template!r} {many}; write [20] behind it to draw 20 of them")
        return tuple(found)
    if not whole:
        return _draw(template, folders, seed, sample)
    if sample > len(found):
        raise InvalidRequest(
            f"{template!r} stands for {len(found)} prompts; {sample} cannot be drawn of them"
        )
    return tuple(found[i] for i in sorted(Random(seed).sample(range(len(found)), sample)))


def _listed(template: str, folders: Sequence[Path], seed: int, most: int) -> tuple[list[str], bool]:
    """At most so many prompts of a template, in order, without repeats; whether these are all.

    There are fewer where the work of listing them is too much.
    """
    from pipelines.request.prompts.template_sampler import WorkSpent

    if not is_template(template):
        return [template], True
    found: dict[str, None] = {}
    every = _prompts(template, folders, Random(seed), "COMBINATORIAL")
    try:
        # Some templates repeat themselves, those with `~` for ever.
        for prompt in islice(every, _TRIES * most):
            if len(found) == most and prompt not in found:
                return list(found), False
            found[prompt] = None
        return list(found), next(every, None) is None
    except WorkSpent:
        return list(found), False


def _draw(template: str, folders: Sequence[Path], seed: int, sample: int) -> tuple[str, ...]:
    """Distinct prompts of a template that stands for too many to list."""
    from pipelines.request.prompts.template_sampler import WorkSpent

    drawn: dict[str, None] = {}
    draws = 0
    with suppress(WorkSpent):
        for prompt in islice(_prompts(template, folders, Random(seed), "RANDOM"), _TRIES * sample):
            draws += 1
            drawn[prompt] = None
            if len(drawn) == sample:
                return tuple(drawn)
    raise InvalidRequest(
        f"{template!r} gave {len(drawn)} different prompts in {draws} draws; "
        f"ask for fewer than {sample}, or write a smaller template"
    )


def _prompts(template: str, folders: Sequence[Path], random: Random, method: str) -> Iterator[str]:
    """Prompts as dynamicprompts makes them, its errors in our words. Raises: WorkSpent."""
    from pyparsing import ParseException

    from pipelines.request.prompts.template_sampler import CountedContext

    context = CountedContext.of(method, wildcard_manager=_manager(folders), rand=random)
    try:
        for result in context.sample_prompts(_hide(template)):
            if len(result.text) > PROMPT_MAX:
                raise InvalidRequest(
                    f"{template!r} stands for a prompt of {len(result.text)} characters; "
                    f"at most {PROMPT_MAX} are allowed"
                )
            yield str(result).translate(_SHOWN)
    except ParseException as error:
        rest = error.pstr[error.loc :].translate(_SHOWN)
        raise InvalidRequest(
            f"{template!r} cannot be read as a template at {rest[:40]!r}; write {{a|b}} for a "
            "choice, __name__ for a wildcard, and \\{ \\| \\} \\_ for the characters themselves"
        ) from None
    except RecursionError:
        looped = ", ".join(ring(wildcards(folders), folders))
        raise InvalidRequest(
            f"{template!r} holds a wildcard that holds itself ({looped})"
            if looped
            else f"{template!r} has too many parts"
        ) from None
    except KeyError as error:
        raise InvalidRequest(f"{template!r} uses a variable it does not set: {error}") from None
    except (RuntimeError, ValueError, OverflowError) as error:
        # A part without a result among others, or weights of which nothing can be drawn.
        raise InvalidRequest(f"{template!r} cannot be expanded: {error}") from None


def _hide(text: str) -> str:
    """Characters that are meant as they are, where the parser does not see them."""
    return _LITERAL.sub(lambda match: _HIDDEN[match[1] or match[2]], text)


def _manager(folders: Sequence[Path]) -> WildcardManager:
    """dynamicprompts' view of wildcard values; which a name means is ours."""
    from dynamicprompts.wildcards import WildcardManager
    from dynamicprompts.wildcards.values import WildcardValues

    values = wildcards(folders)

    class Manager(WildcardManager):
        def get_values(self, wildcard: str) -> WildcardValues:
            found = named(wildcard.translate(_SHOWN), values, folders)
            return WildcardValues.from_items(
                value for name in found for value in self.get_file(name).get_values()
            )

    hidden: dict[str, WildcardCollection | list[str]] = {
        name: [_hide(line) for line in lines] for name, lines in values.items()
    }
    manager = Manager(root_map={"": [hidden]})
    manager.sort_wildcards = False
    return manager
