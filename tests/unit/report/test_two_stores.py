"""The same models of two stores in pairs, by hand."""

from itertools import product
from pathlib import Path

import pytest
from simulated import Rows, hits

from lotbench.report.tables.two_stores import two_stores
from lotbench.report.text import NONE, TIMES
from lotbench.statistics.store_view import StoreView


def store(
    name: str,
    right: dict[tuple[str, str], int],
    texts: int = 200,
    seed: int = 0,
    epochs: tuple[int, ...] = (1,),
) -> StoreView:
    """A study of dense and of these models at 2x, by method and parameter, with so many hits.

    Each model is trained once for each number of epochs.
    """
    rows = Rows()
    rows.add("dense", hits(180, texts), hits(180, texts), seed=seed, setting=f"{name}-dense")
    for ((method, value), count), length in product(right.items(), epochs):
        own = {"setting": f"{name}-{value}-{length}", "seed": seed, "params": {"k": value}}
        rows.add(method, hits(180, texts), hits(count, texts), 2, (2, 2), **own)
        # What is scored at a budget is left out beside targets.
        rows.add(method, hits(180, texts), hits(count, texts), None, (9, 9), **own)
    study = rows.study()
    study.folder = Path(name)
    return study


def test_partners_have_the_same_method_and_parameters():
    own = store("longer", {("lot", "a"): 170, ("lot", "b"): 150, ("static", "a"): 140})
    other = store("shorter", {("lot", "a"): 160, ("lot", "c"): 100, ("static", "a"): 140})
    (found,) = two_stores(own, other)
    assert found.title == "TOY: longer against shorter"
    assert found.columns == ["method", "speed", "mean", f"2{TIMES}"]
    ((reference, dense, lot, static),) = found.groups
    # Of 200 texts, 10 more are right: 5 points.  What has equal answers differs in no draw.
    same = "0.0 (0.0 to 0.0)"
    assert reference == ["reference: dense", NONE, same, NONE]
    assert dense == ["dense\n1 seed, 1 model", "1.00", same, NONE]
    assert lot[:2] == ["lot\n1 seed, 1 model", "1.00"]
    assert lot[2] == lot[3] and lot[2].startswith("5.0 (") and lot[2].endswith(") *")
    assert static[1:] == ["1.00", same, same]


@pytest.mark.parametrize(
    "changes", [{"seed": 1}, {"texts": 250}], ids=["no shared seed", "other texts"]
)
def test_what_has_no_partner_has_no_table(changes):
    own, other = ({("lot", "a"): 170},) * 2
    assert two_stores(store("a", own), store("b", other, **changes)) == []


def test_settings_that_share_their_parameters_have_no_known_partner():
    own = store("twice", {("lot", "a"): 170}, epochs=(1, 2))
    (found,) = two_stores(own, store("once", {("lot", "a"): 160}))
    ((reference, dense),) = found.groups
    assert (reference[0], dense[0]) == ("reference: dense", "dense\n1 seed, 1 model")
