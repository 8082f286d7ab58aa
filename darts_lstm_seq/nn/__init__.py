"""Neural networks in PyTorch alone: tensors in, tensors out.

The tutorial's LSTM network, its linear skip connection, ensembles and stacks of networks. Nothing
here depends on Darts, Lightning or a time index.
"""
