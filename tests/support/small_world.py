"""A made-up platform as small as tests need. Not here: tests."""

from rec_trak.data.synthetic import WorldSettings

SIZES = {"articles": 120, "train_users": 30, "val_users": 4, "held_out_users": 12, "most_rows": 9, "candidates": 4}
ATTACK = {"promoted": 2, "bots": 8, "bot_clicks": 6, "genuine_clicks": 10, "targets": 5}
SMALL = WorldSettings(**SIZES, **ATTACK, most_history=5)
