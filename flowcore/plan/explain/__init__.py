"""Pictures of a plan: ascii text, Mermaid, DOT and SVG; each module has ``render(plan) -> str``."""
