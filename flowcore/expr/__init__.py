"""Safe expressions: CEL, and text with ``${{ CEL }}`` in it. Never ``eval``."""
