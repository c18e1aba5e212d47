"""Settings merged from TWCManager's config.json, TOML, the environment and flags, each with its origin."""
