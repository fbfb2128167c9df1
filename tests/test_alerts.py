import json
import sys
import threading
from contextlib import nullcontext
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from elexirion_dagster.alerts import send
from elexirion_dagster.errors import ElexirionError, InputError
from elexirion_dagster.settings import Settings


def test_a_command_gets_the_message_on_its_standard_input_and_no_shell(tmp_path):
    script = tmp_path / "told.py"
    script.write_text("import sys; open('told', 'w').write(sys.argv[1] + sys.stdin.read())", encoding="utf-8")
    send(f"{sys.executable} {script} $HOME;", {"a": "ü"}, folder=tmp_path)
    assert (tmp_path / "told").read_text(encoding="utf-8") == '$HOME;{"a": "ü"}'


@pytest.mark.parametrize("target", ["false", "there-is-no-such-program", "http://127.0.0.1:9/secret-token", "http://["])
def test_an_alert_that_is_not_taken_is_an_error_without_the_address(target, tmp_path):
    with pytest.raises(ElexirionError) as caught:
        send(target, {}, folder=tmp_path)
    assert "secret-token" not in str(caught.value)


@pytest.mark.parametrize("status", [204, 500])
def test_a_webhook_gets_the_message_as_its_body(tmp_path, status):
    heard = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self):
            heard.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_): ...

    with HTTPServer(("127.0.0.1", 0), Hook) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        with pytest.raises(ElexirionError, match="500") if status == 500 else nullcontext():
            send(f"http://127.0.0.1:{server.server_port}/", {"a": 1}, folder=tmp_path)
        thread.join()
    assert heard == [{"a": 1}]


@pytest.mark.parametrize("target", ["'", " "])
def test_a_target_that_is_no_command_is_refused_when_settings_are_read(target):
    with pytest.raises(InputError, match="ELEXIRION_ALERT"):
        Settings.from_env({"ELEXIRION_ALERT": target})
