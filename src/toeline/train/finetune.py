"""Fine-tunes a judge: packed photographs, transformers' Trainer, the best epoch kept, the same result after a kill.

One photograph with all its questions is one packed sequence, and the loss is of the answers over their tree: what is
trained is what inspection reports.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from toeline.core.finding import Problem
from toeline.core.taxonomy import Taxonomy
from toeline.data.yolo import open_dataset
from toeline.errors import LabelError, SetupError, need
from toeline.train.adapter import (
    LoraLearner,
    advice,
    is_out_of_memory,
    load_judge,
    own_view,
    prepare,
    save,
    source_of,
    view_of,
)
from toeline.train.callbacks import Log
from toeline.train.config import LoraRun
from toeline.train.datasets import Joined, SheetPool, TrainingSplit, counted, read_labeled_split
from toeline.train.feature_cache import FeatureStore, look
from toeline.train.loss import Packer, answered, headline
from toeline.train.samples import Photos, Plain, Stream
from toeline.train.sampling import arguments_of, class_weights, ends_of, order_of

LOG, ADAPTER, MODEL, CHECKPOINTS, DRAWN = "log.jsonl", "adapter", "model", "checkpoints", "drawn"
LIBRARIES = ("peft", "accelerate", "bitsandbytes")  # the judge's own facts name the others
Tell = Callable[[str, int, int, "dict[str, Any] | None"], None]


@dataclass(frozen=True)
class TrainingData:
    """What is learned from: the photographs, what each class weighs, and what was wrong with files and labels."""

    taxonomy: Taxonomy
    train: TrainingSplit
    valid: TrainingSplit | None
    weights: Mapping[str, float]
    problems: tuple[Problem, ...]

    @property
    def counts(self) -> Mapping[str, int]:
        """How often each class is asked about in one pass."""
        return counted(self.train.classes(self.taxonomy))


@dataclass(frozen=True)
class TrainedAdapter:
    """What a run left: `folder` is the adapter, or the model when all weights were trained; `facts` go in run.json."""

    folder: Path
    facts: Mapping[str, Any]
    log: Log


def read_training_data(run: LoraRun, data: Path) -> TrainingData:
    """Open the data set. A missing validation split is a problem that is told; raises LabelError for all worse."""
    taxonomy = Taxonomy.load(run.taxonomy)
    dataset = open_dataset(data, taxonomy, classes=run.classes)
    train = read_labeled_split(dataset, run.split, taxonomy)
    problems, valid = list(train.problems), None
    try:
        valid = read_labeled_split(dataset, run.valid, taxonomy)
        problems += valid.problems
    except LabelError as why:
        todo = "Name another one with --valid; without it the last epoch is kept, and nothing is measured."
        problems.append(Problem("", str(data), str(why), todo))
    weights = {} if run.balance == "none" else class_weights(counted(train.classes(taxonomy)), taxonomy)
    return TrainingData(taxonomy, train, valid, weights, tuple(dict.fromkeys(problems)))


def finetune(run: LoraRun, training_data: TrainingData, out: Path, *, resume: bool, tell: Tell) -> TrainedAdapter:
    """Train, and write the best epoch's adapter (or model), log.jsonl and checkpoints into `out`.

    With `resume` it continues from the last checkpoint, to the same weights as without the interruption. `tell` hears
    the stage, photographs done and in all, and each line of the log. Raises ToelineError; running out of memory is a
    SetupError that says what to change.
    """
    import torch

    need("accelerate", extra="train")
    if run.threads:
        torch.set_num_threads(run.threads)
    try:
        return _Finetuning.of(run, training_data, out, tell).train(resume=resume)
    except (RuntimeError, MemoryError) as why:
        if not is_out_of_memory(why):
            raise
        raise SetupError(advice(run, str(why))) from None


@dataclass(frozen=True)
class _Finetuning:
    """What the parts of one training share. `args` are transformers'; `plain` is the validation split."""

    run: LoraRun
    training_data: TrainingData
    out: Path
    tell: Tell
    stream: Stream
    plain: Plain | None
    store: FeatureStore | None
    args: Any

    @classmethod
    def of(cls, run: LoraRun, training_data: TrainingData, out: Path, tell: Tell) -> _Finetuning:
        """Everything that is known before a weight is loaded."""
        out.mkdir(parents=True, exist_ok=True)
        stream = stream_of(run, training_data, out)
        plain = Plain(training_data.valid, training_data.taxonomy, stream.view) if training_data.valid else None
        args = arguments_of(run, out / CHECKPOINTS, len(stream))
        return cls(run, training_data, out, tell, stream, plain, _store(run), args)

    @property
    def kept(self) -> Path:
        """Where the best weights are written."""
        return self.out / (MODEL if self.run.all_weights else ADAPTER)

    def train(self, *, resume: bool) -> TrainedAdapter:
        """Features first, if they are kept; then the model is loaded and trained."""
        if self.store is not None:
            self._fill(self.store)
        vision = self.store is None
        learner = prepare(self.run, load_judge(self.run, vision=vision))
        log = Log(self.out / LOG)
        self._loop(learner, log, resume=resume)
        return TrainedAdapter(self.kept, self._facts(learner), log)

    def _fill(self, store: FeatureStore) -> None:
        """Let the vision tower see every picture that is not in the store yet; each process takes its share."""
        shares = [slice(self.args.process_index, None, self.args.world_size)]
        turns = self.stream.distinct()[shares[0]]
        plain = range(len(self.plain) if self.plain else 0)[shares[0]]
        total = len(turns) + len(plain)

        def rows() -> Iterator[Any]:
            for n, i in enumerate(turns):
                self.tell("features", n, total, None)
                yield self.stream[i]
            for n, i in enumerate(plain, start=len(turns)):
                self.tell("features", n, total, None)
                assert self.plain is not None
                yield self.plain[i]

        judge = None
        for shown in store.missing(rows()):
            judge = judge or load_judge(self.run)
            store.write(shown, look(judge, shown))
        self.tell("features", total, total, None)
        del judge
        release()
        self.args.distributed_state.wait_for_everyone()

    def _loop(self, learner: LoraLearner, log: Log, *, resume: bool) -> None:
        """Run the training loop with what this run validates, keeps and tells."""
        from toeline.train.callbacks import Watch, learn

        weights = self.training_data.weights if self.run.balance == "weights" else {}
        packer = Packer(
            learner.judge, weights, max_tokens=self.run.max_tokens, store=self.store, dense=self.run.dense > 0
        )
        watch = Watch(
            log,
            ends_of(len(self.stream) // self.run.epochs, self.run.epochs, self.run.accumulate, self.args.world_size),
            measure=lambda: self._measure(packer),
            keep=lambda: save(learner, self.kept, name=self.run.judge) if self.args.process_index == 0 else None,
            patience=self.run.patience,
            tell=lambda done, line: self.tell("train", done, len(self.stream), line),
        )
        learn(learner.wrapped, self.args, self.stream, packer, watch, resume=resume)

    def _measure(self, packer: Packer) -> dict[str, float] | None:
        """The headline on the validation split: how many conditions are right, given the type, and the mean loss."""
        if self.plain is None:
            return None
        mine = range(self.args.process_index, len(self.plain), self.args.world_size)
        found = answered(packer, (self.plain[i] for i in mine))
        if self.args.world_size > 1:
            from accelerate.utils import gather_object

            found = gather_object(found)
        return headline(found)

    def _facts(self, learner: LoraLearner) -> dict[str, Any]:
        """What the result depends on, for run.json."""
        from importlib.util import find_spec

        training_data, judge = self.training_data, learner.judge
        return {
            "judge": {**judge.info, "view": asdict(judge.view)},
            "parameters": learner.parameters,
            "trained_parameters": learner.trained,
            "checkpointing": learner.checkpointing,
            "data": {
                "train": training_data.train.record(),
                "valid": training_data.valid.record() if training_data.valid else {},
            },
            "class_counts": dict(training_data.counts),
            "class_weights": dict(training_data.weights),
            "processes": self.args.world_size,
            "libraries": {name: _version(name) for name in LIBRARIES if find_spec(name)},
        }


def _version(name: str) -> str:
    from importlib.metadata import version

    return version(name)


def stream_of(run: LoraRun, training_data: TrainingData, out: Path) -> Stream:
    """The photographs in the order of training, drawn scenes among them."""
    photos: Photos = replace(training_data.train, drawn_by=training_data.taxonomy) if run.dense else training_data.train
    classes = training_data.train.classes(training_data.taxonomy)
    if run.mix_drawn:
        pool = SheetPool.drawn(out / DRAWN, scenes=run.mix_drawn, seed=run.seed, taxonomy=training_data.taxonomy)
        photos = Joined((training_data.train, pool))
        classes = [*classes, *([] for _ in range(len(pool)))]
    weights = training_data.weights if run.balance == "oversample" else None
    turns = order_of(classes, epochs=run.epochs, seed=run.seed, weights=weights)
    view = view_of(run, own_view(run))
    return Stream(photos, turns, training_data.taxonomy, view, run.seed, run.variants if run.cache_features else None)


def _store(run: LoraRun) -> FeatureStore | None:
    """Where image features are kept, for these weights in this precision."""
    from toeline.judge.checkpoint import find_folder, pick_dtype
    from toeline.weights import hashes, pick_device

    if run.cache_features is None:
        return None
    dtype = str(pick_dtype(run.dtype, pick_device(run.device)))
    return FeatureStore.of(run.cache_features, {"weights": hashes(find_folder(source_of(run))), "dtype": dtype})


def release() -> None:
    """Give memory of models that are no longer used back, to the GPU too."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
