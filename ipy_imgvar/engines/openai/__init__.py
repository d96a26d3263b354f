"""The hosted engine: every server that speaks OpenAI's images API, on both of its routes to a variation."""
