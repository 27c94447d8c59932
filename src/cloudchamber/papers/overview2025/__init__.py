"""The exhibits of overview2025: condensation in training, phase diagrams, landscape, dropout, transformers."""
