"""What the contract's tests share."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pytest


@pytest.fixture(scope="session")
def tiny(tiny: Mapping[str, Any]) -> Mapping[str, Any]:
    """Model parameters for the shortest fit."""
    return MappingProxyType(tiny | {"n_epochs": 1})
