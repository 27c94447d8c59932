"""What a record says about the machine: only what is the same for two identical runs."""

from __future__ import annotations

import platform
from importlib.metadata import version
from typing import Any

import torch

from cloudchamber._core.native import compiler_name
from cloudchamber.measures.fused import is_native


def environment(device: torch.device) -> dict[str, Any]:
    """Return versions, device, threads, the compiler of native code, and whether that takes measures (compiled now)."""
    return {
        "cloudchamber": version("cloudchamber"),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "device": str(device),
        "threads": torch.get_num_threads(),
        "compiler": compiler_name(),
        "native": is_native(),
    }
