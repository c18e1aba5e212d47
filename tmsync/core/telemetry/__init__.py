"""Live telemetry: TeslaMate's MQTT topics, what they say of each vehicle, and whether to trust them."""
