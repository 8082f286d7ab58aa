"""What the contract's tests share."""

from typing import Any

import pytest


@pytest.fixture(scope="session")
def tiny(trainer_kwargs: dict[str, Any]) -> dict[str, Any]:
    """Model parameters for the shortest fit; for whole modules, so extend it, never change it."""
    return {
        "hidden_dim": 8,
        "n_epochs": 1,
        "dropout": 0.0,  # so few units have none to spare
        "random_state": 0,
        "pl_trainer_kwargs": trainer_kwargs,
    }
