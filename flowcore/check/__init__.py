"""Every rule of a definition, all problems in one pass, with places and suggestions."""
