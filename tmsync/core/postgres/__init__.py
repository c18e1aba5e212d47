"""PostgreSQL as tmsync meets it: the wire handshake, the login, the staged checks."""
