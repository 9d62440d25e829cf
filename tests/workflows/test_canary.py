"""A canary for a key, given in every way, in runs that go wrong in every way: found in no file and no output."""

import itertools
import json
import os
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote

import pytest

from promptmill.run import read_status

CORE = "7d0c1e5a4b2f9e8d6c3a"
CANARY = f"sk-cAnArY/+{CORE}="
SECOND = f"sk-cAnArY/+{CORE[::-1]}="
WAYS = {
    "api_key_env": ({"MINE": CANARY}, {"api_key_env": "MINE"}),
    "json list": ({"MINE": json.dumps([CANARY, SECOND])}, {"api_keys_env": "MINE"}),
    "one of a list": ({"MINE": json.dumps([SECOND, CANARY])}, {"api_key_env": "MINE[1]"}),
    "json string": ({"MINE": json.dumps(CANARY)}, {"api_keys_env": "MINE"}),
    "comma list": ({"MINE": f"{CANARY},{SECOND}"}, {"api_keys_env": "MINE"}),
    "json object": (
        {"MINE": json.dumps({"openai": [CANARY], "other": SECOND})},
        {"api_keys_env": "MINE", "service": "openai"},
    ),
    "OPENAI_API_KEY": ({"OPENAI_API_KEY": CANARY}, None),
    "API_KEYS": ({"API_KEYS": json.dumps([CANARY, SECOND])}, None),
}
PROMPTS = [f"Say {n} words." for n in range(30)]


class Parrot(BaseHTTPRequestHandler):
    """Says the key back, in errors, answers and headers; or closes the connection."""

    protocol_version = "HTTP/1.1"
    turns = itertools.count()
    pause_s = 0.0

    def do_GET(self):
        self._say(200, {"data": [{"id": "fake", "owned_by": f"owner of {self._key()}"}]})

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(self.pause_s)
        key, turn = self._key(), next(self.turns) % 24
        if turn == 0:
            self._say(500, {"error": {"message": f"bad gateway for {key} ({quote(key, safe='')})"}})
        elif turn == 1:
            self._say(400, {"error": {"message": f"Incorrect field. Authorization: Bearer {key}"}})
        elif turn == 2:
            self.close_connection = True
        elif turn == 3:
            self._say(302, {}, Location=f"http://127.0.0.1:1/?key={key}")
        elif turn == 4:
            self._say(429, {"error": key}, Retry_After="0.01", X_Key=key)
        elif turn == 5:
            self._send(200, b"no JSON but " + key.encode() + b" \\u007d")
        elif turn == 6:
            self._say(422, {"detail": [{"loc": key, "msg": json.dumps({"k": key})}]})
        else:
            answer = {"index": 0, "message": {"content": f"Your key is {key}."}, "finish_reason": "stop"}
            self._say(200, {"choices": [answer], "usage": {"prompt_tokens": 3, "completion_tokens": 5}})

    def _key(self):
        return self.headers.get("Authorization", "").removeprefix("Bearer ")

    def _say(self, status, body, **headers):
        self._send(status, json.dumps(body).encode(), **headers)

    def _send(self, status, body, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments):
        """Say nothing."""


class Perch(ThreadingHTTPServer):
    """Keeps to itself that a client went away."""

    def handle_error(self, *_arguments):
        """Say nothing."""


@contextmanager
def parrot(**options):
    with Perch(("127.0.0.1", 0), type("ThisParrot", (Parrot,), options)) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join(120)


@pytest.fixture
def given(monkeypatch, recipe, tmp_path):
    """Set the variables of a way and write a recipe that uses them."""

    def write(url, way, **more):
        variables, use = WAYS[way]
        for name in ("OPENAI_API_KEY", "API_KEYS", "OPENAI_BASE_URL", "MINE"):
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        endpoints = [] if use is None else [{"kind": "openai", "base_url": url, "keep_response": True, **use}]
        if use is None:
            monkeypatch.setenv("OPENAI_BASE_URL", url)
        options = {"store": str(tmp_path / "store"), "concurrency": 4, "k": 2, **more}
        return recipe(url, prompts=PROMPTS, endpoints=endpoints, **options)

    return write


def assert_nowhere(folder, *texts):
    """No file and no text holds a key, or the part of it that no way of writing changes."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 5
    for content in [*(path.read_bytes() for path in files), *(text.encode() for text in texts)]:
        for core in (CORE, CORE[::-1]):
            assert core.encode() not in content, content[:2000]


@pytest.mark.parametrize("way", WAYS)
def test_a_key_is_nowhere_after_a_run_with_errors(given, mill, tmp_path, way):
    out = tmp_path / "run"
    with parrot() as url:
        path = given(url, way)
        runs = [mill("lengths", "generate", path, "--out", out) for _ in range(2)]
        looks = [mill("status", out, flag) for flag in ("--json", "--prometheus")]
        looks += [mill("status", out), mill("show", out), mill("check", path)]
        looks += [mill("lengths", "generate", path, "--out", out, "--dry-run")]
        looks += [mill("lengths", "generate", path, "--out", out, "--set", "generate.sampling.seed=1")]
    assert [said.code for said in runs] == [1, 1]
    assert "[key]" in (out / "generate" / "part-00000.jsonl").read_text()  # the server said it, we do not
    assert_nowhere(tmp_path, *(said.out + said.err for said in (*runs, *looks)))


@pytest.mark.parametrize("way", ["api_key_env", "json list", "OPENAI_API_KEY"])
def test_a_key_is_nowhere_after_a_crash_and_not_while_a_run_lives(given, start_mill, mill, until, tmp_path, way):
    out = tmp_path / "run"
    with parrot(pause_s=0.1) as url:
        process = start_mill("lengths", "generate", given(url, way), "--out", out)
        until(lambda: (read_status(out) or {}).get("done"))
        live = [mill("status", out, flag) for flag in ("--json", "--prometheus")]
        process.kill()
        said, err = process.communicate(timeout=240)
    assert [look.code for look in live] == [0, 0]
    assert_nowhere(tmp_path, said, err, *(look.out + look.err for look in live))


@pytest.mark.parametrize("way", ["api_key_env", "API_KEYS"])
def test_a_key_is_nowhere_when_it_is_refused(given, fake, mill, tmp_path, way):
    with fake(keys=("another",)) as url:
        said = mill("lengths", "generate", given(url, way), "--out", tmp_path / "run")
    assert said.code == 2
    assert "401" in said.error
    assert_nowhere(tmp_path, said.out + said.err)


BUG = """
import sys
from promptmill import cli
from promptmill.cli import stages, screen

class Faulty(screen.Screen):
    def progress(self, facts):
        if facts["done"]:
            raise ZeroDivisionError("a bug")

stages.Screen = Faulty
sys.exit(cli.run(sys.argv[1:]))
"""


@pytest.mark.parametrize("way", ["api_key_env", "comma list"])
def test_a_key_is_nowhere_in_the_traceback_of_a_bug(given, tmp_path, way):
    with parrot(pause_s=0.05) as url:
        command = [sys.executable, "-X", "dev", "-c", BUG, "lengths", "generate", str(given(url, way))]
        command += ["--out", str(tmp_path / "run")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False, env=os.environ)
    assert done.returncode == 2
    assert "ZeroDivisionError: a bug" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: this is a bug in promptmill (ZeroDivisionError).")
    assert_nowhere(tmp_path, done.stdout, done.stderr)


def test_a_key_that_a_users_function_holds_is_not_told_with_its_error(recipe, mill, tmp_path, monkeypatch):
    monkeypatch.setenv("MINE", CANARY)
    (tmp_path / "mine.py").write_text(
        "import os\n"
        "async def answer(request):\n"
        "    headers = {'Authorization': 'Bearer ' + os.environ['MINE']}\n"
        "    return headers['X-Missing']\n"
    )
    use = {"kind": "function", "function": f"{tmp_path / 'mine.py'}:answer"}
    said = mill("lengths", "generate", recipe("", endpoints=[use], prompts=PROMPTS[:12]), "--out", tmp_path / "run")
    assert said.code == 1
    assert "KeyError: 'X-Missing'" in (tmp_path / "run" / "generate" / "part-00000.jsonl").read_text()
    assert_nowhere(tmp_path, said.out + said.err)
