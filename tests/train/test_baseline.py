"""Training the floor: what it learns from, what it keeps apart, and that it is the same twice."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression
from tests.support.colored import write_colored

from toeline.cli import main
from toeline.core.taxonomy import Taxonomy
from toeline.data.pooling import COLUMNS
from toeline.data.yolo import open_yolo
from toeline.errors import LabelError, ModelError
from toeline.judge.baseline.model import WIDE_CLIP, load_baseline, save_baseline, standardized
from toeline.judge.load import load_judge
from toeline.train import baseline as floor_fit
from toeline.train.baseline import (
    MEASURE_WEIGHT,
    SHRINK,
    WIDE_SHRINK,
    FeatureTable,
    TrainedBaseline,
    fit,
    measured,
    train_baseline,
)
from toeline.train.config import BaselineRun

TAXONOMY = Taxonomy.load()


@pytest.fixture(autouse=True)
def few_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(floor_fit, "TREES", 3)
    monkeypatch.setattr(floor_fit, "LEAF", 1)


def accuracy(trained: TrainedBaseline) -> float:
    return float(np.mean(np.array(trained.said) == trained.table.classes))


def test_what_can_be_seen_is_learned(tmp_path: Path) -> None:
    trained = train_baseline(BaselineRun(data=write_colored(tmp_path)), TAXONOMY)
    assert accuracy(trained) > 0.9
    assert (trained.folds, trained.cut_by, trained.problems) == (4, "flight line", ())


def test_shuffled_labels_are_not_learned(tmp_path: Path) -> None:
    """Out-of-fold answers come from models that saw neither the object nor its flight line."""
    labels = sorted((write_colored(tmp_path) / "train" / "labels").glob("*.txt"))
    rng = np.random.default_rng(0)
    for file in labels:
        rows = [row.split() for row in file.read_text().splitlines()]
        for row in rows:
            row[0] = str(rng.choice([5, 6, 7]))
        file.write_text("\n".join(" ".join(row) for row in rows))
    assert accuracy(train_baseline(BaselineRun(data=tmp_path), TAXONOMY)) < 0.6


def test_only_the_named_split_is_read(tmp_path: Path) -> None:
    write_colored(tmp_path)
    before = train_baseline(BaselineRun(data=tmp_path), TAXONOMY)
    write_colored(tmp_path, split="valid", lines=2)
    for photo in (tmp_path / "valid" / "images").iterdir():
        photo.write_bytes(b"not to be opened")
    after = train_baseline(BaselineRun(data=tmp_path), TAXONOMY)
    assert after.model.facts == before.model.facts
    assert after.problems == ()


def test_same_data_and_seed_give_the_same_file(tmp_path: Path) -> None:
    write_colored(tmp_path)
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        save_baseline(train_baseline(BaselineRun(data=tmp_path, seed=seed), TAXONOMY).model, tmp_path / name)
    a, b, c = ((tmp_path / name).read_bytes() for name in "abc")
    assert a == b
    assert a != c


def test_pretrained_features_give_the_same_file_and_honest_scores(tmp_path: Path) -> None:
    """Out-of-fold scores come from models that saw no feature of the flight line either."""
    write_colored(tmp_path, lines=3, per_line=2)
    run = BaselineRun(data=tmp_path, features="pretrained")
    first, again = train_baseline(run, TAXONOMY), train_baseline(run, TAXONOMY)
    for name, trained in (("a", first), ("b", again)):
        save_baseline(trained.model, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert first.table.rows.shape == (18, 219 + COLUMNS)
    line = str(first.table.groups[0])
    others = first.table.only(first.table.groups != line)
    part = replace(first.model, by_type=fit(others, TAXONOMY, 0, pooled=COLUMNS))
    photo, instance, kind = (str(c[0]) for c in (first.table.photos, first.table.instances, first.table.kinds))
    said = part.log_probs(kind, first.table.rows[:1])[0]
    assert list(first.model.out_of_fold[photo][instance].values()) == pytest.approx(said, abs=1e-5)


def test_features_are_chosen_by_what_is_said_out_of_fold(tmp_path: Path) -> None:
    """Photographs are measured once, and the file is the one that the better features give by themselves."""
    write_colored(tmp_path, lines=3, per_line=2)
    looked: list[object] = []
    chosen = train_baseline(BaselineRun(data=tmp_path, features="auto", mix_drawn=2), TAXONOMY, step=looked.append)
    alone = {
        which: train_baseline(BaselineRun(data=tmp_path, features=which, mix_drawn=2), TAXONOMY)
        for which in ("measures", "pretrained")
    }
    assert len(looked) == 6
    losses = {which: one.log_loss for which, one in alone.items()}
    assert chosen.model.facts["log_loss_by_features"] == pytest.approx(losses, abs=1e-6)
    best = alone[min(losses, key=losses.__getitem__)]
    assert chosen.said == best.said
    assert chosen.log_loss == min(chosen.model.facts["log_loss_by_features"].values())
    assert (chosen.model.network, chosen.model.facts["features"]) == (best.model.network, best.model.facts["features"])


def test_drawn_scenes_get_models_of_their_own_and_a_gate(tmp_path: Path) -> None:
    """They change nothing that is said of photographs, and a drawn scene gets their answer."""
    data = write_colored(tmp_path / "data", lines=3, per_line=2)
    plain = train_baseline(BaselineRun(data=data), TAXONOMY)
    mixed = train_baseline(BaselineRun(data=data, mix_drawn=6), TAXONOMY, drawn=tmp_path / "drawn")
    assert mixed.model.facts["drawn"]["scenes"] == 6
    assert [len(part.rows) for part in (mixed.table, plain.table)] == [18, 18]
    assert mixed.model.out_of_fold.keys() == plain.model.out_of_fold.keys()
    assert mixed.said == plain.said
    gate = mixed.model.gate
    assert gate is not None
    assert gate.probabilities(mixed.table.rows)[:, 1].max() < 0.5
    save_baseline(mixed.model, tmp_path / "a")
    read, _ = load_baseline(tmp_path / "a")
    scenes, _ = measured(open_yolo(tmp_path / "drawn", TAXONOMY), "train", TAXONOMY, lambda _: None)
    assert gate.probabilities(scenes.rows)[:, 1].min() > 0.5
    for kind, of in mixed.model.drawn.items():
        rows = scenes.rows[scenes.kinds == kind]
        said = read.log_probs(kind, rows)
        assert said == pytest.approx(mixed.model.log_probs(kind, rows))
        assert said.argmax(axis=1).tolist() == of.log_probs(rows).argmax(axis=1).tolist()


def test_a_gate_of_other_columns_is_refused(tmp_path: Path) -> None:
    data = write_colored(tmp_path / "data", lines=2, per_line=2)
    model = train_baseline(BaselineRun(data=data, mix_drawn=4), TAXONOMY).model
    assert model.gate is not None
    narrow = replace(model.gate, mean=model.gate.mean[:9], spread=model.gate.spread[:9], weights=model.gate.weights[:9])
    save_baseline(replace(model, gate=narrow), tmp_path / "a")
    with pytest.raises(ModelError, match="gate"):
        load_baseline(tmp_path / "a")


def test_pooled_features_are_read_by_a_linear_model_of_their_own() -> None:
    """The measures count twice as much as pooled features in its penalty, and it counts as much as the other two."""
    found = table()
    wide = replace(found, rows=np.hstack([found.rows[:, 6:], found.rows[:, :6]]))
    plain, both = (fit(part, TAXONOMY, 0, pooled=n)["slope_drain"] for part, n in ((table_of(wide), 0), (wide, 6)))
    assert both.wide is not None
    assert plain.wide is None
    rows, target = wide.rows[wide.kinds == "slope_drain"], np.arange(30) % 2
    mean, spread = rows.mean(axis=0, dtype=float), rows.std(axis=0, dtype=float)
    seen = standardized(rows, mean, spread, WIDE_CLIP) * np.repeat([MEASURE_WEIGHT, 1], 6)
    expected = LogisticRegression(C=WIDE_SHRINK, class_weight="balanced", max_iter=2000).fit(seen, target)
    assert both.wide.probabilities(rows)[:, :2] == pytest.approx(expected.predict_proba(seen), abs=1e-6)
    mixed = (np.exp(plain.log_probs(rows[:, :6])) + expected.predict_proba(seen) @ np.eye(2, 3)) / 2
    assert np.exp(both.log_probs(rows)) == pytest.approx(mixed, abs=0.006)


def table_of(wide: FeatureTable) -> FeatureTable:
    """The same objects with the measures alone."""
    return replace(wide, rows=wide.rows[:, :6])


def test_one_flight_line_is_cut_by_photograph(tmp_path: Path) -> None:
    trained = train_baseline(BaselineRun(data=write_colored(tmp_path, lines=1)), TAXONOMY)
    assert (trained.cut_by, trained.folds) == ("photograph", 4)


@pytest.mark.parametrize(
    ("lines", "per_line", "split", "said"),
    [(1, 1, "train", "one photograph"), (2, 1, "night", r"no split 'night'\. Choose one of: train")],
)
def test_too_little_is_refused(tmp_path: Path, lines: int, per_line: int, split: str, said: str) -> None:
    write_colored(tmp_path, lines=lines, per_line=per_line)
    with pytest.raises(LabelError, match=said):
        train_baseline(BaselineRun(data=tmp_path, split=split), TAXONOMY)


def test_a_data_set_of_types_only_is_refused(tmp_path: Path) -> None:
    write_colored(tmp_path)
    (tmp_path / "data.yaml").write_text("names: [toe drain, toe_drain, rock toe, rock_toe, slope drain, slope_drain]\n")
    with pytest.raises(LabelError, match="names types and no conditions"):
        train_baseline(BaselineRun(data=tmp_path), TAXONOMY)


def test_a_damaged_photograph_is_reported_and_the_rest_is_learned(tmp_path: Path) -> None:
    write_colored(tmp_path)
    (tmp_path / "train" / "images" / "LineA_0_V.png").write_bytes(b"nonsense")
    trained = train_baseline(BaselineRun(data=tmp_path), TAXONOMY)
    assert [Path(p.file).name for p in trained.problems] == ["LineA_0_V.png"]
    assert len(set(trained.table.photos)) == 15


def table(n: int = 60) -> FeatureTable:
    """Two types of objects by 12 measures; no slope drain is damaged, and there is no toe drain at all."""
    rng = np.random.default_rng(1)
    kinds = np.array(["slope_drain", "rock_toe"] * (n // 2))
    classes = np.array(
        [("slope drain", "slope drain blocked")[i // 2 % 2] if i % 2 == 0 else "rock toe" for i in range(n)]
    )
    rows = rng.normal(size=(n, 12)) + 3 * (classes == "slope drain blocked")[:, None]
    return FeatureTable(rows.astype(np.float32), kinds, classes, kinds, kinds, kinds)


def test_models_say_what_scikit_learn_says() -> None:
    found = table()
    (kind,) = models = fit(found, TAXONOMY, seed=3)
    assert kind == "slope_drain"
    part = found.only(found.kinds == kind)
    target = np.array([TAXONOMY.answers(kind).index(c) for c in part.classes])
    trees = ExtraTreesClassifier(3, min_samples_leaf=1, max_features=0.2, class_weight="balanced", random_state=3)
    expected = trees.fit(part.rows, target).predict_proba(part.rows)
    assert models[kind].forest.probabilities(part.rows)[:, :2] == pytest.approx(expected, abs=1e-6)
    mean, spread = part.rows.mean(axis=0, dtype=float), part.rows.std(axis=0, dtype=float)
    linear = LogisticRegression(C=SHRINK, class_weight="balanced", max_iter=2000)
    said = linear.fit(standardized(part.rows, mean, spread), target).predict_proba(
        standardized(part.rows, mean, spread)
    )
    assert np.exp(models[kind].log_probs(part.rows))[:, :2] == pytest.approx((said + expected) / 2, abs=0.02)


def test_what_was_never_seen_is_unlikely_and_not_impossible() -> None:
    found = table()
    model = fit(found, TAXONOMY, seed=0)["slope_drain"]
    damaged = np.exp(model.log_probs(found.rows[:4]))[:, model.answers.index("slope drain damaged")]
    assert ((damaged > 0.001) & (damaged < 0.01)).all()


def test_the_command_writes_a_file_that_inspects(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, file = write_colored(tmp_path / "data"), tmp_path / "floor.safetensors"
    with pytest.raises(SystemExit) as done:
        main(["floor", str(data), "--out", str(file), "--json"])
    assert done.value.code == 0
    said = json.loads(capsys.readouterr().out)
    figures = {f["key"]: f for f in said["cross_validated"]["figures"]}
    low, high = figures["accuracy"]["interval"]
    assert figures["accuracy"]["n"] == 48
    assert low <= figures["accuracy"]["value"] <= high
    assert load_baseline(file)[0].facts["cross_validated"] == said["cross_validated"]
    photos, labels = data / "train" / "images", data / "train" / "labels"
    with pytest.raises(SystemExit) as done:
        main(
            ["inspect", str(photos), "--boxes", str(labels), "--judge", f"floor:{file}", "--out", str(tmp_path / "run")]
        )
    assert done.value.code == 0
    assert len((tmp_path / "run" / "findings.jsonl").read_text().splitlines()) == 48
    assert load_judge(f"floor:{file}").info["objects"] == 48
