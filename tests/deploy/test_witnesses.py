"""The store and queue contracts over stand-ins for AWS that others wrote: MiniStack, and as a second witness moto's server.

What either does not keep stands with its reason in `tests/tests/witnesses`.
"""

import os
import pathlib
import subprocess
import sys

import pytest
from conftest import free_port, server
from template import ROOT

#: The first time, the tests are built.
SECONDS = 1800


@pytest.fixture
def moto(tmp_path):
    """The address of moto's server."""
    port = str(free_port())
    endpoint = f"http://127.0.0.1:{port}"
    command = [pathlib.Path(sys.executable).parent / "moto_server", "-H", "127.0.0.1", "-p", port]
    with server("moto's server", command, f"{endpoint}/moto-api/data.json", tmp_path / "log"):
        yield endpoint


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
