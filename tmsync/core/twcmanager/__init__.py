"""TWCManager as tmsync meets it: its config.json, its settings.json, and whether it runs."""
