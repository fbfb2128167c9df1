"""A program: one tool loop killed after each journal line and resumed. Arguments: home, server's URL, repository."""

import json
import os
import signal
import sys
from functools import partial
from pathlib import Path

from benchmarks.soak.forks import ended, fork
from elexirion_dagster.dialects.load import load_string
from elexirion_dagster.run import Run, RunInfo
from elexirion_dagster.settings import Settings
from elexirion_dagster.store.journal import JournalWriter

PIPELINE = """
name: loop
model: anthropic/claude-sonnet-4-5
steps:
  - name: work
    type: llm
    prompt: begin
    tools: [read, write, {command: [sh]}]
    session: {name: chat, scope: pipeline}
  - {name: after, type: llm, prompt: and now, session: {name: chat, scope: pipeline}}
"""


def work(settings, root, name, line):
    written, append = 0, JournalWriter.append

    def counted(self, kind, **fields):
        nonlocal written
        append(self, kind, **fields)
        written += 1
        if written == line:
            os.kill(os.getpid(), signal.SIGKILL)

    JournalWriter.append = counted
    run, done = Run(load_string(PIPELINE).pipeline, RunInfo(name, root, {}, {}, "test"), settings), {}
    for step in run.pipeline.steps:
        done[step.name] = run.step(step, done)
    run.close()
    texts = [result.text or str(result.error) for result in done.values()]
    (settings.home / f"{root}.json").write_text(json.dumps(texts))


def main(home, url):
    line, code = 0, -signal.SIGKILL
    while code:
        line += 1
        own = home / str(line)
        settings = Settings.model_validate({"home": own, "anthropic_api_key": "rehearsal", "anthropic_base_url": url})
        code = ended(fork(partial(work, settings, "root", "first", line)))
        assert code in (0, -signal.SIGKILL)
        if code:
            assert ended(fork(partial(work, settings, "root", "second", 0))) == 0
        lines = (own / "sessions" / "loop" / "chat.jsonl").read_text().splitlines()
        used = (own / "runs" / "root" / "log").read_text().split()
        texts = json.loads((own / "root.json").read_text())
        sys.stdout.write(json.dumps({"texts": texts, "used": used, "said": len(lines)}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
