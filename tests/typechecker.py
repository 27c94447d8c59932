"""The type checker of the tests: beartype, with an int allowed where a float is asked for, as Python's typing says."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
