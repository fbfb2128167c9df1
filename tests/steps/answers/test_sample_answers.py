import threading

from elexirion_dagster.providers.base import ProviderError
from elexirion_dagster.providers.fake import FakeProvider, Rule
from elexirion_dagster.records import Usage

ASK = "model: fake\nretry: {initial_s: 0}\nsteps: [{name: ask, type: llm, prompt: why, samples: 3%s}]"
TYPED = ASK % ", output: {n: integer}"


def test_the_most_common_answer_is_the_step_s_and_all_are_results(one):
    rules = [Rule(data={"n": 1}, times=1), Rule(text='{"n":  2}', times=1), Rule(data={"n": 2}, usage=Usage(1, 1))]
    result = one(TYPED, rules=rules)
    assert (result.status, result.data) == ("succeeded", {"n": 2})
    assert sorted(answer["data"]["n"] for answer in result.results) == [1, 2, 2]
    assert [answer["status"] for answer in result.results] == ["succeeded"] * 3


def test_of_equally_common_answers_the_first_counts(start):
    rules = [Rule(text="red", times=1), Rule(text="green", times=1), Rule(text="blue")]
    result = start(ASK % "", rules=rules).all()["ask"]
    assert result.text == result.results[0]["text"]
    assert {answer["text"] for answer in result.results} == {"red", "green", "blue"}


def test_samples_are_asked_for_at_the_same_time(start):
    together = threading.Barrier(3)

    class Meeting(FakeProvider):
        """Answers only when all three were asked."""

        def send(self, request, **options):
            together.wait(30)
            return super().send(request, **options)

    assert start(ASK % "", opened={"fake": Meeting()}).all()["ask"].status == "succeeded"


def test_each_sample_is_replayed_as_its_own_whatever_the_order_of_arrival(start):
    rules = [Rule(text="red", times=1), Rule(text="green", times=1), Rule(text="blue")]
    first = start(ASK % "", rules=rules)
    answers = first.all()["ask"].results
    journal = next((first.home.journal / first.run.info.root_run).iterdir())
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join(line for line in lines if '"kind":"step"' not in line))
    resumed = start(ASK % "", root=first.run.info.root_run)
    assert resumed.all()["ask"].results == answers
    assert not resumed.fake.requests
    assert {line["path"] for line in first.lines("reply")} == {f"ask[sample {number}]" for number in (1, 2, 3)}


def test_a_sample_that_failed_has_no_vote(one):
    ill = Rule(error=ProviderError("no", cause="refused"), times=1)
    result = one(TYPED, rules=[ill, Rule(data={"n": 7})])
    assert (result.status, result.data) == ("succeeded", {"n": 7})
    assert sorted(answer["status"] for answer in result.results) == ["failed", "succeeded", "succeeded"]


def test_when_every_sample_failed_the_step_has(one):
    result = one(TYPED, rules=[Rule(error=ProviderError("no", cause="refused"))])
    assert (result.status, result.error.cause, len(result.results)) == ("failed", "refused", 3)


def test_what_all_samples_cost_is_counted(one):
    assert one(ASK % "", rules=[Rule(text="x", usage=Usage(10, 1))]).usage == Usage(30, 3)


def test_templates_and_the_ui_see_the_samples(start):
    from elexirion_dagster.compiler.metadata import of_result

    text = f"{TYPED[:-1]}, {{name: s, type: set, vars: {{n: '{{{{ steps.ask.results[0].data.n }}}}'}}}}]"
    rehearsed = start(text, rules=[Rule(data={"n": 4})])
    assert rehearsed.all()["s"].data == {"n": 4}
    shown = of_result(rehearsed.run.step(rehearsed.run.pipeline.steps[0], {}))
    assert "items" not in shown


def test_samples_can_be_asked_in_a_session_and_one_answer_stays(start):
    more = "\n  - {name: on, type: llm, prompt: and, session: chat}\n"
    text = f"model: fake\nsteps:\n  - {{name: ask, type: llm, prompt: why, samples: 3, session: chat}}{more}"
    rehearsed = start(text, rules=[Rule(match="and", text="end"), Rule(text="b", times=1), Rule(text="a")])
    rehearsed.all()
    assert [turn.content[0].text for turn in rehearsed.fake.requests[-1].messages] == ["why", "a", "and"]
