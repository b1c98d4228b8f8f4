"""Looking at data: counts, cards, contact sheets and pages."""
