"""Spans: the answer to a question, which stands in a passage, learned by two cross-entropies.

The model gives each token of the passage a start and an end logit.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from lotbench.errors import InputError
from lotbench.kinds.kind import SPANS, Array, Kind, Labels
from lotbench.kinds.labels import MISSING, integer
from lotbench.kinds.rows import Rows, Split, check_each, of_both, shown
from lotbench.scoring.metrics import SPAN as METRICS
from lotbench.scoring.spans import NOWHERE, best_spans, exact_match, token_f1
from lotbench.scoring.values import DECIMALS, known

Answers = tuple[tuple[int, str], ...]
"""Where each answer to a question starts in the characters of the passage, and its text."""


class Span(Kind):
    name, article = "span", "a span"
    keys, metrics = ("protect", "evidence"), METRICS
    text = ("question", "context")
    named = spans = True
    by_row = False

    def unfit(self, data: Any, text: Sequence[str]) -> Iterator[tuple[str, str]]:
        if len(text or self.text) != 2:
            yield "text", "a span needs two columns, the question first"
        if data.label is not None:
            yield "label", "the columns `answer` and `start`, or `answers`, have it; remove it"

    def n_labels(self, names: Sequence[str | int]) -> int:
        return SPANS

    def labelled(self, frame: Any, where: str) -> Any:
        if "answers" in frame.columns:
            cells = frame["answers"].tolist()
            fault = 'is no answer; a cell is such as {"text": ["two"], "answer_start": [12]}'
            check_each(cells, _answers, where, "answers", fault)
            return frame.assign(label=[_answers(cell) for cell in cells])
        for column in ("answer", "start"):
            if column not in frame.columns:
                raise InputError(
                    f"{where}: no column {column!r}; a span needs `answer` and `start`, its place "
                    "in the characters of the second text, or `answers` as SQuAD on the hub has it"
                )
        texts, starts = frame["answer"].tolist(), frame["start"].tolist()
        check_each(texts, _is_answer, where, "answer", "is no text; remove the row")
        fault = "is no place in the characters of a text; correct or remove the row"
        check_each(starts, lambda start: integer(start) is not None, where, "start", fault)
        pairs = zip(map(integer, starts), texts, strict=True)
        return frame.assign(label=[(pair,) for pair in pairs])

    def read_labels(
        self, both: Sequence[Rows], label: str, task: str, classes: Sequence[str] | None
    ) -> Labels:
        return of_both(_standing, both), ()

    def notes(self, both: Sequence[Rows], names: Sequence[str | int]) -> dict[str, Any]:
        lost = [sum(not answers for answers in rows.labels) for rows in both]
        return {"train_answers_left_out": lost[0], "validation_answers_left_out": lost[1]}

    def scorable(self, rows: Rows, kept: Array) -> Array:
        """The kept rows with an answer that stands where it should."""
        return kept[[bool(rows.labels[row]) for row in kept]]

    def values(self, metric: str, split: Split, outputs: Array, queries: Array | None) -> Array:
        score = {"token_f1": token_f1, "exact_match": exact_match}[metric]
        ends = np.reshape(self.answered(split, outputs), (-1, 2))
        found = []
        for row, (start, end) in enumerate(ends):
            answer, cut = split.texts[row][1][start:end], split.labels[row, 0] == MISSING
            golds = () if cut else known(split.answers)[row]
            found.append(max((score(answer, gold) for gold in golds), default=0))
        return np.array(found).round(DECIMALS)

    def answered(self, split: Split, outputs: Array) -> list[int]:
        places = known(split.places)
        inside = np.zeros((len(places), outputs.shape[2]), bool)
        for row, own in enumerate(places):
            inside[row, : len(own)] = own[:, 0] != NOWHERE
        ends = best_spans(outputs, inside)
        found: list[int] = []
        for own, (first, last) in zip(places, ends, strict=True):
            found += [NOWHERE] * 2 if first == NOWHERE else [own[first, 0], own[last, 1]]
        return [int(end) for end in found]


def _is_answer(text: Any) -> bool:
    return isinstance(text, str) and bool(text.strip())


def _answers(cell: Any) -> Answers | None:
    """The answers in a cell of the hub's SQuAD; None if it has none, or anything else."""
    try:
        cell = json.loads(cell) if isinstance(cell, str) else cell
        texts, starts = ([*cell[key]] for key in ("text", "answer_start"))
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    places = [place for start in starts if (place := integer(start)) is not None]
    if not texts or len(places) != len(starts) or len(texts) != len(starts):
        return None
    return tuple(zip(places, texts, strict=True)) if all(map(_is_answer, texts)) else None


def _standing(rows: Rows) -> Array:
    """The answers of each row that stand where they should, shape (N,), object.

    Rows without any are left out of the splits, unless they are more than half: then starts are
    counted in another way, or in another text.
    """
    found = np.empty(len(rows.texts), object)
    for row, (_, passage) in enumerate(rows.texts):
        answers = rows.labels[row]
        found[row] = tuple(own for own in answers if own[0] >= 0 and passage.startswith(*own[::-1]))
    lost = [row for row, answers in enumerate(found) if not answers]
    if 2 * len(lost) > len(found):
        start, text = rows.labels[lost[0]][0]
        raise InputError(
            f"{rows.where}: row {lost[0] + 1}: the answer {shown(text)} does not stand at "
            f"character {start} of the second text, as in {len(lost)} of {len(found)} rows; count "
            "characters from 0, in the text as it is here"
        )
    return found


SPAN = Span()
