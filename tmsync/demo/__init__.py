"""Private servers and a simulated surrounding, for `tmsync demo` and for the tests."""
