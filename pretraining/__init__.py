"""Pre-training of `LSTMSeqModel` on synthetic series; not part of the wheel."""
