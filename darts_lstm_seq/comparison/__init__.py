"""Leaderboards: backtests of several models on one or many series, results on disk, plots."""
