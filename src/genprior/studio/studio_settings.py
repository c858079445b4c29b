"""What `genprior studio` is told at its start. Never imports torch or the web server."""

import os
from pathlib import Path
from typing import Annotated

from pydantic import Field

from genprior.errors import GenpriorError
from genprior.settings import Flag, Settings

PASSWORD = "GENPRIOR_STUDIO_PASSWORD"  # of the environment: words of a command stand in the list of processes
USER = "genprior"
SHORTEST_PASSWORD = 12
LOOPBACK, EVERYWHERE = "127.0.0.1", "0.0.0.0"


class StudioSettings(Settings):
    """Which folders the page may use, and where it is served."""

    runs: Annotated[
        tuple[Path, ...], Field(max_length=50, description="Folders of runs to be shown."), Flag(metavar="RUN...")
    ] = ()
    folder: Annotated[
        Path, Field(description="Folder for new runs, uploads and results; all below it may be read and shown.")
    ] = Path("runs")
    images: Annotated[
        tuple[Path, ...],
        Field(max_length=50, description="Folder or file of images that may be read; as often as wanted."),
    ] = ()
    port: Annotated[int, Field(ge=0, le=65535, description="Of the page; 0 for any that is free.")] = 7860
    share: Annotated[
        bool,
        Field(description=f"Serve other machines too, without encryption; needs a password in ${PASSWORD}."),
    ] = False

    def password(self) -> str | None:
        """Returns the password that a visitor must know; None where the page is for this machine alone.

        Raises:
            GenpriorError: Other machines are to be served, and there is no password, or a short one.
        """
        if not self.share:
            return None
        found = os.environ.get(PASSWORD, "")
        if len(found) < SHORTEST_PASSWORD:
            raise GenpriorError(
                f"lets other machines in and needs a password: set ${PASSWORD} to {SHORTEST_PASSWORD} characters or "
                "more first",
                argument="share",
            )
        return found
