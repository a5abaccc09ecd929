"""YAML and JSON files -> frozen dataclasses, or one error that names every bad key. Not here: data or weights."""
