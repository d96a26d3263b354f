"""The images API's form and JSON, in both directions; pure, and shared by the hosted engine and the server."""
