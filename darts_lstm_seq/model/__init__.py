"""What a user makes: `LSTMSeqModel`, its defaults and checks, prediction, files, backtests."""
