"""An ensemble of small implicit networks around anchors on a face, blended into one signed distance field.

It is the identity decoder of NPHM (Giebenhain et al., CVPR 2023; `EnsembledDeepSDF.py`): each network sees a point from its own
anchor, with a code for all and one for itself; the two of a symmetric pair share their weights, and one of them sees the world
mirrored. A last network, without an anchor, sees the world as it is, and counts where no anchor is near. Networks are blended by
how near their anchors are. The published one computes them all everywhere; here each computes the points where it counts.

Unlike the published one, the networks return features too, for a network that colours the surface.
"""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from heads.surface.sdf import SHARPNESS

BACKGROUND = -20.0  # log of the weight of the network without an anchor, where that of an anchor is 0 at its own place
FADE = (0.01, 0.04)  # a network whose share is below the first does not count; from the second on it counts in full


@dataclass(frozen=True)
class Shape:
    """The sizes of an ensemble; the defaults are the published ones (`nphm.yaml`), in its unit of 250 mm."""

    width: int = 200
    depth: int = 4  # of each network
    feature: int = 0
    pairs: int = 16  # anchors on the right and on the left, which come first, in turn
    middle: int = 7  # anchors between them
    code_global: int = 64
    code_local: int = 32
    places_width: int = 256  # of the network that moves the anchors
    reach: float = 0.1  # of an anchor: where its weight has fallen to 1/e
    nearest: int = 12  # on a GPU, so many anchors count at a point; the others have at most 0.3 % of the weight

    def __post_init__(self) -> None:
        if min(self.width, self.pairs, self.middle, self.code_global, self.code_local, self.places_width) < 1:
            raise ValueError(f"an ensemble must have positive sizes, not {self}")
        if self.depth < 2 or self.feature < 0 or not self.reach > 0 or not 0 < self.nearest <= self.anchors:
            raise ValueError(f"an ensemble needs depth >= 2, a positive reach and at most {self.anchors} nearest, not {self}")
        if self.width <= self.inputs:
            raise ValueError(f"an ensemble's width must exceed the {self.inputs} inputs of a network, not {self.width}")

    @property
    def anchors(self) -> int:
        return 2 * self.pairs + self.middle

    @property
    def sets(self) -> int:
        """How many sets of weights there are: one for each pair, each anchor in the middle, and the background."""
        return self.pairs + self.middle + 1

    @property
    def inputs(self) -> int:
        """Width of a network's input: a point and two codes."""
        return 3 + self.code_global + self.code_local

    @property
    def code(self) -> int:
        """Width of the whole code: the global one, then one for each anchor, then the background's."""
        return self.code_global + (self.anchors + 1) * self.code_local

    def network(self, generator: torch.Generator) -> "Ensemble":
        """A fresh network of these sizes, with all anchors at the origin."""
        return Ensemble(self, generator)


class Blocks(NamedTuple):
    """Which network computes which point: P pairs, in the order of the networks, and where they stand in blocks of B rows.

    `point` and `network` (P,); `row` (P,) is where a pair stands among the rows of all blocks, of which each, `weights` (K,), is
    for one set of weights. `rows` is their number, K B.
    """

    point: Tensor
    network: Tensor
    row: Tensor
    weights: Tensor
    rows: int


class Ensemble(nn.Module):
    """Points (N, 3) -> signed distance and features; the code (shape.code,) is that of the current head.

    Codes (H, C) of several heads may be given with the points, and with them each point's `owner` (N,).
    """

    block = 32  # rows that are multiplied by the same weights at once
    anchors: Tensor
    set_of: Tensor
    mirror: Tensor
    fixed = False  # whether the same number of networks counts at every point, as on a GPU, so that a step can be recorded

    def __init__(self, shape: Shape, generator: torch.Generator) -> None:
        super().__init__()
        self.shape = shape
        self.code = nn.Parameter(torch.zeros(shape.code))
        self.skip = shape.depth // 2
        self.register_buffer("anchors", torch.zeros(shape.anchors, 3))  # of the mean head
        set_of = [*(pair for pair in range(shape.pairs) for _ in range(2)), *range(shape.pairs, shape.sets)]
        mirror = torch.ones(shape.anchors + 1, 3)
        mirror[1 : 2 * shape.pairs : 2, 0] = -1
        self.register_buffer("set_of", torch.tensor(set_of), persistent=False)
        self.register_buffer("mirror", mirror, persistent=False)
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for index in range(shape.depth + 1):
            inputs = shape.inputs if index == 0 else shape.width
            outputs = 1 + shape.feature if index == shape.depth else shape.width
            outputs -= shape.inputs if index + 1 == self.skip else 0
            bound = 1 / math.sqrt(inputs)
            self.weights.append(uniform((shape.sets, outputs, inputs), bound, generator))
            self.biases.append(uniform((shape.sets, outputs), bound, generator))
        sizes = (shape.code_global, shape.places_width, shape.places_width, 3 * shape.anchors)
        self.places_weights, self.places_biases = nn.ParameterList(), nn.ParameterList()
        for inputs, outputs in pairwise(sizes):
            bound = 1 / math.sqrt(inputs)
            self.places_weights.append(uniform((outputs, inputs), bound, generator))
            self.places_biases.append(uniform((outputs,), bound, generator))

    def places(self, codes: Tensor) -> Tensor:
        """The anchors (H, A, 3) of heads with these codes (H, C)."""
        hidden = codes[:, : self.shape.code_global]
        for weight, bias in zip(self.places_weights[:-1], self.places_biases[:-1], strict=True):
            hidden = functional.relu(functional.linear(hidden, weight, bias))
        offsets = functional.linear(hidden, self.places_weights[-1], self.places_biases[-1])
        return self.anchors + offsets.unflatten(1, (self.shape.anchors, 3))

    def forward(self, x: Tensor, code: Tensor | None = None, owner: Tensor | None = None) -> Tensor:
        value, _, features = self.with_gradient(x, code, owner)
        return torch.cat([value[:, None], features], dim=1)

    def distance(self, x: Tensor, code: Tensor | None = None, owner: Tensor | None = None) -> Tensor:
        """The signed distance (N,) alone."""
        codes, places, owner = self._heads(x, code, owner)
        share, away = self._shares(x, places, owner)
        amount = share * _fade(share)
        blocks = self._blocks(amount)
        output, _ = self._local(x, away, codes, owner, blocks, slopes=False)
        mine = amount[blocks.point, blocks.network]
        total = torch.zeros_like(x[:, 0]).index_add(0, blocks.point, mine)
        return torch.zeros_like(x[:, 0]).index_add(0, blocks.point, mine * output[:, 0]) / total

    def with_gradient(self, x: Tensor, code: Tensor | None = None, owner: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Signed distance (N,), its spatial gradient (N, 3) and the features (N, F) at `x` (N, 3), all differentiable.

        The gradient is written out, that of the blending too, so that its own derivative is an ordinary one.
        """
        codes, places, owner = self._heads(x, code, owner)
        share, away = self._shares(x, places, owner)
        amount = share * _fade(share)
        blocks = self._blocks(amount)
        output, slope = self._local(x, away, codes, owner, blocks, slopes=True)
        at = (blocks.point, blocks.network)
        anchored = share[:, :-1]
        pull = -2 / self.shape.reach**2
        mean = pull * torch.einsum("na,nac->nc", anchored, away)
        own = torch.where(blocks.network[:, None] < self.shape.anchors, pull * _rows(away, blocks), 0.0) - mean[blocks.point]
        mine, steep = amount[at], (share * (_fade(share) + share * _fade_slope(share)))[at]
        growth = steep[:, None] * own  # the gradient of `mine`
        nothing = torch.zeros_like(x)
        total = nothing[:, 0].index_add(0, blocks.point, mine)
        blended = torch.zeros(len(x), output.shape[1], dtype=x.dtype, device=x.device)
        blended = blended.index_add(0, blocks.point, mine[:, None] * output) / total[:, None]
        rise = nothing.index_add(0, blocks.point, growth * output[:, :1] + mine[:, None] * slope)
        rise = rise - blended[:, :1] * nothing.index_add(0, blocks.point, growth)
        return blended[:, 0], rise / total[:, None], blended[:, 1:]

    def _heads(self, x: Tensor, code: Tensor | None, owner: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Codes (H, C), their anchors (H, A, 3), and the points' owners (N,)."""
        assert x.ndim == 2 and x.shape[1] == 3
        codes = self.code[None] if code is None else code.reshape(-1, self.shape.code)
        owner = torch.zeros(len(x), dtype=torch.long, device=x.device) if owner is None else owner
        return codes, self.places(codes), owner

    def _shares(self, x: Tensor, places: Tensor, owner: Tensor) -> tuple[Tensor, Tensor]:
        """How much each network counts (N, A + 1), in all 1, and where the points are, seen from the anchors (N, A, 3)."""
        away = x[:, None] - (places if len(places) == 1 else places.index_select(0, owner))
        near = -away.square().sum(-1) / self.shape.reach**2
        return torch.cat([near, torch.full_like(near[:, :1], BACKGROUND)], dim=1).softmax(dim=1), away

    def _blocks(self, amount: Tensor) -> Blocks:
        """The networks that count, laid out in blocks."""
        sets, block = self.shape.sets, self.block
        with torch.no_grad():
            fixed = self.fixed or amount.is_cuda
            if fixed:
                network = amount.topk(self.shape.nearest, dim=1).indices.flatten()
                point = torch.arange(len(amount), device=amount.device).repeat_interleave(self.shape.nearest)
                order = network.argsort(stable=True)
                network, point = network[order], point[order]
            else:
                network, point = (amount.T > 0).nonzero().unbind(1)
            owner = self.set_of[network]
            count = torch.zeros(sets, dtype=torch.long, device=amount.device).index_add(0, owner, torch.ones_like(owner))
            blocks = (count + block - 1) // block
            last, before = blocks.cumsum(0), count.cumsum(0) - count
            row = block * (last - blocks)[owner] + torch.arange(len(owner), device=amount.device) - before[owner]
            number = len(owner) // block + sets if fixed else int(last[-1])
            every = torch.arange(number, device=amount.device)
            weights = torch.searchsorted(last, every, right=True).clamp(max=sets - 1)
        return Blocks(point, network, row, weights, number * block)

    def _local(
        self, x: Tensor, away: Tensor, codes: Tensor, owner: Tensor, blocks: Blocks, *, slopes: bool
    ) -> tuple[Tensor, Tensor]:
        """What the networks say of their points (P, 1 + F), and the gradient of the distance (P, 3), in the world's axes."""
        shape, block = self.shape, self.block
        mirror = self.mirror[blocks.network]
        anchored = blocks.network[:, None] < shape.anchors
        local = torch.where(anchored, _rows(away, blocks), x[blocks.point]) * mirror
        every = codes[:, None, : shape.code_global].expand(-1, shape.anchors + 1, -1)
        known = torch.cat([every, codes[:, shape.code_global :].unflatten(1, (shape.anchors + 1, shape.code_local))], dim=2)
        head = owner[blocks.point] * (shape.anchors + 1) + blocks.network

        def laid(values: Tensor) -> Tensor:
            """Rows of pairs (P, D) in blocks (K, B, D)."""
            return values.new_zeros(blocks.rows, values.shape[1]).index_copy(0, blocks.row, values).unflatten(0, (-1, block))

        def of_codes(weight: Tensor) -> Tensor:
            """What the codes add before an activation, (K, B, D): computed once for each network of each head."""
            once = torch.einsum("hai,aoi->hao", known, weight.index_select(0, self.set_of))
            return laid(once.flatten(0, 1).index_select(0, head))

        points = laid(local)
        hidden, before = points, []
        for index in range(shape.depth + 1):
            weight = self.weights[index]
            bias = self.biases[index].index_select(0, blocks.weights)[:, None]
            if index == self.skip:
                weight = weight / math.sqrt(2.0)
            if index in (0, self.skip):
                seen = weight[..., : -(shape.code_global + shape.code_local)]
                bias = bias + of_codes(weight[..., -(shape.code_global + shape.code_local) :])
                hidden = points if index == 0 else torch.cat([hidden, points], dim=2)
                weight = seen
            hidden = (
                torch.baddbmm(bias, hidden, weight.index_select(0, blocks.weights).transpose(1, 2))
                if (bias.shape[1] == block)
                else hidden @ weight.index_select(0, blocks.weights).transpose(1, 2) + bias
            )
            if index < shape.depth:
                before.append(hidden)
                hidden = functional.softplus(hidden, beta=SHARPNESS)
        output = hidden.flatten(0, 1).index_select(0, blocks.row)
        if not slopes:
            return output, output
        slope = self.weights[-1][:, :1].index_select(0, blocks.weights).expand(-1, block, -1)
        skipped: Tensor | float = 0.0
        for index in reversed(range(shape.depth)):
            weight = self.weights[index]
            if index == 0:
                weight = weight[..., :3]
            elif index == self.skip:
                weight = weight[..., : -(shape.code_global + shape.code_local)] / math.sqrt(2.0)
            slope = (slope * torch.sigmoid(SHARPNESS * before[index])) @ weight.index_select(0, blocks.weights)
            if index == self.skip:
                slope, skipped = slope.tensor_split([-3], dim=2)
        slope = slope + skipped
        return output, slope.flatten(0, 1).index_select(0, blocks.row) * mirror


def uniform(size: tuple[int, ...], bound: float, generator: torch.Generator) -> nn.Parameter:
    """A parameter whose values are drawn evenly from -bound to bound."""
    return nn.Parameter((2 * torch.rand(size, generator=generator) - 1) * bound)


def _fade(share: Tensor) -> Tensor:
    """From 0 to 1, smoothly, as a network's share grows through `FADE`."""
    t = ((share - FADE[0]) / (FADE[1] - FADE[0])).clamp(0, 1)
    return t * t * (3 - 2 * t)


def _fade_slope(share: Tensor) -> Tensor:
    t = ((share - FADE[0]) / (FADE[1] - FADE[0])).clamp(0, 1)
    return 6 * t * (1 - t) / (FADE[1] - FADE[0])


def _rows(away: Tensor, blocks: Blocks) -> Tensor:
    """Where the pairs' points are, seen from their anchors (P, 3); of the network without an anchor, from any."""
    return away[blocks.point, blocks.network.clamp(max=away.shape[1] - 1)]
