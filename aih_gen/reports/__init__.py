"""Reports on data: counts, cards, contact sheets and pages."""
