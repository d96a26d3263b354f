"""The images API's forms and JSON, read and written as pure functions; the hosted engine and the server share them."""
