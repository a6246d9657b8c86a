"""The three ways in which a page shows a finding, as HTML: a row of the table, of the work list, of its photograph.

Written here and not in a template, because a report of a million findings has three million of them: what a template
takes a tenth of a millisecond for is two minutes. Whatever a user may have written goes through `text`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from markupsafe import escape

from toeline.report.document import percent


@lru_cache(maxsize=4096)  # names of classes, actions and photographs come again and again
def text(words: str) -> str:
    """A text as HTML, also inside an attribute.

    >>> text('<a href="x">')
    '&lt;a href=&#34;x&#34;&gt;'
    """
    return str(escape(words))


def facets(f: Mapping[str, Any]) -> str:
    """What report.js filters a finding by; data-of is the same on everything that shows it."""
    return (
        f'data-of="{text(f["key"])}" data-kind="{text(f["kind"])}" data-condition="{text(f["condition"])}" '
        f'data-review="{1 if f["review"] else 0}" data-immediate="{1 if f["immediate"] else 0}" '
        f'data-single="{0 if f["asked"] else 1}"'
    )


def chip(condition: str, slug: str) -> str:
    """The condition with its color."""
    return f'<span class="chip {slug}"><span class="key" aria-hidden="true"></span>{text(condition)}</span>'


def bar(share: float, more: str = "") -> str:
    """A probability as a length."""
    return f'<span class="bar" aria-hidden="true"><i style="--p:{100 * share}%{more}"></i></span>'


def table_row(f: Mapping[str, Any], *, boxes: bool, truth: bool) -> str:
    """A row of the table of findings; `boxes` were given by labels, `truth` says that there is a column for it."""
    photo, kind, number = text(f["photo"]), text(f["kind"]), text(f["number"])
    return "".join(
        (
            f'  <tr {facets(f)} data-card="{f["card"]}" data-wrong="{1 if f["truth"] else 0}" class="{f["slug"]}">\n'
            f'    <td data-sort="{photo} {number}" title="{photo}"><a href="#{f["anchor"]}">{photo}</a></td>\n'
            f'    <td data-sort="{kind} {number}">{kind} <span class="soft num">{number}</span></td>\n'
            f"    <td>{chip(f['condition'], f['slug'])}</td>\n",
            _answer(f),
            _detector(f, boxes=boxes),
            f'    <td class="wrap small flag" data-label="To review">{text(f["review"])}</td>\n',
            *([_truth(f)] if truth else []),
            "  </tr>\n",
        )
    )


def _answer(f: Mapping[str, Any]) -> str:
    """The two cells of the answer and of the second best."""
    if not f["asked"]:
        return '    <td data-label="Probability" data-sort="1" class="soft">only answer</td><td></td>\n'
    share, second = f["probability"], f["second"]
    rival = f'{text(second[0])} <span class="soft num">{text(percent(second[1]))}</span>' if second else ""
    return (
        f'    <td data-label="Probability" data-sort="{share}"><span class="p"><span class="num">'
        f"{text(percent(share))}</span>{bar(share)}</span></td>\n"
        f'    <td data-label="Second best" data-sort="{second[1] if second else ""}">{rival}</td>\n'
    )


def _detector(f: Mapping[str, Any], *, boxes: bool) -> str:
    said = '<span class="soft">by --boxes</span>' if boxes else text(percent(f["score"]))
    own = f' <span class="soft">{text(f["detector_class"])}</span>' if f["detector_class"] else ""
    label = "Boxes" if boxes else "Detector"
    return f'    <td class="num" data-label="{label}" data-sort="{f["score"]}">{said}{own}</td>\n'


def _truth(f: Mapping[str, Any]) -> str:
    said = f'<span class="truth">{text(f["truth"])}</span>' if f["truth"] else '<span class="soft">right</span>'
    return f'    <td class="wrap small" data-label="Truth">{said}</td>\n'


def photo_entry(f: Mapping[str, Any]) -> str:
    """The finding in the list beside its photograph, with all that is known of it."""
    only = "" if f["asked"] else '<span class="soft small">only answer</span>'
    wrong = f'<span class="truth">{text(f["truth"])}</span>' if f["truth"] else ""
    return "".join(
        (
            f'      <li id="{f["anchor"]}" class="{f["slug"]}" data-of="{text(f["key"])}">\n'
            f'        <div class="head"><span class="n">{text(f["number"])}</span><b>{text(f["kind"])}</b>'
            f"{chip(f['condition'], f['slug'])}"
            f"{wrong}{only}</div>\n",
            _answers(f),
            *_remarks(f),
            "      </li>\n",
        )
    )


def _answers(f: Mapping[str, Any]) -> str:
    """The most probable answers with their bars."""
    if not f["asked"]:
        return ""
    rows = (
        f'          <span class="name{" said" if said else ""}" title="{text(name)}">{text(name)}</span>'
        f"{bar(share, '' if said else ';--color:var(--soft)')}"
        f'<span class="num right">{text(percent(share))}</span>\n'
        for name, share, said in f["bars"]
    )
    return f'        <div class="answers">\n{"".join(rows)}        </div>\n'


def _remarks(f: Mapping[str, Any]) -> Iterator[str]:
    """What the detector saw, what stands around, what to do, where it is, why a person should look."""
    grade = f["grade"]
    if f["detector_class"] or f["detector_others"]:
        others = f", on the same place {text(f['detector_others'])}" if f["detector_others"] else ""
        own = f"{text(f['detector_class'] or f['kind'])} {text(percent(f['score']))}"
        yield f'<div class="small soft">The detector: {own}{others}</div>'
    if f["around"]:
        yield f'<div class="small soft">{text(f["around"])}</div>'
    if grade.rank:
        yield f'<div class="small"><b>{text(grade.severity)}</b>: {text(grade.action)}</div>'
    if grade.immediate:
        yield f'<div class="small flag"><b>Immediate</b>: {text(grade.immediate)}</div>'
    if f["where"]:
        yield f'<div class="small soft num">{text(f["where"])}</div>'
    if f["same"]:
        yield f'<div class="small">{text(f["same"])}</div>'
    if f["review"]:
        yield f'<div class="small flag">To review: {text(f["review"])}</div>'


@lru_cache(maxsize=64)
def steps(rank: int, worst: int) -> str:
    """How bad, as `rank` of `worst` small bars."""
    bars = "".join('<i class="on"></i>' if n < rank else "<i></i>" for n in range(worst))
    return f'<span class="steps" aria-hidden="true">{bars}</span>'


def work_row(r: Mapping[str, Any]) -> str:
    """A row of the work list."""
    grade, photo, kind, number = r["grade"], text(r["photo"]), text(r["kind"]), text(r["number"])
    crop = (
        f'<img loading="lazy" decoding="async" src="{text(r["crop"])}" width="72" height="72" alt="{kind} {number}">'
        if r["crop"]
        else ""
    )
    now = f'<div class="flag"><b>Immediate</b>: {text(grade.immediate)}.</div>' if grade.immediate else ""
    link = f'<a href="{text(r["key"])}">{photo}</a>' if r["key"] else photo
    share = text(percent(r["probability"])) if r["asked"] else '<span class="soft">only answer</span>'
    return (
        f"  <tr {facets(r)}>\n"
        f'    <td class="right num" data-label="No.">{r["n"]}</td>\n'
        f'    <td class="crop">{crop}</td>\n'
        f'    <td class="nowrap" data-sort="{grade.rank}">{steps(grade.rank, r["worst"])} {text(grade.severity)}</td>\n'
        f'    <td>{kind} <span class="soft num">{number}</span>, {text(r["condition"])}</td>\n'
        f'    <td class="do" data-sort="{0 if r["immediate"] else 1} {text(grade.action)}">{now}'
        f"{text(grade.action)}</td>\n"
        f'    <td class="where" title="{photo}">{link}</td>\n'
        f'    <td class="right num" data-label="Probability" data-sort="{r["probability"]}">{share}</td>\n'
        f'    <td class="small flag" data-label="To review">{text(r["review"])}</td>\n'
        "  </tr>\n"
    )
