"""The exhibits of mlp2024."""
