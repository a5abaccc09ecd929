"""The report as one HTML file: what stands in it, and how it looks. Not here: any number that it shows."""
