"""Deals whole groups out to parts so that each part looks like the whole. Knows counts; knows no photographs.

A mixed-integer program, solved by HiGHS through scipy: "within 5 points" is linear in who goes where, so the solver
either finds a way or proves that there is none. Why not scikit-learn: docs/decisions/0006-split.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

NEAR = 0.05  # shares: how far a class's share in a part, and a part's size, may lie from what was asked
NODES = 100  # of the search tree; a limit on time would make the result depend on the machine
GAP = 0.05  # a way of dealing out that is this close to the best is good enough
MOST = 60  # units that are dealt out; more groups than that are first bundled at random, which keeps them whole
SEEDED = 0.02  # how much chance weighs beside the deviations: it only decides between ways that are about as good
# What a part may lack, in units of one part's whole deviation: an absent class is worse than any share that is off.
ABSENT, BEYOND = 20.0, 10.0
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Assignment:
    """`part_of[g]` is the index of the part that group g goes to.

    `met` says that every class's share in every part is within NEAR of the whole, and every part's size of what was
    asked; `proved` that, where it is not met, no way of dealing out whole groups does.
    """

    part_of: tuple[int, ...]
    met: bool
    proved: bool = False


def assign(
    photos: Sequence[int], objects: Sequence[Sequence[int]], shares: Sequence[float], *, seed: int
) -> Assignment:
    """Deal out groups of `photos[g]` photographs with `objects[g][c]` objects of class c to parts of these `shares`.

    `shares` sum to 1; no part stays empty when there are as many groups as parts. The same input and seed give the
    same result.
    """
    n, k = np.asarray(photos, dtype=np.int64), np.asarray(objects, dtype=np.int64).reshape(len(photos), -1)
    chance = np.random.default_rng(seed)
    unit_of = _bundled(n, chance)
    units = np.eye(int(unit_of.max()) + 1, dtype=np.int64)[unit_of].T  # (units, groups)
    program = _Program(units @ n, units @ k, np.asarray(shares, dtype=float), chance)
    strict, proved = program.solve(strict=True)
    chosen = strict if strict is not None else program.solve(strict=False)[0]
    if chosen is None:  # the limit on nodes came before any answer
        chosen = _greedy(program.photos, program.shares)
    return Assignment(tuple(int(p) for p in chosen[unit_of]), strict is not None, proved and len(n) <= MOST)


def _bundled(photos: Counts, chance: np.random.Generator) -> Counts:
    """The unit of each group: one unit a group, in an order of chance, or MOST bundles of about the same size."""
    if len(photos) <= MOST:
        return chance.permutation(len(photos))
    unit_of, filled = np.zeros(len(photos), dtype=np.int64), np.zeros(MOST)
    for g in np.lexsort((chance.random(len(photos)), -photos)):
        unit_of[g] = int(np.argmin(filled))
        filled[unit_of[g]] += photos[g]
    return unit_of


class _Program:
    """The linear program: x[g, p] is 1 when group g goes to part p, the other variables measure what is off."""

    def __init__(self, photos: Counts, objects: Counts, shares: NDArray[np.float64], chance: np.random.Generator):
        self.photos, self.objects, self.shares = photos, objects, shares
        self.groups, self.parts, self.classes = len(photos), len(shares), objects.shape[1]
        self.all_objects = max(int(objects.sum()), 1)
        self.of_whole = objects.sum(axis=0) / self.all_objects
        self.chance = chance.random((self.groups, self.parts)) * SEEDED / max(self.groups, 1)

    def solve(self, *, strict: bool) -> tuple[NDArray[np.int64] | None, bool]:
        """Part of each group, or None; and whether it is proved that there is none. Strict: NEAR is a hard limit."""
        from scipy.optimize import Bounds, LinearConstraint, milp

        matrix, low, high = self._constraints(strict=strict)
        upper = np.full(matrix.shape[1], np.inf)
        xs, pc = self.groups * self.parts, self.parts * self.classes
        upper[:xs] = 1
        upper[xs + 2 * pc : xs + 3 * pc] = 0 if strict else np.inf  # what is beyond NEAR
        found = milp(
            self._cost(strict=strict),
            constraints=LinearConstraint(matrix, low, high),
            integrality=np.arange(matrix.shape[1]) < xs,
            bounds=Bounds(0, upper),
            options={"node_limit": NODES, "mip_rel_gap": GAP},
        )
        if found.x is None:
            return None, found.status == 2  # 2: infeasible
        x = found.x[:xs].reshape(self.groups, self.parts)
        return np.argmax(x, axis=1), False

    def _cost(self, *, strict: bool) -> NDArray[np.float64]:
        """Deviations as shares of a part of the size that was asked, so that a small part counts like a large one."""
        each = np.repeat(1 / (self.shares * self.all_objects), self.classes)
        size = 1 / (self.shares * max(int(self.photos.sum()), 1))
        absent = np.full(each.shape, ABSENT)
        beyond = each * (0 if strict else BEYOND)
        return np.concatenate([self.chance.ravel(), each, absent, beyond, size])

    def _constraints(self, *, strict: bool) -> tuple[Any, list[float], list[float]]:
        """Rows over [x, deviation, absent, beyond, size off]; the middle three have one column per part and class."""
        from scipy.sparse import bmat, csr_matrix, eye, kron

        parts, pc = self.parts, self.parts * self.classes
        on_parts = eye(parts)
        once = kron(eye(self.groups), np.ones((1, parts)))
        sizes = kron(self.photos.reshape(1, -1), on_parts)
        total = self.objects.sum(axis=1)
        off = self._per_part(self.objects - np.outer(total, self.of_whole))
        slack = self._per_part(np.repeat(NEAR * total[:, None], self.classes, axis=1))
        held = self._per_part(self.objects)
        one, none = eye(pc), None
        rows = [
            [once, csr_matrix((self.groups, pc)), csr_matrix((self.groups, pc)), csr_matrix((self.groups, pc)),
             csr_matrix((self.groups, parts))],
            [off, -one, none, none, none],
            [-off, -one, none, none, none],
            [off - slack, none, none, -one, none],
            [-off - slack, none, none, -one, none],
            [held, none, one, none, none],
            [sizes, none, none, none, -on_parts],
            [-sizes, none, none, none, -on_parts],
            [sizes, none, none, none, none],
        ]  # fmt: skip
        return bmat(rows, format="csr"), *self._bounds(strict=strict)

    def _per_part(self, values: NDArray[Any]) -> Any:
        """(G, C) amounts as rows (P * C) over the columns x[g, p]: what each part gets of each class."""
        from scipy.sparse import eye, kron, vstack

        blocks = [kron(values.T, eye(self.parts).tocsr()[[p]]) for p in range(self.parts)]
        return vstack(blocks).tocsr()

    def _bounds(self, *, strict: bool) -> tuple[list[float], list[float]]:
        pc, inf, all_photos = self.parts * self.classes, np.inf, int(self.photos.sum())
        asked = self.shares * all_photos
        present = np.tile(np.minimum((self.objects > 0).any(axis=0), 1), self.parts)
        least = 1 if self.groups >= self.parts else 0
        most_off = NEAR * all_photos if strict else inf
        low = [*[1.0] * self.groups, *[-inf] * (4 * pc), *present, *[-inf] * (2 * self.parts)]
        low += [max(least, a - most_off) for a in asked]
        high = [*[1.0] * self.groups, *[0.0] * (2 * pc), *[0.0] * (2 * pc), *[inf] * pc]
        high += [*asked, *(-asked), *(min(all_photos, a + most_off) for a in asked)]
        return low, high


def _greedy(photos: Counts, shares: NDArray[np.float64]) -> NDArray[np.int64]:
    """Large units first, one to each part, then to the part that lacks most."""
    part_of, room = np.zeros(len(photos), dtype=np.int64), shares * photos.sum()
    for turn, g in enumerate(np.argsort(-photos, kind="stable")):
        part_of[g] = int(np.argmax(room if turn >= len(shares) else np.where(np.arange(len(shares)) == turn, 1, 0)))
        room[part_of[g]] -= photos[g]
    return part_of
