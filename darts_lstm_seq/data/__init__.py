"""Series to work with: the tutorial's sequence, real ones, and those of files and data frames."""

from darts_lstm_seq.data.csv_files import read_csv, read_many_csv, series_from_frame
from darts_lstm_seq.data.datasets import (
    co2_monthly,
    co2_weekly,
    nile,
    noisy_sine,
    sea_surface_temperature,
    sunspots,
    us_macro,
)

__all__ = [
    "co2_monthly",
    "co2_weekly",
    "nile",
    "noisy_sine",
    "read_csv",
    "read_many_csv",
    "sea_surface_temperature",
    "series_from_frame",
    "sunspots",
    "us_macro",
]
