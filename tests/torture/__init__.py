"""Attacks on the promises of docs/promises.md: scripts/torture.sh runs all, the ordinary test run a twentieth."""
