"""Words that no caption holds, and the concept each should draw: for `training.evaluate` only.

The text encoder meets them, if at all, as words alone, beside what a sentence model makes of them
(see `training.stages.text_encoder`); no picture is ever shown with them.
"""

SYNONYMS: dict[str, str] = {
    "hound": "dog", "mutt": "dog", "canine": "dog", "hare": "rabbit", "stallion": "horse",
    "steed": "horse", "cobra": "snake", "python": "snake", "primate": "monkey", "swine": "pig",
    "calf": "cow", "wasp": "honeybee", "hornet": "honeybee", "tarantula": "spider",
    "orca": "whale", "salmon": "fish", "trout": "fish", "falcon": "eagle", "hawk": "eagle",
    "vulture": "eagle", "pigeon": "dove", "jackal": "fox", "stag": "deer", "reindeer": "deer",
    "rodent": "mouse", "mallard": "duck", "crayfish": "lobster", "sedan": "automobile",
    "vessel": "sailboat", "dinghy": "canoe", "chopper": "helicopter", "spacecraft": "rocket",
    "cottage": "house", "fortress": "castle", "spruce": "evergreen tree",
    "conifer": "evergreen tree", "espresso": "hot beverage", "cappuccino": "hot beverage",
    "lager": "beer mug", "goblet": "wine glass", "merlot": "wine glass", "spectacles": "glasses",
    "wristwatch": "watch", "cellphone": "mobile phone", "tiara": "crown", "cello": "violin",
    "fiddle": "violin", "bugle": "trumpet", "knapsack": "backpack", "mandarin": "tangerine",
    "biscuit": "cookie", "gelato": "ice cream", "parasol": "umbrella", "bonfire": "fire",
    "phantom": "ghost", "cyborg": "robot", "spud": "potato", "mallet": "hammer",
    "tomahawk": "axe", "paperback": "open book",
}  # fmt: skip
