"""A small project with a dependency is changed in a guest as `make smoke-projects` changes real ones."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

import pytest

from pyro_mcp import Pyro
from tests.support.projects import Project, change_in_guest, change_on_host, checkout

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]
WHEEL = "wheels/rates-1.0-py3-none-any.whl"
PRICES = "from rates import RATE\n\n\ndef gross(net):\n    return net + RATE\n"


def write_project(place: Path) -> Path:
    """Write a project that needs a package, whose wheel comes with it."""
    (place / "wheels").mkdir()
    about = "rates-1.0.dist-info"
    with zipfile.ZipFile(place / WHEEL, "w") as wheel:
        wheel.writestr("rates.py", "RATE = 2\n")
        wheel.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: rates\nVersion: 1.0\n")
        wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{about}/RECORD", "")
    (place / "prices.py").write_text(PRICES)
    (place / "test_prices.py").write_text(
        "import unittest\n\nfrom prices import gross\n\n\nclass Gross(unittest.TestCase):\n"
        "    def test_gross_of_nothing(self):\n        self.assertIn(gross(0), (0, 2))\n"
    )
    return place


PROJECT = Project(
    fetch=write_project,
    setup="python3 -m pip install -q --no-index --target libs wheels/*.whl",
    test="PYTHONPATH=libs python3 -m unittest -q",
    edit=("prices.py", "net + RATE", "net * RATE"),
    probe=(
        "test_product.py",
        (
            "import unittest\n\nfrom prices import gross\n\n\nclass Product(unittest.TestCase):\n"
            "    def test_gross(self):\n        self.assertEqual(gross(3), 6)\n"
        ),
    ),
)


def test_a_change_made_in_a_guest_passes_the_projects_tests_on_the_host(tmp_path: Path) -> None:
    root = checkout(PROJECT, tmp_path / "project")
    with Pyro().workspace("debian:12", seed_path=root) as workspace:
        patch = change_in_guest(PROJECT, workspace)
        assert workspace.diff().ignored_count > 0
    change_on_host(PROJECT, root, patch)
    assert b"libs" not in patch
