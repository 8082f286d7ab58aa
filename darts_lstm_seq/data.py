"""The tutorial's sequence, real series that installed packages carry, and a user's own CSV file.

Nothing is downloaded: the real series come with statsmodels, which Darts depends on. Other data
sets are in `darts.datasets`, which fetches them.
"""

import warnings
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from darts import TimeSeries
from pandas.tseries.frequencies import to_offset

# a file with fewer values than one in so many steps is taken for one of another frequency
_SPARSEST = 10


def noisy_sine(length: int = 800, noise: float = 0.5, seed: int = 42) -> TimeSeries:
    """Make the tutorial's sequence: a sine plus uniform noise.

    Parameters
    ----------
    length
        Number of time steps; a period has 63 of them (2 pi / 0.1).
    noise
        Half the width of the noise, which is uniform in ``[-noise, noise]`` and so has the variance
        ``noise ** 2 / 3``. With ``0`` the pure sine, to compare with.
    seed
        Seed of the noise.

    Returns
    -------
    TimeSeries
        One component, indexed 0, 1, 2, ..., without units.

    Examples
    --------
    >>> from darts_lstm_seq.data import noisy_sine
    >>> sequence, signal = noisy_sine(), noisy_sine(noise=0)
    >>> len(sequence), round(float((sequence - signal).values().var()), 3)
    (800, 0.084)
    """
    signal = np.sin(0.1 * np.arange(length))
    values = signal + noise * np.random.default_rng(seed).uniform(-1, 1, length)
    return TimeSeries.from_values(values, columns=["value"])


def co2_weekly() -> TimeSeries:
    """Atmospheric CO2 at Mauna Loa, weekly, with its missing weeks as NaN.

    Returns
    -------
    TimeSeries
        2,284 weeks from March 1958 to December 2001, in parts per million by volume; 59 are
        missing. Keeling and Whorf, Scripps Institution of Oceanography, via statsmodels.

    Examples
    --------
    >>> from darts_lstm_seq.data import co2_weekly
    >>> int(co2_weekly().to_series().isna().sum())
    59
    """
    frame = _load("co2").rename(columns={"co2": "CO2 (ppmv)"})
    return TimeSeries.from_dataframe(frame, freq="W-SAT")


def co2_monthly() -> TimeSeries:
    """Atmospheric CO2 at Mauna Loa, monthly means; missing weeks are bridged linearly first.

    Returns
    -------
    TimeSeries
        526 months from March 1958 to December 2001, in parts per million by volume. Origin as for
        `co2_weekly`.

    Examples
    --------
    >>> from darts_lstm_seq.data import co2_monthly
    >>> series = co2_monthly()
    >>> len(series), series.freq_str
    (526, 'MS')
    """
    weekly = _load("co2").rename(columns={"co2": "CO2 (ppmv)"}).interpolate()
    return TimeSeries.from_dataframe(weekly.resample("MS").mean())


def sunspots() -> TimeSeries:
    """Yearly mean number of sunspots, 1700 to 2008.

    Returns
    -------
    TimeSeries
        309 years, in sunspots. National Geophysical Data Center, via statsmodels.

    Examples
    --------
    >>> from darts_lstm_seq.data import sunspots
    >>> len(sunspots())
    309
    """
    frame = _load("sunspots")
    return _yearly(frame["YEAR"], frame["SUNACTIVITY"], "sunspots")


def nile() -> TimeSeries:
    """Yearly flow of the Nile at Aswan, 1871 to 1970, with its drop in 1899.

    Returns
    -------
    TimeSeries
        100 years, in 10^8 cubic metres. Durbin and Koopman (2001), via statsmodels.

    Examples
    --------
    >>> from darts_lstm_seq.data import nile
    >>> len(nile())
    100
    """
    frame = _load("nile")
    return _yearly(frame["year"], frame["volume"], "flow (10^8 m^3)")


def sea_surface_temperature() -> TimeSeries:
    """Monthly sea surface temperature off Peru (El Niño 1.2 region), 1950 to 2010.

    Returns
    -------
    TimeSeries
        732 months, in degrees Celsius. National Oceanic and Atmospheric Administration, via
        statsmodels.

    Examples
    --------
    >>> from darts_lstm_seq.data import sea_surface_temperature
    >>> len(sea_surface_temperature())
    732
    """
    frame = _load("elnino").set_index("YEAR")
    times = pd.date_range(f"{int(frame.index[0])}-01-01", periods=frame.size, freq="MS")
    return TimeSeries.from_times_and_values(
        times, frame.to_numpy(dtype=float).ravel(), columns=["temperature (deg C)"]
    )


def us_macro() -> TimeSeries:
    """Quarterly economy of the United States, 1959 to 2009.

    Returns
    -------
    TimeSeries
        203 quarters, three components: real gross domestic product and real private consumption in
        billions of 2005 dollars, unemployment in percent. Federal Reserve Bank of St. Louis, via
        statsmodels.

    Examples
    --------
    >>> from darts_lstm_seq.data import us_macro
    >>> us_macro().n_components
    3
    """
    frame = _load("macrodata")
    times = pd.date_range("1959-01-01", periods=len(frame), freq="QS")
    columns = {
        "realgdp": "GDP (bn $)",
        "realcons": "consumption (bn $)",
        "unemp": "unemployment (%)",
    }
    values = frame[list(columns)].to_numpy(dtype=float)
    return TimeSeries.from_times_and_values(times, values, columns=list(columns.values()))


def read_csv(
    path: str | Path,
    time: str | None = None,
    values: Sequence[str] | None = None,
    freq: str | None = None,
) -> TimeSeries:
    r"""Read a series from a CSV file with a header line.

    Parameters
    ----------
    path
        The file.
    time
        Column of the dates; the first by default.
    values
        Columns of the values; all numeric ones by default.
    freq
        Pandas frequency of the dates. Needed where dates are missing in between: those steps become
        missing values (NaN).

    Returns
    -------
    TimeSeries
        One component per value column, in the units of the file.

    Raises
    ------
    ValueError
        If the file cannot be read as such a table. The message names the column, the first line at
        fault and what to do.
    OSError
        If there is no such file.

    Examples
    --------
    >>> import tempfile
    >>> from darts_lstm_seq.data import read_csv
    >>> with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
    ...     _ = file.write("day,sales\n2024-01-01,3\n2024-01-02,5\n2024-01-03,4\n")
    ...     file.flush()
    ...     read_csv(file.name).values().ravel().tolist()
    [3.0, 5.0, 4.0]
    """
    frame = _read_frame(path, time, values)
    return TimeSeries.from_dataframe(_regular(frame, freq, path))


def read_many_csv(
    path: str | Path,
    series: str,
    time: str | None = None,
    values: Sequence[str] | None = None,
    freq: str | None = None,
) -> dict[Any, TimeSeries]:
    r"""Read series that stand one below the other in a CSV file with a header line.

    Parameters
    ----------
    path
        The file.
    series
        Column that names the series of each line.
    time
        Column of the dates; the first other one by default.
    values, freq
        As for `read_csv`. By default the frequency is that of the longest series.

    Returns
    -------
    dict[Any, TimeSeries]
        The series by their names, in the order of their first lines.

    Raises
    ------
    ValueError, OSError
        As for `read_csv`.

    Examples
    --------
    >>> import tempfile
    >>> from darts_lstm_seq.data import read_many_csv
    >>> with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
    ...     _ = file.write("shop,day,sales\n")
    ...     for line in ("b,2024-01-01,3", "b,2024-01-02,5", "b,2024-01-03,4", "a,2024-01-02,7"):
    ...         _ = file.write(line + "\n")
    ...     file.flush()
    ...     {name: len(one) for name, one in read_many_csv(file.name, "shop").items()}
    {'b': 3, 'a': 1}
    """
    frame = _read_frame(path, time, values, series)
    groups = {name: group.droplevel(0) for name, group in frame.groupby(level=0, sort=False)}
    if freq is None:
        longest = max(groups, key=lambda name: len(groups[name]))
        regular = _regular(groups[longest], None, f"{path}, series {longest!r}")
        freq = pd.DatetimeIndex(regular.index).freqstr
    return {
        name: TimeSeries.from_dataframe(_regular(group, freq, f"{path}, series {name!r}"))
        for name, group in groups.items()
    }


def _read_frame(
    path: str | Path, time: str | None, values: Sequence[str] | None, series: str | None = None
) -> pd.DataFrame:
    """Return the values by time, or by series and time."""
    keys = [] if series is None else [series]
    table = _read_table(path, keys)
    if time is None:
        time = next((name for name in table.columns if name not in keys), table.columns[0])
    numeric = table.dropna(axis=1, how="all").select_dtypes("number").columns
    named = [name for name in numeric if name not in (*keys, time)]
    names = list(dict.fromkeys(values)) if values else named
    for column in (*keys, time, *names):
        if column not in table.columns:
            raise ValueError(f"{path} has no column {column!r}; it has {list(table.columns)}.")
    if not names:
        raise ValueError(
            f"{path} has no column of numbers beside {time!r}. Commas separate columns; a point "
            f"goes before decimals."
        )
    if series is not None:
        _refuse(table[series] == "", table[series], path, "names no series")
    times = _parse_times(table[time], path)
    twice = pd.concat([table[keys], pd.Series(times, table.index)], axis=1).duplicated()
    _refuse(twice, table[time], path, "is there twice")
    columns = {name: _parse_numbers(table[name], path) for name in names}
    frame = pd.DataFrame(columns)
    if series is None:
        return frame.set_index(times).sort_index()
    whose, found = pd.factorize(table[series])
    frame = frame.set_index([pd.Index(found[whose]), times])
    return frame.iloc[np.lexsort((times.to_numpy(), whose))]  # in the order of the first lines


def _read_table(path: str | Path, texts: Sequence[str]) -> pd.DataFrame:
    """Read all columns, some as they are; a row is labelled by its line, less the header's and one.

    What a text such as "007" or "NA" names is neither a number nor missing.
    """
    try:
        # opened here, since pandas would also unpack archives and fetch from the network
        with open(path, encoding="utf-8-sig", newline="") as file, warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            table = pd.read_csv(
                file,
                index_col=False,
                skip_blank_lines=False,
                low_memory=False,
                converters=dict.fromkeys(texts, str),
            )
    except pd.errors.EmptyDataError:
        raise ValueError(f"{path} is empty: a header line and data are needed.") from None
    except (pd.errors.ParserError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no CSV table in UTF-8: {error}") from None
    except pd.errors.ParserWarning:
        raise ValueError(f"{path} has lines with more fields than the header.") from None
    table = table[~(table.isna() | (table == "")).all(axis=1)]
    if table.empty:
        raise ValueError(f"{path} has a header line, but no data.")
    return table


def _parse_times(column: pd.Series, path: str | Path) -> pd.DatetimeIndex:
    if pd.api.types.is_numeric_dtype(column):
        raise ValueError(
            f"{path}: column {column.name!r} holds numbers ({column.iloc[0]}, ...), not dates. "
            f"Name the column of the dates (--time), and write years as 2024-01-01."
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of formats that vary; every date is checked
            times = pd.to_datetime(column, errors="coerce", format="ISO8601")  # may lack hours
            if times.isna().any():
                times = pd.to_datetime(column, errors="coerce")
    except ValueError:
        times = column
    if not pd.api.types.is_datetime64_any_dtype(times):
        raise ValueError(
            f"{path}: the dates in {column.name!r} are in several time zones, of summer and winter "
            f"perhaps. Write all in one, UTC for instance."
        )
    _refuse(times.isna(), column, path, "is no date; 2024-12-31 is one")
    return pd.DatetimeIndex(times.dt.tz_localize(None))


def _parse_numbers(column: pd.Series, path: str | Path) -> np.ndarray:
    numbers = pd.to_numeric(column, errors="coerce").astype(float)
    _refuse(numbers.isna() & column.notna(), column, path, "is no number")
    _refuse(numbers.abs() == np.inf, column, path, "is not finite")
    if numbers.isna().all():
        raise ValueError(f"{path}: column {column.name!r} is empty.")
    return numbers.to_numpy()


def _refuse(bad: pd.Series, column: pd.Series, path: str | Path, why: str) -> None:
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise ValueError(
            f"{path}, line {column.index[row] + 2}: '{column.iloc[row]}' in column {column.name!r} "
            f"{why}."
        )


def _regular(frame: pd.DataFrame, freq: str | None, path: str | Path) -> pd.DataFrame:
    """Return the table with a row for every step; those that the file lacks hold NaN."""
    times = pd.DatetimeIndex(frame.index)
    name = "Name the frequency that they have (--freq MS, W, D, h, ...)."
    try:
        step = to_offset(freq or pd.infer_freq(times))
    except ValueError as error:  # fewer than three dates, or no frequency of pandas
        raise ValueError(f"{path}: {error}. {name}") from None
    if step is None:
        raise ValueError(
            f"{path}: the dates in {times.name!r} have no constant step, or some are missing. "
            f"{name}"
        )
    # before anything as long as the range is made: seconds for months are 2.6 million times more
    if step.n > 0 and step.is_on_offset(times[0]):
        count = (times[-1] - times[0]) / (times[0] + step - times[0]) + 1
        if count > _SPARSEST * len(times):
            raise ValueError(
                f"{path}: steps of {freq!r} leave {count - len(times):.0f} of {count:.0f} without "
                f"a value. {name}"
            )
        regular = frame.asfreq(step)
        if times.isin(regular.index).all():
            return regular
    raise ValueError(
        f"{path}: the dates in {times.name!r} have no constant step of {freq!r}. {name}"
    )


def _load(name: str) -> pd.DataFrame:
    # `statsmodels.datasets` itself would import all of them
    return import_module(f"statsmodels.datasets.{name}").load_pandas().data


def _yearly(years: pd.Series, values: pd.Series, name: str) -> TimeSeries:
    times = pd.date_range(f"{int(years.iloc[0])}-01-01", periods=len(years), freq="YS")
    return TimeSeries.from_times_and_values(times, values.to_numpy(dtype=float), columns=[name])
