"""The public data sets: where each comes from, under which licence, and what its files must hash to."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

from cloudchamber.data.subsets import PARTS, Part


@dataclass(frozen=True)
class Origin:
    """A public file.

    Attributes:
        file: its name.
        urls: its addresses, in the order in which they are tried.
        checksum: the published one, as "md5:..." or "sha256:...".
    """

    file: str
    urls: tuple[str, ...]
    checksum: str


@dataclass(frozen=True)
class Source:
    """A data set as its authors published it.

    Attributes:
        name: in recipes, and as a folder.
        title: in words.
        page: of its authors.
        licence: as stated at the source.
        citation: whom to cite.
        rows: samples of the training and the test part.
        origins: the files that the training and the test part are read from.
        parquet: the names of the two parts in Parquet form.
    """

    name: str
    title: str
    page: str
    licence: str
    citation: str
    rows: tuple[int, int]
    origins: tuple[tuple[Origin, ...], tuple[Origin, ...]]
    parquet: tuple[str, str] = ("train.parquet", "test.parquet")

    def rows_of(self, part: Part) -> int:
        """Return how many samples a part has as published."""
        return self.rows[PARTS.index(part)]

    def origins_of(self, part: Part) -> tuple[Origin, ...]:
        """Return the public files that a part is read from."""
        return self.origins[PARTS.index(part)]

    def parquet_of(self, part: Part) -> str:
        """Return the name of a part's Parquet file."""
        return self.parquet[PARTS.index(part)]


def _cifar(classes: int, md5: str) -> Origin:
    file = f"cifar-{classes}-binary.tar.gz"
    return Origin(file, (f"https://www.cs.toronto.edu/~kriz/{file}",), f"md5:{md5}")


def _mnist(file: str, md5: str) -> Origin:
    mirrors = ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/")
    return Origin(file, tuple(mirror + file for mirror in mirrors), f"md5:{md5}")


def _adult(file: str, sha256: str) -> Origin:
    return Origin(
        file, (f"https://archive.ics.uci.edu/ml/machine-learning-databases/adult/{file}",), f"sha256:{sha256}"
    )


def _ag_news(file: str, md5: str) -> Origin:
    folder = "https://raw.githubusercontent.com/mhjabreel/CharCnn_Keras/master/data/ag_news_csv"
    return Origin(file, (f"{folder}/{file}",), f"md5:{md5}")


_CIFAR_10 = _cifar(10, "c32a1d4ab5d03f1284b67883e8d87530")
_CIFAR_100 = _cifar(100, "03b5dce01913d631647c71ecec9e9cb8")
_TINY = Origin(
    "tiny-imagenet-200.zip",
    ("http://cs231n.stanford.edu/tiny-imagenet-200.zip",),
    "md5:90528d7ca1a48142e341f4ef8d21d0de",
)
_COLA = Origin(
    "cola_public_1.1.zip",
    ("https://nyu-mll.github.io/CoLA/cola_public_1.1.zip",),
    "md5:9f6d88c3558ec424cd9d66ea03589aba",
)
_SST2 = Origin(
    "SST-2.zip", ("https://dl.fbaipublicfiles.com/glue/data/SST-2.zip",), "md5:9f81648d4199384278b86e315dac217c"
)
_KRIZHEVSKY = "A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009"
_KRIZ_PAGE = "https://www.cs.toronto.edu/~kriz/cifar.html"
_ASKS = "none stated (the page asks for a citation)"

SOURCES = MappingProxyType(
    {
        source.name: source
        for source in (
            Source(
                "cifar10",
                "CIFAR-10: 32×32 colour images of 10 classes",
                _KRIZ_PAGE,
                _ASKS,
                _KRIZHEVSKY,
                (50_000, 10_000),
                ((_CIFAR_10,), (_CIFAR_10,)),
            ),
            Source(
                "cifar100",
                "CIFAR-100: 32×32 colour images of 100 classes (the fine labels)",
                _KRIZ_PAGE,
                _ASKS,
                _KRIZHEVSKY,
                (50_000, 10_000),
                ((_CIFAR_100,), (_CIFAR_100,)),
            ),
            Source(
                "cifar100_part",
                "the first 100 training and 20 test images of each class of CIFAR-100",
                _KRIZ_PAGE,
                _ASKS,
                _KRIZHEVSKY,
                (10_000, 2_000),
                ((_CIFAR_100,), (_CIFAR_100,)),
            ),
            Source(
                "mnist",
                "MNIST: 28×28 grey images of handwritten digits",
                "http://yann.lecun.com/exdb/mnist/",
                "none stated (often quoted as CC BY-SA 3.0)",
                "Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "
                "Gradient-Based Learning Applied to Document Recognition, 1998",
                (60_000, 10_000),
                (
                    (
                        _mnist("train-images-idx3-ubyte.gz", "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
                        _mnist("train-labels-idx1-ubyte.gz", "d53e105ee54ea40749a09fcbcd1e9432"),
                    ),
                    (
                        _mnist("t10k-images-idx3-ubyte.gz", "9fb629c4189551a2d022fa330f9573f3"),
                        _mnist("t10k-labels-idx1-ubyte.gz", "ec29112dd5afa0611ce80d1b7f02629c"),
                    ),
                ),
            ),
            Source(
                "tiny_imagenet_50",
                "Tiny ImageNet: 64×64 colour images, the 50 of its 200 classes that mlp2024 names; "
                "the test part is the labelled validation set",
                "http://cs231n.stanford.edu/tiny-imagenet-200.zip",
                "ImageNet's terms of access (non-commercial research and education); none stated for the subset",
                "Y. Le, X. Yang, Tiny ImageNet Visual Recognition Challenge, CS 231N, 2015",
                (25_000, 2_500),
                ((_TINY,), (_TINY,)),
            ),
            Source(
                "adult",
                "UCI Adult (Census Income): does somebody earn more than 50,000 dollars a year?",
                "https://doi.org/10.24432/C5XW20",
                "CC BY 4.0",
                "B. Becker, R. Kohavi, Adult, UCI Machine Learning Repository, 1996",
                (32_561, 16_281),
                (
                    (_adult("adult.data", "5b00264637dbfec36bdeaab5676b0b309ff9eb788d63554ca0a249491c86603d"),),
                    (_adult("adult.test", "a2a9044bc167a35b2361efbabec64e89d69ce82d9790d2980119aac5fd7e9c05"),),
                ),
            ),
            Source(
                "ag_news",
                "AG's News: title and description of news of 4 kinds",
                "http://groups.di.unipi.it/~gulli/AG_corpus_of_news_articles.html",
                "for research purposes and any other non-commercial activity",
                "X. Zhang, J. Zhao, Y. LeCun, Character-level Convolutional Networks for Text Classification, 2015",
                (120_000, 7_600),
                (
                    (_ag_news("train.csv", "b1a00f826fdfbd249f79597b59e1dc12"),),
                    (_ag_news("test.csv", "d52ea96a97a2d943681189a97654912d"),),
                ),
            ),
            Source(
                "cola",
                "Corpus of Linguistic Acceptability: English sentences; the test part is both public development sets",
                "https://nyu-mll.github.io/CoLA/",
                "the text remains with its authors and publishers; research use is expected to be fair use in the US",
                "A. Warstadt, A. Singh, S. R. Bowman, Neural Network Acceptability Judgments, 2018",
                (8_551, 1_043),
                ((_COLA,), (_COLA,)),
            ),
            Source(
                "sst2",
                "Stanford Sentiment Treebank, the binary form of GLUE; the test part is its development set, "
                "since GLUE withholds the test labels",
                "https://nlp.stanford.edu/sentiment/",
                "none stated",
                "R. Socher et al., Recursive Deep Models for Semantic Compositionality, EMNLP 2013",
                (67_349, 872),
                ((_SST2,), (_SST2,)),
                parquet=("train.parquet", "validation.parquet"),
            ),
        )
    }
)
"""Every public data set, by name. MD5 sums are those that the authors or the usual loaders publish."""


def provenance(name: str) -> str:
    """Return what a person must know before using or citing a data set.

    >>> print(provenance("adult"))
    adult: UCI Adult (Census Income): does somebody earn more than 50,000 dollars a year?
      32561 training and 16281 test samples
      page: https://doi.org/10.24432/C5XW20
      licence: CC BY 4.0
      cite: B. Becker, R. Kohavi, Adult, UCI Machine Learning Repository, 1996
    """
    source = SOURCES[name]
    lines = (
        f"{source.name}: {source.title}",
        f"{source.rows[0]} training and {source.rows[1]} test samples",
        f"page: {source.page}",
        f"licence: {source.licence}",
        f"cite: {source.citation}",
    )
    return "\n  ".join(lines)
