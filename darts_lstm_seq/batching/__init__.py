"""From series to batches: windows, Darts' datasets drawn a whole batch at a time, sample order."""
