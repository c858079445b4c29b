"""What `genprior studio` does."""

from genprior.studio.studio_settings import StudioSettings


def serve_studio(settings: StudioSettings) -> None:
    """Serves the page until a signal ends it, and prints its address once it answers.

    Raises:
        GenpriorError: What was given does not go together, or Gradio is not installed.
    """
    from genprior.progress import printable
    from genprior.studio.studio_server import opened_studio

    with opened_studio(settings) as studio:
        print(printable(f"ready: {studio.address}"), flush=True)
        studio.serve()
