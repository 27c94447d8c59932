"""Draw the picture of the README from the default run.

Run: make pictures
"""

import tempfile
from pathlib import Path

import cloudchamber as cc

IMAGES = Path(__file__).parent / "images"


def main() -> None:
    """Train the default recipe and draw its overview."""
    with tempfile.TemporaryDirectory() as folder:
        record = cc.run(cc.Recipe(), Path(folder) / "run").record
    IMAGES.mkdir(exist_ok=True)
    cc.plot.overview(record).savefig(IMAGES / "overview.png", dpi=110)


if __name__ == "__main__":
    main()
