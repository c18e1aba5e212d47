"""tmsync links TeslaMate to TWCManager: tokens, telemetry, and a plain word on what is wrong."""

__version__ = "1.0.0"
