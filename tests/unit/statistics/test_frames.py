"""The two public frames of a store."""

import pytest
from simulated import mark
from stores import (
    evaluation,
    failed,
    fill_vectors,
    in_backend,
    over_backends,
    trial,
    with_call,
    write,
)

import lotbench
from lotbench.errors import InputError


def test_results_have_a_row_per_trial_budget_and_split(tmp_path):
    params = {"top_p": 0.3, "thresholds": [0.3, 0.5], "router": {"width": 32}}
    curve = [evaluation(0.9, 2.0, {"threshold": 0.3}), evaluation(0.8, 4.0, {"threshold": 0.5})]
    write(tmp_path, trial("a", "lot", curve, params=params))
    write(tmp_path, failed("b"))
    write(tmp_path, trial("c", "lot", []))
    table = lotbench.results(tmp_path)
    assert list(table["trial_id"]) == ["a", "a", "b", "c"]
    assert list(table["status"]) == ["done", "done", "failed", "done"]
    first, second, broken, _ = table.to_dict("records")
    assert (first["store"], first["method"], first["name"]) == (tmp_path.name, "lot", "LoT (ours)")
    assert (first["param.top_p"], first["param.router.width"]) == (0.3, 32)
    assert first["param.thresholds"] == "[0.3, 0.5]"
    assert (second["budget_name"], second["budget"]) == ("threshold", 0.5)
    assert (second["score"], second["metric"], second["metric.accuracy"]) == (0.8, "accuracy", 0.8)
    # Of 1000 texts 80% are right: a standard error of 1.26 points.
    assert second["score_high"] - second["score_low"] == pytest.approx(4 * 0.0126, abs=0.006)
    assert second["teacher_score"] == 0.89
    # Layers keep 1 and 1/4 of the tokens: (1 + 1/4) / 2.
    assert (second["keep_ratio"], second["keep_ratio.1"]) == (0.625, 0.25)
    assert (second["flops"], second["dense_flops"], second["flops_speedup"]) == (150, 600, 4)
    assert (second["train_seconds"], second["steps"], second["cpu"]) == (2.5, 10, "Abacus 9000")
    assert broken["error"] == "NonFiniteLoss: task loss is nan (step 37)"
    assert broken["score"] != broken["score"]


def test_the_share_of_evidence_is_a_column_where_rows_have_it(tmp_path):
    write(tmp_path, trial("a", "lot", [evaluation(0.9, 2.0)]))
    assert "evidence_kept" not in lotbench.results(tmp_path)
    write(tmp_path, trial("b", "lot", [evaluation(0.9, 2.0, evidence_kept=0.75)]))
    shares = lotbench.results(tmp_path)["evidence_kept"]
    assert shares.dtype == float and shares.isna().tolist() == [True, False] and shares[1] == 0.75


def test_trials_that_differ_only_in_their_seed_share_a_setting(tmp_path):
    for name, seed, lam in (("a", 0, 0.1), ("b", 1, 0.1), ("c", 0, 0.2)):
        rows = [evaluation(0.9, 2.0)]
        write(tmp_path, trial(name, "ltp", rows, seed=seed, params={"lambda": lam}))
    a, b, c = lotbench.results(tmp_path)["setting"]
    assert a == b != c


def test_an_undefined_score_is_missing_and_the_column_stays_numeric(tmp_path):
    write(tmp_path, trial("a", "lot", [evaluation(None, 2.0, keep_ratio=[1.0] * 12)]))
    table = lotbench.results(tmp_path)
    for name in ("score", "score_low", "metric.accuracy"):
        assert table[name].dtype == float
        assert table[name].isna().all()
    # The columns of layers are in the order of layers.
    layers = [name for name in table if name.startswith("keep_ratio.")]
    assert layers == [f"keep_ratio.{layer}" for layer in range(12)]


def test_a_mean_without_labels_has_its_interval(tmp_path):
    table = lotbench.results(fill_vectors(tmp_path))
    row = table[(table["trial_id"] == "leap") & (table["target"] == 4)].iloc[0]
    assert (row["metric"], row["score"], row["metric.cosine"]) == ("mrr", 0.8, 0.7)
    # 150 of 200 texts have 1 and 20 have 1/2: a standard error of sqrt(.775 - .64) / sqrt(200).
    assert row["score_high"] - row["score_low"] == pytest.approx(3.92 * 0.026, abs=0.006)
    assert row["metric.mrr_low"] == row["score_low"]
    # Cosines are 0.1 off: a standard error of 0.1 / sqrt(200).
    width = row["metric.cosine_high"] - row["metric.cosine_low"]
    assert width == pytest.approx(3.92 * 0.00707, abs=0.003)


def test_no_store_and_an_empty_store(tmp_path):
    for frame in (lotbench.results, lotbench.timings):
        with pytest.raises(InputError, match="no results here"):
            frame(tmp_path / "none")
    (tmp_path / "trials").mkdir()
    assert len(lotbench.results(tmp_path)) == len(lotbench.timings(tmp_path)) == 0


def test_timings_join_results_on_trial_and_budget(tmp_path):
    budget = {"k": 1}
    write(tmp_path, trial("a", "lot", [evaluation(0.9, 2.0, budget), evaluation(0.8, 4.0)]))
    own = {"trial_id": "a", "budget": budget}
    rows = [
        in_backend("a k=1", "torch-fp32", 1.6, 0.4, 0.0, 0.5, flops_speedup=1.9, **own),
        in_backend("a k=1", "onnx-int8", 3.0, None, -0.006, 0.05, **own),
        in_backend("dense", "torch-fp32", 1.0, 1.0, 0.0, 0.8),
    ]
    rows[1] = with_call(rows[1], 2.5, 0.07, p95=0.09)
    write(tmp_path, over_backends("t", "2025-01-01", rows))
    table = lotbench.timings(tmp_path)
    called = table[table["timed"] == "call"].set_index("reference")
    assert list(called.index) == ["same", "best", "padded"]
    assert called.loc["best", ["backend", "speedup", "seconds", "p95"]].tolist() == [
        *("onnx-int8", 2.5, 0.07, 0.09)
    ]
    table = table[table["timed"] == "encoder"].reset_index(drop=True)
    once = ["same", "best", "padded"]
    assert list(table["reference"]) == [*once, "same", "padded", *once]
    keys = ["trial_id", "budget_name", "budget"]
    joined = lotbench.results(tmp_path).merge(table, on=keys)
    assert len(joined) == 5
    best = joined[joined["reference"] == "best"].iloc[0]
    assert (best["score"], best["speedup"], best["speedup_low"]) == (0.9, 0.4, pytest.approx(0.2))
    assert (best["backend"], best["batch_size"], best["seconds"]) == ("torch-fp32", 32, 0.5)
    assert (best["score_validation"], best["share.attention"]) == (0.9, 0.26)


def test_trials_of_a_search_are_told_apart_from_those_that_confirm_it(tmp_path):
    for name, seed, more in (
        ("a", 10, {"area": 7.5}),
        ("b", 0, {"part": "confirmation", "chosen": "a"}),
        ("c", 1, {"part": "superseded", "chosen": "a"}),
    ):
        write(tmp_path, trial(name, "ltp", [evaluation(0.9, 2.0)], seed, search=mark(3) | more))
    write(tmp_path, trial("d", "dense", [evaluation(0.9, 1.0)]))
    table = lotbench.results(tmp_path)
    assert list(table["search_part"].fillna("none")) == [
        *("search", "confirmation", "superseded", "none")
    ]
    assert list(table["search_key"][:3]) == ["s"] * 3
    assert list(table["search_index"][:3]) == [3] * 3
    assert list(table["dimensions"][:3]) == [1] * 3
    assert table["search_area"][0] == 7.5 and table["search_area"][1:].isna().all()
    assert table["setting"][0] == table["setting"][1]
