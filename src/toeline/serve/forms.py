"""What requests hold and what answers hold, checked by pydantic; OpenAPI is made of it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from toeline.core.box import FAR
from toeline.serve.decisions import Decision
from toeline.serve.names import MOST_NAME, MOST_NOTE, plain, plain_key, plain_note

MOST_ID = 2**53  # whole numbers that JavaScript and SQLite both hold
Id = Annotated[int, Field(ge=1, le=MOST_ID)]
Seconds = Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]
Pixel = Annotated[float, Field(ge=-FAR, le=FAR, allow_inf_nan=False)]
Corners = Annotated[list[Pixel], Field(min_length=4, max_length=4)]
Key = Annotated[str, Field(min_length=8, max_length=80, pattern=r"^[\x21-\x7e]+$")]
Words = Annotated[str, Field(max_length=200)]
Name = Annotated[str, Field(min_length=1, max_length=MOST_NAME), AfterValidator(plain)]
BoxName = Annotated[str, Field(min_length=1, max_length=MOST_NAME), AfterValidator(plain_key)]
Note = Annotated[str, Field(max_length=MOST_NOTE), AfterValidator(plain_note)]


class Form(BaseModel):
    """What a request holds; a name that is not known is refused, so that a misspelled one is not lost."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class DecisionForm(Form):
    """One decision."""

    finding: Id | None = None
    version: Annotated[int, Field(ge=0, le=MOST_ID)] = 0
    action: Literal["confirm", "change", "reject", "unsure", "skip", "box", "add"]
    class_name: Words = Field("", alias="class")
    box: Corners | None = None
    photo: Id | None = None
    seconds: Seconds = 0.0
    key: Key

    def decision(self) -> Decision:
        """For decisions.py."""
        box = (self.box[0], self.box[1], self.box[2], self.box[3]) if self.box else None
        return Decision(
            action=self.action,
            key=self.key,
            finding=self.finding,
            version=self.version,
            class_name=self.class_name,
            box=box,
            photo=self.photo,
            seconds=self.seconds,
        )


class BatchForm(Form):
    """Several decisions."""

    items: Annotated[list[DecisionForm], Field(min_length=1, max_length=500)]


class UndoForm(Form):
    """Undo the last one."""

    key: Key


class BlindForm(Form):
    """An answer of the second review."""

    finding: Id
    action: Literal["change", "reject", "unsure"]
    class_name: Words = Field("", alias="class")
    seconds: Seconds = 0.0
    key: Key


class LoginForm(Form):
    """Name and password."""

    user: Annotated[str, Field(max_length=64)]
    password: Annotated[str, Field(max_length=1000)]


class SignForm(Form):
    """Who signs which inspection; the password again, unless the server is for this machine alone.

    The same `key` again gives the same sign-off: what got no answer can be sent again.
    """

    inspection: Id
    name: Annotated[Name, Field(min_length=2)]
    password: Annotated[str, Field(max_length=1000)] = ""
    note: Note = ""
    key: Key | None = None


MOST_BOXES = 100  # as many as a prompt names


class BoxForm(Form):
    """An object: its type, by its name in the taxonomy, and its corners in pixels of the upright photograph."""

    type: Words
    box: Corners


class StateForm(Form):
    """What is asked about: a photograph as a data URL, and all objects on it that are known, each by a name."""

    photograph: Annotated[str, Field(pattern=r"^data:image/[a-z0-9.+-]+;base64,")]
    boxes: Annotated[dict[BoxName, BoxForm], Field(min_length=1, max_length=MOST_BOXES)]


class ChoiceForm(Form):
    """Which class an object has. `criteria` are the options; without them, the classes of its type.

    `instructions` are taken because the protocol has them, and not shown to the judge: `asked` says what it was asked.
    """

    type: Literal["choice"] = "choice"
    instructions: Annotated[str, Field(max_length=10_000)] = ""
    criteria: Annotated[dict[Words, None], Field(min_length=2, max_length=MOST_BOXES)] | None = None


class SystemOneForm(Form):
    """Questions about the boxes of one photograph, each under the name of its box."""

    model: Words = "toeline"
    state: StateForm
    questions: Annotated[dict[BoxName, ChoiceForm], Field(min_length=1, max_length=MOST_BOXES)]


class ChoiceSaid(BaseModel):
    """The most probable option, and the probability of each; they sum to 1.

    `confidence` is how far the best stands above chance: (k p - 1) / (k - 1) of k options. `review` says why a person
    should look, and is empty otherwise. `asked` is what the judge was asked, empty for one that reads no words.
    """

    type: Literal["choice"] = "choice"
    choice: str
    confidence: Annotated[float, Field(ge=0, le=1)]
    probabilities: dict[str, float]
    review: str
    asked: str


class UsageSaid(BaseModel):
    """Tokens that the language model read, once for all questions; none are written."""

    input_tokens: int
    output_tokens: int = 0


class SystemOneSaid(BaseModel):
    """The answers by the names of the questions; `model` is the fingerprint of the models, as /version says it."""

    model: str
    answers: dict[str, ChoiceSaid]
    usage: UsageSaid


class FaultSaid(BaseModel):
    """What is wrong, where, and what to do; `code` is for programs."""

    model_config = ConfigDict(extra="allow")
    detail: str
    code: str


class Position(BaseModel):
    """Where on Earth; `accuracy_m` is null where only the camera's place is known."""

    latitude: float
    longitude: float
    accuracy_m: float | None


class DecisionSaid(BaseModel):
    """What a person decided."""

    event: int
    action: str
    class_name: str = Field(alias="class")
    condition: str
    box: list[float] | None
    user: str
    time: str
    seconds: float


class Item(BaseModel):
    """A finding: what the model said, and what was decided."""

    model_config = ConfigDict(extra="allow")
    id: int
    object: str
    photo_id: int
    photo: str
    inspection: int
    type: str
    class_name: str = Field(alias="class")
    condition: str
    probability: float | None
    probabilities: dict[str, float]
    confidence: float
    severity: str
    severity_rank: int
    action: str
    immediate: str
    review: bool
    review_reason: str
    box: list[float]
    position: Position | None
    version: int
    added: bool
    removed: bool
    decision: DecisionSaid | None


class Page(BaseModel):
    """One page of findings."""

    total: int
    page: int
    per_page: int
    items: list[Item]


class DoneSaid(BaseModel):
    """What came of a decision."""

    event: int
    finding: int
    version: int
    again: bool = False


class UndoneSaid(DoneSaid):
    """What was undone."""

    undone: int
    item: Item | None


class Session(BaseModel):
    """Who is logged in."""

    user: str
    role: str
    local: bool
    csrf: str


class Job(BaseModel):
    """A job: photographs that are inspected by the server."""

    id: int
    name: str
    state: Literal["waiting", "running", "done", "failed", "cancelled"]
    done: int
    total: int
    findings: int
    problems: int
    user: str
    created: str
    message: str
    inspection: int | None


Anything = dict[str, Any]
