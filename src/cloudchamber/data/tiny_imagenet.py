"""Tiny ImageNet: the 50 of its 200 classes that mlp2024 names."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable
from pathlib import Path

import torch

from cloudchamber._core.errors import DamagedFile
from cloudchamber.data.encoded import decoded
from cloudchamber.data.raw import RENEW, RawImages
from cloudchamber.data.subsets import Part

SHAPE = (3, 64, 64)
_ROOT = "tiny-imagenet-200"

CLASSES = (
    *("n02480495 orangutan", "n03891332 parking meter", "n04251144 snorkel", "n01698640 American alligator"),
    *("n03838899 oboe", "n02802426 basketball", "n04099969 rocking chair", "n02226429 grasshopper"),
    *("n03814639 neck brace", "n03089624 confectionery", "n02906734 broom", "n09428293 seashore"),
    *("n04179913 sewing machine", "n04356056 sunglasses", "n02509815 lesser panda", "n07695742 pretzel"),
    *("n02395406 hog", "n04540053 volleyball", "n02125311 cougar", "n09193705 alp", "n02791270 barbershop"),
    *("n02403003 ox", "n03355925 flagpole", "n03662601 lifeboat", "n04398044 teapot", "n02231487 walking stick"),
    *("n01917289 brain coral", "n01945685 slug", "n02666196 abacus", "n06596364 comic book", "n02988304 CD player"),
    *("n04146614 school bus", "n02788148 bannister", "n02808440 bathtub", "n02106662 German shepherd"),
    *("n02002724 black stork", "n03085013 computer keyboard", "n01774750 tarantula", "n04254777 sock"),
    *("n02437312 Arabian camel", "n02206856 bee", "n02233338 cockroach", "n02950826 cannon", "n04465501 tractor"),
    *("n02963159 cardigan", "n04366367 suspension bridge", "n02823428 beer bottle", "n04532670 viaduct"),
    *("n07583066 guacamole", "n03584254 iPod"),
)
"""WordNet's number and name of each class, in the order of mlp2024, Appendix B.3.

The paper calls six of them by another of their names in WordNet: hopper (grasshopper), candy store (confectionery),
panda (lesser panda), pig (hog), puma (cougar) and banister (bannister). Its walking stick is the insect: Tiny ImageNet
has no other.
"""


def read_tiny_imagenet(files: tuple[Path, ...], part: Part) -> RawImages:
    """Read the 50 classes out of `tiny-imagenet-200.zip`: 500 training or 50 validation images each.

    Training images come class by class, validation images in the order of their numbers. Grey ones become RGB.

    Raises:
        DamagedFile: if the archive is not that of Tiny ImageNet.
        FileAccess: if Pillow is not installed.
    """
    file = files[0]
    try:
        with zipfile.ZipFile(file) as archive:
            members = _training(archive.namelist()) if part == "train" else _validation(archive)
            contents: Iterable[bytes] = (archive.read(name) for name, _ in members)
            pixels = decoded(contents, len(members), SHAPE, str(file))
    except (zipfile.BadZipFile, KeyError, OSError, ValueError) as error:
        if isinstance(error, DamagedFile):
            raise
        raise DamagedFile(f"{file} must be an archive with {_ROOT}; got: {error}. {RENEW}") from error
    return RawImages(pixels, torch.tensor([label for _, label in members]), CLASSES)


def _training(names: list[str]) -> list[tuple[str, int]]:
    labels = {name.split()[0]: label for label, name in enumerate(CLASSES)}
    found = (re.fullmatch(rf"{_ROOT}/train/(n\d+)/images/n\d+_(\d+)\.JPEG", name) for name in names)
    members = [(labels[m[1]], int(m[2]), m[0]) for m in found if m and m[1] in labels]
    return [(name, label) for label, _, name in sorted(members)]


def _validation(archive: zipfile.ZipFile) -> list[tuple[str, int]]:
    labels = {name.split()[0]: label for label, name in enumerate(CLASSES)}
    rows = archive.read(f"{_ROOT}/val/val_annotations.txt").decode().splitlines()
    pairs = (row.split("\t")[:2] for row in rows)
    return [(f"{_ROOT}/val/images/{name}", labels[number]) for name, number in pairs if number in labels]
