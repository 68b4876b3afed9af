r"""Prompt schedule: parses prompts that change from step to step, and prompts joined by AND.

| text | means |
| --- | --- |
| `[red:blue:0.5]` | red in the first half of the steps, then blue |
| `[red:blue:8]` | red in steps 1 to 8, then blue |
| `[red:8]`, `[red::8]` | red after step 8; red until step 8 |
| `[red\|blue]` | red in step 1, blue in step 2, red in step 3, … |
| `a cat AND a dog :0.5` | two clauses, composed; the second weighs half |
| `\[`, `\]`, `\:`, `\|` | the character itself |

They nest. A number with a point is a share of the steps, one without is a step; both are cut to
whole steps. Square brackets that are none of this stay as they are: `request.prompt_weights`
reads them. AND splits wherever it stands, brackets included; a lower-case "and" is a word.
Source: AUTOMATIC1111/stable-diffusion-webui, modules/prompt_parser.py: the Lark grammar,
    `collect_steps` and `at_step`, `re_AND` and `re_weight`. As its documentation says, step 1 is
    the first; its sampling loop counts from 0 and changes one step late (its issue 7279). Without
    an AND, a number at a prompt's end is text here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from pipelines.errors import InvalidRequest

DEEPEST = 50
"""How deep schedules may stand inside each other."""

_AND = re.compile(r"\bAND\b")
_WEIGHT = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)")
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_TOKEN = re.compile(r"\\.|[\[\]():|]|[^\\\[\]():|]+|\\", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Span:
    """Text of a prompt until a step, that step included; the first is step 1."""

    last: int
    text: str


@dataclass(frozen=True, slots=True)
class Clause:
    """One of the prompts that AND joins: its weight, and its text by step.

    Attributes:
        never: texts that no step reads, such as `blue` in `[red:blue:30]` at 20 steps.
    """

    weight: float
    spans: tuple[Span, ...]
    never: tuple[str, ...] = ()


def changes_meaning(prompt: str, negative_prompt: str = "") -> bool:
    """Tell whether a prompt holds an AND, or either prompt a bracket that changes by step."""
    texts = (prompt, negative_prompt)
    return _AND.search(prompt) is not None or any("[" in t and _parse(t) != [t] for t in texts)


def version_mark(prompt: str, negative_prompt: str) -> str:
    """Mark prompts that mean more than they did at first, in a cell's address; "" for others."""
    return " prompts by step" if changes_meaning(prompt, negative_prompt) else ""


def split_clauses(prompt: str) -> tuple[tuple[str, float], ...]:
    """Split a prompt at every AND: texts with their weights; the prompt itself where there is none.

    Math: noise = u + Σ wᵢ · s · (cᵢ − u)  (Liu et al. 2022, arXiv:2206.01714)
    """
    texts = _AND.split(prompt)
    return ((prompt, 1.0),) if len(texts) == 1 else tuple(map(_weighed, texts))


@lru_cache(maxsize=4096)
def scheduled(prompt: str, steps: int, composes: bool = True) -> tuple[Clause, ...]:
    """Read a prompt as its clauses, each with its text by step.

    Args:
        composes: whether AND joins clauses; else it is a word.
    Raises: InvalidRequest: if brackets stand too deep inside each other.
    """
    clauses = split_clauses(prompt) if composes else ((prompt, 1.0),)
    return tuple(_clause(text, weight, steps) for text, weight in clauses)


def texts_of(clauses: Sequence[Clause]) -> tuple[str, ...]:
    """List every text that some step reads, each once."""
    return tuple(dict.fromkeys(span.text for one in clauses for span in one.spans))


def _weighed(text: str) -> tuple[str, float]:
    head, colon, tail = text.rpartition(":")
    if colon and _WEIGHT.fullmatch(tail.strip()):
        return head.strip(), float(tail)
    return text.strip(), 1.0


def _clause(text: str, weight: float, steps: int) -> Clause:
    pieces = _parse(text) if "[" in text else [text]
    ends = {steps}
    for node in _nodes(pieces):
        ends |= node.ends(steps)
    seen: set[tuple[int, int]] = set()
    spans: list[Span] = []
    for end in sorted(ends):
        now = _text_at(pieces, end, steps, seen)
        if spans and spans[-1].text == now:
            spans.pop()
        spans.append(Span(end, now))
    never = tuple(
        words
        for node in _nodes(pieces)
        for i, branch in enumerate(node.branches)
        if (id(node), i) not in seen and (words := _written(branch).strip())
    )
    return Clause(weight, tuple(spans), never)


@dataclass(eq=False, slots=True)
class _Node:
    """A bracket that changes by step: `branches` in turn, or the second after `when`."""

    branches: list[list[str | _Node]]
    when: str | None

    def last(self, steps: int) -> int:
        """The last step of the first branch."""
        assert self.when is not None, "it alternates"
        share = "." in self.when
        # Before it is a whole number: 1e999 is none.
        return int(max(-1.0, min(float(steps), float(self.when) * (steps if share else 1))))

    def ends(self, steps: int) -> set[int]:
        if self.when is None:
            return set(range(1, steps + 1))
        last = self.last(steps)
        return {last} if last >= 1 else set()

    def branch(self, step: int, steps: int) -> int:
        if self.when is None:
            return (step - 1) % len(self.branches)
        return int(step > self.last(steps))


_Piece = str | _Node


@dataclass(eq=False, slots=True)
class _Frame:
    """A bracket that is open: its pieces, split by the signs at its own level."""

    bracket: str
    parts: list[list[_Piece]] = field(default_factory=lambda: [[]])
    signs: list[str] = field(default_factory=list)
    odd: bool = False
    """Whether a bracket in it has no counterpart: then it is text."""

    def raw(self) -> list[_Piece]:
        """Its pieces as they were written."""
        found: list[_Piece] = [self.bracket, *self.parts[0]]
        for sign, part in zip(self.signs, self.parts[1:], strict=True):
            found += [sign, *part]
        return found


def _parse(text: str) -> list[_Piece]:
    """A prompt's text and the brackets in it that change by step; neighbouring texts are joined."""
    frames = [_Frame("")]
    for match in _TOKEN.finditer(text):
        token, top = match[0], frames[-1]
        if token in ("(", "["):
            frames.append(_Frame(token))
        elif token in (")", "]"):
            if top.bracket == ("(" if token == ")" else "["):
                frames.pop()
                frames[-1].parts[-1] += _closed(top, token, len(frames))
                frames[-1].odd |= top.odd
            else:
                top.parts[-1].append(token)
                top.odd = True
        elif token in (":", "|") and top.bracket == "[":
            top.signs.append(token)
            top.parts.append([])
        else:
            top.parts[-1].append(token)
    pieces = [piece for frame in frames for piece in frame.raw()]
    return _joined(pieces)


def _closed(frame: _Frame, token: str, depth: int) -> list[_Piece]:
    """What a bracket is, now that it is closed: a node, or its text."""
    if token == "]" and not frame.odd:
        if set(frame.signs) == {"|"}:
            return [_node(frame.parts, None, depth)]
        *branches, last = _split_at_colons(frame)
        when = last[0].strip() if len(last) == 1 and isinstance(last[0], str) else ""
        if 1 <= len(branches) <= 2 and _NUMBER.fullmatch(when):
            return [_node([[], *branches][-2:], when, depth)]
    return [*frame.raw(), token]


def _split_at_colons(frame: _Frame) -> list[list[_Piece]]:
    """A bracket's parts between colons; a bar beside a colon is text."""
    found = [list(frame.parts[0])]
    for sign, part in zip(frame.signs, frame.parts[1:], strict=True):
        if sign == ":":
            found.append(list(part))
        else:
            found[-1] += [sign, *part]
    return [_joined(part) for part in found]


def _node(branches: list[list[_Piece]], when: str | None, depth: int) -> _Node:
    if depth > DEEPEST:
        raise InvalidRequest(
            f"the prompt has brackets more than {DEEPEST} deep inside each other; take fewer"
        )
    return _Node([_joined(branch) for branch in branches], when)


def _joined(pieces: Sequence[_Piece]) -> list[_Piece]:
    found: list[_Piece] = []
    for piece in pieces:
        if isinstance(piece, str) and found and isinstance(found[-1], str):
            found[-1] += piece
        elif piece:
            found.append(piece)
    return found


def _nodes(pieces: Sequence[_Piece]) -> Iterator[_Node]:
    for piece in pieces:
        if isinstance(piece, _Node):
            yield piece
            for branch in piece.branches:
                yield from _nodes(branch)


def _text_at(pieces: Sequence[_Piece], step: int, steps: int, seen: set[tuple[int, int]]) -> str:
    """The text of one step; `seen` gains the branches that it reads."""
    texts = []
    for piece in pieces:
        if isinstance(piece, str):
            texts.append(piece)
            continue
        i = piece.branch(step, steps)
        seen.add((id(piece), i))
        texts.append(_text_at(piece.branches[i], step, steps, seen))
    return "".join(texts)


def _written(pieces: Sequence[_Piece]) -> str:
    """The words of a branch, those of brackets in it left out: they are told by themselves."""
    return "".join(piece for piece in pieces if isinstance(piece, str))
