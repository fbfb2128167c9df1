"""Where git and the analyzers are installed."""

import os
import shutil
import sys
import sysconfig
from pathlib import Path


def find(name: str) -> str | None:
    """Look beside our own interpreter, then on PATH; a relative PATH entry could lead into scanned code."""
    beside = [sysconfig.get_path("scripts"), str(Path(sys.executable).parent)]
    onward = [folder for folder in os.environ.get("PATH", "").split(os.pathsep) if Path(folder).is_absolute()]
    return shutil.which(name, path=os.pathsep.join(beside + onward))
