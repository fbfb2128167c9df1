from pathlib import Path

from elexirion_dagster.operations.health import health
from elexirion_dagster.operations.outcomes import ask
from elexirion_dagster.operations.tour import take
from elexirion_dagster.settings import Settings

_COUNT = "SELECT count(*) FROM outcomes"


def test_the_tour_leaves_nothing_in_the_users_tables_and_nothing_for_health_to_see(home_path):
    settings, said = Settings(home=home_path), list[str]()
    assert take(settings, said.append).status == "succeeded"
    assert not list((home_path / "journal").iterdir())
    assert [part.kind for part in health(settings)] == ["queue"]
    assert ask(settings, _COUNT, limit=1)[1].rows == ((0,),)
    assert f"ELEXIRION_HOME={home_path / 'rehearsal'} elexirion outcomes" in said[-1]
    apart = settings.model_copy(update={"home": Path(home_path / "rehearsal")})
    assert ask(apart, _COUNT, limit=1)[1].rows > ((0,),)
    assert "pipeline" not in {part.kind for part in health(apart)}
