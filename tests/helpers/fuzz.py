"""Mutation fuzzer: makes odd texts, JSON and bytes out of good ones, the same on every machine."""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any

from pipelines.errors import ContactSheetError

CASES = 2000
SECONDS = 2.0
BYTES = 200 * 2**20
WORDS = (
    "",
    " ",
    " " * 3000,
    "\0",
    "\ud800",
    "\u202e",
    "é",
    "🍎",
    "-",
    "--",
    "1e400",
    "nan",
    "inf",
    "-0",
    "9" * 5000,
    "0." + "1" * 400,
    "1-1000000000",
    "1-2 (+0.0000001)",
    "[" * 300,
    "(" * 3000,
    "{" * 60,
    "}",
    "]",
    ")",
    "{~a|b}",
    "{30$$a|b|c}",
    "__x__",
    "${a}",
    "BREAK",
    "(a:",
    ":1.5)",
    '"',
    "'",
    "\\",
    '\\"',
    ",",
    ",," * 100,
    "=",
    "&",
    " & ",
    "@",
    "::",
    "$$",
    "|",
    "\n",
    "Steps: ",
    "Size: 1x",
    "<lora:",
    "null",
    "true",
    "[]",
    "{}",
    '{"a":',
    "x" * 5000,
    "%s",
    "%(x)s",
    "/etc/passwd",
    "../..",
    "\x1b[31m",
)
VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 1, 2**31, 2**63, 10**30, 10**400, 1e308, float("inf"), float("nan"), 0.5, "",
    "x", "x" * 5000, "\0", "\ud800", "9" * 5000, [], [None], [[]], {}, {"x": {}}, [1] * 500, "none",
)  # fmt: skip


def texts(good: Sequence[str], seed: int, cases: int = CASES) -> Iterator[str]:
    """Good texts first, then cut, doubled, joined and strewn with WORDS."""
    random = Random(seed)
    yield from (*good, *WORDS)
    for _ in range(cases - len(good) - len(WORDS)):
        text = random.choice(good)
        for _ in range(random.randint(1, 4)):
            place, end = sorted(random.randint(0, len(text)) for _ in range(2))
            text = random.choice(
                (
                    text[:place] + random.choice(WORDS) + text[place:],
                    text[:place] + text[end:],
                    text[:end] + text[place:],
                    text[:place] + chr(random.choice((random.randrange(128), 0x20AC))) + text[end:],
                    text[:place] + random.choice(good) + text[end:],
                )
            )[:20_000]
        yield text


def objects(good: Sequence[Any], seed: int, cases: int = CASES) -> Iterator[Any]:
    """Good values first, then with some part of them replaced, dropped or doubled."""
    random = Random(seed)
    yield from (*good, *VALUES)
    for _ in range(cases - len(good) - len(VALUES)):
        value = json.loads(json.dumps(random.choice(good)))
        for _ in range(random.randint(1, 3)):
            value = _changed(value, random)
        yield value


def binaries(good: Sequence[bytes], seed: int, cases: int = CASES) -> Iterator[bytes]:
    """Good files first, then with bytes changed, cut out, doubled or set to extremes."""
    random = Random(seed)
    yield from (*good, b"", b"\0", b"\xff" * 100)
    for _ in range(cases - len(good) - 3):
        content = bytearray(random.choice(good))
        for _ in range(random.randint(1, 5)):
            place = random.randrange(max(1, min(len(content), random.choice((64, 600, 10**9)))))
            match random.randrange(5):
                case 0:
                    content[place : place + 1] = bytes([random.randrange(256)])
                case 1:
                    content[place : place + 8] = random.choice(
                        (b"\xff" * 8, b"\0" * 8, b"\x7f" + b"\xff" * 7, b"\0\0\0\x01" * 2)
                    )
                case 2:
                    del content[place : place + random.choice((1, 4, 100))]
                case 3:
                    content[place:place] = content[max(0, place - 40) : place]
                case 4:
                    del content[place:]
        yield bytes(content)


def _changed(value: Any, random: Random) -> Any:
    """A value with one part of it changed, somewhere."""
    if isinstance(value, dict) and value and random.random() < 0.85:
        key = random.choice(list(value))
        match random.randrange(6):
            case 0:
                return {name: one for name, one in value.items() if name != key}
            case 1:
                return {**value, random.choice(("x", "", "\0", key + "x")): random.choice(VALUES)}
            case _:
                return {**value, key: _changed(value[key], random)}
    if isinstance(value, list) and value and random.random() < 0.85:
        place = random.randrange(len(value))
        if random.random() < 0.3:
            return [*value[:place], *value[place + 1 :] * random.choice((0, 2))]
        return [*value[:place], _changed(value[place], random), *value[place + 1 :]]
    return random.choice(VALUES)


def only_our_errors(parse: Callable[[Any], object], cases: Iterator[Any]) -> int:
    """Read every case: our own errors, short ones, within time and memory; how many were read.

    Raises: AssertionError: naming the first case that is not as it should be.
    """
    read = 0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number, case in enumerate(cases):
        start = time.process_time()
        try:
            parse(case)
            read += 1
        except ContactSheetError as error:
            said = str(error)
            assert said and len(said) < 2100, (number, said[:300])
            if isinstance(case, str) and len(case) > 400:
                assert case[:201] not in said and repr(case[:300])[1:-1][:201] not in said, said[
                    :400
                ]
        except Exception as error:
            raise AssertionError(
                f"case {number}: {type(error).__name__}: {str(error)[:300]}: {str(case)[:300]!r}"
            ) from error
        assert time.process_time() - start < SECONDS, (number, str(case)[:300])
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert grown < BYTES, f"{grown / 2**20:.0f} MB"
    return read
