"""The themes of a comparison's page: of each what it sets, and its template."""
