"""Template sampler: expands a template as dynamicprompts does, and counts what it costs.

A text of thirty characters may stand for more prompts than there are atoms, or for one that is
only found after as many tries. So every step spends some of a budget before it is made.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle

from dynamicprompts.commands import Command, SequenceCommand, VariantCommand, WildcardCommand
from dynamicprompts.commands.variable_commands import VariableAccessCommand
from dynamicprompts.commands.variant_command import VariantOption
from dynamicprompts.enums import SamplingMethod
from dynamicprompts.parser.parse import parse
from dynamicprompts.samplers.base import Sampler
from dynamicprompts.samplers.combinatorial import CombinatorialSampler
from dynamicprompts.samplers.cycle import CyclicalSampler
from dynamicprompts.samplers.random import RandomSampler
from dynamicprompts.sampling_context import SamplingContext
from dynamicprompts.sampling_result import SamplingResult
from dynamicprompts.types import ResultGen
from dynamicprompts.utils import dedupe

from pipelines.errors import InvalidRequest

WORK_MAX = 100_000
"""Steps that one expansion may take: less than a second."""
_FINITE = (SamplingMethod.COMBINATORIAL,)
_SIGNS = re.compile(r"[{}|$%]|__")
_PARSE_STEPS = 70
"""What parsing a sign costs, in steps."""
_CHARACTERS = 200
"""Of a text that is built, for one step."""


class WorkSpent(Exception):
    """The budget is spent; the caller says what that means."""


@dataclass
class Work:
    """Budget of an expansion, and the texts that it has parsed already."""

    left: int = WORK_MAX
    parsed: dict[str, Command] = field(default_factory=dict)

    def spend(self, steps: int) -> None:
        """Take steps off the budget, before they are made. Raises: WorkSpent."""
        self.left -= steps
        if self.left < 0:
            raise WorkSpent

    def parse(self, text: str) -> Command:
        """Parse a template or a wildcard's line, each once.

        Raises: InvalidRequest: for a number or a nesting that no reader takes; WorkSpent.
        """
        known = self.parsed.get(text)
        if known is None:
            self.spend(15 + _PARSE_STEPS * len(_SIGNS.findall(text)))
            try:
                known = self.parsed[text] = parse(text)
            except RecursionError:
                raise InvalidRequest(f"{text!r} is nested too deep for a template") from None
            except (ValueError, OverflowError):
                raise InvalidRequest(f"{text!r} holds a number that is too large") from None
        return known


@dataclass(frozen=True)
class CountedContext(SamplingContext):
    """Context of an expansion: every result that any part of it yields is counted."""

    work: Work = field(default_factory=Work)

    @classmethod
    def of(cls, method: str, **options: object) -> CountedContext:
        """Make a context; `options` are those of dynamicprompts."""
        return cls(
            default_sampling_method=SamplingMethod[method],
            samplers={
                SamplingMethod.COMBINATORIAL: _Combinations(),
                SamplingMethod.CYCLICAL: _Cycles(),
                SamplingMethod.RANDOM: _Draws(),
            },
            ignore_whitespace=True,
            **options,  # type: ignore[arg-type]
        )

    def get_sampler_and_context(self, command: Command) -> tuple[Sampler, SamplingContext]:
        # dynamicprompts does the same, with a warning that writes out the whole command.
        method = command.sampling_method
        if method in _FINITE and self.default_sampling_method not in _FINITE:
            return self.default_sampler, self
        return super().get_sampler_and_context(command)

    def generator_from_command(self, command: Command) -> ResultGen:
        self.work.spend(5 if isinstance(command, VariableAccessCommand) else 1)
        for result in super().generator_from_command(command):
            self.work.spend(1 + len(result.text) // _CHARACTERS)
            yield result

    def sample_prompts(
        self, prompt: str | Command, num_prompts: int | None = None
    ) -> Iterable[SamplingResult]:
        if isinstance(prompt, str) and prompt:
            prompt = self.work.parse(prompt)
        return super().sample_prompts(prompt, num_prompts)


def _work(context: SamplingContext) -> Work:
    assert isinstance(context, CountedContext)
    return context.work


def _of_wildcard(command: VariantCommand, context: SamplingContext) -> VariantCommand | None:
    """The choice between a wildcard's lines that `{2$$__name__}` means; None for other choices."""
    if len(command.values) != 1 or not isinstance(command.values[0], WildcardCommand):
        return None
    work, wildcard = _work(context), command.values[0]
    name = next(iter(context.sample_prompts(wildcard.wildcard, 1))).text
    options = []
    for line in context.wildcard_manager.get_values(name).iterate_string_values_weighted():
        work.spend(1)
        options.append(VariantOption(work.parse(line)))
    return VariantCommand(
        options,
        min(command.min_bound, len(options)),
        min(command.max_bound, len(options)),
        command.separator,
        wildcard.sampling_method,
    )


def _picks(command: VariantCommand, work: Work) -> Iterator[list[Command]]:
    """Every way to pick from a choice, in dynamicprompts' order, none that leads nowhere."""
    values = command.values
    work.spend(len(values))
    keys = [repr(value) for value in values]

    def pick(places: Sequence[int], count: int) -> Iterator[list[Command]]:
        if count == 0:
            yield []
            return
        work.spend(1 + len(places) // 10)
        if len({keys[i] for i in places}) < count:
            return
        for i in places:
            others = [] if count == 1 else [j for j in places if keys[j] != keys[i]]
            work.spend(1 + len(others) // 10)
            for rest in pick(others, count - 1):
                yield [values[i], *rest]

    for count in range(command.min_bound, command.max_bound + 1):
        yield from pick(range(len(values)), count)


def _joined(picked: list[Command], context: SamplingContext) -> Iterator[list[SamplingResult]]:
    """Results of picked options: every combination of theirs, the last changing fastest."""
    if not picked:
        yield []
        return
    results = context.generator_from_command(picked[0])
    if context.get_effective_sampling_method(picked[0]) not in _FINITE:
        for rest in _joined(picked[1:], context):
            yield [next(results), *rest]
    else:
        for result in results:
            for rest in _joined(picked[1:], context):
                yield [result, *rest]


class _Combinations(CombinatorialSampler):
    def _get_sequence(self, command: SequenceCommand, context: SamplingContext) -> ResultGen:
        # Each endless part is looked up among all of them.
        endless = sum(
            context.get_effective_sampling_method(one) not in _FINITE for one in command.tokens
        )
        for result in super()._get_sequence(command, context):
            _work(context).spend(len(command.tokens) // 10 + endless**2 // 10)
            yield result

    def _get_variant(self, variant_command: VariantCommand, context: SamplingContext) -> ResultGen:
        lines = _of_wildcard(variant_command, context)
        if lines is not None:
            yield from self._get_variant(lines, context)
            return
        command = variant_command.adjust_range()
        seen: set[tuple[SamplingResult, ...]] = set()
        for picked in _picks(command, _work(context)):
            for results in _joined(picked, context):
                different = dedupe(results, key=lambda result: result.dedupe_key)
                if len(different) == len(picked) and different not in seen:
                    seen.add(different)
                    yield SamplingResult.joined(different, separator=command.separator)


class _Cycles(CyclicalSampler):
    def _get_variant(self, command: VariantCommand, sampling_context: SamplingContext) -> ResultGen:
        lines = _of_wildcard(command, sampling_context)
        if lines is not None:
            yield from self._get_variant(lines, sampling_context)
            return
        command = command.adjust_range()

        def results(picked: list[Command]) -> ResultGen:
            parts = [sampling_context.generator_from_command(one) for one in picked]
            while True:
                _work(sampling_context).spend(1)
                yield SamplingResult.joined(map(next, parts), separator=command.separator)

        picks = _picks(command, _work(sampling_context))
        for one in cycle(map(results, picks)):
            yield next(one)


class _Draws(RandomSampler):
    def _get_variant(self, command: VariantCommand, context: SamplingContext) -> ResultGen:
        lines = _of_wildcard(command, context)
        if lines is not None:
            yield from self._get_variant(lines, context)
            return
        for result in super()._get_variant(command, context):
            _work(context).spend(2 + len(command.values) * command.adjust_range().max_bound // 10)
            yield result
