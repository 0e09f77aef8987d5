"""Rows as CSV and JSON."""

import csv
import io
import json
import math
from pathlib import Path

from run_folders import default_row, make_run

from dcgan_exp import comparison, exports, index


def rows_of(folder: Path) -> list[comparison.Row]:
    nan = make_run(folder / "=1+1", rows=3, grid=None, name="-x", row=lambda i: {**default_row(i), "g_loss": math.nan})
    other = make_run(folder / "b", rows=3, grid=None, seed=1, model__generator__widths=[8, 8, 8])
    return comparison.build([index.read_entry(nan), index.read_entry(other)])


def test_csv_has_every_key_and_no_formula(tmp_path: Path) -> None:
    rows = rows_of(tmp_path)
    lines = list(csv.DictReader(io.StringIO(exports.to_csv(rows, exports.export_columns(rows)).decode())))
    assert [line["run"] for line in lines] == ["'=1+1", "b"]
    assert lines[0]["name"] == "'-x"
    assert lines[0]["g_loss"] == "nan"
    assert lines[1]["model.generator.widths"] == "[8, 8, 8]"
    assert lines[1]["best.d_loss.at"] == "10"


def test_json_is_strict_and_holds_the_warnings(tmp_path: Path) -> None:
    rows = rows_of(tmp_path)
    content = json.loads(
        exports.to_json(rows, exports.export_columns(rows), ["x: left out"]), parse_constant=lambda _: 1 / 0
    )
    assert content["runs"][0]["g_loss"] == "nan"
    assert content["runs"][1]["optimizer.learning_rate"] == 1e-3
    assert content["warnings"] == []
    assert content["left_out"] == ["x: left out"]


def test_a_group_has_its_spread_and_count(tmp_path: Path) -> None:
    folders = [make_run(tmp_path / str(seed), rows=3, grid=None, seed=seed) for seed in range(3)]
    rows = comparison.grouped(comparison.build([index.read_entry(folder) for folder in folders]), ["seed"])
    (line,) = exports.records(rows, exports.export_columns(rows))
    assert line["n"] == line["d_loss.n"] == 3
    assert line["d_loss.std"] == 0


def test_an_undecodable_name_can_be_written(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "a\udcff", rows=1, grid=None)
    rows = comparison.build([index.read_entry(folder)])
    assert b"\\udcff" in exports.to_csv(rows, ["run"])
    assert json.loads(exports.to_json(rows, ["run"], []))["runs"][0]["run"] == "a\udcff"
