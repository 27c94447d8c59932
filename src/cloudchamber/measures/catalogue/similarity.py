"""Similarity of samples: their features, their gradients, and how often they are right."""

from __future__ import annotations

import math

from cloudchamber.measures.accuracy import class_accuracy
from cloudchamber.measures.catalogue.entries import COSINE, FRACTION, POSITIVE, entry
from cloudchamber.measures.collapse import within_between_variability
from cloudchamber.measures.fused import fused_class_accuracy, fused_mean_cosines
from cloudchamber.measures.partials import cosine_partials, finished_cosine, shortened
from cloudchamber.measures.similarity import cosine_matrix, mean_cosine, within_class_cosine
from cloudchamber.measures.spectrum import effective_rank

entry(
    "feature_cosine",
    "mean cosine of the features of two samples",
    "E cos(F|x, F|x′)",
    "mlp2024, Section 2",
    COSINE,
    mean_cosine,
    {"vectors": "features"},
    groups=("default", "light", "mlp2024"),
    null=True,
    partials=cosine_partials,
    shorten=shortened,
    finish=finished_cosine,
    at_once=fused_mean_cosines,
)

entry(
    "gradient_cosine",
    "mean cosine of the feature gradients of two samples of a class",
    "E_c E cos(Ḟ|x, Ḟ|x′)",
    "mlp2024, Section 2",
    COSINE,
    within_class_cosine,
    {"vectors": "feature_gradients", "labels": "labels"},
    groups=("default", "light", "mlp2024"),
    null=True,
    partials=cosine_partials,
    shorten=shortened,
    finish=finished_cosine,
    at_once=fused_mean_cosines,
)

entry(
    "effective_rank",
    "effective rank of the features",
    "erank(F)",
    "roy2007",
    (1.0, math.inf),
    effective_rank,
    {"vectors": "features"},
    groups=("default",),
    sparse=True,
    null=True,
)

entry(
    "within_between_variability",
    "variability of the features within classes relative to that between them",
    "NC1",
    "papyan2020, NC1",
    POSITIVE,
    within_between_variability,
    {"features": "features", "labels": "labels"},
    groups=("mlp2024",),
    sparse=True,
    null=True,
)

entry(
    "class_accuracy",
    "fraction of a class's samples that are right",
    "acc_c",
    "mlp2024, Appendix J",
    FRACTION,
    class_accuracy,
    {"outputs": "network_outputs", "labels": "labels"},
    dims=("step", "class"),
    groups=("default", "light", "mlp2024"),
    scope="network",
    at_once=fused_class_accuracy,
)

entry(
    "sample_cosine",
    "cosine of the features of two samples",
    "cos(F|x, F|x′)",
    "mlp2024, Appendix B",
    COSINE,
    cosine_matrix,
    {"vectors": "features"},
    dims=("image_step", "layer", "sample", "sample_other"),
    groups=("default", "mlp2024"),
    subset="samples",
)
