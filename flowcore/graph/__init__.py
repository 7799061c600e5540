"""Data model of a flow: nodes, edges, policies, config. Frozen, without behaviour."""
