"""The sentences on speed, from invented measurements, and a benchmark that runs. Nothing here is timed."""

import runpy
import sys
from pathlib import Path

import invented
import numpy as np
import pandas as pd
import pytest

from heads.posts import plots, speed

ROOT = Path(__file__).parents[1]


def test_errors_are_set_against_the_seconds_of_the_same_number_of_steps() -> None:
    lines = speed.error_lines(invented.bench())
    assert lines["face"]["from one other head"].to_dict("list") == {"steps": [75, 300], "seconds": [2.5, 10.0], "mm": [1.8, 1.2]}
    assert lines["face"]["from a sphere"].empty and lines["head"]["from one other head"].empty


def test_growth_is_a_power_between_the_ends() -> None:
    lines = speed.growth_lines(invented.bench())
    assert lines["a step", "rays"]["seconds"].tolist() == pytest.approx([0.014, 0.018, 0.026])
    assert speed.exponent(lines["extraction", "vertices of the mesh"]) == pytest.approx(1.0)
    assert speed.exponent(lines["a step", "rays"]) == pytest.approx(np.log(26 / 14) / np.log(4))
    said = speed.growth(invented.bench())
    assert "| extraction | vertices of the mesh | 10,000 | 40,000 | 100 | 400 | 1.00 |" in said
    assert "photographs" not in said  # which were not measured


def test_the_table_of_costs_names_the_machine_and_the_largest_process() -> None:
    said = speed.costs(invented.bench())
    assert "| how many times faster that is | 9.5 | times |" in said and "| the most memory of any group | 1200 | MB |" in said
    assert "a machine, at abc1234" in said


def test_what_is_said_is_what_was_measured() -> None:
    said = speed.conclusion(invented.bench())
    assert "takes 10.0 seconds" in said and "its face error is 4% above the lowest of its curve" in said
    assert "takes 0.40 seconds, with the published tracing 3.80: 9.5 times as many" in said
    assert "its face error is that of the lowest of its curve" in speed.conclusion(
        invented.bench().replace({"value": {1.04: 1.0}})
    )


def test_the_published_size_is_told_by_what_was_measured_on_either_machine() -> None:
    bench = invented.bench()
    gpu = bench.replace({"name": {"seconds_per_head": "published_head_s", "published_step_speedup": "published_head_face_mm"}})
    said = speed.published_size(gpu, bench)
    assert "all its 6,000 steps from a sphere, takes 10 seconds" in said and "has an error of 9.50 mm on the face" in said
    assert "the same steps would take 40 minutes, and with the published tracing 6 hours" in said
    assert speed.published_size(bench, bench).startswith("On the machine of the tables above")


def test_figures_show_every_point() -> None:
    figure = plots.error_by_seconds(speed.error_lines(invented.bench()))
    assert [text.get_text() for text in figure.axes[0].texts] == ["75", "300"]
    assert [axes.get_title(loc="left") for axes in plots.growth(speed.growth_lines(invented.bench())).axes] == [
        "a step",
        "extraction",
    ]


@pytest.mark.parametrize("name", ["bench", "bench_gpu"])
def test_what_was_measured_is_in_the_repository_and_fits_the_table(name: str) -> None:
    bench = speed.read(ROOT, name)
    said = speed.costs(bench)
    assert "a step at the published size, published tracing" in said and "the most memory of any group" in said
    assert "-dirty" not in bench["commit"].str.cat(sep=" ") and not speed.points(bench).empty


def test_a_wrong_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"bench\.csv: there is no such table"):
        speed.read(tmp_path)
    (tmp_path / "results").mkdir()
    rows = invented.bench()
    rows.loc[rows["name"] == "seconds_per_head", "value"] = np.nan
    rows.to_csv(tmp_path / "results" / "bench.csv", index=False)
    with pytest.raises(ValueError, match=r"bench\.csv: numbers were expected, seconds_per_head is nan"):
        speed.read(tmp_path)


def test_a_group_of_the_benchmark_leaves_its_rows_and_its_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "bench.csv"
    pd.DataFrame(
        [("imports_of_a_fit_s", 99.0, "s", "old", "old"), ("kept", 1.0, "s", "old", "old")], columns=speed.COLUMNS
    ).to_csv(out, index=False)

    def bench(group: str) -> None:
        """The command line, in this process, which has imported torch already."""
        monkeypatch.setattr(sys, "argv", ["bench.py", group, "--out", str(out)])
        runpy.run_path(str(ROOT / "benchmarks" / "bench.py"), run_name="__main__")

    monkeypatch.setenv("HEADS_BENCH_ONCE", "1")
    bench("cold_start")
    said = capfd.readouterr().out
    rows = pd.read_csv(out).set_index("name")
    assert set(rows.index) == {
        "kept",
        "imports_of_a_fit_s",
        "imports_of_a_judgement_s",
        "empty_notebook_s",
        "peak_of_cold_start_mb",
    }
    assert rows.loc["kept", "machine"] == "old" and "torch" in rows.loc["imports_of_a_fit_s", "machine"]
    assert (rows["value"] > 0).all() and "imports_of_a_fit_s" in said
    with pytest.raises(SystemExit) as failed:
        bench("cold_stard")
    assert failed.value.code and "'cold_stard' is none of the groups cold_start, " in capfd.readouterr().err
