"""RAdam as Dassl has it."""

from __future__ import annotations

from typing import Any

import torch

from dassl.utils.checkpoint import allow_in_checkpoints


class RAdam(torch.optim.RAdam):
    """torch's RAdam with decoupled weight decay, which is the only difference of Dassl's.

    Args:
        degenerated_to_sgd: step by the mean gradient alone while its variance is unknown. Dassl's default and
            what torch does; without it such steps would be left out.

    Raises:
        ValueError: ``degenerated_to_sgd`` is False.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        degenerated_to_sgd: bool = True,
    ) -> None:
        if not degenerated_to_sgd:
            raise ValueError(
                "RAdam with degenerated_to_sgd False, which leaves out the first steps, is not supported: "
                "leave it True"
            )
        super().__init__(params, lr, betas, eps, weight_decay, decoupled_weight_decay=True)

    def __setstate__(self, state: dict[str, Any]) -> None:
        for group in state["param_groups"]:
            group.setdefault("decoupled_weight_decay", True)  # states that Dassl stored do not say it
        super().__setstate__(state)


allow_in_checkpoints(RAdam)
