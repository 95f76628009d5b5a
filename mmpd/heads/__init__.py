"""Raw outputs of dense heads, decoded: one family of heads a file."""
