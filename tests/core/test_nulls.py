"""What a quantity is read beside: its start, and what chance gives."""

import numpy as np
import pytest
import xarray as xr

from cloudchamber._core.errors import InvalidInput
from cloudchamber._core.nulls import null_values


def record(steps=(0, 10, 20)):
    layers = ["a", "b"]
    per_step = np.arange(2.0 * len(steps)).reshape(-1, 2)
    return xr.Dataset(
        {
            "cosine": (("step", "layer"), per_step),
            "cosine_shuffled": (("image_step", "layer"), [[0.1, 0.2], [0.3, 0.4]]),
            "alignment": (("step", "layer"), 1 + per_step),
            "alignment_permuted": (("step", "layer"), 2 + per_step),
            "width": (("step", "layer"), 3 + per_step),
            "width_null": (("layer",), [7.0, 8.0]),
            "angle": (("image_step", "layer"), [[1.0, 2.0], [3.0, 4.0]]),
        },
        coords={"step": list(steps), "image_step": [0, 20], "layer": layers},
    )


def test_each_null_has_its_place():
    found = null_values(record(), "cosine")
    assert set(found) == {"initial", "shuffled"}
    assert found.initial.dims == ("layer",)
    assert found.initial.sel(layer="b").item() == 1
    assert found.shuffled.sel(image_step=20, layer="a").item() == 0.3
    assert set(null_values(record(), "alignment")) == {"initial", "permuted"}
    assert null_values(record(), "alignment").permuted.values[:, 0].tolist() == [2, 4, 6]
    assert null_values(record(), "width")["null"].values.tolist() == [7, 8]
    assert null_values(record(), "angle").initial.values.tolist() == [1, 2]


def test_a_record_that_begins_later_knows_no_start():
    assert set(null_values(record(steps=(5, 10, 20)), "cosine")) == {"shuffled"}


@pytest.mark.parametrize("name", ["cosin", "width_null"])
def test_other_names_are_refused(name):
    with pytest.raises(InvalidInput, match="this record holds cosine, cosine_shuffled, alignment"):
        null_values(record(), name)
