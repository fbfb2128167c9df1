"""Made tests/data/stored_home/home.tar.xz; see README.md. Run with the program whose home is to be kept."""

import contextlib
import hashlib
import json
import lzma
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tarfile
import time
from pathlib import Path

HERE = Path(__file__).parent
ROOT = Path("/tmp/elexirion-0.1")
REPOSITORY = HERE.parents[2]
sys.path.insert(0, str(REPOSITORY / "tests" / "end_to_end"))

from serving import Ui, free_port, wait_for  # noqa: E402

HOME, SHOP, CELLAR = ROOT / "home", ROOT / "shop", ROOT / "cellar"
PIPELINES = {
    "sorting": """\
name: sorting
description: Sorts a text; its prompt was learned.
model: local/any
inputs: {text: {type: string, default: red}}
steps:
  - name: sort
    type: llm
    system: Sort it.
    prompt: "{{ inputs.text }}"
    output: {kind: {enum: [red, green, blue]}}
    optimize:
      metric: {exact: kind}
      objectives: [quality]
      optimizer: bootstrap
      budget: {iterations: 2}
      instructions: [Look twice.]
examples: {sort: sorted.jsonl}
outputs: {kind: "{{ steps.sort.data.kind }}"}
""",
    "estimate": """\
name: estimate
description: Asks a model, then needs a file that was not there.
model: local/any
budget: {tokens: 50_000}
inputs:
  folder: {type: path}
  place: {type: string, default: hall}
steps:
  - {name: first, type: set, vars: {x: 20}}
  - name: each
    type: for_each
    items: ["{{ inputs.place }}"]
    as: place
    key: "{{ place }}"
    steps:
      - name: ask
        type: llm
        system: You estimate lengths.
        prompt: "How many metres is the {{ place }}?"
        output: {metres: integer}
      - {name: noted, type: command, needs: [ask], run: [echo, "{{ place }}"]}
      - {name: number, type: command, needs: [noted], run: [cat, "{{ inputs.folder }}/number"]}
outputs:
  sum: >-
    {{ vars.x + steps.each.results[inputs.place].ask.data.metres +
    (steps.each.results[inputs.place].number.text | int) }}
""",
    "patrol": """\
name: patrol
description: Asks a model, then waits at a gate.
model: local/any
inputs: {folder: {type: path}}
steps:
  - {name: ask, type: llm, system: You know the list of duties., prompt: Who is on duty tonight?}
  - {name: gate, type: command, needs: [ask], run: [cat, "{{ inputs.folder }}/gate"]}
outputs: {who: "{{ steps.ask.text }}", gate: "{{ steps.gate.text }}"}
""",
    "kinds": """\
name: kinds
description: Its first answer was cut off, so that it went on as a derived document.
model: local/any
budget: {tokens: 50_000}
inputs: {thing: {type: string, default: a broken window}}
steps:
  - name: kind
    type: llm
    prompt: "{{ inputs.thing }}"
    max_tokens: 100
    output: {kind: {enum: [repair, order]}}
outputs: {kind: "{{ steps.kind.data.kind }}"}
""",
    "talk": """\
name: talk
description: Goes on with a conversation from run to run.
model: local/any
inputs: {said: {type: string, default: What did we agree on?}}
steps:
  - name: answer
    type: llm
    prompt: "{{ inputs.said }}"
    session: {name: talk, scope: pipeline}
outputs: {answer: "{{ steps.answer.text }}"}
""",
    "watch": """\
name: watch
description: Looks at what is new in the cellar, every ten minutes.
inputs: {repo: {type: path, default: "."}}
partitions: {by: file, repo: "{{ inputs.repo }}", include: ["**/*.py"]}
repos: [../cellar]
schedule: {cron: "*/10 * * * *", timezone: UTC}
on: push
steps:
  - {name: due, type: files, list: {git: due}}
  - {name: look, type: analyze, tools: [bandit], paths: "{{ steps.due.data.files }}"}
outputs: {findings: "{{ steps.look.data.findings }}"}
""",
}
PIPELINES["shades"] = (
    PIPELINES["sorting"].replace("sorting", "shades").replace("sorted", "shaded").replace("learned", "learned, and is on trial")
)
KINDS = ("red", "green", "blue")
SHOP_FILES = [
    {
        ".gitignore": "pipelines_yaml/\n",
        "shop/orders.py": "import pickle\nimport subprocess\n\n\ndef load(path):\n    return pickle.load(open(path, 'rb'))\n\n\n"
        "def export(name):\n    subprocess.call(f'tar cf {name}.tar {name}', shell=True)\n",
        "shop/prices.py": "def settle(total, discount):\n    # a share from 0 to 1\n    return total - total * discount\n",
        "shop/stock.py": "import hashlib\n\n\ndef key(name):\n    return hashlib.md5(name.encode()).hexdigest()\n\n\n"
        "def rule(text):\n    return eval(text)\n\n\ndef later(text):\n    exec(text)\n",
        "web/main.js": "export function run(code) {\n  return eval(code);\n}\n",
    },
    {  # one finding moves, one is fixed, one comes
        "shop/orders.py": "import pickle\nimport subprocess\n\nLIMIT = 3\n\n\ndef load(path):\n    return pickle.load(open(path, 'rb'))\n\n\n"
        "def export(name):\n    subprocess.call(f'tar cf {name}.tar {name}', shell=True)\n",
        "shop/stock.py": "import hashlib\nimport tempfile\n\n\ndef key(name):\n    return hashlib.md5(name.encode()).hexdigest()\n\n\n"
        "def rule(text):\n    return eval(text)\n\n\ndef place():\n    return tempfile.mktemp()\n",
    },
]
CELLAR_FILES = {
    "lib/cellar.ex": "defmodule Cellar do\n  def open(name), do: String.to_atom(name)\nend\n",
    "tools/count.py": "import os\n\n\ndef count(name):\n    os.system('ls ' + name)\n    assert name\n",
}


def environment(port: int) -> dict[str, str]:
    """A user's: a home, a model on this machine, no keys."""
    return {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "HOME": str(ROOT),
        "LANG": "C.UTF-8",
        "ELEXIRION_HOME": str(HOME),
        "ELEXIRION_LOCAL_URL": f"http://127.0.0.1:{port}/v1",
        "ELEXIRION_LOCAL_MODEL": "any",
    }


def elexirion(*words: object, code: int = 0) -> str:
    line = [sys.executable, "-m", "elexirion_dagster.cli.main", *map(str, words)]
    done = subprocess.run(line, cwd=SHOP, env=ENVIRON, capture_output=True, text=True, check=False)
    assert done.returncode == code, (words, done.returncode, done.stdout, done.stderr)
    print("$ elexirion", *words, file=sys.stderr)
    return done.stdout


def said(*words: object, code: int = 0):
    return json.loads(elexirion(*words, "--json", code=code))


def git(folder: Path, *words: str) -> None:
    who = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "init.defaultBranch=main"]
    subprocess.run(["git", *who, *words], cwd=folder, check=True, env=ENVIRON, capture_output=True)


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


def commit(folder: Path, files: dict[str, str], message: str) -> None:
    write(folder, files)
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", message)


@contextlib.contextmanager
def up():
    port = free_port()
    words = [sys.executable, "-m", "elexirion_dagster.cli.main", "up", "--port", str(port)]
    with (ROOT / "up.log").open("w") as log, subprocess.Popen(words, cwd=SHOP, env=ENVIRON, stderr=log, text=True) as process:
        ui = Ui(process, port, HOME, ENVIRON)
        wait_for(lambda: "ready: " in (ROOT / "up.log").read_text())
        try:
            yield ui
        finally:
            ui.stop()
    (ROOT / "up.log").unlink()


def launched(ui: Ui, job: str, status: str = "SUCCESS", **inputs) -> str:
    run = ui.started(job, **inputs)
    found = ui.finished(run)
    assert found["status"] == status, (job, found)
    print(f"launched {job}: {run} {status}", file=sys.stderr)
    return run


def journaled(ui: Ui, run: str, kind: str) -> None:
    wait_for(lambda: [line for line in ui.journal(run) if line["kind"] == kind])


SWITCH = {
    "schedule": """mutation On($selector: ScheduleSelector!) { startSchedule(scheduleSelector: $selector) {
        __typename ... on ScheduleStateResult { scheduleState { name status } } ... on PythonError { message } } }""",
    "sensor": """mutation On($selector: SensorSelector!) { startSensor(sensorSelector: $selector) {
        __typename ... on Sensor { name } ... on PythonError { message } } }""",
}


def switch_on(ui: Ui, kind: str, location: str, name: str) -> None:
    selector = {"repositoryLocationName": location, "repositoryName": "__repository__", f"{kind}Name": name}
    answer = ui.ask(SWITCH[kind], selector=selector)
    (found,) = answer.values()
    assert found["__typename"] in ("ScheduleStateResult", "Sensor"), found


def ticked(ui: Ui, kind: str, location: str, name: str) -> bool:
    plural = f"{kind}s"
    query = f"""{{ found: {kind}OrError({kind}Selector: {{repositoryLocationName: "{location}", repositoryName: "__repository__",
        {kind}Name: "{name}"}}) {{ ... on {kind.capitalize()} {{ {kind}State {{ status ticks(limit: 5) {{ status }} }} }} }} }}"""
    state = ui.ask(query)["found"][f"{kind}State"]
    assert state["status"] == "RUNNING", (plural, state)
    return any(tick["status"] in ("SKIPPED", "SUCCESS") for tick in state["ticks"])


NAMES = """{ repositoriesOrError { ... on RepositoryConnection { nodes { location { name } jobs { name }
    schedules { name scheduleState { status } } sensors { name sensorState { status } }
    assetNodes { assetKey { path } isPartitioned partitionKeys } } } } }"""


def names(ui: Ui) -> dict:
    """What the two locations have, by name, and whether it is on."""
    found = {}
    for node in ui.ask(NAMES)["repositoriesOrError"]["nodes"]:
        found[node["location"]["name"]] = {
            "jobs": sorted(job["name"] for job in node["jobs"]),
            "schedules": {one["name"]: one["scheduleState"]["status"] for one in node["schedules"]},
            "sensors": {one["name"]: one["sensorState"]["status"] for one in node["sensors"]},
            "assets": {"/".join(one["assetKey"]["path"]): one["partitionKeys"] for one in node["assetNodes"]},
        }
    return found


def fingerprint(rule: str, path: str) -> str:
    (one,) = {f["fingerprint"] for f in said("findings", "list") if f["rule"] == rule and f["path"] == path}
    return one


def alerts(run: str) -> list[dict]:
    """The alerts of a scan's SARIF report, as a service that holds them knows them."""
    log = json.loads((HOME / "reports" / run / "report.sarif").read_text())
    return [
        {
            "rule": result["ruleId"],
            "path": result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"],
            "fingerprints": result["partialFingerprints"],
            "suppressed": bool(result.get("suppressions")),
        }
        for one in log["runs"]
        for result in one["results"]
        if result.get("baselineState") != "absent"
    ]


def use() -> dict:
    """What a user did with this version; returns what the test wants to know of it."""
    facts: dict = {}
    # two repositories, the first with a history
    for folder, url in ((SHOP, "https://ada@git.example.org/team/shop.git"), (CELLAR, "git@git.example.org:team/cellar.git")):
        folder.mkdir(parents=True)
        git(folder, "init", "-q")
        git(folder, "remote", "add", "origin", url)
    rows = [{"inputs": {"text": f"{KINDS[at % 3]} {hashlib.sha256(str(at).encode()).hexdigest()[:40]}"},
             "expected": {"kind": KINDS[at % 3]}} for at in range(180)]
    write(SHOP / "pipelines_yaml", {f"{name}.yaml": text for name, text in PIPELINES.items()})
    lines = [json.dumps(row) + "\n" for row in rows]
    write(SHOP / "pipelines_yaml", {"sorted.jsonl": "".join(lines), "shaded.jsonl": "".join(lines[:75])})
    commit(SHOP, SHOP_FILES[0], "first")
    commit(CELLAR, CELLAR_FILES, "first")
    said("scan", ".")
    commit(SHOP, SHOP_FILES[1], "second")
    said("scan", ".")
    accepted = next(f for f in said("findings", "list") if f["tool"] == "review")
    elexirion("findings", "accept", accepted["fingerprint"], "--comment", "Well seen.")
    elexirion("findings", "suppress", fingerprint("B602", "shop/orders.py"), "--reason", "The name is a constant.", "--owner", "ada", "--until", "2999-12-31")
    elexirion("findings", "reject", fingerprint("B324", "shop/stock.py"), "--comment", "It is no secret.")
    by_file = fingerprint("B301", "shop/orders.py")
    kept = f"suppressions:\n  - fingerprint: {by_file}\n    path: shop/orders.py\n    reason: We write these files ourselves.\n    owner: ada\n    expires: 2999-12-31\n"
    commit(SHOP, {".elexirion/suppressions.yaml": kept}, "third")
    said("scan", ".")
    (ROOT / "folder").mkdir()
    os.mkfifo(ROOT / "folder" / "gate")
    with up() as ui:
        # `up` was started, schedules and sensors were switched on
        switch_on(ui, "schedule", "elexirion_dagster", "nightly_scan_schedule")
        switch_on(ui, "schedule", "elexirion_dagster", "watch_schedule")
        switch_on(ui, "sensor", "elexirion_dagster", "watch_push")
        switch_on(ui, "sensor", "optimizer_assets", "learn_prompts")
        wait_for(lambda: ticked(ui, "sensor", "elexirion_dagster", "recover_runs"))  # failures count from here on
        facts["before_learning"] = launched(ui, "sorting", text="green tea")
        facts["scan_cellar"] = launched(ui, "nightly_scan", repo=str(CELLAR))
        facts["talk"] = launched(ui, "talk", said="Remember Tuesday.")
        # parked: what it needed was not there
        facts["parked"] = launched(ui, "estimate", "FAILURE", folder=str(ROOT / "folder"))
        journaled(ui, facts["parked"], "recovery")
        facts["adopted"] = launched(ui, "estimate", "FAILURE", folder=str(ROOT / "folder"), place="yard")
        journaled(ui, facts["adopted"], "recovery")
        # a run that went on as a derived document
        facts["derived"] = launched(ui, "kinds", "FAILURE")
        wait_for(lambda: [row for row in ui.recoveries(facts["derived"]) if row["status"] == "SUCCESS"])
        # a worker that was killed: the run went on by itself; a terminal's run that was killed did not
        run = facts["lost"] = ui.started("patrol", folder=str(ROOT / "folder"))
        wait_for(lambda: [line for line in ui.journal(run) if (line["kind"], line.get("path")) == ("step", "ask")])
        pid = json.loads(elexirion("ps", "--json"))[0]["pid"]
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: ui.recoveries(run))
        recovery = wait_for(lambda: next((row for row in ui.recoveries(run) if row["status"] == "STARTED"), None))
        wait_for(lambda: [line for line in ui.journal(run) if line["run"] == recovery["runId"]])
        with (ROOT / "folder" / "gate").open("w") as gate:
            gate.write("open\n")
        assert ui.finished(recovery["runId"])["status"] == "SUCCESS"
        line = [sys.executable, "-m", "elexirion_dagster.cli.main", "run", "patrol", f"folder={ROOT / 'folder'}"]
        process = subprocess.Popen(line, cwd=SHOP, env=ENVIRON, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        (row,) = wait_for(lambda: [row for row in said("ps") if row["pid"] == process.pid and row["step"] == "gate"])
        process.kill()
        process.wait()
        os.close(os.open(ROOT / "folder" / "gate", os.O_WRONLY | os.O_NONBLOCK))  # its `cat` has outlived it
        run = facts["killed"] = row["run"]
        assert ui.finished(run)["status"] == "FAILURE"
        journaled(ui, run, "run_finished")
        # a prompt was learned and promoted, and used; feedback on its answers; the next search found nothing better
        said_last = elexirion("optimize", "sorting/sort", "--json").splitlines()[-1]
        learned = json.loads(said_last)
        assert learned["outcome"] == "promote", learned
        facts["version"] = learned["version"]
        facts["finished"] = launched(ui, "sorting", text="blue sky")
        facts["judged"] = launched(ui, "sorting", text="red brick")
        elexirion("feedback", facts["finished"], "sort", "good", "--comment", "Right.")
        write(ROOT / "folder", {"expected.json": '{"kind": "green"}'})
        elexirion("feedback", facts["judged"], "sort", "bad", "--expected", str(ROOT / "folder" / "expected.json"))
        elexirion("recoveries", "adopt", facts["adopted"])
        shaded = json.loads(elexirion("optimize", "shades/sort", "--json").splitlines()[-1])
        assert shaded["outcome"] == "canary", shaded  # too few rows to prove it
        facts["on_trial"] = shaded["version"]
        elexirion("prompts", "pin", "shades/sort", "--reason", "Nobody but us changes it.")
        job = {"repositoryLocationName": "optimizer_assets", "repositoryName": "__repository__", "pipelineName": "optimize_sorting__sort"}
        answer = ui.ask("""mutation Launch($params: ExecutionParams!) { launchRun(executionParams: $params) { __typename
            ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }""",
            params={"selector": job, "runConfigData": "{}", "mode": "default"})["launchRun"]
        assert answer["__typename"] == "LaunchRunSuccess", answer
        assert ui.finished(answer["run"]["runId"])["status"] == "SUCCESS"
        # the last scan, with the repository's own suppression
        facts["scan_shop"] = said("scan", ".", "--all", code=0)["run"]
        facts["scan_cellar"] = launched(ui, "nightly_scan", repo=str(CELLAR))
        wait_for_long(lambda: ticked(ui, "schedule", "elexirion_dagster", "watch_schedule"))
        wait_for_long(lambda: ticked(ui, "sensor", "optimizer_assets", "learn_prompts"))
        wait_for_long(lambda: not said("ps"))
        facts["names"] = names(ui)
        time.sleep(35)  # the sensors that keep the tables have looked
    facts["ended"] = time.time()
    facts["alerts"] = {"shop": alerts(facts["scan_shop"]), "cellar": alerts(facts["scan_cellar"])}
    return facts


def wait_for_long(look) -> None:
    deadline = time.monotonic() + 700
    while time.monotonic() < deadline and not look():
        time.sleep(2)
    assert look()


def answers() -> dict:
    """What this version says of its home, by command."""
    tables = [row["name"] for row in said("outcomes", "--sql", "SHOW TABLES")]
    return {
        "tables": {name: said("outcomes", "--sql", f"FROM {name}") for name in tables},
        "findings": said("findings", "list", *[word for state in ("new", "open", "fixed", "reopened", "suppressed") for word in ("--state", state)]),
        "prompts": said("prompts", "list"),
        "recoveries": said("recoveries", "list", "--limit", "100"),
        "commands": [line.split()[0] for line in elexirion("--help").partition("Commands:")[2].splitlines() if line.startswith("  ") and line[2:3].strip()],
    }


def tidy() -> None:
    """Leave out what nobody needs: caches, logs of programs, samples of git; pack the databases."""
    for name in ("cache", "dagster/workers", "dagster/.telemetry", "dagster/workspace.yaml", "dagster/logs"):
        shutil.rmtree(HOME / name, ignore_errors=True)
        (HOME / name).unlink(missing_ok=True)
    for file in [*HOME.rglob("*.sqlite"), *HOME.rglob("*.db")]:
        with contextlib.closing(sqlite3.connect(file)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for file in [*HOME.rglob("*-wal"), *HOME.rglob("*-shm"), *HOME.rglob("*.lock"), *HOME.rglob("*.sock")]:
        file.unlink()
    for folder in (SHOP, CELLAR):
        git(folder, "gc", "-q", "--aggressive", "--prune=now")
        for name in ("hooks", "logs", "description", "COMMIT_EDITMSG", "info"):
            shutil.rmtree(folder / ".git" / name, ignore_errors=True)
            (folder / ".git" / name).unlink(missing_ok=True)
    (ROOT / "folder" / "gate").unlink()
    for rest in ROOT.iterdir():
        if rest.name not in ("home", "shop", "cellar", "folder", "facts.json", "answers.json"):
            shutil.rmtree(rest) if rest.is_dir() else rest.unlink()


def pack() -> None:
    def plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = 0
        member.uname = member.gname = "root"
        return member

    with lzma.open(HERE / "home.tar.xz", "wb", preset=9 | lzma.PRESET_EXTREME) as stream, tarfile.open(fileobj=stream, mode="w") as archive:
        for part in sorted(ROOT.iterdir()):
            archive.add(part, part.name, filter=plain)


if __name__ == "__main__":
    shutil.rmtree(ROOT, ignore_errors=True)
    ROOT.mkdir()
    SHOP.mkdir()
    port = free_port()
    ENVIRON = environment(port)
    server = [sys.executable, "-m", "elexirion_dagster.cli.main", "rehearsal-server", str(HERE / "model.yaml"), "--port", str(port)]
    SHOP.rmdir()
    with subprocess.Popen(server, cwd=ROOT, env=ENVIRON, stdout=subprocess.PIPE, text=True) as model:
        assert model.stdout.readline()
        try:
            facts = use()
            (ROOT / "facts.json").write_text(json.dumps(facts, indent=1))
            (ROOT / "answers.json").write_text(json.dumps(answers(), indent=1))
        finally:
            model.terminate()
    tidy()
    pack()
