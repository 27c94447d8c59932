"""The exhibits of zhou2022: condensation at initial training."""
