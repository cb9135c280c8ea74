"""Tests that must not run at the same time are in one group; a pytest under which xdist forgets the groups fails here."""

from __future__ import annotations

import pytest


@pytest.mark.xdist_group("groups")
def test_groups_hold(request: pytest.FixtureRequest) -> None:
    if getattr(request.config.option, "loadgroup", False):
        assert request.node.nodeid.endswith("@groups"), (
            f"pytest {pytest.__version__}: make test installs the right one"
        )
    else:
        assert "@" not in request.node.nodeid
