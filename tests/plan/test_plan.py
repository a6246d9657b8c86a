"""Verdicts, advice and limits, and the command that says them."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from toeline.cli.app import app
from toeline.errors import SetupError
from toeline.pipelines import plan as plan_check
from toeline.plan import plan as advice_room
from toeline.plan.cost import Flop
from toeline.plan.devices import KNOWN, Device, find_device
from toeline.plan.model_shape import find_model
from toeline.plan.plan import GB, GIB, Plan, advise, limits, make_plan, seconds
from toeline.plan.request import PlanRequest

SEVEN = find_model("Qwen/Qwen2-VL-7B-Instruct")


def planned(device: str = "a30", **asked: Any) -> Plan:
    return make_plan(PlanRequest(judge=SEVEN.name, device=device, **asked), SEVEN, KNOWN[device])


def test_the_7b_on_an_a30() -> None:
    plan = planned()
    assert plan.fits
    assert sum(line.size for line in plan.load) == 16_582_751_232
    assert 17.0e9 < plan.total < 17.6e9
    assert advise(plan).changes == ()
    packed, generated, _ = plan.ways
    assert packed.seconds == pytest.approx(0.31, abs=0.05)
    assert generated.seconds is not None
    assert generated.seconds > 15 * packed.seconds


def test_bf16_lora_fits_42_gb_with_checkpointing_and_float32_did_not() -> None:
    assert planned("m2max-42", task="finetune").fits
    tried = planned("m2max-42", task="finetune", dtype="float32", checkpointing=False)
    assert not tried.fits  # what the user met
    assert [change.option for change in advise(tried).changes] == ["--checkpointing"]


def test_lora_of_the_7b_on_an_a30_takes_checkpointing_but_no_qlora() -> None:
    assert planned(task="finetune", objects=18).fits
    hungry = advise(planned(task="finetune", objects=18, checkpointing=False))
    assert [change.what for change in hungry.changes] == ["checkpointing"]
    assert hungry.plan.fits


def test_advice_is_the_shortest_and_its_numbers_add_up() -> None:
    plan = planned("t4")
    found = advise(plan)
    assert [change.option for change in found.changes] == ["--trim 4096"]
    assert plan.total - sum(change.saves for change in found.changes) == found.plan.total <= plan.device.memory
    two = advise(planned("t4", task="finetune", checkpointing=False))
    assert len(two.changes) == 2
    assert two.plan.fits


def test_advice_says_when_nothing_helps() -> None:
    tiny = replace(KNOWN["t4"], memory=1_000_000_000)
    found = advise(make_plan(PlanRequest(judge=SEVEN.name), SEVEN, tiny))
    assert [change.option for change in found.changes] == ["--trim 4096", "--dtype nf4"]
    assert not found.plan.fits


def test_the_unit_decides_what_meets_a_limit() -> None:
    found = {f"{x.what} < {x.number}": x for x in limits(SEVEN, objects=5)}
    assert list(found) == [
        *(f"model size {name}" for name in ("FP16 < 14", "INT8 < 7", "INT4 < 4")),
        *(f"GPU memory {name}" for name in ("FP16 < 16", "INT8 < 8")),
    ]
    for limit in found.values():
        assert limit.tries[0].size > limit.number * GIB, "none is met by the whole vocabulary"
    size = found["model size FP16 < 14"]
    assert (size.meets(GIB), size.meets(GB)) == (size.tries[1], size.tries[2])
    assert size.tries[1].what == "half precision, trimmed"
    memory = found["GPU memory FP16 < 16"]
    assert memory.meets(GB) == memory.meets(GIB) == memory.tries[1]
    assert found["model size INT4 < 4"].meets(GB) == found["model size INT4 < 4"].tries[3]


def test_a_small_model_meets_every_limit_untouched() -> None:
    from toeline.judge.load import EMBEDDED

    model = find_model("embedded", embedded=EMBEDDED)
    assert all(limit.meets(GB) == limit.tries[0] for limit in limits(model, objects=5))
    assert advise(make_plan(PlanRequest(judge="embedded"), model, KNOWN["a30"])).changes == ()


def test_qwen3_vl_4b_meets_every_target_untrimmed_and_plan_says_so() -> None:
    model = find_model("Qwen/Qwen3-VL-4B-Instruct")
    sizes = {limit.what: round(limit.tries[0].size / GB, 2) for limit in limits(model, objects=5)}
    assert all(limit.meets(GB) == limit.meets(GIB) == limit.tries[0] for limit in limits(model, objects=5))
    assert [sizes[f"model size {name}"] for name in ("FP16", "INT8", "INT4")] == [8.88, 4.84, 3.48]
    said = " ".join(run("--judge", model.name, "--device", "a30").output.split())
    assert "All five targets for size and for the memory of an A30 are met with the whole vocabulary." in said
    assert "meets it in" not in said


def test_a_photograph_is_640_pixels_wide_for_every_family() -> None:
    for name in ("Qwen/Qwen2-VL-7B-Instruct", "Qwen/Qwen3-VL-4B-Instruct"):
        view = find_model(name).view
        assert view.scene_tokens * view.cell**2 == pytest.approx(640**2, rel=0.02)


def test_a_fit_with_little_to_spare_is_called_tight() -> None:
    plan = planned()
    assert not plan.tight
    assert replace(plan, device=replace(plan.device, memory=plan.total)).tight
    assert not replace(plan, device=replace(plan.device, memory=plan.total - 1)).tight


def test_seconds_are_the_longer_of_computing_and_reading() -> None:
    device = Device("x", "x", "cuda", 10, {"half": 200.0}, 100.0)  # 100 per second, 75 bytes per second
    assert seconds(Flop(50, 0, 0), device, "bfloat16", 30, reads=1) == pytest.approx(0.5)
    assert seconds(Flop(1, 0, 0), device, "bfloat16", 30, reads=1) == pytest.approx(0.4)
    assert seconds(Flop(1, 0, 0, steps=2), device, "bfloat16", 30, reads=1) == pytest.approx(1.2)
    assert seconds(Flop(1, 0, 0), replace(device, flops={}), "bfloat16", 30, reads=1) is None


def test_this_machine_is_measured() -> None:
    here = find_device("cpu")
    assert here.tested
    assert here.memory > 10**8
    assert here.rate("float32") > 1e8
    assert here.reading > 1e7


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"task": "sleep"}, "unknown task 'sleep'"),
        ({"dtype": "int3"}, "unknown dtype 'int3'"),
        ({"task": "finetune", "dtype": "int8"}, "--qlora"),
        ({"objects": 0}, "--objects must be 1"),
        ({"rank": 0}, "--rank must be 1"),
        ({"image": 0}, "--image must be 1"),
        ({"trim": -1}, "--trim and --chunk"),
    ],
)
def test_what_cannot_be_planned_is_told(asked: dict[str, Any], said: str) -> None:
    with pytest.raises(SetupError, match=said):
        PlanRequest(judge="x", **asked)


def test_an_unknown_device_lists_the_known_ones() -> None:
    with pytest.raises(SetupError, match="rtx4090"):
        find_device("abacus")


def run(*words: str) -> Any:
    return CliRunner().invoke(app, ["plan", *words], catch_exceptions=False, env={"COLUMNS": "200"})


def test_the_command_answers_the_question_first() -> None:
    said = run("--device", "a30")
    assert said.exit_code == 0
    first = said.output.splitlines()[0]
    assert first.startswith("Fits. Qwen/Qwen2-VL-7B-Instruct in bfloat16 needs 17.")
    for figure in ("8,291,375,616", "544,997,376", "16.58", "half precision, trimmed (13.47)"):
        assert figure in said.output
    assert "Cannot be met with the whole vocabulary, in either unit: model size FP16 < 14" in " ".join(
        said.output.split()
    )


def test_no_is_an_answer_and_no_error() -> None:
    said = run("--device", "t4")
    assert said.exit_code == 0
    assert said.output.startswith("Does not fit.")
    assert "With vocabulary trimmed to 4,096 tokens it takes" in said.output
    assert "--trim 4096" in said.output


def test_json_holds_the_sums() -> None:
    found = json.loads(run("--device", "m2max-42", "--task", "finetune", "--json").output)
    assert found["fits"] is True
    assert found["parameters"]["all"] == 8_291_375_616
    at_work = sum(found["memory"]["at_work"].values())
    assert found["total_bytes"] == found["load_bytes"] + at_work + found["memory"]["allowance"]
    assert found["limits"] == []
    assert found["check"] is None


def test_check_measures_what_was_planned() -> None:
    found = json.loads(run("--judge", "embedded", "--device", "cpu", "--objects", "3", "--check", "--json").output)
    rows = {row["what"]: row for row in found["check"]["rows"]}
    assert rows["weights"]["measured"] == rows["weights"]["planned"]
    for what in ("longest sequence", "peak beside the weights"):
        assert rows[what]["measured"] == pytest.approx(rows[what]["planned"], rel=0.25)
    assert rows["one photograph"]["measured"] > 0


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"device": "a30"}, "is another"),
        ({"device": "cpu", "dtype": "int8"}, "as it is on disk"),
        ({"device": "cpu", "task": "finetune"}, "as it is on disk"),
    ],
)
def test_check_refuses_what_it_cannot_run(asked: dict[str, Any], said: str) -> None:
    plan = planned()
    with pytest.raises(SetupError, match=said):
        plan_check.refuse(replace(plan, asked=PlanRequest(judge=SEVEN.name, **asked)))


def test_the_command_refuses_to_check_another_machine() -> None:
    with pytest.raises(SetupError, match="a30 is another"):
        run("--judge", "embedded", "--device", "a30", "--check")


def test_check_does_not_load_what_does_not_fit() -> None:
    plan = planned("t4")
    with pytest.raises(SetupError, match="does not fit"):
        plan_check.refuse(replace(plan, asked=PlanRequest(judge=SEVEN.name, device="cpu")))


def test_trimming_is_advised_at_the_size_that_the_limits_count_with() -> None:
    assert advice_room.TRIMMED == 4_096


@pytest.mark.parametrize("device", sorted(KNOWN))
@pytest.mark.parametrize("task", ["inspect", "finetune"])
def test_what_is_advised_can_be_typed(device: str, task: str) -> None:
    """Every command that is advised is one of this version, and takes the options that it is advised with."""
    plan = planned(device, task=task, objects=40, checkpointing=False)
    known = {str(command.name): command for command in get_command(app).commands.values()}  # type: ignore[attr-defined]
    for typed in plan_check.commands(plan, advise(plan)):
        program, name, *words = typed.split()
        options = {word for word in words if word.startswith("--")}
        assert program == "toeline"
        assert options <= {option for parameter in known[name].params for option in parameter.opts}


def test_advice_of_two_steps_takes_what_the_step_before_wrote() -> None:
    plan = make_plan(PlanRequest(judge=SEVEN.name), SEVEN, replace(KNOWN["t4"], memory=6_500_000_000))
    assert plan_check.commands(plan, advise(plan)) == [
        f"toeline trim {SEVEN.name} --rows 4096 --out runs/trimmed",
        "toeline quantize runs/trimmed --to int4 --data DATA --split valid --out runs/int4",
        "toeline inspect PHOTOS --judge runs/int4/model --out runs/first",
    ]


def test_several_devices_are_one_table() -> None:
    said = run(*(word for name in ("3060", "RTX 3090", "4070", "a10", "v100") for word in ("--device", name)))
    rows = {re.split(r" \d+ GB", line)[0].strip("│ "): line for line in said.output.splitlines()}
    assert " no " in rows["NVIDIA GeForce RTX 3060"]
    assert " yes " in rows["NVIDIA GeForce RTX 3090"]
    assert "vocabulary trimmed" in rows["NVIDIA V100 SXM2"]
    found = json.loads(run("--device", "rtx3060", "--device", "a10", "--json").output)["plans"]
    assert [plan["fits"] for plan in found] == [False, True]


def test_of_an_unknown_card_the_memory_is_enough() -> None:
    found = json.loads(run("--memory", "12", "--json").output)
    assert (found["fits"], found["device"]["memory"]) == (False, 12_000_000_000)
    assert found["time"][0]["seconds"] is None
    assert found["commands"][-1].startswith("toeline inspect PHOTOS --judge runs/")
    half = json.loads(run("--device", "a100-80", "--memory", "40", "--json").output)
    assert (half["device"]["memory"], half["fits"]) == (40_000_000_000, True)


def test_the_words_are_explained() -> None:
    said = " ".join(run("--device", "t4").output.split())
    assert "What to type toeline trim Qwen/Qwen2-VL-7B-Instruct --rows 4096 --out runs/trimmed" in said
    assert "a trimmed vocabulary lacks the tokens that no prompt needs" in said
