"""Written names, from the looks of rows."""

from stores import evaluation, failed, trial, write

from lotbench.report import looks
from lotbench.statistics.store_view import StoreView


def test_rows_bring_names_looks_and_order(tmp_path):
    """A plugin shows up as it says, and no method is imported for it."""
    mine = {"label": "Mine (wide)", "colour": "#123456", "marker": "H", "order": 0}
    write(tmp_path, trial("a", "mine", [evaluation(0.9, 2.0)], look=mine, params={"wide": True}))
    write(tmp_path, trial("b", "ltp", [evaluation(0.9, 2.0)]))
    write(tmp_path, trial("c", "other", [evaluation(0.9, 2.0)], look=None))
    # Failed trials have no look: the first takes that of equal parameters, the others none.
    broken = failed("d", "mine") | {"look": None, "params": {"wide": True}}
    write(tmp_path, broken)
    write(tmp_path, broken | {"trial_id": "e", "params": {"wide": False}})
    names = [run.method for run in StoreView(tmp_path).runs]
    assert names == ["Mine (wide)", "LTP", "other", "Mine (wide)", "mine"]
    assert looks.order(names) == ["Mine (wide)", "LTP", "mine", "other"]
    assert looks.looks(names)["Mine (wide)"] == ("#123456", "H", "#123456", "-")
