"""Values of the parameters of `LSTMSeqModel` that are chosen automatically (`None`).

Some depend on other parameters only (`fill_in`), others on the number of training windows. They
were chosen on series that no benchmark scores: `benchmarks/README.md`. Plain default values, and
the documentation of all parameters, are in `lstm_seq_model.py`.
"""

from typing import Any

from torch import nn

# parameters that may be `None` although Darts would not take it
AUTOMATIC = ("patch_length", "dropout", "n_epochs")

# patches: the LSTM's steps and the width of one step then grow alike with the window
MAX_PATCH_OVER_ROOT = 1.5
# longest window that is always cut without a remainder: one of a prime number of steps has patches
# of one, and its cost grows like the window
MAX_UNPADDED_WINDOW = 1024
# low-data regime: at most this many training windows per forecast step. Overlapping windows hold
# few independent horizons; long windows are overfitted more easily
LONG_WINDOW = 49
LOW_DATA_WINDOWS_PER_STEP = 30
LOW_DATA_LONG_WINDOWS_PER_STEP = 60
LOW_DATA_DROPOUT, DROPOUT = 0.9, 0.5
# longest window whose LSTM keeps the full learning rate with low data: the more steps it reads, the
# sooner it overfits
FULL_LR_WINDOW = 12
# optimiser steps: one per training window within these bounds, and never fewer epochs than this
MIN_STEPS, MAX_STEPS, MIN_EPOCHS = 200, 1000, 4
# with covariates, whose effect the skip does not know, the most steps up to this window; longer
# ones, which are overfitted more easily, in proportion fewer
COVARIATES_FULL_STEPS_WINDOW = 16
# from pre-trained weights: more or larger steps overfit, single series and many
FINE_TUNING_LR, FINE_TUNING_STEPS, FINE_TUNING_EPOCHS, FINE_TUNING_BATCH_SIZE = 3e-4, 10, 4, 128
# of the plain tutorial
TUTORIAL_EPOCHS = 100
# the Huber loss is quadratic up to half a standard deviation of the window
HUBER_DELTA = 0.5


def fill_in(params: dict[str, Any], is_tutorial: bool) -> dict[str, Any]:
    """Return the parameters with a value for each that needs no data to choose.

    Parameters
    ----------
    params
        All parameters of the model; those that are `None` are chosen here.
    is_tutorial
        Whether to choose as the plain tutorial does.
    """
    if is_tutorial:
        chosen = {
            "patch_length": 1,
            "dropout": 0.0,
            "loss_fn": nn.MSELoss(),
            "n_epochs": TUTORIAL_EPOCHS,
        }
    else:
        chosen = {
            "patch_length": patch_length(params["input_chunk_length"]),
            "loss_fn": nn.HuberLoss(delta=HUBER_DELTA),
        }
    given = {name: value for name, value in params.items() if value is not None}
    return {**params, "use_reversible_instance_norm": True, **chosen, **given}


def patch_length(input_chunk_length: int) -> int:
    """Return the largest divisor of the window that is not far above its square root.

    Of a long window whose divisors are all far below it, the square root; the network pads it.

    Examples
    --------
    >>> from darts_lstm_seq.model.defaults import patch_length
    >>> [patch_length(length) for length in (1, 7, 24, 36, 336)]
    [1, 1, 6, 9, 24]
    >>> [patch_length(length) for length in (1009, 2000, 2003)]
    [1, 50, 45]
    """
    root = input_chunk_length**0.5
    longest = int(MAX_PATCH_OVER_ROOT * root)
    divisor = max(p for p in range(1, longest + 1) if input_chunk_length % p == 0)
    is_far = input_chunk_length > MAX_UNPADDED_WINDOW and divisor < root / MAX_PATCH_OVER_ROOT
    return round(root) if is_far else divisor


def full_window(season: int, horizon: int) -> int:
    """Return the window of a series that is long enough: three seasons show the repetition."""
    return max(3 * season, 2 * horizon)


def input_chunk_length(season: int, horizon: int, length: int) -> int:
    """Return the window that suits a series, where nothing else is known about it.

    The full one, if half of the training part is left for windows.

    Parameters
    ----------
    season, horizon, length
        Of the series, in time steps: its season, the steps to forecast, those to train on.

    Examples
    --------
    >>> from darts_lstm_seq.model.defaults import input_chunk_length
    >>> input_chunk_length(12, 12, 108), input_chunk_length(12, 12, 60)
    (36, 24)
    """
    return max(1, min(full_window(season, horizon), (length - horizon) // 2))


def is_low_data(n_windows: int, input_chunk_length: int, output_chunk_length: int) -> bool:
    """Tell whether there are so few training windows that the LSTM would overfit them.

    Parameters
    ----------
    n_windows
        Number of training windows.
    input_chunk_length, output_chunk_length
        See `LSTMSeqModel`.
    """
    is_long = input_chunk_length >= LONG_WINDOW
    per_step = LOW_DATA_LONG_WINDOWS_PER_STEP if is_long else LOW_DATA_WINDOWS_PER_STEP
    return n_windows <= per_step * output_chunk_length


def dropout(low_data: bool) -> float:
    """Return the fraction of hidden units to drop."""
    return LOW_DATA_DROPOUT if low_data else DROPOUT


def lr_multiplier(low_data: bool, input_chunk_length: int) -> float:
    """Return the learning rate of the LSTM, relative to the optimiser's."""
    return min(FULL_LR_WINDOW / input_chunk_length, 1.0) if low_data else 1.0


def min_steps(has_covariates: bool, input_chunk_length: int) -> int:
    """Return the least number of optimiser steps.

    Parameters
    ----------
    has_covariates
        Whether there are past or future covariates.
    input_chunk_length
        See `LSTMSeqModel`.

    Examples
    --------
    >>> from darts_lstm_seq.model.defaults import min_steps
    >>> [min_steps(True, length) for length in (6, 32, 96)], min_steps(False, 32)
    ([1000, 500, 200], 200)
    """
    if not has_covariates:
        return MIN_STEPS
    steps = MAX_STEPS * COVARIATES_FULL_STEPS_WINDOW // input_chunk_length
    return min(max(steps, MIN_STEPS), MAX_STEPS)


def n_epochs(n_windows: int, batch_size: int, min_steps: int = MIN_STEPS) -> int:
    """Return the number of epochs of a training.

    Parameters
    ----------
    n_windows
        Number of training windows.
    batch_size
        Number of windows per optimiser step, over all processes.
    min_steps
        Least number of optimiser steps.
    """
    steps_per_epoch = -(-n_windows // batch_size)
    steps = min(max(n_windows, min_steps), MAX_STEPS)
    return max(-(-steps // steps_per_epoch), MIN_EPOCHS)


def fine_tuning_epochs(n_windows: int, batch_size: int) -> int:
    """Return the number of epochs of a training from pre-trained weights.

    Parameters
    ----------
    n_windows
        Number of training windows.
    batch_size
        Number of windows per optimiser step, over all processes.
    """
    steps_per_epoch = -(-n_windows // batch_size)
    return max(-(-FINE_TUNING_STEPS // steps_per_epoch), FINE_TUNING_EPOCHS)
