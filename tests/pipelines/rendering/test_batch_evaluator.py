"""Which backends may compute a group of cells."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines import InvalidRequest
from pipelines.rendering.batch_evaluator import ComputeOptions, backends_for


def chosen(how: ComputeOptions, device: str = "cpu", **changes: Any) -> list[str]:
    asked = {
        "steady": True, "loras": False, "packed": False, "worth_trying": lambda name: True,
    } | changes  # fmt: skip
    return backends_for(how, device, **asked)


def test_the_named_backend_computes_where_it_can() -> None:
    assert chosen(ComputeOptions()) == ["torch"]
    assert chosen(ComputeOptions("compile")) == ["compile"]
    with pytest.raises(InvalidRequest, match="'openvino' computes on cpu, not on cuda"):
        chosen(ComputeOptions("openvino"), "cuda")


def test_auto_measures_what_is_worth_it_and_exact_mode_what_is_sure() -> None:
    everything = chosen(ComputeOptions("auto"))
    assert everything[0] == "torch" and len(everything) > 1
    assert chosen(ComputeOptions("auto"), worth_trying=lambda name: name == "compile") == [
        "torch", "compile",
    ]  # fmt: skip
    assert chosen(ComputeOptions("auto"), worth_trying=lambda name: False) == ["torch"]
    assert chosen(ComputeOptions("auto", exact=True)) == ["torch"]
    assert chosen(ComputeOptions("compile", exact=True)) == ["compile"]


def test_controls_and_skipped_layers_need_torch() -> None:
    assert chosen(ComputeOptions("openvino"), steady=False) == ["torch"]
    assert chosen(ComputeOptions("auto"), steady=False) == ["torch"]


def test_loras_in_the_weights_are_no_reason_to_copy_them() -> None:
    assert chosen(ComputeOptions("auto"), loras=True) == ["torch"]
    assert chosen(ComputeOptions("compile"), loras=True) == ["compile"], "it was asked for"


def test_torch_stands_in_where_weights_are_in_blocks() -> None:
    assert chosen(ComputeOptions("openvino"), packed=True) == ["torch"]
    assert "openvino" not in chosen(ComputeOptions("auto"), packed=True)
