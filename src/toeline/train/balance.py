"""What rare classes get in training, from factorized counts: how rare the type is, times how rare the condition in it.

Knows counts and names; knows no photograph and no model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from toeline.core.taxonomy import Taxonomy

# Powers of the inverse frequency: 0 counts objects alike, 1 counts types (conditions) alike. Half way, because the
# headline counts objects alike and a class of 50 objects weighted fully is learned by heart (Cui et al. 2019,
# arXiv 1901.05555, find the same with "effective numbers").
TYPE_POWER = 0.5
CONDITION_POWER = 0.5


def class_weights(counts: Mapping[str, int], taxonomy: Taxonomy) -> dict[str, float]:
    """How much an object of each class counts, 1 on average over all objects.

    >>> weights = class_weights({"rock toe": 1, "rock toe damaged": 4}, Taxonomy.load())
    >>> round(weights["rock toe"] / weights["rock toe damaged"], 3)
    2.0
    """
    there = {name: n for name, n in counts.items() if n}
    of_type: Counter[str] = Counter()
    for name, n in there.items():
        of_type[taxonomy.class_of(name).type] += n
    rarity = {}
    for name, n in there.items():
        whole = of_type[taxonomy.class_of(name).type]
        rarity[name] = whole**-TYPE_POWER * (n / whole) ** -CONDITION_POWER
    mean = sum(rarity[name] * n for name, n in there.items()) / max(1, sum(there.values()))
    return {name: r / mean for name, r in rarity.items()}


Turn = tuple[int, int]  # photograph, and the how-manieth picture of it this is


def order_of(
    classes: Sequence[Sequence[str]], *, epochs: int, seed: int, weights: Mapping[str, float] | None = None
) -> list[Turn]:
    """Which photograph comes when, epoch after epoch; the same seed gives the same order on any machine.

    Each photograph once an epoch, shuffled; with `weights`, as many draws as photographs, each with a chance as large
    as the mean weight of its objects.
    """
    rng, n = np.random.default_rng((seed, 7)), len(classes)
    chances = None
    if weights is not None:
        means = np.array([np.mean([weights.get(c, 1.0) for c in names]) if names else 1.0 for names in classes])
        chances = means / means.sum()
    seen: Counter[int] = Counter()
    turns = []
    for _ in range(epochs):
        drawn = rng.permutation(n) if chances is None else rng.choice(n, size=n, p=chances)
        for i in drawn.tolist():
            turns.append((i, seen[i]))
            seen[i] += 1
    return turns
