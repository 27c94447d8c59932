"""Gradient flow: training in the limit of small steps, of one network or of a stack of them."""
