"""Ensembles: K networks of one architecture as stacked parameters, trained in one step."""
