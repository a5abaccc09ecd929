"""The words that a page uses, each said plainly once. Not here: numbers."""

from __future__ import annotations

import re

TERMS = {
    "row": "One training click: a user, what that user had read before, the article clicked, and the others shown "
    "beside it. Rows are numbered from 0 in the order of rows.csv.",
    "influence": "How much a training click raised (or, below 0, lowered) the model's score for a recommendation, in "
    "margin units. It is an estimate: the order of clicks is what it is for, sizes are off.",
    "margin": "How far the model puts the article to explain above the others shown beside it: 0 is a coin toss, 2 is "
    "88 in 100.",
    "proponent": "A click with a positive influence: without it the recommendation would be weaker.",
    "opponent": "A click with a negative influence: without it the recommendation would be stronger.",
    "target": "A recommendation that is explained: a user, an article, and the others shown beside it, whether or not "
    "the model puts that article first. A target set is a list of them.",
    "self-influence": "How much the model's score for a click rests on that click alone; high where nothing else in "
    "the log says the same. Clicks that many bots repeat support each other and have little.",
    "Q": "How unsure the model still was of a click, 0 to 1: what it had to learn from it.",
    "leverage": "How much a click stands alone among all the others, 0 to 1; near 1 the model has learnt it by heart.",
    "kernel": "How alike a click and a recommendation are to the model; influence is this times Q.",
    "renormalised": "Influence with the size of the click's own gradient taken out; for looking for injected clicks.",
    "sum": "The influence of all clicks of a group added up. It grows with the number of clicks: look at the mean too.",
    "mean": "The sum divided by the number of clicks.",
    "class": "Whether the clicked article is fake or real, as the log or the article table says; poisoned is a click, "
    "fake an article.",
    "rank": "The place of a click among all, 1 the strongest; as a percentile, 1 the strongest and 100 the weakest.",
    "checkpoint": "A trained model. Several that differ in their random seed alone are members, and influence is their "
    "mean.",
    "stable": "With half of the sketch, half of the members and other ridges groups of clicks come out much the same; "
    "single clicks may change places.",
    "indicative": "The top of the ranking is a lead; do not act on it alone.",
    "do not use": "The ranking would be another one with other random numbers.",
    "AUROC": "How often an injected click stands before a genuine one, 0.5 by chance, 1 always.",
    "average precision": "How pure the top of a ranking is, averaged over all injected clicks; by chance their share.",
    "precision": "Of the clicks named, the share that are injected.",
    "recall": "Of the injected clicks, the share that is named.",
    "LDS": "Rank correlation of what influence foretells with what models trained on half of the clicks do; 1 is "
    "perfect, 0 is chance.",
    "noise ceiling": "The LDS that training again with other random numbers leaves to be reached; below 1.",
    "shared candidates": "A rule without a model: how many candidates a click and a recommendation have in common. "
    "Signed, one that was clicked counts for, one passed over against it.",
    "near copies": "How nearly a row's history is another user's, set against other rows of like length; bots copy.",
    "unbacked": "Of a row: how little of its history its user's other rows click, where none has its click in theirs, "
    "set against other rows of like length; a history that was made up is backed by nothing.",
    "explained@5": "The share of targets whose article stands among the first 5 that the model offers their reader; "
    "@10 the first 10. fake@5 is the share of readers to whom a fake article is offered there.",
    "co-reading": "How unlike what a user read is to what the article's other clickers read; it needs no model.",
    "null band": "How far ranks move between trainings that differ in their seed alone.",
    "ridge": "What keeps the estimate from following noise; lambda_rel is its size.",
    "K": "How many numbers are kept of each gradient, the sketch; another draw of it gives slightly other scores.",
}
HEADINGS = {  # of tables, to terms, where they are not the term itself
    "q": "Q", "rows": "row", "score": "influence", "self-influence": "self-influence", "shift": "rank",
    "precision at k": "precision", "row": "row", "by Q alone": "Q", "by leverage alone": "leverage",
    "beyond null band": "null band", "rank correlation": "rank", "lambda_rel": "ridge",
}  # fmt: skip


def place(term: str) -> str:
    """The name of a term's place in the page."""
    return "term-" + re.sub(r"[^a-z0-9]+", "-", term.lower()).strip("-")


def place_of(heading: str) -> str:
    """The place of the term that a table's heading is; '' where it is none."""
    plain = {term.lower(): term for term in TERMS}
    term = HEADINGS.get(heading) or plain.get(heading.lower())
    if term is None:
        term = next(
            (t for t in ("precision", "influence", "leverage", "margin") if heading.lower().startswith(t)), None
        )
    return "" if term is None else place(term)


def entries() -> list[dict[str, str]]:
    """What the page lists."""
    return [{"term": term, "place": place(term), "text": text} for term, text in TERMS.items()]
