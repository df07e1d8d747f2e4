"""The store and queue contracts over stand-ins for AWS that others wrote: MiniStack, and as a second witness moto's server.

What either does not keep stands with its reason in `tests/tests/witnesses`.
"""

import os
import pathlib
import subprocess
import sys

import pytest
import requests
from conftest import free_port, wait_for
from template import ROOT

#: The first time, the tests are built.
SECONDS = 1800


@pytest.fixture
def moto(tmp_path):
    """The address of moto's server."""
    port, log = free_port(), tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [pathlib.Path(sys.executable).parent / "moto_server", "-H", "127.0.0.1", "-p", str(port)],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "MOTO_"))},
            cwd=tmp_path,
        )
    endpoint = f"http://127.0.0.1:{port}"

    def answers():
        assert process.poll() is None, f"moto's server ended: {log.read_text(errors='replace')[-2000:]}"
        try:
            return requests.get(f"{endpoint}/moto-api/data.json", timeout=2).ok
        except requests.ConnectionError:
            return False

    try:
        wait_for("moto's server answers", answers)
        yield endpoint
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def test_both_witnesses_keep_the_contracts_but_for_known_differences(stand_in, moto):
    done = subprocess.run(
        ["cargo", "test", "-q", "-p", "harpoon-tests", "--test", "witnesses"],
        cwd=ROOT,
        env={**os.environ, "HARPOON_MINISTACK": stand_in.endpoint, "HARPOON_MOTO": moto},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-20_000:]
