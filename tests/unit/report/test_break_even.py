"""The break-even map as a figure and on a page."""

import pytest
from stores import map_record, write

from lotbench.report.figures import break_even, style
from lotbench.report.figures.draw import draw
from lotbench.statistics.store_view import StoreView
from lotbench.store.maps import Map


def figure_of(cells):
    with style.drawing():
        return break_even.figure(Map.model_validate(map_record("m", "2025", cells)))


def lines(axes):
    """The pieces of the line where values cross 1."""
    return [sorted(zip(*line.get_data(), strict=True)) for line in axes.lines]


def test_the_figure_shows_values_and_the_line_where_they_cross_1():
    # Speed-up grows with the length and falls with the keep ratio: 0.9 to 2.0.
    figure = figure_of({(1, 64): [0.95, 0.9], (1, 128): [2.0, 1.2]})
    (axes,) = figure.axes
    assert [own.get_text() for own in axes.texts] == ["~0.95", "~0.90", "2.00", "1.20"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["10%", "50%"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["64", "128"]
    # Both keep ratios pay with 128 tokens, none with 64: a line between them, a piece per column.
    assert lines(axes) == [[(-0.5, 0.5), (0.5, 0.5)], [(0.5, 0.5), (1.5, 0.5)]]
    title = figure.get_suptitle().replace("\n", " ")
    assert title == "Break-even map, tiny (2 layers), Abacus 9000, 1 thread"
    assert "dense model, fp32; at least 5 rounds" in figure.get_supxlabel().replace("\n", " ")
    # It goes around a cell that does not pay.
    (axes,) = figure_of({(1, 64): [1.5, 0.9], (1, 128): [2.0, 1.2]}).axes
    assert lines(axes) == [[(0.5, 0.5), (1.5, 0.5)], [(0.5, -0.5), (0.5, 0.5)]]


@pytest.mark.slow
def test_no_line_where_reduction_always_pays():
    figure = figure_of({(1, 8): [3, 2], (1, 16): [3, 2], (8, 8): [4, 3]})
    assert [axes.get_title("left") for axes in figure.axes] == ["Batch 1", "Batch 8"]
    assert not any(axes.lines for axes in figure.axes)


@pytest.mark.slow
def test_the_newest_map_of_a_setting_is_drawn(tmp_path):
    cells = {(1, 64): [0.9, 0.8], (1, 128): [2.0, 1.2], (8, 64): [1.1, 0.9], (8, 128): [2, 1.5]}
    write(tmp_path, map_record("b", "2025-01", {(1, 64): [5.0]}))
    write(tmp_path, map_record("a", "2025-02", cells))
    write(tmp_path, map_record("c", "2025-01", cells, device="cuda:0"))
    files = {path.name: path for path in draw(StoreView(tmp_path), ["svg"])}
    names = [f"break-even-{device}-1t-fp32.svg" for device in ("cpu", "cuda0")]
    assert sorted(files) == names
    text = files[names[0]].read_text(encoding="utf-8")
    assert "<!-- 2.00 -->" in text and "5.00" not in text
