"""What a flow is: nodes, edges, policies, config. Frozen, without behaviour."""
