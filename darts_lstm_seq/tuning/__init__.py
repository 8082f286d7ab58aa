"""Hyperparameter tuning: configurations trained together as stacks, chosen over folds."""
