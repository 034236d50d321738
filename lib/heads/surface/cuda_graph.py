"""What makes a training step fast on a GPU: it is recorded, and its matrix products run on tensor cores.

With networks of this size a GPU computes a step faster than Python can launch it. A recorded step has the same operations
at the same addresses in memory, so its work must not depend on the values, nor wait for any of them.
"""

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

WARM_UP = 3  # first steps, not recorded: libraries and optimizers set themselves up in them

Work = Callable[..., dict[str, Tensor]]


@contextmanager
def tensor_cores() -> Iterator[None]:
    """Inside, a GPU rounds what it multiplies, but not the sums, to ten fraction bits (TF32); processors do not."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


class Step:
    """Calls `work` with tensors moved to `device`; with `record`, its fourth call in one situation is recorded, then replayed:
    one launch instead of more than a thousand (CUDA graphs).

    `work` may change its own state in place, such as parameters and moments. Its results are overwritten by the next call.
    """

    def __init__(self, work: Work, device: torch.device, *, record: bool) -> None:
        self.work, self.device, self.record = work, device, record
        self.situation: Hashable = None
        self.calls = 0
        self.graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, situation: Hashable, *inputs: Tensor) -> dict[str, Tensor]:
        """One step; if `situation` differs from the last call's, the recording is no longer valid."""
        if not self.record:
            return self.work(*(tensor.to(self.device) for tensor in inputs))
        if self.calls == 0 or situation != self.situation:
            self.situation, self.calls, self.graph = situation, 0, None
            self.inputs = [tensor.to(self.device, copy=True) for tensor in inputs]
        for kept, new in zip(self.inputs, inputs, strict=True):
            kept.copy_(new, non_blocking=True)
        self.calls += 1
        if self.calls <= WARM_UP:
            return self._on_own_stream()
        if self.graph is None:
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph):
                self.results = self.work(*self.inputs)
        self.graph.replay()
        return dict(self.results)

    def _on_own_stream(self) -> dict[str, Tensor]:
        """The work itself, on a stream of its own, as CUDA requires before a recording."""
        stream, main = torch.cuda.Stream(), torch.cuda.current_stream()
        stream.wait_stream(main)
        with torch.cuda.stream(stream):
            results = self.work(*self.inputs)
        main.wait_stream(stream)
        return results
