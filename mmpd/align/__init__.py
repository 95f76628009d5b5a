"""AFP: guide and student outputs on one grid (DESIGN §3.2)."""
