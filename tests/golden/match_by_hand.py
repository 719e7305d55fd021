"""How second texts match first ones, by hand; each check is given the module that it is about."""

import math
from types import ModuleType
from typing import Any

import torch

from lotbench import matching
from lotbench.batch import Batch

# [CLS] 5 6 [SEP], then 7 5 8 [CLS] [SEP]; [CLS] 8 [SEP], then 5 8 [SEP]; one text alone; and a
# first text without words.
IDS = [[1, 5, 6, 3, 7, 5, 8, 1, 3], [1, 8, 3, 5, 8, 3], [1, 5, 6, 5, 3], [1, 3, 7, 3]]
FIRST, NONE = [1.0, 0, 0, 0, 0], [0.0] * 5
# Weights at a distance d count 1 - d / 7: word 5 weighs 2, and word 8 weighs 4.
ROWS = [
    *[FIRST] * 4,
    *([0, 0, 1, 2 * 6 / 7, 0], [0, 1, 2, 2, 1 / 5], [0, 0, 4, 2 * 6 / 7, 2 / 5]),
    *([0, 0, 0, 2 * 5 / 7, 3 / 5], [0, 0, 0, 2 * 4 / 7, 4 / 5]),
    *[FIRST] * 3,
    *([0, 0, 2, 4 * 6 / 7, 0], [0, 1, 4, 4, 1 / 3], [0, 0, 0, 4 * 6 / 7, 2 / 3]),
    *[NONE] * 5,
    *[FIRST] * 2,
    *([0, 0, 1, 0, 0], [0, 0, 0, 0, 1 / 2]),
]
# The angle of each state in degrees, of which [CLS] and [SEP] would match best.
ANGLES = [0, 90, 180, 60, 60, 0, 90, 150, 270, 0, 45, 90, 45, 135, 225, *[0] * 5, 0, 30, 0, 30]
LOW = math.cos(math.radians(30))
BEST = [*[0] * 4, LOW, 0, 1, LOW, 0, *[0] * 3, 1, 0, -1, *[0] * 7, -1, -1]
# Neighbours at distance d count 1 - d / 6; five of them in the first pair, three in the second.
AROUND = {
    4: (6 * LOW + 4 + 3 * LOW) / (6 + 5 + 4 + 3 + 2),
    5: (5 * LOW + 5 + 4 * LOW) / (5 + 6 + 5 + 4 + 3),
    8: (2 * LOW + 4 + 5 * LOW) / (2 + 3 + 4 + 5 + 6),
    12: (6 - 4) / (6 + 5 + 4),
    13: 0,
    22: -1,
}


def idf() -> torch.Tensor:
    """The idf of each of ten words."""
    return torch.tensor([0, 0, 0, 0, 0, 2.0, 0.5, 1.0, 4.0, 0])


def check_words(module: ModuleType) -> None:
    """The numbers that words tell."""
    batch = Batch.from_ids(IDS)
    rows = module.word_rows(batch, module.Sides.of(batch), idf())
    torch.testing.assert_close(rows, torch.tensor(ROWS))


def check_states(module: ModuleType) -> None:
    """The numbers that states tell; states are of all lengths."""
    batch, angles = Batch.from_ids(IDS), torch.tensor(ANGLES).double().deg2rad()
    hidden = torch.stack([angles.cos(), angles.sin()], 1) * torch.arange(1, 25).unsqueeze(1)
    hidden.requires_grad_()
    rows = module.state_rows(hidden, batch.layout, module.Sides.of(batch))
    assert not rows.requires_grad
    wanted = torch.tensor(BEST).double() * 10
    torch.testing.assert_close(rows[:, 0], wanted, rtol=0, atol=1e-6)
    at = list(AROUND)
    wanted = torch.tensor([10.0 * AROUND[i] for i in at]).double()
    torch.testing.assert_close(rows[at, 1], wanted, rtol=0, atol=1e-6)
    first = [i for i, row in enumerate(ROWS) if row in (FIRST, NONE)]
    assert not rows[first].any()


def check_idf(module: ModuleType) -> None:
    """Words 1 and 3 are in all of three examples, 5 in two, 6 in one, 7 in none."""
    counted = module.Idf(torch.zeros(8, 2))
    for ids in ([[1, 5, 5, 3], [1, 6, 3]], [[1, 5, 3]]):
        counted.count(Batch.from_ids(ids))
    wanted = torch.tensor([0, 0, math.log(4 / 3), math.log(2), math.log(4)])
    torch.testing.assert_close(counted.table()[[1, 3, 5, 6, 7]], wanted)


def check_place(lot: Any, reduced: Any) -> None:
    """Two layers compute all; the routers of layers 2 and 3 read the states that enter these."""
    torch.manual_seed(0)
    encoder = reduced(lot.LeapOfThought, after=2, reads="match")
    method, seen = encoder.reducer, []
    for router in method.routers:
        torch.nn.init.normal_(router.match)
        read = router.with_match

        def spy(logits: Any, row: Any, read: Any = read) -> Any:
            seen.append(row)
            return read(logits, row)

        router.with_match = spy
    batch = Batch.from_ids(IDS)
    with torch.no_grad():
        outputs = encoder(batch, inputs=True)
    decided = [event.layer for event in outputs.trace.decisions()]
    assert decided == [2, 3] and len(method.routers) == 2
    computed = torch.stack(outputs.trace.queries).sum(1).tolist()
    assert computed[:2] == [24, 24] and 4 < computed[2] < 24
    sides = matching.Sides.of(batch)
    for hidden, row in zip(outputs.inputs[2:], seen, strict=True):
        states = matching.state_rows(hidden, batch.layout, sides)
        torch.testing.assert_close(row[:, 5:], states)
        torch.testing.assert_close(row[:, :5], matching.word_rows(batch, sides, method.idf))
        assert states[4].abs().min() > 0
