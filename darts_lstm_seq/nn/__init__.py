"""Neural networks, in PyTorch alone: tensors in, tensors out.

The network of the tutorial, what stands beside its LSTM, and several networks held as one. Nothing
here knows Darts, Lightning or a time axis.
"""
