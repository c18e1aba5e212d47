"""The global options, and the settings that follow from them and a command's own flags."""

import os
from collections.abc import Mapping
from typing import NamedTuple

from tmsync.core.config.load import load_settings
from tmsync.core.config.settings import Settings


class Globals(NamedTuple):
    """What stands before the command's name."""

    config_file: str | None = None
    verbose: bool = False
    quiet: bool = False

    def settings(self, flags: Mapping[str, object]) -> Settings:
        """All layers merged.

        Raises: ConfigError.
        """
        return load_settings(environ=os.environ, flags=flags, config_file=self.config_file)
