"""Made-up data sets in the forms of the real ones, a server for them, and a source table that points there."""

import csv
import gzip
import hashlib
import http.server
import io
import json
import struct
import tarfile
import threading
import zipfile
from contextlib import contextmanager, suppress
from dataclasses import replace

import torch
from hypothesis import settings
from PIL import Image

from cloudchamber.data import adult, load, stored, text
from cloudchamber.data.sources import SOURCES, Origin
from cloudchamber.data.tiny_imagenet import CLASSES

laws = settings(derandomize=True, max_examples=30, deadline=None, database=None)


def random(seed=0):
    return torch.Generator().manual_seed(seed)


def pixels(*shape, seed=0):
    return torch.randint(0, 256, shape, generator=random(seed), dtype=torch.uint8)


def labels(n, classes):
    return torch.arange(n) % classes


def tar(path, members):
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def zipped(path, members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def records(images, *columns):
    """Write CIFAR's records one byte at a time."""
    content = bytearray()
    for image, *numbers in zip(images, *columns, strict=True):
        content += bytes(map(int, numbers))
        for value in image.flatten().tolist():
            content.append(value)
    return bytes(content)


def write_cifar10(path, train, test):
    """Write five batches and a test batch; the classes follow one another."""
    folder = "cifar-10-batches-bin"
    parts = {f"{folder}/data_batch_{i}.bin": images for i, images in enumerate(train.chunk(5), start=1)}
    start, members = 0, {f"{folder}/batches.meta.txt": "\n".join(CIFAR10).encode() + b"\n\n"}
    for name, images in parts.items():
        members[name] = records(images, (start + torch.arange(len(images))) % 10)
        start += len(images)
    members[f"{folder}/test_batch.bin"] = records(test, labels(len(test), 10))
    return tar(path, members)


CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def write_cifar100(path, train, test):
    names = "\n".join(f"fine{i}" for i in range(100)).encode()
    parts = {"train": train, "test": test}
    members = {
        f"cifar-100-binary/{part}.bin": records(images, torch.zeros(len(images)), labels(len(images), 100))
        for part, images in parts.items()
    }
    return tar(path, {"cifar-100-binary/fine_label_names.txt": names, **members})


def idx(values):
    """Write an IDX file one value at a time."""
    header = bytes([0, 0, 8, values.ndim]) + b"".join(struct.pack(">I", size) for size in values.shape)
    return header + bytes(values.flatten().tolist())


def write_idx(path, values):
    path.write_bytes(gzip.compress(idx(values)))
    return path


def encoded(image, kind="PNG"):
    """Return an image (c, h, w) as a file."""
    values = image.numpy().transpose(1, 2, 0)
    content = io.BytesIO()
    Image.fromarray(values[:, :, 0] if len(image) == 1 else values).save(content, kind, lossless=True)
    return content.getvalue()


def write_tiny_imagenet(path, per_class=2):
    """Write flat JPEG images, whose colour is exact: class 3·label, brightness by number; a class too many."""
    numbers = [name.split()[0] for name in CLASSES]
    members, rows = {}, []
    for label, number in enumerate([*numbers, "n00000000"]):
        for i in reversed(range(per_class)):
            image = torch.full((3, 64, 64), 3 * label + i, dtype=torch.uint8)
            shown = image[:1] if label == 7 and i == 0 else image
            members[f"tiny-imagenet-200/train/{number}/images/{number}_{i}.JPEG"] = encoded(shown, "JPEG")
        members[f"tiny-imagenet-200/val/images/val_{label}.JPEG"] = encoded(255 - image, "JPEG")
        rows.append(f"val_{label}.JPEG\t{number}\t0\t0\t1\t1")
    order = "\n".join(reversed(rows)) + "\n"
    return zipped(path, {"tiny-imagenet-200/val/val_annotations.txt": order, **members})


def person(i):
    """Return a row of Adult, as words."""
    work, country = ("Private", "?", "State-gov")[i % 3], ("United-States", "Cuba")[i % 2]
    row = [20 + i, work, 1000 * i, "HS-grad", 9, "Divorced", "Sales", "Wife", "White", "Female", i, 0, 40, country]
    return [*map(str, row), (">50K" if i % 4 == 0 else "<=50K")]


def write_adult(path, people, test=False):
    lines = [", ".join(row) + ("." if test else "") for row in people]
    path.write_text("\n".join([*(["|1x3 Cross validator"] if test else []), *lines, ""]))
    return path


def write_ag_news(path, rows):
    content = io.StringIO(newline="")
    csv.writer(content, quoting=csv.QUOTE_ALL).writerows(rows)
    path.write_text(content.getvalue())
    return path


def write_parquet(path, columns, names=None):
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table(columns)
    if names is not None:
        about = {"info": {"features": {"label": {"names": list(names), "_type": "ClassLabel"}}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(about)})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=7)
    return path


def write_parquet_images(path, images, classes, names, kind="PNG", paths=None):
    """Write images in the Hugging Face layout."""
    paths = paths or [f"{i:05}.{kind.lower()}" for i in range(len(images))]
    files = [{"bytes": encoded(image, kind), "path": name} for image, name in zip(images, paths, strict=True)]
    return write_parquet(path, {"image": files, "label": list(map(int, classes))}, names)


def md5(content):
    return "md5:" + hashlib.md5(content).hexdigest()


def origin(path, *urls):
    return Origin(path.name, urls or ("http://127.0.0.1:9/nowhere",), md5(path.read_bytes()))


def point_to(monkeypatch, name, train, test, rows):
    """Let a data set come from made-up files: its origins become those of the training and of the test part."""
    source = replace(SOURCES[name], origins=(tuple(train), tuple(test)), rows=rows)
    for module in (stored, adult, text, load):
        monkeypatch.setattr(module, "SOURCES", {**SOURCES, name: source})
    return source


class Broken:
    """An answer that promises more than it gives."""

    def __init__(self, content, promised):
        self.content, self.promised = content, promised


@contextmanager
def served(answers):
    """Serve `answers`, from path to bytes, `Broken` or a status; yield the address and the paths asked for."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            answer = answers.get(self.path, 404)
            if isinstance(answer, int):
                self.send_error(answer)
                return
            broken = answer if isinstance(answer, Broken) else Broken(answer, len(answer))
            self.send_response(200)
            self.send_header("Content-Length", str(broken.promised))
            self.end_headers()
            with suppress(ConnectionError):  # whoever asked may hang up
                self.wfile.write(broken.content)

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", asked
        finally:
            server.shutdown()
            thread.join()


def table_of(people):
    """Return rows of Adult as columns of a Parquet file."""
    *columns, classes = zip(*people, strict=True)
    whole = {*adult._NUMBERS}
    named = {
        name: [int(value) if name in whole else value for value in column]
        for name, column in zip(adult._COLUMNS, columns, strict=True)
    }
    return {**named, "label": [int(value == ">50K") for value in classes]}
