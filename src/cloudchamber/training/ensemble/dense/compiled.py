"""Dense chains compiled: what lies between the products becomes one loop each."""

from __future__ import annotations

import logging
import types
import warnings
from collections.abc import Callable, Hashable, Mapping
from functools import cache, lru_cache

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cloudchamber.training.ensemble.dense.gradients import DenseGradients
from cloudchamber.training.ensemble.dense.native import NativeStep, native_gradients
from cloudchamber.training.ensemble.dense.program import Named, Parts, Program
from cloudchamber.training.ensemble.layout import Flat
from cloudchamber.training.ensemble.optimizers import Optimizer
from cloudchamber.training.ensemble.step import PlainStep, Step

Computation = Callable[[Flat, Named, Tensor, Tensor], Parts]
logger = logging.getLogger(__name__)


@cache
def can_compile() -> bool:
    """Whether torch's compiler finds what it needs for code on this CPU.

    >>> can_compile() in (True, False)
    True
    """
    try:
        from torch._inductor.cpp_builder import get_cpp_compiler

        get_cpp_compiler()
    except Exception as error:
        logger.info("no compiler: %s", error)
        return False
    return True


def compiled_step(gradients: DenseGradients, optimizer: Optimizer) -> Step:
    """Return an update whose gradients are compiled, or a plain one where no compiler is; equal to rounding.

    The project's own native code (module `native`), which is compiled once per machine, computes what it can. Of other
    chains torch compiles the gradients at the first call (some seconds), and once more, for any number of members, when
    that number changes; steps of one chain and loss share what was compiled. The optimizer is not compiled there: it is
    a few passes over the parameters, and was slower in one loop with the gradients' copies.

    Args:
        gradients: of a dense chain.
        optimizer: of the stacked members.
    """
    if not can_compile():
        return PlainStep(gradients, optimizer)
    native = native_gradients(gradients)
    return PlainStep(CompiledGradients(gradients), optimizer) if native is None else NativeStep(native, optimizer)


class CompiledGradients:
    """Gradients of a dense chain, compiled at the first call; as they were if that fails."""

    def __init__(self, plain: DenseGradients) -> None:
        self.per_member = plain.per_member
        self._plain = plain
        shared = isinstance(plain.program.loss, Hashable)
        self._compilation = _shared_compilation(plain.program) if shared else Compilation(plain.program)

    @property
    def fixed(self) -> Mapping[str, Tensor]:
        """What is not trained, by name."""
        return self._plain.fixed

    def __call__(self, flat: Flat, inputs: Tensor, targets: Tensor, out: Flat) -> Float[Tensor, " k"]:
        """Write the gradients into `out` and return the losses."""
        losses, parts = self._compilation(flat, self.fixed, inputs, targets)
        torch.cat(parts, 1, out=out)
        return losses

    def keep(self, rows: Int[Tensor, " kept"]) -> None:
        """Forget all members but those."""
        self._plain.keep(rows)


class Compilation:
    """A program that is compiled for the shapes it is called with, or as it is from the first failure on."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._run: Computation = _compiled(program)
        self._seen: set[tuple[torch.Size, ...]] = set()

    def __call__(self, flat: Flat, fixed: Named, inputs: Tensor, targets: Tensor) -> Parts:
        """Return the losses and gradients."""
        shapes = (flat.shape, inputs.shape, targets.shape)
        if shapes in self._seen:
            return self._run(flat, fixed, inputs, targets)
        self._seen.add(shapes)
        return self._first_time(flat, fixed, inputs, targets)

    def _first_time(self, flat: Flat, fixed: Named, inputs: Tensor, targets: Tensor) -> Parts:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the compiler's remarks about itself
                return self._run(flat, fixed, inputs, targets)
        except Exception as error:
            # First without a compiler: what is wrong with the arguments is then said in their words.
            result = self._program(flat, fixed, inputs, targets)
            reason = (str(error) or type(error).__name__).splitlines()[0]
            logger.warning("the steps of an ensemble go on without being compiled: %s", reason)
            self._run = self._program
            return result


_shared_compilation = lru_cache(maxsize=64)(Compilation)


def _compiled(program: Program) -> Computation:
    """Compile a program into a cache of its own.

    Torch keeps compiled versions with a function's code, and gives up after eight of them; all programs share theirs.
    """
    program.layout.slices  # noqa: B018 - made now: the compiler cannot follow the lock of a cached property
    shared = type(program).__call__
    shared = getattr(shared, "__wrapped__", shared)
    own = types.FunctionType(shared.__code__.replace(), shared.__globals__, closure=shared.__closure__)
    return torch.compile(types.MethodType(own, program), fullgraph=True)
