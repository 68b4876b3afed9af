"""Wildcard files: lists of texts by name, such as `look` or `animals/cats`, and patterns of names.

`*` stands for any characters, folders included, `**/` for any folders or none, `?` for one
character, `[ab]` for one of these. Case counts only where two names differ by nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from pipelines.errors import InvalidRequest, UnknownName
from pipelines.utils.text_files import read_lines

_SUFFIX = ".txt"
_NOT_READ = (".yaml", ".yml", ".json")
"""What other tools keep wildcards in as well."""
_SIGN = re.compile(r"\*\*/|\*+|\?|\[(?P<not>[!^])?(?P<inside>[^\[\]/]+)\]")
_REFERENCE = re.compile(r"__(.+?)__")
_SIGNS_MAX = 6
"""Each multiplies the ways in which a name may fit."""
_WHERE = "each is a .txt file in presets/wildcards or in your own folder"


def wildcards(folders: Sequence[Path]) -> dict[str, list[str]]:
    """Read wildcards by name from .txt files in folders; of equal names the last wins.

    Empty lines and lines that start with `#` are left out.
    Raises: InvalidRequest: for a file that cannot be read.
    """
    found: dict[str, list[str]] = {}
    for file, name in _files(folders, (_SUFFIX,)):
        try:
            lines = [line.strip() for line in read_lines(file)]
        except InvalidRequest as error:
            raise InvalidRequest(f"wildcard file {error}") from None
        found[name] = [line for line in lines if line and not line.startswith("#")]
    return found


def named(text: str, values: Mapping[str, Sequence[str]], folders: Sequence[Path]) -> list[str]:
    """Find the wildcards that a name or a pattern means, those without a value left out.

    Raises: UnknownName: if there is none; InvalidRequest: if all of them are empty.
    """
    name = re.sub(r"[\\/]+", "/", text.strip()).removeprefix("./").strip("/")
    found = _matches(name, values) or _matches(_without_suffix(name), values)
    if not found:
        raise UnknownName.of("wildcard", name, sorted(values), _WHERE + _other_files(folders))
    filled = [one for one in found if values[one]]
    if not filled:
        files = ", ".join(f"{one}{_SUFFIX}" for one in found[:3])
        raise InvalidRequest(
            f"wildcard {name!r} has no value: {files} holds nothing but empty lines and comments"
        )
    return filled


def ring(values: Mapping[str, Sequence[str]], folders: Sequence[Path]) -> list[str]:
    """Find wildcards that name one another in a ring, the first one last again; [] if none do."""
    done: set[str] = set()

    def follow(name: str, way: list[str]) -> list[str]:
        if name in way:
            return [*way[way.index(name) :], name]
        if name in done:
            return []
        done.add(name)
        for line in values[name]:
            for inner in _REFERENCE.findall(line):
                with suppress(InvalidRequest, UnknownName):
                    for one in named(inner, values, folders):
                        found = follow(one, [*way, name])
                        if found:
                            return found
        return []

    with suppress(RecursionError):
        return next(filter(None, (follow(name, []) for name in values)), [])
    return []


def _matches(name: str, values: Iterable[str]) -> list[str]:
    if name in values:
        return [name]
    try:
        pattern = re.compile(_pattern(name)).pattern
    except re.error as error:
        raise InvalidRequest(f"wildcard {name!r} is no pattern: {error}") from None
    for flags in (re.NOFLAG, re.IGNORECASE):
        found = [one for one in values if re.fullmatch(pattern, one, flags)]
        if found:
            return sorted(found)
    return []


def _pattern(name: str) -> str:
    """Write a name with its signs as a regular expression."""
    if len(_SIGN.findall(name)) > _SIGNS_MAX:
        raise InvalidRequest(f"wildcard {name!r} has more than {_SIGNS_MAX} signs such as *")
    parts: list[str] = []
    at = 0
    for sign in _SIGN.finditer(name):
        parts.append(re.escape(name[at : sign.start()]))
        at = sign.end()
        if sign[0].startswith("["):
            inside = re.escape(sign["inside"]).replace(r"\-", "-")
            parts.append(f"[{'^' if sign['not'] else ''}{inside}]")
        else:
            parts.append({"**/": "(?:.*/)?", "?": "[^/]"}.get(sign[0], ".*"))
    return "".join([*parts, re.escape(name[at:])])


def _files(folders: Sequence[Path], suffixes: Sequence[str]) -> Iterable[tuple[Path, str]]:
    for folder in folders:
        for file in sorted(folder.rglob("*")):
            if file.suffix.lower() in suffixes and file.is_file():
                yield file, file.relative_to(folder).with_suffix("").as_posix()


def _other_files(folders: Sequence[Path]) -> str:
    others = [file.name for file, _ in _files(folders, _NOT_READ)][:3]
    return f"; {', '.join(others)} is not read: only .txt files are" if others else ""


def _without_suffix(name: str) -> str:
    return name[: -len(_SUFFIX)] if name.lower().endswith(_SUFFIX) else name
