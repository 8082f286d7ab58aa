"""The tutorial's sequence, and real series that installed packages carry.

Nothing is downloaded: the real series come with statsmodels, which Darts depends on. Other data
sets are in `darts.datasets`, which fetches them.
"""

from importlib import import_module

import numpy as np
import pandas as pd
from darts import TimeSeries


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


def _load(name: str) -> pd.DataFrame:
    # `statsmodels.datasets` itself would import all of them
    return import_module(f"statsmodels.datasets.{name}").load_pandas().data


def _yearly(years: pd.Series, values: pd.Series, name: str) -> TimeSeries:
    times = pd.date_range(f"{int(years.iloc[0])}-01-01", periods=len(years), freq="YS")
    return TimeSeries.from_times_and_values(times, values.to_numpy(dtype=float), columns=[name])
