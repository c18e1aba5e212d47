"""One look at everything: database, tokens, TWCManager, broker, vehicles, and what is wrong with them."""
