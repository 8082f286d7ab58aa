"""LSTMs for sequences as first-class Darts models.

Public names are imported on first access, so that `import darts_lstm_seq` loads neither PyTorch nor
Darts, and `darts_lstm_seq.nn` can be used without Darts.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from darts_lstm_seq.callbacks import PrintLoss
    from darts_lstm_seq.comparison.baselines import baseline_models
    from darts_lstm_seq.comparison.compare import Comparison, compare
    from darts_lstm_seq.comparison.future import forecast
    from darts_lstm_seq.model.lstm_seq_model import LSTMSeqModel
    from darts_lstm_seq.tuning.tune import Tuned, tune

__version__ = "0.1.0"

_MODULES = {
    "Comparison": "comparison.compare",
    "LSTMSeqModel": "model.lstm_seq_model",
    "PrintLoss": "callbacks",
    "Tuned": "tuning.tune",
    "baseline_models": "comparison.baselines",
    "compare": "comparison.compare",
    "forecast": "comparison.future",
    "tune": "tuning.tune",
}

__all__ = [
    "Comparison",
    "LSTMSeqModel",
    "PrintLoss",
    "Tuned",
    "__version__",
    "baseline_models",
    "compare",
    "forecast",
    "tune",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
