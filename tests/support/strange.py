"""Documents that break JSON's reader in ways of their own, all harmless. Not here: tests."""

JSON = {
    "deep": b'{"a": ' + b"[" * 5000,
    "deep but whole": b'{"a": ' + b"[" * 500 + b"]" * 500 + b"}",
    "long number": b'{"a": ' + b"9" * 5000 + b"}",
    "key twice": b'{"a": 1, "a": 2}',
    "half a pair": b'{"a": "\\ud800"}',
    "utf-16": '{"a": 1}'.encode("utf-16"),
    "no text": b"\x89PNG\xff",
}
