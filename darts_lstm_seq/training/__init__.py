"""What happens to a batch: normalisation, the Lightning module, losses, optimisers, stacks."""
