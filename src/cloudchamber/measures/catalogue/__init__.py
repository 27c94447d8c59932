"""Every measure: its function, what it takes, how often, and what its array is called and means.

What takes more than a training step for every layer of the default model is `sparse`, what takes seconds has a limit.
"""

from cloudchamber.measures.catalogue import directions as directions
from cloudchamber.measures.catalogue import kernel as kernel
from cloudchamber.measures.catalogue import neurons as neurons
from cloudchamber.measures.catalogue import similarity as similarity
from cloudchamber.measures.catalogue import theorem1 as theorem1
from cloudchamber.measures.catalogue import weights as weights
