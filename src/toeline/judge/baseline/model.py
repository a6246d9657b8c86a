"""The baseline and its file: for each type a linear model and a forest, read with numpy alone. Knows numbers only."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import log_softmax

from toeline.core.calibration import USABLE
from toeline.core.reading import number, numbers, read_bytes, word
from toeline.core.words import cut
from toeline.data.pooling import COLUMNS
from toeline.errors import ModelError
from toeline.judge.baseline.features import VERSION, measure_names
from toeline.weights import tables_of, write_tables

if TYPE_CHECKING:
    from numpy.typing import NDArray


Scores = Mapping[
    str, Mapping[str, Mapping[str, float]]
]  # photograph's SHA-256 -> instance id -> answer -> log-probability

CLIP = 1.5  # standard deviations: beyond, a measure says no more; a new flight line is often out of the usual range
WIDE_CLIP = 2.0  # the same in the linear model that reads pooled features too
HEAD_BYTES = 100_000_000  # of a safetensors file, at most
LEAST = 0.005  # of every answer: what was never seen in training is unlikely, not impossible


@dataclass(frozen=True, eq=False)
class Forest:
    """Decision trees in one table of nodes. A leaf is its own left child; children come after their parent.

    `roots` (trees,), `feature`, `left`, `right` (nodes,) int32, `threshold` (nodes,) float64, `share` (nodes, answers)
    float32: what part of the training weight in a leaf has each answer. Raises ValueError for a table that would lead
    outside itself or round in circles.
    """

    roots: NDArray[np.int32]
    feature: NDArray[np.int32]
    threshold: NDArray[np.float64]
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    share: NDArray[np.float32]

    def __post_init__(self) -> None:
        nodes = np.arange(len(self.feature))
        if {len(self.threshold), len(self.left), len(self.right), len(self.share)} != {len(nodes)}:
            raise ValueError("the columns of the forest differ in length")
        leaf = self.left == nodes
        onward = (self.left > nodes) & (self.right > nodes) & (self.left < len(nodes)) & (self.right < len(nodes))
        inside = len(self.roots) > 0 and self.roots.min() >= 0 and self.roots.max() < len(nodes)
        if not (inside and (leaf | onward).all() and (self.feature >= 0).all()):
            raise ValueError("the forest leads outside itself")
        if not (np.isfinite(self.share).all() and (self.share >= 0).all()):
            raise ValueError("the forest holds shares that are no shares")

    @cached_property
    def _leaf(self) -> NDArray[np.bool_]:
        """(nodes,) which of them are leaves; found once, as a judge asks object by object."""
        return np.asarray(self.left == np.arange(len(self.left)))

    def probabilities(self, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        """(n, F) measures to (n, answers): the mean share over all trees. All trees go down one level at a time."""
        at, leaf = np.tile(self.roots, (len(rows), 1)), self._leaf
        row = np.arange(len(rows))[:, None]
        while not leaf[at].all():
            low = rows[row, self.feature[at]] <= self.threshold[at]
            at = np.where(leaf[at], at, np.where(low, self.left[at], self.right[at]))
        return np.asarray(self.share[at].mean(axis=1, dtype=np.float64))


@dataclass(frozen=True, eq=False)
class Linear:
    """A linear model of standardized columns: `mean` and `spread` (F,), at most `clip` of them; then `weights`
    (F, answers) and `bias` (answers,)."""

    mean: NDArray[np.float64]
    spread: NDArray[np.float64]
    weights: NDArray[np.float64]
    bias: NDArray[np.float64]
    clip: float = CLIP

    def __post_init__(self) -> None:
        columns = (len(self.weights),)
        if self.mean.shape != columns or self.spread.shape != columns or not (self.spread > 0).all():
            raise ValueError("measures cannot be standardized")
        if not all(np.isfinite(table).all() for table in (self.mean, self.spread, self.weights, self.bias)):
            raise ValueError("the linear model holds something that is not a number")

    def probabilities(self, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        """(n, F) columns to (n, answers)."""
        seen = standardized(rows, self.mean, self.spread, self.clip)
        return np.asarray(np.exp(log_softmax(seen @ self.weights + self.bias, axis=-1)))


@dataclass(frozen=True, eq=False)
class TypeModel:
    """The answers of one type: a linear model of standardized measures, and a forest of the measures as they are.

    With pretrained features `wide` is a linear model of measures and pooled features, which counts as much as both.
    """

    answers: tuple[str, ...]
    linear: Linear
    forest: Forest
    wide: Linear | None = None

    def __post_init__(self) -> None:
        n, measures = len(self.answers), len(self.linear.weights)
        by_answer = [self.forest.share.shape[1:]]
        for part in (self.linear, *([self.wide] if self.wide else [])):
            by_answer += [part.weights.shape[1:], part.bias.shape]
        if set(by_answer) != {(n,)}:
            raise ValueError(f"there are {n} answers, and scores of another number")
        if self.forest.feature.max() >= measures:
            raise ValueError("the forest asks for a measure that there is not")

    def log_probs(self, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        """(n, F) measures, then pooled features if any, to (n, answers) log-probabilities, not yet calibrated."""
        measures = rows[:, : len(self.linear.weights)]
        mean = (self.linear.probabilities(measures) + self.forest.probabilities(measures)) / 2
        if self.wide:
            mean = (mean + self.wide.probabilities(rows)) / 2
        return np.asarray(np.log(LEAST + (1 - LEAST * len(self.answers)) * mean))


@dataclass(frozen=True, eq=False)
class BaselineModel:
    """A trained baseline: `by_type` has a model for each type that training left more than one answer for.

    `classes` are the taxonomy's class names with their types, in its order; `names` the measures, in theirs.
    `temperature` divides log-probabilities. `facts` say what it was trained on and what it scored. `out_of_fold` are
    its scores, calibrated, of the objects it was trained on, each by a model that had not seen its flight line.
    `network` is the SHA-256 of the feature network whose features it reads beside the measures, or empty.
    `drawn` are models of drawn scenes, where such were learned from too; `gate` then says how like an object of these
    one is, and so how much they count.
    """

    kinds: tuple[str, ...]
    classes: Mapping[str, str]
    names: tuple[str, ...]
    by_type: Mapping[str, TypeModel]
    temperature: float = 1.0
    facts: Mapping[str, Any] = field(default_factory=dict)
    out_of_fold: Scores = field(default_factory=dict)
    network: str = ""
    drawn: Mapping[str, TypeModel] = field(default_factory=dict)
    gate: Linear | None = None

    def answers(self, kind: str) -> tuple[str, ...]:
        """The class names of a type, in the taxonomy's order."""
        return tuple(name for name, of in self.classes.items() if of == kind)

    def log_probs(self, kind: str, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        """(n, F) measures of objects of one type to (n, answers) calibrated log-probabilities.

        A type of which training saw nothing gets equal ones.
        """
        own, drawn = (models[kind].log_probs(rows) if kind in models else None for models in (self.by_type, self.drawn))
        if own is None and drawn is None:
            return np.full((len(rows), n := len(self.answers(kind))), -np.log(n))
        if own is not None and drawn is not None and self.gate:
            like_drawn = self.gate.probabilities(rows)[:, 1:]
            said = np.log((1 - like_drawn) * np.exp(own) + like_drawn * np.exp(drawn))
        else:
            said = np.asarray(drawn if own is None else own)
        return np.asarray(log_softmax(said / self.temperature, axis=-1))


def standardized(
    rows: NDArray[np.float32], mean: NDArray[np.float64], spread: NDArray[np.float64], clip: float = CLIP
) -> NDArray[np.float64]:
    """(n, F) columns in standard deviations from the mean, at most `clip` of them."""
    return np.clip((rows.astype(np.float64) - mean) / spread, -clip, clip)


def as_answers(log_probs: NDArray[np.float64], answers: Sequence[str]) -> dict[str, float]:
    """One row of log-probabilities by answer."""
    return {answer: float(value) for answer, value in zip(answers, log_probs, strict=True)}


KEY = "toeline_floor"
POOLED_VERSION = 2  # of a file with pretrained features too; raise both when pooling changes. VERSION has none
MIXED_VERSION = 3  # of a file with models of drawn scenes beside; with pretrained features or without
LINEAR = ("mean", "spread", "weights", "bias")  # all float64
FOREST = {
    "roots": np.int32,
    "feature": np.int32,
    "threshold": np.float64,
    "left": np.int32,
    "right": np.int32,
    "share": np.float32,
}
MOST_BYTES = 1 << 30  # a baseline has some MB
AGAIN = "Train it again with `toeline baseline DATA --out FILE`."


def save_baseline(model: BaselineModel, file: Path) -> None:
    """Write a baseline file, whole or not at all. The same model gives the same bytes."""
    tensors: dict[str, Any] = {}
    for before, models in (("", model.by_type), ("drawn.", model.drawn)):
        for i, part in enumerate(models.values()):
            tensors |= {f"{before}{i}.{name}": getattr(part.linear, name) for name in LINEAR}
            tensors |= {f"{before}{i}.wide.{name}": getattr(part.wide, name) for name in LINEAR if part.wide}
            tensors |= {f"{before}{i}.{name}": getattr(part.forest, name) for name in FOREST}
    mixed: dict[str, Any] = {}
    if model.gate:
        tensors |= {f"gate.{name}": getattr(model.gate, name) for name in LINEAR}
        mixed = {"version": MIXED_VERSION, "drawn": {kind: part.answers for kind, part in model.drawn.items()}}
    head = {
        **({"version": POOLED_VERSION, "network": model.network} if model.network else {"version": VERSION}),
        **mixed,
        "kinds": model.kinds,
        "classes": model.classes,
        "names": model.names,
        "answers": {kind: part.answers for kind, part in model.by_type.items()},
        "temperature": model.temperature,
        "facts": model.facts,
        "out_of_fold": model.out_of_fold,
    }
    write_tables(file, tensors, head, KEY)


def is_baseline(file: Path) -> bool:
    """Whether a file begins as one of these, of any version."""
    with file.open("rb") as opened:
        size = int.from_bytes(opened.read(8), "little")
        return KEY.encode() in opened.read(min(size, HEAD_BYTES))


def load_baseline(file: Path) -> tuple[BaselineModel, str]:
    """The model of a baseline file and the file's SHA-256. Raises ModelError, saying what to do, for any other file."""
    raw = read_bytes(file, ModelError, advice="This is to be a baseline file: check the path.", most=MOST_BYTES)
    head, tensors = tables_of(raw, file, KEY, what="baseline file", advice=AGAIN)
    if head.get("version") not in (VERSION, POOLED_VERSION, MIXED_VERSION):
        raise ModelError(f"{file}: holds measures of version {head.get('version')}; these are {VERSION}. {AGAIN}")
    try:
        model = _model(head, tensors)
        same = model.names == measure_names(model.kinds)
    except (KeyError, TypeError, ValueError, AttributeError) as why:
        raise ModelError(f"{file}: is damaged ({why}). Copy it again, or train it again.") from None
    if not same:
        raise ModelError(f"{file}: was trained on other measures than this Toeline takes. {AGAIN}")
    if lacking := set(model.kinds) - set(model.classes.values()):
        raise ModelError(f"{file}: has no class of type {cut(min(lacking))}. {AGAIN}")
    return model, hashlib.sha256(raw).hexdigest()


def _model(head: Mapping[str, Any], tensors: Mapping[str, Any]) -> BaselineModel:
    names = tuple(map(str, head["names"]))
    temperature = number(head["temperature"], "temperature", **USABLE)
    mixed = head["version"] == MIXED_VERSION
    network = word(head["network"], "network") if "network" in head else ""
    if head["version"] == POOLED_VERSION and not network:
        raise ValueError("it names no feature network")
    parts = _type_models(head, head["answers"], tensors, "", wide=bool(network))
    drawn = _type_models(head, head["drawn"], tensors, "drawn.", wide=bool(network)) if mixed else {}
    gate = _linear(tensors, "gate.", WIDE_CLIP) if mixed else None
    columns = len(names) + (COLUMNS if network else 0)
    if gate and gate.weights.shape != (columns, 2):
        raise ValueError(f"its gate has weights {gate.weights.shape} for {columns} columns")
    return BaselineModel(
        kinds=tuple(map(str, head["kinds"])),
        classes={word(name, "class"): word(kind, "type") for name, kind in head["classes"].items()},
        names=names,
        by_type=parts,
        temperature=temperature,
        facts=dict(head["facts"]),
        out_of_fold={
            photo: {instance: numbers(scores, "out_of_fold", high=0.0) for instance, scores in instances.items()}
            for photo, instances in head["out_of_fold"].items()
        },
        network=network,
        drawn=drawn,
        gate=gate,
    )


def _type_models(
    head: Mapping[str, Any], answers: Mapping[str, Any], tensors: Mapping[str, Any], before: str, *, wide: bool
) -> dict[str, TypeModel]:
    """The models whose tables stand under names that begin with `before`. Raises ValueError for ones that misfit."""
    measures = len(head["names"])
    parts = {
        kind: _type_model(f"{before}{i}", tuple(said), tensors, wide=wide)
        for i, (kind, said) in enumerate(answers.items())
    }
    for kind, part in parts.items():
        if len(part.linear.weights) != measures:
            raise ValueError(f"{kind} has {len(part.linear.weights)} weights for {measures} measures")
        if part.wide and len(part.wide.weights) != measures + COLUMNS:
            raise ValueError(f"{kind} has {len(part.wide.weights)} weights for {measures + COLUMNS} columns")
        if part.answers != tuple(name for name, of in head["classes"].items() if of == kind):
            raise ValueError(f"{kind} has other answers than classes")
    return parts


def _type_model(place: str, answers: tuple[str, ...], tensors: Mapping[str, Any], *, wide: bool) -> TypeModel:
    forest = {name: _table(tensors[f"{place}.{name}"], kind) for name, kind in FOREST.items()}
    return TypeModel(
        answers,
        _linear(tensors, f"{place}.", CLIP),
        Forest(**forest),
        _linear(tensors, f"{place}.wide.", WIDE_CLIP) if wide else None,
    )


def _linear(tensors: Mapping[str, Any], before: str, clip: float) -> Linear:
    return Linear(**{name: _table(tensors[f"{before}{name}"], np.float64) for name in LINEAR}, clip=clip)


def _table(found: Any, kind: Any) -> Any:
    if found.dtype != kind:
        raise ValueError(f"a table is of {found.dtype}, not {np.dtype(kind)}")
    return found
