"""The figures of benchmarks/throughput.py as Markdown."""

from __future__ import annotations

from typing import Any


def page(r: dict[str, Any], how: str) -> str:
    run, held, same = r["run"], r["memory_mib"], r["compared"]
    at = " | ".join(f"{int(n):,}" for n in held["at"])
    rows = [
        "# Many photographs in one run\n",
        f"{how}\n",
        f"{r['photographs']:,} drawn photographs of {r['size']} x {r['size']} pixels, embedded detector and a baseline "
        f"as the judge, {r['workers']} workers, batches of {r['batch']}, {r['cores']} cores.\n",
        "| measured | |",
        "|---|--:|",
        f"| photographs per second, start and reports included | {run['photographs_per_second']} |",
        f"| seconds in all | {run['seconds']:,} |",
        f"| CPU seconds a photograph | {run['cpu_seconds_per_photograph']} |",
        f"| cores used | {run['cores_used']} |",
        f"| findings | {same['findings']:,} |",
        f"| report pages, the largest in MB | {same['pages']}, {same['largest_page_mb']} |",
        "\n## Resident memory in MiB\n",
        f"| after photographs | {at} | most | most while reports are written | growth per 1,000 |",
        "|---|" + "--:|" * (len(held["at"]) + 3),
        f"| | {' | '.join(map(str, held['at'].values()))} | {held['most']} | "
        f"{held['most_while_reports_are_written']} | {held['growth_per_1000_photographs']} |",
        "\n## CPU milliseconds a photograph, one thread\n",
        "| " + " | ".join(r["stages_cpu_ms"]) + " |",
        "|" + "--:|" * len(r["stages_cpu_ms"]),
        "| " + " | ".join(map(str, r["stages_cpu_ms"].values())) + " |",
        f"\n## Killed {len(r['kills'])} times\n",
        "| kill | photographs done | findings on disk of photographs not done |",
        "|--:|--:|--:|",
    ]
    rows += [
        f"| {n} | {k['photographs_done']:,} | {k['findings_half_done']} |" for n, k in enumerate(r["kills"], start=1)
    ]
    rows += [
        f"\nTaken up again to the end: {same['duplicates']} findings twice, {same['missing']} missing, {same['extra']} "
        f"that the run without a kill does not have; findings, table and problems of both runs are "
        f"{'the same bytes' if same['same'] else 'NOT the same bytes'}.\n",
        f"Machine: {r['machine']['system']}, {r['machine']['cpu']}, {r['cores']} cores. Versions: "
        + ", ".join(f"{k} {v}" for k, v in r["versions"].items())
        + ".\n",
    ]
    return "\n".join(rows)
