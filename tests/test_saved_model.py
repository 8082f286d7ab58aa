"""What `darts-lstm-seq forecast` stores beside a model: frequency and horizon of its file."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from darts_lstm_seq.cli import main
from darts_lstm_seq.data.time_axis import is_as_long

MONTHS = pd.date_range("2015-01-01", periods=60, freq="MS")


def write(file: str, times: Any, shops: int = 2, **columns: Any) -> None:
    rng = np.random.default_rng(0)
    frames = [
        pd.DataFrame({"day": times, "shop": f"shop {shop}", **columns}).assign(
            sales=50 * (shop + 1) + 5 * np.sin(np.arange(len(times))) + rng.normal(0, 1, len(times))
        )
        for shop in range(shops)
    ]
    pd.concat(frames).to_csv(file, index=False)


@pytest.fixture
def trained(tmp_path: Path) -> list[str]:
    """The arguments that forecast by a model for months, and a horizon of 5."""
    write("sales.csv", MONTHS)
    command = ["forecast", "sales.csv", "--series", "shop", "--horizon", "5", "--folds", "1"]
    assert main([*command, "--models", "LSTMSeqModel (fine-tuned)"]) == 0
    return ["forecast", "new.csv", "--model", "darts-lstm-seq-out/model.pt", "--out", "new"]


def test_a_file_of_a_few_rows_has_the_frequency_of_the_model(trained: list[str]) -> None:
    # eighteen months, one of them missing: no frequency can be told from them
    write("new.csv", MONTHS[:18].delete(7))
    assert main(trained) == 0
    future = pd.read_csv("new/future.csv")
    assert future["time"].tolist() == [f"2016-{month:02}-01" for month in range(7, 12)] * 2
    # the horizon is that of the training, not the 24 steps of the network
    assert main([*trained, "--horizon", "2"]) == 0
    assert len(pd.read_csv("new/future.csv")) == 4


def test_a_few_rows_are_months(trained: list[str], capsys: Any) -> None:
    write("new.csv", MONTHS[[0, 1, 3, 4]])  # no frequency of their own
    assert main(trained) == 0
    assert pd.read_csv("new/future.csv")["time"][0] == "2015-06-01"
    write("new.csv", MONTHS[:1])  # too few, but not of an unknown frequency
    assert main(trained) == 2
    assert "1 time steps are too few to forecast from; 4 are needed" in capsys.readouterr().err


def test_what_cannot_be_read_says_what_the_model_knows(trained: list[str], capsys: Any) -> None:
    write("new.csv", pd.to_datetime(["2015-01-03", "2015-01-04", "2015-04-09", "2015-04-17"]))
    assert main(trained) == 2
    error = capsys.readouterr().err
    assert "have no constant step" in error
    assert "The model was trained on steps of 'MS'." in error


@pytest.mark.parametrize(
    ("freq", "said"),
    [
        ("W-SUN", "new.csv has steps of 'W-SUN', and the model was trained on steps of 'MS'"),
        ("D", "new.csv has steps of 'D', and the model was trained on steps of 'MS'"),
        ("QS", "new.csv has steps of 'QS-OCT', and the model was trained on steps of 'MS'"),
        ("2MS", "new.csv has steps of '2MS', and the model was trained on steps of 'MS'"),
    ],
)
def test_a_file_of_another_frequency_is_refused(
    trained: list[str], capsys: Any, freq: str, said: str
) -> None:
    write("new.csv", pd.date_range("2015-01-01", periods=60, freq=freq))
    capsys.readouterr()
    assert main(trained) == 2
    assert said in capsys.readouterr().err
    # nor is it taken because an option says so
    if freq != "2MS":
        assert main([*trained, "--freq", freq]) == 2
        assert "trained on steps of 'MS'. Bring the file to these steps" in capsys.readouterr().err
    assert not Path("new/future.csv").exists()


def test_the_ends_of_months_are_months(trained: list[str]) -> None:
    write("new.csv", pd.date_range("2015-01-31", periods=30, freq="ME"))
    assert main([*trained, "--freq", "ME"]) == 0
    assert pd.read_csv("new/future.csv")["time"][0] == "2017-07-31"


def test_a_file_without_dates_is_refused(trained: list[str], capsys: Any) -> None:
    write("new.csv", range(1, 31))
    assert main(trained) == 2
    assert "new.csv has no dates, and the model was trained on" in capsys.readouterr().err


def test_months_with_many_gaps_are_months(trained: list[str]) -> None:
    times = pd.date_range("2015-01-01", periods=60, freq="MS")
    write("new.csv", times[np.random.default_rng(0).random(60) < 0.4].union(times[[0, -1]]))
    assert main(trained) == 0


def test_days_and_business_days_are_as_long() -> None:
    assert is_as_long("B", "D")
    assert is_as_long("QS-JAN", "QE-MAR")
    assert not is_as_long("D", "h")
    assert not is_as_long("QS", "MS")


def test_a_pre_trained_model_that_wins_on_many_series_is_saved(capsys: Any) -> None:
    write("sales.csv", MONTHS, shops=3)
    command = ["forecast", "sales.csv", "--series", "shop", "--horizon", "5", "--folds", "1"]
    assert main([*command, "--models", "LSTMSeqModel.from_pretrained"]) == 0
    first = pd.read_csv("darts-lstm-seq-out/future.csv")
    assert "no model.pt" not in capsys.readouterr().err
    again = ["forecast", "sales.csv", "--model", "darts-lstm-seq-out/model.pt", "--out", "new"]
    assert main(again) == 0
    pd.testing.assert_frame_equal(pd.read_csv("new/future.csv"), first)


def test_numbered_steps_have_no_frequency() -> None:
    write("sales.csv", range(1, 61))
    command = ["forecast", "sales.csv", "--series", "shop", "--horizon", "3", "--folds", "1"]
    assert main([*command, "--models", "LSTMSeqModel (fine-tuned)"]) == 0
    write("new.csv", range(1, 31))
    again = ["forecast", "new.csv", "--model", "darts-lstm-seq-out/model.pt", "--out", "new"]
    assert main(again) == 0
    assert pd.read_csv("new/future.csv")["time"].tolist() == [31, 32, 33] * 2
