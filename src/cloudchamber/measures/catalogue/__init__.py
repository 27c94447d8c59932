"""Every measure: its function, what it takes, how often, and what its array is called and means.

What would not be affordable at every observation, by itself or with what it shares, is `sparse`; what takes many
times a pass over the probe has a limit per run.
"""

from cloudchamber.measures.catalogue import directions as directions
from cloudchamber.measures.catalogue import kernel as kernel
from cloudchamber.measures.catalogue import neurons as neurons
from cloudchamber.measures.catalogue import similarity as similarity
from cloudchamber.measures.catalogue import theorem1 as theorem1
from cloudchamber.measures.catalogue import weights as weights
