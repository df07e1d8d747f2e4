"""Fixtures: instances of the binary, each with a directory of its own, all killed in the end."""

import pytest
from product import Product


class Instances:
    def __init__(self, directory):
        self.directory = directory
        self.started = []

    def start(self, name="harpoon"):
        """A fresh instance."""
        instance = Product(self.directory / f"{name}-{len(self.started)}")
        self.started.append(instance)
        return instance.start()

    def end(self):
        for instance in self.started:
            instance.kill()


@pytest.fixture
def instances(tmp_path):
    held = Instances(tmp_path)
    yield held
    held.end()


@pytest.fixture(scope="module")
def module_instances(tmp_path_factory):
    held = Instances(tmp_path_factory.mktemp("instances"))
    yield held
    held.end()
