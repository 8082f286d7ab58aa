"""LSTMs for sequences as first-class Darts models.

Public names are resolved on first use, so that `import darts_lstm_seq` costs nothing and the core
modules stay importable without Darts.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from darts_lstm_seq.callbacks import PrintLoss
    from darts_lstm_seq.comparison.compare import Comparison, compare
    from darts_lstm_seq.model.lstm_seq_model import LSTMSeqModel

__version__ = "0.1.0"

_HOMES = {
    "Comparison": "comparison.compare",
    "LSTMSeqModel": "model.lstm_seq_model",
    "PrintLoss": "callbacks",
    "compare": "comparison.compare",
}

__all__ = ["Comparison", "LSTMSeqModel", "PrintLoss", "__version__", "compare"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
