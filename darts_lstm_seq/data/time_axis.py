"""Values by their dates -> the same with a row for every step, or the frequency that would fit."""

import pandas as pd
from darts.logging import get_logger
from pandas.tseries.frequencies import to_offset
from pandas.tseries.offsets import BaseOffset

logger = get_logger(__name__)

# a file with fewer values than one in so many steps is taken for one of another frequency
_SPARSEST = 10
_DAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
# frequencies to suggest, from long to short steps
_FREQUENCIES = [
    *(f"{step}-{month}" for step in ("YS", "YE") for month in _MONTHS),
    *(f"{step}-{month}" for step in ("QS", "QE") for month in ("JAN", "FEB", "MAR")),
    *("MS", "ME", "BMS", "BME"),
    *(f"W-{day}" for day in _DAYS),
    *("B", "D", "h", "30min", "15min", "5min", "min", "s"),
]


def regular(frame: pd.DataFrame, freq: str | None, path: str) -> pd.DataFrame:
    """Return the table with a row for every step; those that the file lacks hold NaN.

    Dates on one day of their months, the 15th for instance, become the first of the month.

    Parameters
    ----------
    frame
        The values by date, or by the number of the step.
    freq
        The pandas frequency of the dates; by default the one that they have.
    path
        What an error calls the table.

    Raises
    ------
    ValueError
        If the dates have no constant step, or another one.
    """
    if not isinstance(frame.index, pd.DatetimeIndex):
        counted = pd.RangeIndex(frame.index[0], frame.index[-1] + 1, name=frame.index.name)
        return frame.set_axis(counted)  # they have no gaps
    times = _months(frame.index, freq)
    if times is not frame.index:
        day = f"day {frame.index[0].day}"
        logger.info("%s: dates on %s of their months are read as months.", path, day)
        frame = frame.set_axis(times)
    try:
        step = to_offset(freq or pd.infer_freq(times))
    except ValueError as error:  # fewer than three dates, or no frequency of pandas
        raise ValueError(f"{path}: {error}. {_advice(times)}") from None
    steps = _count_steps(times, step)
    if steps > _SPARSEST * len(times):
        raise ValueError(
            f"{path}: steps of {freq!r} leave {steps - len(times):.0f} of {steps:.0f} without a "
            f"value. {_advice(times)}"
        )
    if (
        step is None
        or not steps
        or not times.isin(pd.date_range(times[0], times[-1], freq=step)).all()
    ):
        missing = f" of {freq!r}" if freq else ", or some are missing"
        raise ValueError(
            f"{path}: the dates in {times.name!r} have no constant step{missing}. {_advice(times)}"
        )
    return frame.asfreq(step)


def _months(times: pd.DatetimeIndex, freq: str | None) -> pd.DatetimeIndex:
    """Return the first days of the months of dates that are all on one day, clock included."""
    first, last = times[0], times[-1]
    if first == last or first.day != last.day or first.time() != last.time():
        return times  # the usual case, at once
    starts = pd.DatetimeIndex(times.to_period("M").start_time, name=times.name)
    within = times - starts
    if within[0] == pd.Timedelta(0) or (within != within[0]).any() or times.is_month_end.all():
        return times
    try:
        step = to_offset(freq or pd.infer_freq(times))
    except ValueError:
        step = None
    if step is not None and step.is_on_offset(times[0]):
        return times
    return starts


def _count_steps(times: pd.DatetimeIndex, step: BaseOffset | None) -> float:
    """Estimate how many steps the dates span, before a range is made; 0 where they do not fit.

    Seconds for months are 2.6 million times more.
    """
    if step is None or step.n <= 0 or not step.is_on_offset(times[0]):
        return 0
    return (times[-1] - times[0]) / (times[0] + step - times[0]) + 1


def _advice(times: pd.DatetimeIndex) -> str:
    """Return which frequency fits the dates."""
    for freq in _FREQUENCIES if len(times) > 1 else []:
        if 0 < _count_steps(times, to_offset(freq)) <= _SPARSEST * len(times):
            regular = pd.date_range(times[0], times[-1], freq=freq)
            if times.isin(regular).all():
                missing = f"{len(regular) - len(times)} of {len(regular)}"
                return f"freq={freq!r} fits (--freq {freq}), with {missing} dates missing."
    return "Name the frequency that they have (freq=, --freq: MS, W-MON, D, h, ...)."


def is_as_long(freq: str, other: str) -> bool:
    """Tell whether two frequencies have steps of about one length.

    Days and business days do: a file without a week end does not tell them apart.

    Examples
    --------
    >>> from darts_lstm_seq.data.time_axis import is_as_long
    >>> is_as_long("MS", "ME"), is_as_long("MS", "W-SUN")
    (True, False)
    """
    lengths = [
        pd.date_range("2000-01-01", periods=100, freq=one).to_series().diff().mean()
        for one in (freq, other)
    ]
    return bool(max(lengths) < 1.5 * min(lengths))
