"""Tests of `darts_lstm_seq.tuning`."""
