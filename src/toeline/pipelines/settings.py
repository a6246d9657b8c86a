"""Settings of commands, written once: the command line makes its options of the fields and their remarks.

They stand here, and not beside what uses them, so that `toeline --help` need not load that.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from typer import Argument, Option

from toeline.core.prefetch import cores
from toeline.train.config import Classes

Data = Annotated[Path, Argument(metavar="DATA", help="A data set in YOLO layout, or its data.yaml.")]
Taxonomy = Annotated[Path | None, Option(metavar="FILE", help="Types and conditions of your own taxonomy.")]
Detector = Annotated[
    str, Option(metavar="embedded|PATH|HUB_ID", help="Finds the objects: .pt, .onnx, directory or hub id.")
]
Thresholds = Annotated[
    tuple[str, ...],
    Option(
        "--threshold", metavar="[TYPE=]0.4", help="Least confidence of the detector, for all types or one; repeatable."
    ),
]
Trust = Annotated[bool, "Let the detector's .pt or .bin run code as it is read: only from who you trust."]
Head = Annotated[
    str | None,
    Option(metavar="NAME", help="What an .onnx ends with, if it is unclear: yolov8, yolov5, rows or rtdetr."),
]
Model = Annotated[
    Path | None,
    Option(metavar="DIR", help="All parts from one folder of toeline learn or bundle, in place of those by name."),
]
Adapter = Annotated[Path | None, Option(metavar="DIR", help="A peft adapter for the judge.")]
Split = Annotated[str, "Its split to measure on: valid, test, train, or all if it has none."]
Device = Literal["auto", "cpu", "cuda", "mps"]
JudgeDevice = Annotated[Device, "Where the judge runs."]
Answers = Literal["type", "all"]
Link = Annotated[bool, Option("--link/--copy", help="Link photographs where possible, or copy them.")]
WORKERS = min(8, cores())  # threads, by default
Unnamed = Annotated[Path | None, Option(metavar="FILE", help="Class names if no file says any.")]
Cluster = Annotated[Literal["photo", "flight"], "What the bootstrap draws as a whole."]


def clusters(typed: Literal["photo", "flight"]) -> Literal["group", "photo"]:
    """What --cluster names, as the scorecard calls it."""
    return "group" if typed == "flight" else "photo"


@dataclass(frozen=True, kw_only=True)
class AnalyzeRun:
    """Settings of one analysis, as the user typed them."""

    data: Annotated[Path, Argument(metavar="DATA", help="A YOLO data set: its top folder, or its data.yaml.")]
    target: Annotated[float, Option(min=0.01, max=0.999, help="The accuracy that should be shown, as a share.")] = 0.90
    taxonomy: Taxonomy = None
    classes: Classes = None
    flight: Annotated[
        str | None,
        Option(metavar="PATTERN", help="Regular expression: what it matches in a file name is the flight line."),
    ] = None
    pixels: bool = field(default=True, metadata={"option": False})  # --no-pixels says the opposite
    workers: Annotated[int | None, Option(min=1, help="Processes that read and draw; as many as there are cores.")] = (
        None
    )


@dataclass(frozen=True, kw_only=True)
class DetectorScoring:
    """Settings of one measurement, as the user typed them; equal settings on the same data are the same run."""

    data: Data
    split: Split = "valid"
    detector: Detector = "embedded"
    against: Annotated[
        str | None, Option(metavar="embedded|none|PATH|HUB_ID", help="Another detector to set beside it.")
    ] = "embedded"
    thresholds: Annotated[
        tuple[str, ...],
        Option(
            "--threshold",
            metavar="[TYPE=]0.4",
            help="Least confidence in use, for all types or one; repeatable.",
        ),
    ] = ()
    trust: Trust = False
    head: Head = None
    cluster: Cluster = "photo"
    taxonomy: Annotated[Path | None, Option(metavar="FILE", help="Types of your own taxonomy.")] = None
    classes: Classes = None
    device: Annotated[Device, "Where detectors that need torch run."] = "auto"


@dataclass(frozen=True, kw_only=True)
class InspectRun:
    """Settings of one inspection, as the user typed them; equal settings are the same run."""

    photos: Annotated[
        tuple[Path, ...], Argument(metavar="PHOTOS", help="Photographs, or folders of them, also s3://...")
    ]
    detector: Detector = "embedded"
    thresholds: Thresholds = ()
    trust: Trust = False
    head: Head = None
    boxes: Annotated[
        Path | None, Option(metavar="LABELS_DIR", help="YOLO labels in place of a detector; types are kept.")
    ] = None
    judge: Annotated[
        str,
        Option(
            metavar="auto|embedded|PATH|HUB_ID",
            help="A model of the Qwen-VL families, openai:URL#MODEL on a server; auto: the package's, calibrated.",
        ),
    ] = "auto"
    adapter: Adapter = None
    answers: Annotated[Answers, "Class names of the object's type, or all, so that the judge can overrule it."] = "type"
    prior: Annotated[
        str,
        Option(
            metavar="off|content-free|FILE",
            help="Take off what a language model prefers unseen; FILE: prior.json of toeline evaluate --prior.",
        ),
    ] = "off"
    taxonomy: Taxonomy = None
    classes: Classes = None
    device: JudgeDevice = "auto"
    tile: Annotated[
        str, Option(metavar="auto|off|SIZE[,OVERLAP]", help="Pixels of the tiles that large photographs are cut in.")
    ] = "auto"
    calibration: Annotated[
        Path | None,
        Option(metavar="FILE", help="calibration.json of toeline evaluate --calibrate, for the same judge."),
    ] = None
    review_below: Annotated[
        float | None,
        Option(min=0, max=1, help="Less probable, a person should look; else the calibration's, or 0.5."),
    ] = None
    risk: Annotated[
        float | None,
        Option(min=0, max=100, metavar="PERCENT", help="Most wrong answers among those that nobody sees."),
    ] = None
    domain: Annotated[
        str,
        Option(metavar="auto|off|FILE", help="Photographs that the models were measured on; auto: as shipped."),
    ] = "auto"
    every: Annotated[
        float | None,
        Option(min=0.04, metavar="SECONDS", help="Videos: the time between frames; without it they are left out."),
    ] = None
    model: Model = None
    part: Annotated[
        str | None,
        Option(metavar="I/N", help="One of N shares of the photographs, as 2/4; toeline join merges them."),
    ] = None


@dataclass(frozen=True, kw_only=True)
class JoinRun:
    """Settings of `toeline join`, as the user typed them."""

    runs: Annotated[
        tuple[Path, ...], Argument(metavar="RUN...", help="The folders of all parts, of toeline inspect --part.")
    ]
    taxonomy: Annotated[
        Path | None, Option(metavar="FILE", help="Where the taxonomy of the parts lies on this machine, if elsewhere.")
    ] = None


@dataclass(frozen=True, kw_only=True)
class Extras:
    """What is written besides, which changes no finding."""

    pdf: Annotated[bool, Option("--pdf", help="Also report.pdf: cover, summary, the worst findings first.")] = False
    parquet: Annotated[bool, Option("--parquet", help="Also findings.parquet: typed, with nested probabilities.")] = (
        False
    )


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How fast, which changes nothing of what comes out: so another pace is no other run.

    A batch of 4 keeps a graphics card busy with a small detector, and few pictures in memory.
    """

    workers: Annotated[
        int, Option(min=0, max=64, help="Threads that read and draw; 0: all in one. Changes no result.")
    ] = WORKERS
    batch: Annotated[int, Option(min=1, max=256, help="Photographs that the detector is asked about at a time.")] = 4


@dataclass(frozen=True, kw_only=True)
class OnRay:
    """Where Ray inspects, which changes nothing of what comes out: so elsewhere it is no other run."""

    ray: Annotated[
        str | None,
        Option(metavar="local|auto|ADDRESS", help="Inspect by processes of Ray: here, or on the cluster of ADDRESS."),
    ] = None
    ray_actors: Annotated[
        int | None, Option(min=1, help="How many processes; else one for each GPU, or for four CPUs.")
    ] = None
    ray_gpus: Annotated[
        float | None, Option(min=0, metavar="SHARE", help="GPUs of each process, such as 0.5; else 1 if there are any.")
    ] = None


@dataclass(frozen=True, kw_only=True)
class EvaluateRun:
    """Settings of one evaluation, as the user typed them; equal settings on the same data are the same run.

    `boxes` is truth, detector, or a file of findings or folder of labels. `findings` replaces judge, boxes and
    detector, which are then empty. `decide` is score or generate (with `seed`), `relations` names what the prompt is
    told of them (prompts/relation_ablation.py). `answered` says how, when not by asking the judge (calibrate.py).
    """

    data: Data
    split: Split
    judge: Annotated[
        str, Option(metavar="auto|embedded|PATH|HUB_ID", help="What says the condition; auto: the package's.")
    ] = "auto"
    adapter: Adapter = None
    boxes: Annotated[
        str, Option(metavar="truth|detector|PATH", help="Whose boxes; PATH: findings.jsonl, or a labels folder.")
    ] = "truth"
    detector: Annotated[str, Option(metavar="embedded|PATH|HUB_ID", help="With --boxes detector.")] = "embedded"
    prompt: Annotated[
        str | None,
        Option(metavar="NAME|all|prompts.json", help="Another prompt than the judge's own; all: side by side."),
    ] = None
    answers: Annotated[Answers, "Class names of the object's type, or all."] = "type"
    prior: Annotated[
        str,
        Option(
            metavar="off|content-free|split[:NAME]|FILE",
            help="Take off what a language model prefers whatever it is shown: on gray, or on average on a split.",
        ),
    ] = "off"
    findings: Annotated[Path | None, Option(metavar="FILE", help="Score these saved findings; no model is loaded.")] = (
        None
    )
    taxonomy: Taxonomy = None
    classes: Classes = None
    device: JudgeDevice = "auto"
    decide: Annotated[
        Literal["score", "generate"], "Score the class names, or let the model write (50 tokens, temperature 0.7)."
    ] = "score"
    seed: Annotated[int, Option(min=0, help="With --decide generate.")] = 0
    relations: str = field(default="given", metadata={"option": False})
    thresholds: Thresholds = ()
    trust: Trust = False
    head: Head = None
    model: Model = None
    answered: str | None = field(default=None, metadata={"option": False})


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """How answers are counted; changing it needs no new answers. `targets` as typed: a name of TARGETS, or pairs.

    With `calibrate`, `risk` is the most percent that may be wrong of the answers that no person sees.
    """

    calibrate: Annotated[
        str | None, Option(metavar="SPLIT", help="Fit temperature and review threshold on this other split.")
    ] = None
    risk: Annotated[
        float, Option(min=0, max=100, metavar="PERCENT", help="With --calibrate: most wrong answers that nobody sees.")
    ] = 10.0
    cluster: Cluster = "photo"
    targets: Annotated[
        str, Option(metavar="none|zero-shot|fine-tuned|KEY=SHARE,...", help="What figures are held against.")
    ] = "none"
    spatial: Annotated[int, Option(min=0, help="Questions of each kind about where things lie; 0 leaves that out.")] = (
        150
    )

    @property
    def clusters(self) -> Literal["group", "photo"]:
        """As the scorecard calls it."""
        return clusters(self.cluster)


@dataclass(frozen=True, kw_only=True)
class SuggestRun:
    """Settings of `toeline suggest`."""

    n: Annotated[int, Option(min=1, help="Photographs to suggest, at most.")] = 50
    flight: Annotated[str | None, "Regular expression: what it matches in a file name is the flight line."] = None
    taxonomy: Annotated[Path | None, "Types and conditions of your own taxonomy (default: the run's)."] = None
    classes: Annotated[Path | None, "The file that names the class ids: data.yaml, classes.txt ..."] = None


@dataclass(frozen=True, kw_only=True)
class GalleryOptions:
    """Settings of `toeline gallery`; those of analysis/gallery.py are among them, by the same names."""

    data: Annotated[Path, Argument(metavar="DATA", help="A YOLO data set.")]
    flags: Annotated[
        Path | None, Option(metavar="ANALYSIS", help="Folder or analysis.json of `toeline analyze`: what it found.")
    ] = None
    per_class: Annotated[int, Option(min=1, help="Objects shown of each class, at most.")] = 60
    photographs: Annotated[int, Option(min=0, help="Whole photographs shown, at most.")] = 300
    per_problem: Annotated[int, Option(min=1, help="Pictures of each kind of problem, at most.")] = 60
    seed: Annotated[int, Option(min=0, help="Decides what is shown where there is more.")] = 0
    taxonomy: Taxonomy = None
    classes: Classes = None


@dataclass(frozen=True, kw_only=True)
class SplitOptions:
    """Settings of `toeline split`, as the user typed them."""

    data: Annotated[Path, Argument(metavar="DATA", help="A YOLO data set; all its splits are put together first.")]
    seed: Annotated[int, Option(min=0, help="Decides between ways to split that are about as good.")]
    by: Annotated[
        str, Option(metavar="flight|PATTERN", help="Flight line, or a regular expression for the file name.")
    ] = "flight"
    parts: Annotated[str, Option(metavar="NAME=SHARE,...", help="Parts and their shares.")] = (
        "train=0.75,valid=0.15,test=0.10"
    )
    link: Link = True
    taxonomy: Unnamed = None
    classes: Classes = None


@dataclass(frozen=True, kw_only=True)
class ConvertRun:
    """Settings of `toeline convert`."""

    data: Annotated[Path, Argument(metavar="DATA", help="A data set in the other format.")]
    to: Annotated[Literal["coco", "yolo", "fiftyone"], "The format to write."]
    shapes: Annotated[
        Literal["as-read", "boxes", "polygons"],
        "Write boxes and polygons as they are, all as boxes, or all as polygons.",
    ] = "as-read"
    link: Link = True
    taxonomy: Unnamed = None
    classes: Classes = None


@dataclass(frozen=True, kw_only=True)
class ExportRun:
    """Settings of `toeline export`."""

    run: Annotated[Path, Argument(metavar="RUN", help="What inspect or evaluate wrote; or a store of toeline serve.")]
    to: Annotated[
        Literal["yolo", "coco", "fiftyone", "labelstudio", "cvat", "kml", "geojson", "csv", "parquet"],
        "The format to write.",
    ]
    shapes: Annotated[
        Literal["as-read", "boxes", "polygons"],
        "Findings with an outline as they are, all as boxes, or all as polygons.",
    ] = "as-read"
    link: Link = True
    url: Annotated[str, Option(metavar="PREFIX", help="With labelstudio: what stands before a photograph's name.")] = (
        "/data/local-files/?d="
    )
    taxonomy: Annotated[Path | None, Option(metavar="FILE", help="Types and conditions, if not the run's.")] = None


@dataclass(frozen=True, kw_only=True)
class SynthRun:
    """Settings of `toeline synth`."""

    scenes: Annotated[int, Option(min=1, help="How many scenes to draw.")]
    seed: Annotated[int, Option(min=0, help="Same seed, same bytes.")]
    size: Annotated[int, Option(min=160, max=4096, help="Side of the square pictures in pixels.")] = 640
    workers: Annotated[int, Option(min=1, help="Processes that draw.")] = min(4, cores())
    gps: Annotated[
        str | None, Option(metavar="LAT,LON", help="Write a flight that begins there into the photographs.")
    ] = None


@dataclass(frozen=True, kw_only=True)
class CompareRun:
    """Settings of `toeline compare`."""

    runs: Annotated[
        tuple[Path, ...],
        Argument(metavar="RUN RUN...", help="Output folders of toeline evaluate; all against the first."),
    ]
    cluster: Cluster = "photo"
    taxonomy: Taxonomy = None


@dataclass(frozen=True, kw_only=True)
class RevisitRun:
    """Settings of `toeline revisit`."""

    before: Annotated[Path, Argument(metavar="BEFORE", help="What `toeline inspect` wrote of the first visit.")]
    after: Annotated[Path, Argument(metavar="AFTER", help="The same of the second one.")]
    sure: Annotated[
        float, Option(min=0.5, max=0.999, help="A change that is less probable than this is told as perhaps.")
    ] = 0.8
    store: Annotated[
        Path | None, Option(metavar="DIR", help="A store of toeline serve: what people decided replaces the answers.")
    ] = None
    taxonomy: Annotated[
        Path | None, Option(metavar="FILE", help="Types and severities for both visits, if not the runs' own.")
    ] = None


Check = Annotated[int, Option(min=1, max=1000, help="Photographs on which old and new scores are compared.")]
CheckData = Annotated[
    Path | None, Option(metavar="DATA", help="Take these from this data set in YOLO layout, in place of drawn ones.")
]


@dataclass(frozen=True, kw_only=True)
class MergeRun:
    """Settings of `toeline merge`; equal settings are the same run."""

    judge: Annotated[str, Argument(metavar="JUDGE", help="embedded, or a directory or hub id of the Qwen-VL families.")]
    adapter: Annotated[Path, Option(metavar="DIR", help="The peft adapter that is added to its weights.")]
    dtype: Annotated[
        Literal["bfloat16", "float16", "float32"], "In what the new weights are written; added in float32."
    ] = "bfloat16"
    check: Check = 4
    data: CheckData = None
    split: Split = "valid"
    taxonomy: Annotated[Path | None, Option(metavar="FILE", help="Your own taxonomy, for --data.")] = None
    device: JudgeDevice = "auto"


@dataclass(frozen=True, kw_only=True)
class TrimRun:
    """Settings of `toeline trim`; equal settings are the same run."""

    judge: Annotated[str, Argument(metavar="JUDGE", help="embedded, or a directory or hub id of the Qwen-VL families.")]
    taxonomies: Annotated[
        tuple[Path, ...],
        Option("--taxonomy", metavar="FILE", help="Your own taxonomy, beside the nine classes'; repeatable."),
    ] = ()
    words: Annotated[
        tuple[Path, ...],
        Option(metavar="PATH", help="A text whose words are kept too, or a folder whose file names are; repeatable."),
    ] = ()
    rows: Annotated[
        int, Option(min=64, help="So many tokens are kept at least: the most frequent besides those that are needed.")
    ] = 4096
    check: Check = 4
    data: CheckData = None
    split: Split = "valid"
    device: JudgeDevice = "auto"


@dataclass(frozen=True, kw_only=True)
class GateOptions:
    """On what judges are held against each other, and what must be kept, as the user typed it."""

    data: Annotated[Path, Option("--data", metavar="DATA", help="A data set in YOLO layout, or its data.yaml.")]
    split: Split = "valid"
    rules: Annotated[Path | None, Option(metavar="FILE", help="What must be kept, as TOML; by default gate.toml.")] = (
        None
    )
    allow_unproven: Annotated[
        bool, Option("--allow-unproven", help="Let a judge pass for which nothing is broken and not all is proven.")
    ] = False
    cluster: Cluster = "photo"
    taxonomy: Taxonomy = None
    classes: Classes = None
    device: JudgeDevice = "auto"


@dataclass(frozen=True, kw_only=True)
class GateRun:
    """The judges of one gate, as the user typed them. `adapter` belongs to the judge that is held `against`."""

    judges: Annotated[tuple[str, ...], Argument(metavar="NEW...", help="Smaller judges, each held against the other.")]
    against: Annotated[str, Option(metavar="embedded|PATH|HUB_ID", help="The judge that they come from.")]
    adapter: Annotated[Path | None, Option(metavar="DIR", help="A peft adapter for --against.")] = None


@dataclass(frozen=True, kw_only=True)
class QuantizeRun:
    """Settings of one quantization, as the user typed them; equal settings and options of its gate are the same run."""

    judge: Annotated[str, Argument(metavar="JUDGE", help="embedded, or a directory or hub id, in whole precision.")]
    to: Annotated[Literal["int8", "int4"], "int8: W8A8, by torchao; int4: NF4, by bitsandbytes."]
    adapter: Annotated[Path | None, Option(metavar="DIR", help="A peft adapter, added to the weights first.")] = None
    smooth: Annotated[
        int, Option(min=0, metavar="PHOTOGRAPHS", help="Of train, to move outliers into weights by; int8 only.")
    ] = 0


@dataclass(frozen=True, kw_only=True)
class BundleRun:
    """Settings of `toeline bundle`; equal settings are the same run."""

    detector: Detector = "embedded"
    judge: Annotated[
        str | None, Option(metavar="embedded|DIR|HUB_ID", help="A language model: whole, merged, trimmed or quantized.")
    ] = None
    adapter: Adapter = None
    baseline: Annotated[Path | None, Option(metavar="FILE", help="A baseline, alone or beside the judge.")] = None
    ensemble: Annotated[Path | None, Option(metavar="FILE.json", help="How judge and baseline are joined.")] = None
    calibration: Annotated[Path | None, Option(metavar="FILE", help="calibration.json for the judge.")] = None
    domain: Annotated[Path | None, Option(metavar="FILE", help="Photographs that the models were measured on.")] = None
    taxonomy: Taxonomy = None
    thresholds: Thresholds = ()
    prompt: Annotated[str | None, Option(metavar="NAME|prompts.json", help="Another prompt than the judge's own.")] = (
        None
    )
    scorecards: Annotated[
        tuple[Path, ...],
        Option("--scorecard", metavar="DIR", help="What gate, quantize or evaluate wrote of this judge; repeatable."),
    ] = ()
    allow_unproven: Annotated[
        bool, Option("--allow-unproven", help="Take quantized weights that no gate has promoted; inspect says so.")
    ] = False


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """Settings of `toeline serve`, as the user typed them."""

    store: Annotated[Path | None, Option(metavar="DIR", help="The store; it is made if it is not there.")] = None
    model: Annotated[
        str | None,
        Option(metavar="DIR|shipped", help="What inspects: a folder of toeline learn; without it, review alone."),
    ] = None
    host: Annotated[str, Option(metavar="ADDRESS", help="Where it listens; any but 127.0.0.1 needs accounts.")] = (
        "127.0.0.1"
    )
    port: Annotated[int, Option(min=1, max=65535, help="The port.")] = 8765
    photos: Annotated[
        tuple[Path, ...], Option(metavar="DIR", help="Folders below which jobs may name photographs; repeatable.")
    ] = ()
    behind_proxy: Annotated[
        bool,
        Option("--behind-proxy", help="A proxy on this machine speaks HTTPS: accounts, and cookies for HTTPS only."),
    ] = False
    device: JudgeDevice = "auto"
