"""What tmsync says of TeslaMate on the broker: verdicts, token and problems, for Home Assistant and whoever listens."""
