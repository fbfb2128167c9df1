"""A small run of `benchmarks.fingerprints`: findings keep their identity over a history whose truth is known."""

from benchmarks.fingerprints import generated


def test_findings_that_live_on_are_not_reported_as_fixed_and_new(tmp_path):
    score = generated(tmp_path, commits=60, files=20, seed=7)
    assert score.kept > 1_000
    assert score.rate < 0.01
    assert score.missed < score.kept / 100
