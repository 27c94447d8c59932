"""A second pass over a recipe whose first phase is known: common directions and their strengths, exactly."""
