"""What the guard needs of Dagster's web server; a version that behaves otherwise needs another `dagster_ui`."""

import asyncio

from served import client, mutation, opened


def asked(app, method, path, **options):
    async def once():
        async with client(app) as asking:
            return await asking.request(method, path, **options)

    return asyncio.run(once())


def test_it_serves_pages_and_graphql_and_takes_changes_as_json(tmp_path):
    with opened(tmp_path) as served:
        assert "script-src" in asked(served.app, "GET", "/runs").headers["content-security-policy"]
        assert asked(served.app, "POST", "/graphql", json={"query": "{ version }"}).json()["data"]["version"]
        assert asked(served.app, "POST", "/graphql", json={"query": mutation("x")}).status_code == 200
        assert asked(served.app, "POST", "/report_asset_materialization/y", json={}).status_code == 200
        assert served.changes() == {"x", "y"}


def test_everything_moves_below_a_prefix(tmp_path):
    with opened(tmp_path, path_prefix="/ai") as served:
        assert asked(served.app, "GET", "/").headers["location"] == "/ai"
        assert asked(served.app, "GET", "/ai/server_info").status_code == 200
        assert asked(served.app, "POST", "/graphql", json={"query": mutation("x")}).status_code == 404
        assert served.changes() == set()


def test_a_read_only_server_changes_nothing(tmp_path):
    with opened(tmp_path, read_only=True) as served:
        body = {"query": "{ permissions { permission value } }"}
        given = asked(served.app, "POST", "/graphql", json=body).json()["data"]["permissions"]
        allowed = {one["permission"] for one in given if one["value"]}
        assert "launch_pipeline_execution" in {one["permission"] for one in given}
        assert "launch_pipeline_execution" not in allowed
