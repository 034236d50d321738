"""A recorded step does the same as one that is not recorded."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from heads.methods import idr, priors
from heads.scene import Scene
from heads.surface import cuda_graph, training

gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="a GPU is needed to record a step")


class Descent:
    """A parameter that Adam moves towards a given target."""

    def __init__(self, device: str) -> None:
        self.at = torch.nn.Parameter(torch.zeros(3, device=device))
        self.optimizers = training.optimizers(training.Group([self.at], 0.1))
        self.calls = 0

    def work(self, target: Tensor) -> dict[str, Tensor]:
        self.calls += 1
        distance = (self.at - target).square().sum()
        distance.backward()
        self.optimizers[0].step()
        return {"distance": distance.detach()}

    def follow(self, step: cuda_graph.Step, factors: list[float]) -> list[float]:
        found = []
        for number, factor in enumerate(factors):
            training.begin_step(self.optimizers, factor)
            found.append(step(number < 8, torch.full((3,), float(number))).pop("distance").item())
        return found


FACTORS = [1.0, 0.5, 1.0, 2.0, 1.0, 0.25, 3.0, 1.0, 1.0, 0.5, 1.0, 2.0, 1.0, 1.0]


def test_tensor_cores_are_used_only_inside_the_context() -> None:
    matmul = torch.backends.cuda.matmul
    with pytest.raises(RuntimeError, match="on purpose"), cuda_graph.tensor_cores():
        assert matmul.allow_tf32
        raise RuntimeError("on purpose")
    assert not matmul.allow_tf32


def test_without_recording_the_work_is_called_every_time() -> None:
    one = Descent("cpu")
    found = one.follow(cuda_graph.Step(one.work, torch.device("cpu"), record=False), FACTORS)
    assert one.calls == len(FACTORS) and len(set(found)) == len(FACTORS)


@gpu
def test_a_recorded_step_follows_new_inputs_and_new_step_sizes() -> None:
    plain, recorded = Descent("cuda"), Descent("cuda")
    expected = plain.follow(cuda_graph.Step(plain.work, torch.device("cuda"), record=False), FACTORS)
    found = recorded.follow(cuda_graph.Step(recorded.work, torch.device("cuda"), record=True), FACTORS)
    assert found == pytest.approx(expected, rel=1e-5)
    assert recorded.calls == 2 * (cuda_graph.WARM_UP + 1)  # two situations


@gpu
@pytest.mark.parametrize("colour_sees", idr.COLOUR_SEES)
def test_a_recorded_fit_ends_where_an_unrecorded_one_does(
    ellipsoid_scene: Scene, monkeypatch: pytest.MonkeyPatch, colour_sees: str
) -> None:
    config = replace(idr.SMOKE, epochs=30, device="cuda", colour_sees=colour_sees)
    start = priors.sphere(config.shape, 0)
    recorded = idr.fit(ellipsoid_scene, start, config)
    step = cuda_graph.Step
    monkeypatch.setattr(cuda_graph, "Step", lambda work, device, record: step(work, device, record=False))
    plain = idr.fit(ellipsoid_scene, start, config)
    for one, other in zip(recorded.history[:3], plain.history[:3], strict=True):  # rounding grows from step to step
        assert one == pytest.approx(other, rel=0.03, abs=2e-3)
    monkeypatch.undo()
    on_cpu = idr.fit(ellipsoid_scene, start, replace(config, device="cpu"))
    assert recorded.history[0] == pytest.approx(on_cpu.history[0], rel=5e-3, abs=1e-4)
    assert recorded.history[-1]["rgb"] == pytest.approx(on_cpu.history[-1]["rgb"], rel=0.3)
