"""Sweeps: a recipe plus axes, cut into chunks that are computed once, kept in a ledger, and resumed."""
