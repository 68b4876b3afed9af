"""The bench's limit: no honest share of it is above 100 %, and one that is ends the bench."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import app
from bench.limit import AboveLimit, Limit, products, row_flops, unet_inputs
from bench.peer import Peer

ROOT = Path(app.__file__).parent
pytestmark = pytest.mark.usefixtures("one_thread")


class Net(nn.Module):
    """Convolutions of every kind and a linear layer, one of them run twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(8, 64, 3, padding=1)
        self.down = nn.Conv2d(64, 64, 3, stride=2, padding=1, groups=4)
        self.same = nn.Conv2d(64, 64, 3, padding=1, bias=False)
        self.last = nn.Linear(64, 256)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.same(self.same(self.down(self.first(x))))
        return self.last(x.flatten(2).transpose(1, 2))


@torch.inference_mode()
def test_products_are_those_that_the_network_runs() -> None:
    net, given = Net(), torch.randn(2, 8, 32, 32)
    found = products(net, lambda: net(given))
    assert [one.shape for one in found] == [
        (2, 8, 32, 32), (2, 64, 32, 32), (2, 64, 16, 16), (2, 256, 64),
    ]  # fmt: skip
    for one in found:
        with FlopCounterMode(display=False) as counter:
            one.layer(torch.randn(one.shape))
        assert one.flops == counter.get_total_flops()


@torch.inference_mode()
def test_nothing_that_the_network_does_is_above_the_limit() -> None:
    net, given = Net(), torch.randn(4, 8, 64, 64)
    limit = Limit(1, products(net, lambda: net(given)))
    with FlopCounterMode(display=False) as counter:
        net(given)
    for _ in range(20):
        started = time.perf_counter()
        net(given)
        seconds = time.perf_counter() - started
        limit.measure()
        assert 0 < limit.share(counter.get_total_flops(), seconds) <= 1


def test_the_best_is_kept_and_more_is_an_error() -> None:
    net, given = Net(), torch.randn(1, 8, 16, 16)
    limit = Limit(1000, products(net, lambda: net(given)))
    before = limit.rate
    limit.measure()
    assert limit.rate >= before > 0
    assert limit.share_of_rows(1, 1000 / limit.rate * 2) == pytest.approx(0.5)
    with pytest.raises(AboveLimit, match="120% of the limit"):
        limit.share(1.2 * limit.rate, 1.0)


def test_weights_are_as_they_were(models: Path) -> None:
    """Measuring changes their order in memory for a while, and must not change the peer."""
    peer = Peer.load(models / "tiny")
    before = {name: (w.clone(), w.stride()) for name, w in peer.pipe.unet.named_parameters()}
    limit = Limit.of(peer.pipe, 32, 32)
    assert limit.row_flops == row_flops(peer.pipe, 32, 32) > 0
    assert unet_inputs(peer.pipe, 32, 32, 3)[0].shape[0] == 3
    for name, weight in peer.pipe.unet.named_parameters():
        assert weight.equal(before[name][0]) and weight.stride() == before[name][1]


ABOVE = """
import sys
from bench import __main__ as bench
from bench.limit import Limit
measure = Limit.measure
def low(self):
    measure(self)
    self.rate = 1e6
Limit.measure = low
sys.argv = ["bench", "--only", "one picture", "--pairs", "1", "--steps", "2", "--json", sys.argv[1]]
bench.cold_start = lambda *_: 0.0
bench.end_with_one_line(bench.main)
"""


def test_a_share_above_all_ends_the_bench_with_an_error(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ABOVE, str(tmp_path / "figures.json")],
        cwd=ROOT, capture_output=True, text=True, timeout=170, check=False,
    )  # fmt: skip
    assert done.returncode == 1 and not (tmp_path / "figures.json").exists()
    error = done.stderr.splitlines()[-1]
    assert error.startswith("error: ") and "of the limit" in error
