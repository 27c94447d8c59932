"""The exhibits of xu2024."""
