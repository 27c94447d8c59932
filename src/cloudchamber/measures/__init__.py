"""Measures: pure functions of tensors. They know no model, no step and no file."""

from cloudchamber.measures import catalogue as catalogue
from cloudchamber.measures.accuracy import class_accuracy as class_accuracy
from cloudchamber.measures.drift import relative_distance as relative_distance
from cloudchamber.measures.orientation import OrientationGroups as OrientationGroups
from cloudchamber.measures.orientation import effective_width as effective_width
from cloudchamber.measures.orientation import isotropic_groups as isotropic_groups
from cloudchamber.measures.orientation import orientation_groups as orientation_groups
from cloudchamber.measures.registry import Measure as Measure
from cloudchamber.measures.registry import select as select
from cloudchamber.measures.similarity import cosine_matrix as cosine_matrix
from cloudchamber.measures.similarity import heatmap_order as heatmap_order
from cloudchamber.measures.similarity import mean_cosine as mean_cosine
from cloudchamber.measures.similarity import within_class_cosine as within_class_cosine
from cloudchamber.measures.spectrum import effective_rank as effective_rank
from cloudchamber.measures.vectors import flatten_samples as flatten_samples
