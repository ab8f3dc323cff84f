"""The study of what makes weights good: see docs/what-works.md."""
