"""The body, its charts, a small folder of assets and somebody dressed in them."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_pack import make_pack

from dance.surface import body as bodies
from dance.surface import charts as surfaces
from dance.surface.body import AVERAGE, Body
from dance.surface.charts import Charts
from dance.synthetic.assets import Pack, open_pack
from dance.synthetic.people import Character
from dance.synthetic.wear import Figure, dress


@pytest.fixture(scope="session")
def body() -> Body:
    return bodies.load()


@pytest.fixture(scope="session")
def charts(body: Body) -> Charts:
    return surfaces.charts(body)


@pytest.fixture(scope="session")
def assets(tmp_path_factory: pytest.TempPathFactory, body: Body, charts: Charts) -> Path:
    return make_pack(tmp_path_factory.mktemp("assets"), body, charts)


@pytest.fixture(scope="session")
def pack(assets: Path) -> Pack:
    return open_pack(assets)


@pytest.fixture(scope="session")
def figure(body: Body, charts: Charts, pack: Pack) -> Figure:
    worn = {"clothes": "suit", "shoes": "shoes", "hair": "hair"}
    return dress(body, charts, pack, Character(AVERAGE, worn, "plain", {}, {}))
