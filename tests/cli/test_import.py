from elexirion_dagster.dialects.load import load_any

OLD = """
workflow:
  name: "Old Review"
  steps:
    - name: "review"
      type: "claude"
      claude_options: {verbose: true, model: haiku}
      prompt:
        - {type: file, path: "{{ code_file }}"}
        - {type: static, content: "Review it."}
"""


def test_import_prints_a_native_file_with_the_list_on_its_top(elexirion, tmp_path):
    (tmp_path / "old_review.yaml").write_text(OLD)
    done = elexirion("import", "old_review.yaml")
    assert done.returncode == 0, done.stderr
    assert "#   line 7: verbose: " in done.stdout
    (tmp_path / "again").mkdir()
    file = tmp_path / "again" / "old_review.yaml"
    file.write_text(done.stdout)
    assert load_any(file).pipeline == load_any(tmp_path / "old_review.yaml").pipeline


def test_import_saves_under_a_new_name_and_never_over_a_file(elexirion, tmp_path):
    (tmp_path / "old_review.yaml").write_text(OLD)
    done = elexirion("import", "old_review.yaml", "--output", "review.yaml")
    assert (done.returncode, load_any(tmp_path / "review.yaml").pipeline.name) == (0, "review")
    assert "line 7: verbose" in done.stderr
    before = (tmp_path / "old_review.yaml").read_text()
    again = elexirion("import", "old_review.yaml", "--output", "old_review.yaml")
    assert (again.returncode, (tmp_path / "old_review.yaml").read_text()) == (2, before)
    assert "is there already" in again.stderr


def test_a_file_that_runs_another_is_printed_and_saved_beside_it(elexirion, tmp_path):
    step = "{name: a, type: pipeline, pipeline_file: child.yaml}"
    (tmp_path / "parent.yaml").write_text(f"workflow: {{steps: [{step}]}}\n")
    (tmp_path / "child.yaml").write_text("workflow: {steps: [{name: g, type: gemini, prompt: hi}]}\n")
    assert "pipeline: ./child.yaml" in elexirion("import", "parent.yaml").stdout
    assert elexirion("import", "parent.yaml", "--output", "new.yaml").returncode == 0
    (tmp_path / "far").mkdir()
    away = elexirion("import", "parent.yaml", "--output", "far/new.yaml")
    assert (away.returncode, "the file ./child.yaml does not exist" in away.stderr) == (2, True)


def test_import_refuses_what_needs_none(elexirion, tmp_path):
    (tmp_path / "mine.yaml").write_text("name: mine\nsteps: [{name: a, type: set, vars: {x: 1}}]\n")
    done = elexirion("import", "mine.yaml")
    assert (done.returncode, "already" in done.stderr) == (2, True)


def test_check_shows_the_list_as_warnings(elexirion, tmp_path):
    (tmp_path / "old_review.yaml").write_text(OLD)
    done = elexirion("check", "old_review.yaml")
    assert done.returncode == 0
    assert "old_review.yaml:7: verbose: " in done.stdout


def test_run_takes_inputs_under_their_lower_cased_names(elexirion, tmp_path):
    (tmp_path / "old_review.yaml").write_text(OLD)
    (tmp_path / "code.py").write_text("x = 1\n")
    done = elexirion("run", "old_review.yaml", "CODE_FILE=code.py", "--model", "fake")
    assert done.returncode == 0, done.stderr


def test_steps_of_fixtures_need_the_flag(elexirion, tmp_path):
    (tmp_path / "echo.yaml").write_text("workflow: {name: echo, steps: [{name: a, type: test_echo, value: 1}]}\n")
    refused = elexirion("run", "echo.yaml")
    assert (refused.returncode, "--allow-test-steps" in refused.stderr) == (2, True)
    assert elexirion("run", "echo.yaml", "--allow-test-steps").returncode == 0
