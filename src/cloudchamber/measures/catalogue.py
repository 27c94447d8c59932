"""Every measure: its function, the tensors it takes, and what its array is called and means.

A measure that takes more than a training step to compute for every layer of the default model is `sparse`.
"""

from __future__ import annotations

import math

from cloudchamber._core.registry import Quantity, register
from cloudchamber.measures.accuracy import class_accuracy
from cloudchamber.measures.drift import relative_distance
from cloudchamber.measures.orientation import effective_width
from cloudchamber.measures.registry import Measure, add
from cloudchamber.measures.similarity import cosine_matrix, mean_cosine, within_class_cosine
from cloudchamber.measures.spectrum import effective_rank

_LAYER = ("step", "layer")
_SAMPLES = ("image_step", "layer", "sample", "sample_other")
_NEURONS = ("image_step", "layer", "neuron", "neuron_other")
_COSINE = (-1.0, 1.0)
_POSITIVE = (0.0, math.inf)

effective_width_null = register(
    Quantity(
        "effective_width_null",
        "orientation groups of as many random neurons",
        "m_iso",
        ("layer",),
        bounds=_POSITIVE,
    )
)

feature_cosine = add(
    Measure(
        Quantity(
            "feature_cosine",
            "mean cosine of the features of two samples",
            "E cos(F|x, F|x′)",
            _LAYER,
            bounds=_COSINE,
            paper="mlp2024",
            section="Section 2",
        ),
        mean_cosine,
        {"vectors": "features"},
    )
)

gradient_cosine = add(
    Measure(
        Quantity(
            "gradient_cosine",
            "mean cosine of the feature gradients of two samples of a class",
            "E_c E cos(Ḟ|x, Ḟ|x′)",
            _LAYER,
            bounds=_COSINE,
            paper="mlp2024",
            section="Section 2",
        ),
        within_class_cosine,
        {"vectors": "feature_gradients", "labels": "labels"},
    )
)

features_rank = add(
    Measure(
        Quantity(
            "effective_rank",
            "effective rank of the features",
            "erank(F)",
            _LAYER,
            bounds=(1.0, math.inf),
            paper="roy2007",
        ),
        effective_rank,
        {"vectors": "features"},
        sparse=True,
    )
)

neurons_width = add(
    Measure(
        Quantity(
            "effective_width",
            "orientation groups of the neurons",
            "m_eff",
            _LAYER,
            bounds=_POSITIVE,
            paper="zhou2022",
            section="Section 4",
        ),
        effective_width,
        {"weight": "weight"},
        sparse=True,
    )
)

weights_distance = add(
    Measure(
        Quantity(
            "relative_distance",
            "distance of the weights from their start, relative to their start",
            "RD",
            _LAYER,
            bounds=_POSITIVE,
            paper="overview2025",
            section="Section 5, Eq. (5)",
        ),
        relative_distance,
        {"weight": "weight", "initial_weight": "initial_weight"},
    )
)

outputs_accuracy = add(
    Measure(
        Quantity(
            "class_accuracy",
            "fraction of a class's samples that are right",
            "acc_c",
            ("step", "class"),
            bounds=(0.0, 1.0),
            paper="mlp2024",
            section="Appendix J",
        ),
        class_accuracy,
        {"outputs": "outputs", "labels": "labels"},
        scope="network",
    )
)

sample_cosine = add(
    Measure(
        Quantity(
            "sample_cosine",
            "cosine of the features of two samples",
            "cos(F|x, F|x′)",
            _SAMPLES,
            bounds=_COSINE,
            paper="mlp2024",
            section="Appendix B",
        ),
        cosine_matrix,
        {"vectors": "features"},
        subset="samples",
    )
)

neuron_cosine = add(
    Measure(
        Quantity(
            "neuron_cosine",
            "cosine of the input weights of two neurons",
            "D(u, v)",
            _NEURONS,
            bounds=_COSINE,
            paper="zhou2022",
            section="Section 3, Eq. (5)",
        ),
        cosine_matrix,
        {"vectors": "weight"},
        subset="neurons",
    )
)
