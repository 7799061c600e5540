"""The ports: what the engine asks of the outside, as narrow protocols."""
