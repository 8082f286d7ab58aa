"""Quiet logs and the fixtures that many tests use; the functions they share are in `makers.py`."""

import logging
import os
import signal
import sys
import warnings
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import settings

# the same examples in every run: what fails is the change at hand; `--hypothesis-profile=default`
# looks for others
settings.register_profile("repeatable", derandomize=True)
settings.load_profile("repeatable")

# a shell that starts the tests in the background lets them, and their processes, ignore it
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# before torch starts: small networks are slower on several threads, and tests share two cores
os.environ.setdefault("OMP_NUM_THREADS", "1")


# tests of half a minute each come first, so that no worker waits for one at the end
_LONGEST = ("test_examples", "test_readme", "test_distributed", "test_many_series", "test_backtest")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the longest modules first; the others keep their order."""
    items.sort(key=lambda item: item.path.stem not in _LONGEST)


@pytest.fixture(autouse=True)
def _quiet(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Silence Lightning and Darts, keep their files out of the checkout, and close figures."""
    warnings.filterwarnings("ignore", module="pytorch_lightning|torch|darts")
    for name in ("darts", "pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    monkeypatch.chdir(tmp_path)
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture(scope="session")
def trainer_kwargs() -> dict[str, Any]:
    """Trainer parameters without output or files; extend them, never change them."""
    return {
        "accelerator": "cpu",
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "logger": False,
    }


@pytest.fixture(scope="session")
def tiny(trainer_kwargs: dict[str, Any]) -> Mapping[str, Any]:
    """Model parameters for fits that take a fraction of a second; read-only, `tiny | {...}`."""
    return MappingProxyType(
        {
            "hidden_dim": 8,
            "dropout": 0.0,  # eight units are too few to drop any
            "n_epochs": 2,
            "random_state": 0,
            "pl_trainer_kwargs": trainer_kwargs,
        }
    )


@pytest.fixture(scope="session")
def seasonal() -> Any:
    """Ten years of monthly values: trend, season and a little noise, around 100."""
    from makers import sine  # loads torch

    series = sine(
        120, level=100, scale=10, noise=0.05, trend=0.03, dtype="float64", start="2000-01-01"
    )
    return series.with_columns_renamed("y0", "sales")
