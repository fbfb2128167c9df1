import pytest

from elexirion_dagster.hosts import Host, Origin


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("AI.example.com.:80", Host("ai.example.com", 80)),
        ("[0:0:0:0:0:0:0:1]:3000", Host("::1", 3000)),
        ("a_b-c.d", Host("a_b-c.d")),
    ],
)
def test_a_host_has_one_form(text, host):
    assert Host.parse(text) == host


@pytest.mark.parametrize(
    "text", ["", ".", "a..", "-a", "a-", "a b", "a:", "a:1:2", "[1.2.3.4]", "[::1", "a\n", "é", "a:\uff19"]
)
def test_what_is_no_host_is_none(text):
    assert Host.parse(text) is None


def test_an_origin_is_at_its_own_host_and_port_only():
    origin = Origin.parse("http://localhost:3000")
    assert origin is not None
    assert origin.is_at(Host("localhost", 3000))
    assert not origin.is_at(Host("localhost", 3001))
    assert not origin.is_at(Host("localhost"))
    default = Origin.parse("https://localhost")
    assert default is not None
    assert default.is_at(Host("localhost", 443))
    assert default.is_at(Host("localhost"))


@pytest.mark.parametrize(
    "text", ["null", "", "localhost", "ftp://a", "http://a/", "http://a@b", "http:///a", "HTTP://a"]
)
def test_what_is_no_origin_is_none(text):
    assert Origin.parse(text) is None
