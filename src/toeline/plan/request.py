"""What `toeline plan` is asked, written once: the command line makes its options of the fields and their remarks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal, get_args

from typer import Option

from toeline.errors import SetupError

Task = Literal["inspect", "finetune"]
Dtype = Literal["auto", "float32", "bfloat16", "float16", "int8", "int4", "nf4"]


@dataclass(frozen=True, kw_only=True)
class PlanRequest:
    """What is to be planned, as the user typed it; `image` in pixels, `trim` in tokens, `chunk` in objects (0: all)."""

    judge: Annotated[str, Option(metavar="embedded|DIR|HUB_ID", help="What is to run.")] = "Qwen/Qwen2-VL-7B-Instruct"
    device: str = field(default="auto", metadata={"option": False})  # --device is repeatable: see PlanDevices
    task: Annotated[Task, "Inspect photographs, or fine-tune with LoRA."] = "inspect"
    objects: Annotated[int, "Objects on a photograph."] = 5
    image: Annotated[
        int | None,
        Option(metavar="PIXELS", help="Side at which a photograph is shown; by default the judge's own."),
    ] = None
    dtype: Annotated[Dtype, "How the weights are held; auto as the judge loads them."] = "auto"
    trim: Annotated[int, Option(metavar="TOKENS", help="Tokens that a trimmed vocabulary keeps; 0: all.")] = 0
    chunk: Annotated[int, Option(metavar="OBJECTS", help="Objects in one packed sequence; 0: all.")] = 0
    rank: Annotated[int, "LoRA rank, with --task finetune."] = 16
    checkpointing: Annotated[
        bool, Option("--checkpointing/--no-checkpointing", help="Compute activations twice to keep few.")
    ] = True
    cached_features: Annotated[bool, "Image features from disk, the vision tower not loaded."] = False
    qlora: Annotated[bool, "Frozen weights of the language model in NF4."] = False

    def __post_init__(self) -> None:
        """Raises SetupError for what cannot be planned."""
        from toeline.plan.model_shape import QUANTIZED  # late: --help does without

        if self.task not in get_args(Task):
            raise SetupError(f"unknown task {self.task!r}. Choose {' or '.join(get_args(Task))}.")
        if self.dtype not in get_args(Dtype):
            raise SetupError(f"unknown dtype {self.dtype!r}. Choose {', '.join(get_args(Dtype))}.")
        if self.task == "finetune" and self.dtype in QUANTIZED:
            raise SetupError(f"LoRA is not trained on {self.dtype} weights. Choose --qlora, which holds them in NF4.")
        least = {"objects": self.objects, "rank": self.rank, "image": 1 if self.image is None else self.image}
        if wrong := [name for name, value in least.items() if value < 1]:
            raise SetupError(f"--{wrong[0]} must be 1 or more.")
        if self.trim < 0 or self.chunk < 0:
            raise SetupError("--trim and --chunk must be 0 or more.")


@dataclass(frozen=True, kw_only=True)
class PlanDevices:
    """What is planned for: devices by name, or a card of which only the memory is known."""

    devices: Annotated[
        tuple[str, ...],
        Option(
            "--device",
            metavar="NAME",
            help="This machine (auto, cpu, cuda, mps) or a card: rtx3060, t4, a30 ...; repeatable: one table.",
        ),
    ] = ("auto",)
    memory: Annotated[
        float | None,
        Option(min=0.1, metavar="GB", help="Memory of a card that --device does not know, or has more or less of."),
    ] = None
