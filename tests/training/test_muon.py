"""Muon: orthogonal updates, whatever the gradient's scale, and a fit that plain descent misses."""

import pytest
import torch

from training.optim.muon import Muon, orthogonalised, split_named


@pytest.mark.parametrize("shape", [(12, 40), (40, 12), (16, 16)])
def test_singular_values_become_about_one(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    left, _, right = torch.linalg.svd(torch.randn(shape), full_matrices=False)
    spread = torch.logspace(0, -2, min(shape))
    found = orthogonalised(left @ spread.diag() @ right)
    aligned = (left.T @ found @ right.T).diagonal()
    assert aligned.min() > 0.5
    assert aligned.max() < 1.25
    assert float((left @ aligned.diag() @ right - found).abs().max()) < 1e-4


def test_a_step_does_not_depend_on_the_gradient_s_scale() -> None:
    torch.manual_seed(0)
    gradient, steps = torch.randn(8, 4, 3, 3), []
    for scale in (1.0, 1000.0):
        weight = torch.zeros(8, 4, 3, 3, requires_grad=True)
        weight.grad = gradient * scale
        Muon([weight], lr=0.1).step()
        steps.append(weight.detach())
    assert torch.allclose(*steps, atol=1e-6)
    assert float(steps[0].flatten(1).norm(2)) == pytest.approx(0.1 * 8**0.5, rel=0.25)


def test_weights_shrink_by_the_decay() -> None:
    weight = torch.ones(4, 4, requires_grad=True)
    weight.grad = torch.zeros(4, 4)
    Muon([weight], lr=0.1, weight_decay=0.5).step()
    assert torch.allclose(weight, torch.full((4, 4), 0.95))


def test_it_fits_directions_of_very_different_strength() -> None:
    torch.manual_seed(0)
    inputs = torch.randn(256, 16) * torch.logspace(0, -2, 16)
    truth = torch.randn(8, 16)
    errors = []
    for kind in ("muon", "sgd"):
        weight = torch.zeros(8, 16, requires_grad=True)
        optimizer = Muon([weight], lr=0.05) if kind == "muon" else torch.optim.SGD([weight], lr=0.5)
        for _ in range(200):
            (inputs @ (weight - truth).T).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
        errors.append((weight - truth).square().mean().item())
    assert errors[0] < 0.3 * errors[1]


def test_matrices_go_to_muon_and_the_named_layers_do_not() -> None:
    model = torch.nn.ModuleDict(
        {"conv_in": torch.nn.Conv2d(3, 4, 3), "inner": torch.nn.Conv2d(4, 4, 3)}
    )
    matrices, others = split_named(model.named_parameters(), ("conv_in",))
    assert [id(p) for p in matrices] == [id(model["inner"].weight)]
    assert len(others) == 3
