"""What a validation found, as a sentence that begins with what failed, and as a flat table. Not here: any number."""

from __future__ import annotations

from typing import Any

from rec_trak.validation.estimates import OVERLAPS, RANDOM, RUN

COLUMNS = ("check", "of", "measure", "value", "low", "high")
BARELY = 0.1  # LDS under which nothing is said to be predicted


def verdict(parts: dict[str, Any]) -> str:
    """The sentence: what failed or is not clear first, then what holds.

    Args:
        parts: `lds`, `removal`, `loo`, `ridge`, those there are, as plain data.
    """
    failed, holds = findings(parts)
    lost = sum(len(parts[part].get("diverged") or []) for part in ("lds", "removal", "ridge") if part in parts)
    if lost:
        holds.append(f"{lost} retraining{'s' * (lost != 1)} diverged and {'are' if lost != 1 else 'is'} left out.")
    return " ".join(failed + holds) or "Nothing was measured."


def findings(parts: dict[str, Any]) -> tuple[list[str], list[str]]:
    """What failed or is not clear, and what holds, a sentence each; `parts` as of `verdict`."""
    failed: list[str] = []
    holds: list[str] = []
    for part, tell in CHECKS.items():
        if part in parts:
            bad, good = tell(parts[part])
            failed += bad
            holds += good
    return failed, holds


def bears_out(parts: dict[str, Any]) -> bool:
    """Whether the weightiest check that was made, the LDS where there is one, speaks for the ranking."""
    made = next((part for part in CHECKS if part in parts), None)
    return made is not None and bool(CHECKS[made](parts[made])[1])


def _lds(told: dict[str, Any]) -> tuple[list[str], list[str]]:
    own, ceiling = told["scores"][RUN], told["ceiling"]
    rules = {name: told["scores"][name] for name in OVERLAPS if name in told["scores"]}
    name, best = max(rules.items(), key=lambda item: item[1]["lds"], default=(None, None))
    numbers = f"LDS {_of(own['lds'], own['interval'])}"
    if ceiling and own["ratio"] is not None:
        numbers += f", where training noise leaves {ceiling['mean']:.2f} to be reached"
    elif not ceiling:
        numbers += " (one training a subset, so no noise ceiling)"
    else:
        numbers += "; the trainings themselves do not agree, so there is no ceiling to reach"
    if own["interval"][0] <= 0 or own["lds"] < BARELY:
        return [f"The ranking does not predict retraining: {numbers}."], []
    if best is None:
        return [], [f"The ranking predicts retraining: {numbers}."]
    beside = f"`{name}`, a rule that counts clicks, reaches {best['lds']:.2f}"
    better = [
        other
        for other, line in told["scores"].items()
        if other not in (RUN, RANDOM, *OVERLAPS) and line["over_interval"][1] < 0
    ]
    also = [f"`{other}` predicts it better: LDS {told['scores'][other]['lds']:.2f}." for other in better]
    if best["over"] <= 0:
        failed = f"The ranking predicts retraining no better than a rule without a model: {numbers}; {beside}."
        return [failed, *also], []
    if best["over_interval"][0] <= 0:
        return [f"The ranking does not clearly predict retraining better than a rule: {numbers}; {beside}.", *also], []
    return also, [f"The ranking predicts retraining: {numbers}; {beside}."]


def _removal(told: dict[str, Any]) -> tuple[list[str], list[str]]:
    bad, good = _single(told["single"]) if told["single"] else ([], [])
    ours = [line for line in told["set"] if line["ranking"] == "influence"]
    for line in ours:
        same = [other for other in told["set"] if other["percent"] == line["percent"] and other["drop"] is not None]
        best = max(same, key=lambda other: other["drop"], default=None)
        if best is None or line["drop"] is None:
            bad.append(f"Nothing is known of removing {line['percent']} % of the rows: every such model diverged.")
        elif best["ranking"] != "influence":
            much = "more" if (best["drop_interval"] or [0])[0] > line["drop"] else "no less"
            bad.append(
                f"Leaving out the {line['percent']} % of the rows highest by `{best['ranking']}` lowers the set's mean "
                f"margin {much} ({best['drop']:.2f}) than leaving out its proponents ({line['drop']:.2f})."
            )
    first = next((line for line in ours if line["drop"] is not None), None)
    if first:
        after = "; ".join(_exposed(name, ours) for name, share in first["exposure"].items() if share["before"] > 0)
        text = (
            f"Without the {first['rows']} strongest proponents of the set ({first['percent']} %) its mean margin falls "
            f"by {_of(first['drop'], first['drop_interval'])}{f' ({after})' if after else ''}"
        )
        clear = first["drop_interval"] and (first["drop_interval"][0] or 0) > 0
        (good if clear else bad).append(f"{text}." if clear else f"{text}: no clear fall.")
    return bad, good


def _exposed(name: str, lines: list[dict[str, Any]]) -> str:
    """A measure of exposure before, and after each share of the rows was left out."""
    shares = [(line["exposure"].get(name), line["percent"]) for line in lines]
    after = [f"{share['after']:.2f} without {percent} %" for share, percent in shares if share]
    return f"{name} from {lines[0]['exposure'][name]['before']:.2f} to {', '.join(after)}"


def _single(told: dict[str, Any]) -> tuple[list[str], list[str]]:
    if told["drop"] is None or told["over_random"] is None:
        return ["Removal of single targets' proponents cannot be judged: too many models diverged."], []
    text = (
        f"Without its {told['rows']} strongest proponents a target's margin falls by {told['drop']:.2f}, "
        f"{_of(told['over_random'], told['over_random_interval'], 1)} times the mean change by random removal"
    )
    between = told["over_random_interval"]
    bad, good = [], [f"{text}."]
    if told["over_random"] <= 1 or not between or between[0] <= 1:
        bad, good = [f"{text}: no clear effect."], []
    if not told["same_targets"]:
        return bad, good
    if told["over_same"] is None:
        return bad, [*good, "Leaving out as many rows that click its article lowers nothing."]
    between = told["over_same_interval"]
    same = f"{_of(told['over_same'], between, 1)} times that of as many rows that click its article"
    if told["over_same"] <= 1 or not between or between[0] <= 1:
        return [*bad, f"The fall of a target's margin without its proponents is not clearly more: {same}."], good
    return bad, [*good, f"That is {same}."]


def _loo(told: dict[str, Any]) -> tuple[list[str], list[str]]:
    line = told.get("headline")
    if not line or line.get("spearman") is None:
        return ["Exact leave-one-out could not be compared."], []
    low = line.get("low")
    text = f"Spearman with exact leave-one-out on a convex head {_of(line['spearman'], [low, line.get('high')])}."
    return ([text], []) if low is None or low <= 0 else ([], [text])


def _ridge(told: dict[str, Any]) -> tuple[list[str], list[str]]:
    if told["chosen"] == told["run"] or told["judged"]["gain_interval"][0] <= 0:
        return [], ["No other K and `lambda_rel` is clearly better than the run's."]
    chosen = told["chosen"]
    return [
        f"K = {chosen['K']} with `lambda_rel` {chosen['lambda_rel']:g} predicts retraining better than the run's "
        f"setting (LDS {told['judged']['chosen']:.2f} against {told['judged']['run']:.2f}, models apart)."
    ], []


CHECKS = {"lds": _lds, "removal": _removal, "loo": _loo, "ridge": _ridge}  # the weightiest first


def _of(value: float, between: list[float | None] | None, digits: int = 2) -> str:
    if not between or None in between:
        return f"{value:.{digits}f}"
    return f"{value:.{digits}f} [{between[0]:.{digits}f}, {between[1]:.{digits}f}]"


def lines_of(parts: dict[str, Any]) -> list[dict[str, Any]]:
    """The flat table: COLUMNS, a line a number; `low` and `high` of its interval, None where there is none."""
    lines: list[dict[str, Any]] = []

    def add(check: str, of: str, measure: str, value: Any, between: Any = None) -> None:
        low, high = between or (None, None)
        lines.append(dict(zip(COLUMNS, (check, of, measure, value, low, high), strict=True)))

    if "lds" in parts:
        told = parts["lds"]
        for name, line in told["scores"].items():
            add("LDS", name, "LDS", line["lds"], line["interval"])
            add("LDS", name, "LDS against one training", line["single"])
            if line["ratio"] is not None:
                add("LDS", name, "share of the ceiling", line["ratio"], line["ratio_interval"])
            if name != RUN:
                add("LDS", name, "the run's LDS over it", line["over"], line["over_interval"])
        if told["ceiling"]:
            add("LDS", "noise ceiling", "of one training", told["ceiling"]["single"])
            add("LDS", "noise ceiling", "of their mean", told["ceiling"]["mean"], told["ceiling"]["mean_interval"])
        for what in ("subsets", "trainings", "targets", "left_out_subsets", "constant_targets"):
            add("LDS", "counts", what.replace("_", " "), told[what])
    if "removal" in parts:
        _removal_lines(parts["removal"], add)
    if "loo" in parts:
        for line in parts["loo"].get("rungs") or []:
            of = ", ".join(f"{key} {line[key]}" for key in ("K", "members", "lambda_rel") if line.get(key))
            between = (line.get("low"), line.get("high"))
            add("leave-one-out", f"{line['rung']} ({of})", "Spearman over rows", line.get("spearman"), between)
    if "ridge" in parts:
        for line in parts["ridge"]["curve"]:
            add("ridge", f"K {line['K']}, lambda_rel {line['lambda_rel']:g}", "LDS", line["lds"], line["interval"])
        judged = parts["ridge"]["judged"]
        add("ridge", "chosen setting", "gain over the run's, models apart", judged["gain"], judged["gain_interval"])
    return lines


def _removal_lines(told: dict[str, Any], add: Any) -> None:
    single = told["single"]
    if single:
        measures = {
            "drop": "fall of a target's margin without its top 1 %",
            "random": "mean absolute change by random removal",
            "over_random": "fall over random change",
            "equal_drop": "fall, as many rows as click the article",
            "same_drop": "fall without rows that click the article",
            "over_same": "fall over that of same-article rows",
            "targets": "targets",
            "same_targets": "targets whose article is clicked",
        }
        for key, measure in measures.items():
            if key in single:
                add("removal, single targets", "influence", measure, single[key], single.get(f"{key}_interval"))
    for line in told["set"]:
        check = f"removal, {line['percent']} % of the rows"
        word = "mean absolute change of the mean margin" if line["ranking"] == "random" else "fall of the mean margin"
        add(check, line["ranking"], word, line["drop"], line["drop_interval"])
        if line["over_random"] is not None:
            add(check, line["ranking"], "fall over random change", line["over_random"])
        for name, share in line["exposure"].items():
            add(check, line["ranking"], f"{name} before", share["before"])
            add(check, line["ranking"], f"{name} after", share["after"])
