"""The hosted engine, for any server that speaks OpenAI's images API; it uses the API's edits and variations routes."""
