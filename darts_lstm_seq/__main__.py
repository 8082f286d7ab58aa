"""Run the command `darts-lstm-seq` as `python -m darts_lstm_seq`."""

from darts_lstm_seq.cli import main

raise SystemExit(main())
