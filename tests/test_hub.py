"""`load_weights("owner/name")` through huggingface_hub, against a local server that speaks its protocol."""

import functools
import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading

import pytest
import torch
from peers import hf_mobilevit, our_mobilevit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(http.server.BaseHTTPRequestHandler):
    """Serves the files of one repository with the headers that the client asks for."""

    def __init__(self, *args, folder, **kwargs):
        self.folder = folder
        super().__init__(*args, **kwargs)

    def log_message(self, *args):
        pass

    def do_HEAD(self):
        self.answer(with_body=False)

    def do_GET(self):
        self.answer(with_body=True)

    def answer(self, with_body):
        path = self.path.split("?")[0]
        file = self.folder / path.rsplit("/", 1)[1]
        if path.startswith("/apple/mobilevit-small/resolve/") and file.is_file():
            body = file.read_bytes()
            etag = f'"{hashlib.sha256(body).hexdigest()}"'
            self.reply(200, body, with_body, {"ETag": etag, "X-Repo-Commit": COMMIT})
        else:
            self.reply(404, b"", with_body, {"X-Error-Code": "EntryNotFound"})

    def reply(self, status, body, with_body, headers):
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(body))}).items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(body)


@pytest.fixture
def hub(tmp_path):
    folder = tmp_path / "repository"
    folder.mkdir()
    handler = functools.partial(Hub, folder=folder)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


LOAD = """
import sys, torch
from mvit_lib import load_weights
model = load_weights("apple/mobilevit-small").double()
torch.manual_seed(0)
torch.save(model(torch.rand(1, 3, 64, 64, dtype=torch.float64)), sys.argv[1])
print(model.eval_transform)
"""


# A port of this machine on which nothing listens.
NOBODY = "http://127.0.0.1:9"


def load(endpoint, folder, result):
    """LOAD in a process of its own, with the hub at `endpoint` and its cache in `folder`."""
    env = os.environ | {"HF_ENDPOINT": endpoint, "HF_HOME": str(folder / "cache")}
    env |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "NO_PROXY": "127.0.0.1"}
    return subprocess.run([sys.executable, "-c", LOAD, str(result)], env=env, capture_output=True, text=True)


@pytest.mark.parametrize("weights", ["model.safetensors", "pytorch_model.bin"])
def test_a_repository_loads_exactly(hub, tmp_path, weights):
    folder, endpoint = hub
    theirs = hf_mobilevit("s")
    theirs.config.save_pretrained(folder)
    if weights == "model.safetensors":
        theirs.save_pretrained(folder)
    else:
        torch.save(theirs.state_dict(), folder / weights)
    sizes = {"size": {"shortest_edge": 288}, "crop_size": {"height": 256, "width": 256}}
    (folder / "preprocessor_config.json").write_text(json.dumps(sizes))
    torch.manual_seed(0)
    x = torch.rand(1, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        logits = our_mobilevit("s")(x)
    for server in (endpoint, NOBODY):  # the second time from the cache, without a network
        result = tmp_path / "logits.pt"
        done = load(server, tmp_path, result)
        assert done.returncode == 0, done.stderr
        assert "resize=288, crop=256" in done.stdout
        torch.testing.assert_close(torch.load(result), logits, rtol=0, atol=1e-12)
        result.unlink()


def test_offline_the_error_says_so_at_once_and_names_what_is_there(tmp_path):
    done = load(NOBODY, tmp_path, tmp_path / "logits.pt")
    assert "Retrying" not in done.stderr
    error = done.stderr.splitlines()[-1]
    assert error.startswith("ConnectionError: 'apple/mobilevit-small' must be downloaded once")
    assert "pixelzoo-xxs" in error


def test_a_repository_without_configuration_is_named(hub, tmp_path):
    done = load(hub[1], tmp_path, tmp_path / "logits.pt")
    assert "FileNotFoundError: 'apple/mobilevit-small' holds no config.json" in done.stderr


def test_without_the_extra_the_error_names_it(monkeypatch):
    from mvit_lib import load_weights

    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ModuleNotFoundError, match=r"mvit_lib\[hub\]"):
        load_weights("apple/mobilevit-small")
