"""Accumulators: what spans steps, in bounded memory, with a state that a checkpoint can hold."""

from cloudchamber.measures.accumulators.base import Accumulator as Accumulator
from cloudchamber.measures.accumulators.base import MeanAccumulator as MeanAccumulator
from cloudchamber.measures.accumulators.base import Spread as Spread
from cloudchamber.measures.accumulators.moments import MomentAccumulator as MomentAccumulator
from cloudchamber.measures.accumulators.reservoir import Reservoir as Reservoir
from cloudchamber.measures.accumulators.reservoir import Sample as Sample
from cloudchamber.measures.accumulators.sketch import SketchAccumulator as SketchAccumulator
from cloudchamber.measures.accumulators.strengths import AlignmentAccumulator as AlignmentAccumulator
from cloudchamber.measures.accumulators.strengths import MeanChangeAccumulator as MeanChangeAccumulator
from cloudchamber.measures.accumulators.strengths import Theorem1Accumulator as Theorem1Accumulator
from cloudchamber.measures.accumulators.windows import WindowAccumulator as WindowAccumulator
