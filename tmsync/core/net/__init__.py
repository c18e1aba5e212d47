"""Names, connections and HTTP, each with a deadline."""
