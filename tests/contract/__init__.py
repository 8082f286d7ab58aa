"""Darts' features end to end: every test goes through Darts' public words with a real model."""
