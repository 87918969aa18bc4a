"""Config first, then the model; tensors and integers only."""
