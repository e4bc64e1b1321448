from __future__ import annotations

from pathlib import Path

import pytest

from appliance import bundle, signing
from tests import small_models


@pytest.fixture(scope="session")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with an active model that took a second to make."""
    folder = tmp_path_factory.mktemp("shelf")
    keys, models = folder / "keys", folder / "models"
    keys.mkdir()
    models.mkdir()
    signing.create_key(keys / "signing.key")
    published = bundle.publish(small_models.files("milling"), models, keys / "signing.key")
    bundle.activate(models, "milling", published.version, signing.trusted_keys(keys))
    return folder
