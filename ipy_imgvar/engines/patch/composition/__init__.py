"""Where subjects and ground go, and which of several arrangements is taken."""
