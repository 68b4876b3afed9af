"""Modes of a pretended card: say where results live, and refuse what a real card refuses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tests.helpers.pretended_card.ledger import Ledger

CPU = torch.device("cpu")

# Operations of TensorIterator: they take a number that is a tensor on the host beside the card's.
POINTWISE = frozenset(
    {
        "add", "sub", "mul", "div", "pow", "where", "maximum", "minimum", "fmax", "fmin", "eq",
        "ne", "lt", "le", "gt", "ge", "rsub", "true_divide", "floor_divide", "remainder", "fmod",
        "atan2", "logical_and", "logical_or", "logical_xor", "bitwise_and", "bitwise_or",
        "bitwise_xor", "copy_", "add_", "mul_", "sub_", "div_", "pow_", "clamp", "clamp_min",
        "clamp_max", "clamp_", "fill_", "fill", "index_put_", "index_put", "masked_fill",
        "masked_fill_", "xlogy", "addcmul", "addcdiv", "addcmul_", "addcdiv_", "lerp", "lerp_",
        "hypot", "copysign", "nextafter",
    }
)  # fmt: skip
# Their result's size, or the result itself, must be known on the host.
READ_BY_HOST = frozenset(
    {
        "_local_scalar_dense", "equal", "nonzero", "masked_select", "_unique2", "unique_dim",
        "unique_consecutive", "is_nonzero", "bincount", "repeat_interleave",
    }
)  # fmt: skip
INDEXED = frozenset({"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index"})
MOVED_UNDER = frozenset({"set_data", "set_", "_has_compatible_shallow_copy_type"})


class MixedDevices(RuntimeError):
    """What torch raises for tensors on two devices."""


@contextmanager
def plain() -> Iterator[None]:
    """Inside, torch is called past all modes."""
    guard = torch._C._DisableTorchDispatch()
    try:
        with torch._C.DisableTorchFunction():
            yield
    finally:
        del guard


class DispatchMode(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Dispatch mode: every operation's result lives where its operands do.

    Raises: MixedDevices: if these are in two places and a real card would not take them so.
    """

    def __init__(self, ledger: Ledger, current: Callable[[], int]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._ledger, self._current = ledger, current

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, ledger = dict(kwargs or {}), self._ledger
        name = func.name().split("::")[1].split(".")[0]
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        places = [ledger.device_of(tensor) for tensor in tensors]
        asked = self._asked(kwargs)
        if name == "_to_copy":
            return self._to_copy(func, args, kwargs, places[0], asked)
        if name == "copy_" and len(tensors) == 2:
            if places[0] != places[1]:
                waits = not (args[2] if len(args) > 2 else kwargs.get("non_blocking", False))
                ledger.copied(tensors[1], places[1], places[0], not waits, "copy_")
            return func(*args, **kwargs)
        home = next((place for place in places if place is not None), None)
        if home is not None and name not in MOVED_UNDER:
            self._check(name, tensors, places, home)
            self._count(name, args, tensors)
        result = func(*args, **kwargs)
        goal = asked if asked is not None else home
        if goal is not None and goal.type == ledger.kind:
            for leaf in tree_leaves(result):
                if isinstance(leaf, Tensor):
                    ledger.put(leaf, goal)
        return result

    def _asked(self, kwargs: dict[str, Any]) -> torch.device | None:
        """The device that was asked for; the real call gets the CPU."""
        if kwargs.get("pin_memory"):
            kwargs["pin_memory"] = False
        if kwargs.get("device") is None:
            return None
        device = torch.device(kwargs["device"])
        if device.type == self._ledger.kind:
            kwargs["device"] = CPU
            if device.index is None:
                device = torch.device(device.type, self._current())
            if self._ledger.kind == "mps" and kwargs.get("dtype") == torch.float64:
                raise no_float64()
        return device

    def _to_copy(
        self, func: Any, args: Any, kwargs: Any, source: torch.device | None, asked: Any
    ) -> Any:
        goal = source if asked is None else (asked if asked.type == self._ledger.kind else None)
        if goal is not None and goal.type == "mps" and kwargs.get("dtype") == torch.float64:
            raise no_float64()
        non_blocking = kwargs.pop("non_blocking", False)
        if source != goal:
            self._ledger.copied(args[0], source, goal, non_blocking, "to")
        result = func(*args, **kwargs)
        if goal is not None:
            self._ledger.put(result, goal)
        return result

    def _check(
        self,
        name: str,
        tensors: Sequence[Tensor],
        places: Sequence[torch.device | None],
        home: torch.device,
    ) -> None:
        strange = [t for t, place in zip(tensors, places, strict=True) if place != home]
        if not strange:
            return
        on_host = [t for t in strange if self._ledger.device_of(t) is None]
        if len(on_host) == len(strange):
            if name in INDEXED and places[0] is not None:
                for tensor in on_host:
                    self._ledger.note("host to card", f"index in {name}", tensor.nbytes)
                return
            if name in POINTWISE and all(tensor.dim() == 0 for tensor in on_host):
                return
        other = self._ledger.device_of(strange[0]) or CPU
        told = [(tuple(t.shape), str(p or CPU)) for t, p in zip(tensors, places, strict=True)]
        raise MixedDevices(
            "Expected all tensors to be on the same device, but found at least two devices, "
            f"{home} and {other}! ({name} of {told})"
        )

    def _count(self, name: str, args: Any, tensors: Sequence[Tensor]) -> None:
        self._ledger.kernels += 1
        masks = args[1] if name in INDEXED and len(args) > 1 else ()
        by_mask = any(
            isinstance(one, Tensor) and one.dtype in (torch.bool, torch.uint8)
            for one in masks or ()
        )
        if name in READ_BY_HOST or by_mask:
            self._ledger.note("wait", name)
        if self._ledger.kind == "mps" and any(t.dtype == torch.float64 for t in tensors):
            raise no_float64()


class FunctionMode(TorchFunctionMode):
    """Function mode: answers what torch would ask the real device, before it gets there."""

    def __init__(self, ledger: Ledger, current: Callable[[], int]) -> None:
        super().__init__()
        self._ledger, self._current = ledger, current

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, ledger = kwargs or {}, self._ledger
        if func in (Tensor.to, Tensor.cuda, Tensor.cpu):
            return self._move(func, args[0], args[1:], dict(kwargs))
        if func is Tensor.pin_memory:
            return self._pin(args[0])
        if func is Tensor.is_pinned:
            return ledger.is_pinned(args[0])
        if func is Tensor.record_stream:
            return None
        if func in (Tensor.numpy, Tensor.__array__) and ledger.device_of(args[0]) is not None:
            raise TypeError(
                f"can't convert {ledger.device_of(args[0])} device type tensor to numpy. Use "
                "Tensor.cpu() to copy the tensor to host memory first."
            )
        if func is Tensor.tolist and ledger.device_of(args[0]) is not None:
            ledger.note("card to host", "tolist", args[0].nbytes)
        if func in (torch.tensor, torch.as_tensor, torch.asarray):
            goal = self._goal(kwargs.get("device"))
            if goal is not None:
                return self._from_data(func, args, kwargs, goal)
        return func(*args, **kwargs)

    def _goal(self, device: Any) -> torch.device | None:
        if device is None:
            return None
        device = torch.device(device)
        if device.type != self._ledger.kind:
            return None
        return device if device.index is not None else torch.device(device.type, self._current())

    def _pin(self, tensor: Tensor) -> Tensor:
        place = self._ledger.device_of(tensor)
        if place is not None:
            raise RuntimeError(f"cannot pin {tensor.dtype} on {place}: only CPU tensors can be")
        if self._ledger.is_pinned(tensor):
            return tensor
        with plain():
            pinned = tensor.clone()
        self._ledger.pin(pinned)
        return pinned

    def _from_data(self, func: Any, args: Any, kwargs: Any, goal: torch.device) -> Tensor:
        if isinstance(args[0], Tensor):
            kept = {name: kwargs[name] for name in ("device", "dtype") if kwargs.get(name)}
            moved: Tensor = args[0].to(**kept)
            return moved
        if self._ledger.kind == "mps" and kwargs.get("dtype") == torch.float64:
            raise no_float64()
        made: Tensor = func(*args, **{**kwargs, "device": "cpu"})
        with plain():
            made = made.clone()
        self._ledger.note("host to card", f"torch.{func.__name__}", made.nbytes)
        self._ledger.put(made, goal)
        return made

    def _move(self, func: Any, tensor: Tensor, args: Any, kwargs: dict[str, Any]) -> Tensor:
        if func is Tensor.cuda:
            args, kwargs = (f"cuda:{args[0]}" if args and args[0] is not None else "cuda",), {}
        elif func is Tensor.cpu:
            args, kwargs = ("cpu",), {}
        copy = kwargs.pop("copy", False)
        device, dtype, non_blocking, memory_format = self._parsed(args, kwargs)
        source = self._ledger.device_of(tensor)
        if device is not None and device.type not in ("cpu", self._ledger.kind):
            with plain():
                return func(tensor, *args, copy=copy, **kwargs)  # type: ignore[no-any-return]
        goal = source if device is None else self._goal(device)
        dtype = dtype or tensor.dtype
        if goal is not None and self._ledger.kind == "mps" and dtype == torch.float64:
            raise no_float64()
        options = {} if memory_format is None else {"memory_format": memory_format}
        moves = source != goal
        if moves:
            self._ledger.copied(tensor, source, goal, non_blocking, "to")
        with plain():
            result = tensor.to(dtype=dtype, copy=copy or moves, **options)
        if result is not tensor and goal is not None:
            self._ledger.put(result, goal)
        return result

    def _parsed(self, args: Any, kwargs: Any) -> tuple[torch.device | None, Any, bool, Any]:
        other = args[0] if args and isinstance(args[0], Tensor) else kwargs.get("other")
        if other is not None:
            return self._ledger.device_of(other) or CPU, other.dtype, False, None
        parsed: tuple[torch.device | None, Any, bool, Any]
        parsed = torch._C._nn._parse_to(*args, **kwargs)
        return parsed


def no_float64() -> TypeError:
    """What torch raises on Apple's cards."""
    return TypeError(
        "Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support "
        "float64. Please use float32 instead."
    )
