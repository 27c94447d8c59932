"""The papers behind the quantities, and the BibTeX of what was used."""

from __future__ import annotations

from dataclasses import dataclass

import xarray as xr

from cloudchamber._core.errors import require


@dataclass(frozen=True)
class Paper:
    """One source: its key in this project, a name to show, and its BibTeX entry."""

    key: str
    name: str
    bibtex: str


PAPERS: dict[str, Paper] = {
    paper.key: paper
    for paper in (
        Paper(
            "mlp2024",
            "Why do Features of Multi-Layer Perceptrons Condense in Training? (2024)",
            """@misc{mlp2024,
  title  = {Why do Features of Multi-Layer Perceptrons Condense in Training?},
  author = {Anonymous},
  year   = {2024},
  note   = {Submission to the International Conference on Learning Representations},
  url    = {https://openreview.net/forum?id=n2Jyi6h7Pv}
}""",
        ),
        Paper(
            "zhou2022",
            "Towards Understanding the Condensation of Neural Networks at Initial Training (2022)",
            """@inproceedings{zhou2022,
  title     = {Towards Understanding the Condensation of Neural Networks at Initial Training},
  author    = {Zhou, Hanxu and Zhou, Qixuan and Luo, Tao and Zhang, Yaoyu and Xu, Zhi-Qin John},
  booktitle = {Advances in Neural Information Processing Systems},
  volume    = {35},
  year      = {2022}
}""",
        ),
        Paper(
            "overview2025",
            "An overview of condensation phenomenon in deep learning (2025)",
            """@misc{overview2025,
  title         = {An overview of condensation phenomenon in deep learning},
  author        = {Xu, Zhi-Qin John and Zhang, Yaoyu and Zhou, Zhangchen},
  year          = {2025},
  eprint        = {2504.09484},
  archivePrefix = {arXiv}
}""",
        ),
        Paper(
            "xu2024",
            "Three Mechanisms of Feature Learning in a Linear Network (2025)",
            """@inproceedings{xu2024,
  title     = {Three Mechanisms of Feature Learning in a Linear Network},
  author    = {Xu, Yizhou and Ziyin, Liu},
  booktitle = {International Conference on Learning Representations},
  year      = {2025},
  note      = {arXiv:2401.07085}
}""",
        ),
        Paper(
            "roy2007",
            "The effective rank: a measure of effective dimensionality (2007)",
            """@inproceedings{roy2007,
  title     = {The effective rank: A measure of effective dimensionality},
  author    = {Roy, Olivier and Vetterli, Martin},
  booktitle = {European Signal Processing Conference},
  pages     = {606--610},
  year      = {2007}
}""",
        ),
        Paper(
            "jacot2018",
            "Neural Tangent Kernel: Convergence and Generalization in Neural Networks (2018)",
            """@inproceedings{jacot2018,
  title     = {Neural Tangent Kernel: Convergence and Generalization in Neural Networks},
  author    = {Jacot, Arthur and Gabriel, Franck and Hongler, Cl{\\'e}ment},
  booktitle = {Advances in Neural Information Processing Systems},
  volume    = {31},
  year      = {2018}
}""",
        ),
        Paper(
            "cristianini2001",
            "On Kernel-Target Alignment (2001)",
            """@inproceedings{cristianini2001,
  title     = {On Kernel-Target Alignment},
  author    = {Cristianini, Nello and Shawe-Taylor, John and Elisseeff, Andr{\\'e} and Kandola, Jaz},
  booktitle = {Advances in Neural Information Processing Systems},
  volume    = {14},
  year      = {2001}
}""",
        ),
        Paper(
            "cortes2012",
            "Algorithms for Learning Kernels Based on Centered Alignment (2012)",
            """@article{cortes2012,
  title   = {Algorithms for Learning Kernels Based on Centered Alignment},
  author  = {Cortes, Corinna and Mohri, Mehryar and Rostamizadeh, Afshin},
  journal = {Journal of Machine Learning Research},
  volume  = {13},
  pages   = {795--828},
  year    = {2012}
}""",
        ),
        Paper(
            "papyan2020",
            "Prevalence of neural collapse during the terminal phase of deep learning training (2020)",
            """@article{papyan2020,
  title   = {Prevalence of neural collapse during the terminal phase of deep learning training},
  author  = {Papyan, Vardan and Han, X. Y. and Donoho, David L.},
  journal = {Proceedings of the National Academy of Sciences},
  volume  = {117},
  number  = {40},
  pages   = {24652--24663},
  year    = {2020}
}""",
        ),
    )
}

_SOFTWARE = """@software{cloudchamber,
  title  = {cloudchamber: condensation in neural networks, seen, predicted and controlled},
  author = {{The cloudchamber developers}},
  year   = {2026}
}"""


def cite(record: xr.Dataset) -> str:
    """Return the BibTeX entries of the papers whose quantities `record` holds, and of cloudchamber.

    Args:
        record: a record, as `Monitor.record` or `open_record` gives it.

    Returns:
        BibTeX, one entry per source, in the order of their keys.

    Raises:
        InvalidInput: if the record names a source that this version does not know.

    >>> import xarray as xr
    >>> "mlp2024" in cite(xr.Dataset(attrs={"citations": "mlp2024"}))
    True
    """
    keys = sorted(set(str(record.attrs.get("citations", "")).split()))
    for key in keys:
        require(key in PAPERS, f"a record's citations are among {sorted(PAPERS)}", key, "update cloudchamber")
    return "\n\n".join([*(PAPERS[key].bibtex for key in keys), _SOFTWARE])
