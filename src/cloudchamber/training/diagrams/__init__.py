"""Phase diagrams: networks over a grid of scalings, what becomes of them as they grow, and what theory says."""

from cloudchamber.training.diagrams.catalogue import DIAGRAMS
from cloudchamber.training.diagrams.diagram import Diagram

__all__ = ["DIAGRAMS", "Diagram"]
