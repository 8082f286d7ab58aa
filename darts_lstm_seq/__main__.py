"""`python -m darts_lstm_seq` is the command `darts-lstm-seq`."""

from darts_lstm_seq.cli import main

raise SystemExit(main())
