"""The 3-D body: its shape and stance fitted to pictures, its surface drawn as parts, charts and texture."""
