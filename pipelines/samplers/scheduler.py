"""Scheduler protocol: what a trajectory uses of a diffusers scheduler, which has no types."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Generator, Tensor


class Scheduler(Protocol):
    """Steps from noise to latents. It keeps state, so each trajectory has its own.

    Beside these, some have `init_noise_sigma` and `scale_model_input`, and lists of noise levels.
    """

    timesteps: Tensor
    """One for each evaluation, in order."""

    def step(
        self,
        model_output: Tensor,
        timestep: Tensor,
        sample: Tensor,
        *,
        return_dict: bool,
        **options: float | Generator,
    ) -> tuple[Tensor, ...]:
        """The latents of the next timestep come first.

        Args:
            options: eta and the generator, where it takes them.
        """

    def register_to_config(self, **options: object) -> None:
        """Change options of its config."""
