"""Exit codes of the commands."""

FAILED, MISUSED, DIVERGED, INTERRUPTED = 1, 2, 3, 130
