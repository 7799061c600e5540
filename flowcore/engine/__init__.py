"""The engine: what happens next. Pure decisions and calls to ports; no vendor is named here."""
