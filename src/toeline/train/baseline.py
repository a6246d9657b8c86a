"""Trains the baseline: measures one split, cross-validates by flight line, calibrates on that, fits on everything."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import log_softmax

from toeline.core.calibration import fit_temperature, log_loss, padded
from toeline.core.finding import Problem, Step
from toeline.core.reading import file_hash
from toeline.core.taxonomy import Taxonomy
from toeline.data.datasets import look_at_each
from toeline.data.feature_maps import FeatureNetwork, feature_network
from toeline.data.images import read_photo
from toeline.data.pooling import COLUMNS
from toeline.data.split import folds_of, in_turn
from toeline.data.yolo import LabeledScene, YoloSet, open_yolo
from toeline.errors import LabelError
from toeline.judge.baseline.features import columns, measure_names
from toeline.judge.baseline.model import (
    CLIP,
    WIDE_CLIP,
    BaselineModel,
    Forest,
    Linear,
    Scores,
    TypeModel,
    as_answers,
    standardized,
)
from toeline.train.config import MIXED_IN, BaselineRun, Features

if TYPE_CHECKING:
    from numpy.typing import NDArray


TEMPERATURES = (0.2, 5.0)  # narrower than usual: out-of-fold scores of few objects leave it open


@dataclass(frozen=True, eq=False)
class TrainedBaseline:
    """A baseline and, for each object it was trained on, what it said without having seen that flight line.

    `cut_by` is "flight line", or "photograph" where all photographs are of one; `table.groups` are then photographs.
    """

    model: BaselineModel
    table: FeatureTable
    said: tuple[str, ...]
    log_loss: float
    folds: int
    cut_by: str
    problems: tuple[Problem, ...]


def train_baseline(
    run: BaselineRun, taxonomy: Taxonomy, *, step: Step = lambda _: None, drawn: Path | None = None
) -> TrainedBaseline:
    """Measure, cross-validate, calibrate and fit. Raises LabelError where there is nothing to learn from.

    With features "auto" photographs are measured once, and the features of less log loss out of fold are kept.
    `step` is called after each photograph with what was wrong with it. Drawn scenes are kept in the folder `drawn`,
    where one is given. They get models of their own, and a gate that tells their objects from those of photographs.
    """
    found = open_yolo(run.data, taxonomy, classes=run.classes)
    network = None if run.features == "measures" else feature_network()
    table, problems = measured(found, run.split, taxonomy, step, network)
    cut_by = "flight line"
    if len(set(table.groups)) == 1:  # the name says no more than that all were taken together
        table, cut_by = replace(table, groups=table.photos), "photograph"
    folds = min(run.folds, len(set(table.groups)))
    if folds < 2:
        raise LabelError(f"{run.data}: {run.split} is one photograph, and cross-validation needs two. Add some.")
    scenes = drawn_table(run, taxonomy, network, drawn)
    asked: tuple[Features, ...] = ("measures", "pretrained") if run.features == "auto" else (run.features,)
    tried = [_trained(replace(run, features=which), taxonomy, table, scenes, network, folds) for which in asked]
    best = min(tried, key=lambda one: one.log_loss)
    losses = {which: one.log_loss for which, one in zip(asked, tried, strict=True)}
    model = replace(best.model, facts={**best.model.facts, "log_loss_by_features": losses}) if tried[1:] else best.model
    return replace(best, model=model, cut_by=cut_by, problems=tuple(problems))


def _trained(
    run: BaselineRun,
    taxonomy: Taxonomy,
    table: FeatureTable,
    scenes: FeatureTable | None,
    network: FeatureNetwork | None,
    folds: int,
) -> TrainedBaseline:
    """Cross-validate, calibrate and fit, on all columns or, with the features "measures", without the pooled ones."""
    if network and run.features == "measures":
        table, scenes, network = table.measures, scenes and scenes.measures, None
    pooled = COLUMNS if network else 0
    model = BaselineModel(
        kinds=tuple(t.name for t in taxonomy.types),
        classes={c.name: c.type for c in taxonomy.classes},
        names=measure_names(tuple(t.name for t in taxonomy.types)),
        by_type=fit(table, taxonomy, run.seed, pooled=pooled),
        network=network.sha256 if network else "",
        drawn=fit(scenes, taxonomy, run.seed, pooled=pooled) if scenes else {},
        gate=fit_gate(table, scenes) if scenes else None,
    )
    raw = cross_validated(model, table, taxonomy, folds, run.seed, scenes)
    answers = [model.answers(kind) for kind in table.kinds]
    right = [options.index(name) for options, name in zip(answers, table.classes, strict=True)]
    asked = [i for i, options in enumerate(answers) if len(options) > 1]
    temperature = fit_temperature([raw[i] for i in asked], [right[i] for i in asked], bounds=TEMPERATURES)
    model = replace(model, temperature=round(temperature, 4))
    calibrated = [log_softmax(scores / model.temperature) for scores in raw]
    said = tuple(options[int(s.argmax())] for options, s in zip(answers, calibrated, strict=True))
    model = replace(
        model, facts=_facts(run, taxonomy, table, model, scenes), out_of_fold=_kept(table, answers, calibrated)
    )
    loss = log_loss(padded([calibrated[i] for i in asked]), [right[i] for i in asked])
    return TrainedBaseline(model, table, said, loss, folds, "flight line", ())


def drawn_table(
    run: BaselineRun, taxonomy: Taxonomy, network: FeatureNetwork | None, folder: Path | None
) -> FeatureTable | None:
    """The objects of the drawn scenes that are mixed in; None without any. Raises LabelError for another taxonomy."""
    from toeline.synth.dataset import write_dataset

    if not run.mix_drawn:
        return None
    with tempfile.TemporaryDirectory() as made:
        scenes = folder or Path(made)
        write_dataset(scenes, scenes=run.mix_drawn, seed=run.seed + MIXED_IN, parts={"train": 1.0}, masks=False)
        return measured(open_yolo(scenes, taxonomy), "train", taxonomy, lambda _: None, network)[0]


def measured(
    found: YoloSet, split: str, taxonomy: Taxonomy, step: Step, network: FeatureNetwork | None = None
) -> tuple[FeatureTable, list[Problem]]:
    """All labeled objects of all photographs that can be read. Raises LabelError when there are none."""
    kinds = [t.name for t in taxonomy.types]
    rows: list[NDArray[np.float32]] = []
    known: list[tuple[str, str, str, str, str]] = []

    def measure(labeled: LabeledScene) -> None:
        if labeled.ground_truths:
            row = columns(labeled.scene, read_photo(labeled.path), kinds, network)
            sha256 = file_hash(labeled.path)
            rows.append(row)
            known.extend(_known(labeled, sha256))

    problems = look_at_each(found, split, taxonomy, measure, step)
    if not rows:
        raise LabelError(f"{found.root}: there is no object with a condition in this split. Name labeled photographs.")
    return FeatureTable(np.concatenate(rows), *(np.array(column) for column in zip(*known, strict=True))), problems


def _known(labeled: LabeledScene, sha256: str) -> Iterator[tuple[str, str, str, str, str]]:
    ground_truths = {ground_truth.instance_id: ground_truth for ground_truth in labeled.ground_truths}
    for instance in labeled.scene.instances:
        yield instance.type_name, ground_truths[instance.id].class_name, labeled.scene.flight_line, sha256, instance.id


def cross_validated(
    model: BaselineModel, table: FeatureTable, taxonomy: Taxonomy, folds: int, seed: int,
    scenes: FeatureTable | None = None,
) -> list[NDArray[np.float64]]:  # fmt: skip
    """Log-probabilities of each object by a model that saw no photograph of its flight line; not yet calibrated."""
    said: list[NDArray[np.float64]] = [np.zeros(0)] * len(table.rows)
    for seen, unseen in in_turn(folds_of(table.groups.tolist(), folds)):
        known = table.only(np.array(seen))
        part = replace(
            model, by_type=fit(known, taxonomy, seed, pooled=COLUMNS if model.network else 0),
            gate=fit_gate(known, scenes) if scenes else None,
        )  # fmt: skip
        for i in unseen:
            said[i] = part.log_probs(str(table.kinds[i]), table.rows[i : i + 1])[0]
    return said


def _kept(table: FeatureTable, answers: Sequence[tuple[str, ...]], said: Sequence[NDArray[np.float64]]) -> Scores:
    kept: dict[str, dict[str, dict[str, float]]] = {}
    for photo, instance, options, scores in zip(table.photos, table.instances, answers, said, strict=True):
        kept.setdefault(str(photo), {})[str(instance)] = as_answers(scores.round(6), options)
    return kept


def _facts(
    run: BaselineRun, taxonomy: Taxonomy, table: FeatureTable, model: BaselineModel, scenes: FeatureTable | None
) -> dict[str, Any]:
    """What the file says of its own making; no date and no path, so that the same data and seed give the same bytes."""
    data = hashlib.sha256()
    for column in (table.photos, table.instances, table.classes):
        data.update("\n".join(map(str, column)).encode())
    words = json.dumps([asdict(taxonomy)["types"], asdict(taxonomy)["classes"]])
    return {
        "split": run.split,
        "seed": run.seed,
        "features": run.features,
        "photographs": len(set(table.photos)),
        "objects": len(table.rows),
        "flight_lines": len(set(table.groups)),
        **({"drawn": {"scenes": run.mix_drawn, "objects": len(scenes.rows)}} if scenes else {}),
        "data_sha256": data.hexdigest(),
        "taxonomy": taxonomy.name,
        "taxonomy_sha256": hashlib.sha256(words.encode()).hexdigest(),
        "temperature": model.temperature,
        "versions": {name: version(name) for name in (*LIBRARIES, *(["onnxruntime"] if model.network else []))},
    }


LIBRARIES = ("numpy", "scikit-learn", "opencv-python-headless", "toeline")
SHRINK = 0.01  # inverse strength of the linear models' penalty (C), on standardized measures
WIDE_SHRINK = 0.0033  # the same where pooled features are read too; there ...
MEASURE_WEIGHT = 2  # ... a measure counts as much as four pooled features: 219 against 928
TREES = 200
LEAF = 5  # fewest objects in a leaf
TRIED = 0.2  # share of the measures that each split chooses from
CONSTANT = 1e-9  # a measure that varies less is the same for all objects
NEVER = -30.0  # e to this is nothing; what is left of an answer that was never seen is model.LEAST


@dataclass(frozen=True, eq=False)
class FeatureTable:
    """What training knows: `rows` (n, F), and of each of the n objects its type, class, flight line, photograph, id."""

    rows: NDArray[np.float32]
    kinds: NDArray[np.str_]
    classes: NDArray[np.str_]
    groups: NDArray[np.str_]
    photos: NDArray[np.str_]  # SHA-256
    instances: NDArray[np.str_]

    def only(self, which: NDArray[Any]) -> FeatureTable:
        """The objects at these places."""
        return FeatureTable(*(column[which] for column in vars(self).values()))

    @property
    def measures(self) -> FeatureTable:
        """The same without the pooled features, which are its last columns."""
        return replace(self, rows=np.ascontiguousarray(self.rows[:, :-COLUMNS]))


def fit(table: FeatureTable, taxonomy: Taxonomy, seed: int, *, pooled: int = 0) -> dict[str, TypeModel]:
    """A model for each type of which the table shows two answers or more; sklearn is needed here and nowhere later.

    The last `pooled` columns of the table are pooled features.
    """
    models = {}
    for t in taxonomy.types:
        part = table.only(table.kinds == t.name)
        if len(set(part.classes)) > 1:
            models[t.name] = _fit_type(part, taxonomy.answers(t.name), seed, pooled)
    return models


def _fit_type(part: FeatureTable, answers: tuple[str, ...], seed: int, pooled: int) -> TypeModel:
    from sklearn.ensemble import ExtraTreesClassifier

    n, measures = len(answers), part.rows[:, : part.rows.shape[1] - pooled]
    target = np.array([answers.index(name) for name in part.classes])
    trees = ExtraTreesClassifier(
        TREES, min_samples_leaf=LEAF, max_features=TRIED, class_weight="balanced", random_state=seed
    ).fit(measures, target)
    narrow = _linear(measures, target, n, penalty=SHRINK, clip=CLIP, share=np.ones(measures.shape[1]))
    return TypeModel(answers, narrow, _forest(trees, n), fit_wide(part.rows, target, n, pooled) if pooled else None)


def fit_wide(rows: NDArray[np.float32], target: NDArray[np.int64], n: int, pooled: int) -> Linear:
    """The linear model of n answers that reads measures and, in the last `pooled` columns, pooled features."""
    share = np.repeat([MEASURE_WEIGHT, 1.0], [rows.shape[1] - pooled, pooled])
    return _linear(rows, target, n, penalty=WIDE_SHRINK, clip=WIDE_CLIP, share=share)


GATE_SHRINK = 0.01  # as SHRINK


def fit_gate(photographs: FeatureTable, scenes: FeatureTable) -> Linear:
    """Tells objects of photographs (answer 0) from those of drawn scenes (1) by all columns."""
    rows = np.concatenate([photographs.rows, scenes.rows])
    target = np.repeat([0, 1], [len(photographs.rows), len(scenes.rows)])
    return _linear(rows, target, 2, penalty=GATE_SHRINK, clip=WIDE_CLIP, share=np.ones(rows.shape[1]))


def _linear(
    rows: NDArray[np.float32],
    target: NDArray[np.int64],
    n: int,
    *,
    penalty: float,
    clip: float,
    share: NDArray[np.float64],
) -> Linear:
    """A linear model of n answers; one that was never seen gets the bias NEVER. `share` (F,) scales the standardized
    columns before they are penalized alike, by the inverse of `penalty`."""
    from sklearn.linear_model import LogisticRegression

    mean, spread = rows.mean(axis=0, dtype=np.float64), rows.std(axis=0, dtype=np.float64)
    spread = np.where(spread > CONSTANT, spread, 1.0)
    model = LogisticRegression(C=penalty, class_weight="balanced", max_iter=2000)
    model.fit(standardized(rows, mean, spread, clip) * share, target)
    coefficients, intercept = model.coef_, model.intercept_
    if len(model.classes_) == 2:  # scikit-learn keeps one row for two classes: that of the second against the first
        coefficients, intercept = np.vstack([0 * coefficients, coefficients]), np.append(0.0, intercept)
    weights, bias = np.zeros((rows.shape[1], n)), np.full(n, NEVER)
    weights[:, model.classes_], bias[model.classes_] = coefficients.T * share[:, None], intercept
    return Linear(mean, spread, weights, bias, clip)


def _forest(trees: Any, n: int) -> Forest:
    """scikit-learn's trees in one table; its children come after their parents, and its leaves have child -1."""
    parts, start = [], 0
    for tree in (t.tree_ for t in trees.estimators_):
        own = np.arange(tree.node_count)
        leaf = tree.children_left < 0
        share = np.zeros((tree.node_count, n), np.float32)
        value = tree.value[:, 0, :]
        share[:, trees.classes_] = value / value.sum(axis=1, keepdims=True)
        left, right = (
            np.where(leaf, own, c) + start for c in (tree.children_left, np.where(leaf, own, tree.children_right))
        )
        parts.append((start, np.where(leaf, 0, tree.feature), np.where(leaf, 0.0, tree.threshold), left, right, share))
        start += tree.node_count
    roots, feature, threshold, left, right, share = zip(*parts, strict=True)
    return Forest(
        np.array(roots, np.int32),
        np.concatenate(feature).astype(np.int32),
        np.concatenate(threshold).astype(np.float64),
        np.concatenate(left).astype(np.int32),
        np.concatenate(right).astype(np.int32),
        np.concatenate(share),
    )
