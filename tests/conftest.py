"""Quiet logs and small, fast things that many tests use."""

import logging
import os
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import settings

# the same examples in every run: what fails is the change at hand; `--hypothesis-profile=default`
# looks for others
settings.register_profile("repeatable", derandomize=True)
settings.load_profile("repeatable")

# before torch starts: small networks are slower on several threads, and tests share two cores
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def _quiet(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep Lightning and Darts from talking, and their files out of the checkout."""
    warnings.filterwarnings("ignore", module="pytorch_lightning|torch|darts")
    for name in ("darts", "pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def trainer_kwargs() -> dict[str, Any]:
    """Trainer parameters without output or files."""
    return {
        "accelerator": "cpu",
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "logger": False,
    }


@pytest.fixture
def tiny(trainer_kwargs: dict[str, Any]) -> dict[str, Any]:
    """Model parameters for fits that take a fraction of a second."""
    return {
        "hidden_dim": 8,
        "dropout": 0.0,  # so few units have none to spare
        "n_epochs": 2,
        "random_state": 0,
        "pl_trainer_kwargs": dict(trainer_kwargs),
    }


@pytest.fixture(scope="session")
def seasonal() -> Any:
    """Ten years of monthly values: trend, season and a little noise, around 100."""
    from darts import TimeSeries

    steps = np.arange(120)
    noise = np.random.default_rng(0).normal(0, 0.5, 120)
    values = 100 + 0.3 * steps + 10 * np.sin(2 * np.pi * steps / 12) + noise
    return TimeSeries.from_times_and_values(
        pd.date_range("2000-01-01", periods=120, freq="MS"), values, columns=["sales"]
    )
